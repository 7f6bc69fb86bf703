"""One key for texts that some Moodle database may take for the same.

What two texts share under MariaDB or MySQL depends on the collation, which a client cannot read (MariaDB page §1, §5):
accents, case, width, ligatures, zero-width characters and trailing blanks are ignored by some, `ø`, `ł`, `đ` and the
dotless i by others. The key below makes equal whatever any of them makes equal, and more: a clash of keys is a
question for a human, never an answer.
"""

import re
import unicodedata

# Letters that Unicode does not decompose and some collation takes for their plain neighbours.
_PLAIN = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"})
# All equal in utf8mb4_unicode_ci.
_SUPPLEMENTARY = re.compile("[\U00010000-\U0010ffff]")


def strict_key(text: str) -> str:
    """The form under which user names, addresses and ID numbers of ours must be unique; see the module."""
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold()).translate(_PLAIN)
    text = "".join(character for character in text if unicodedata.category(character) not in {"Mn", "Me", "Cf", "Cc"})
    return _SUPPLEMENTARY.sub("\ufffd", " ".join(text.split()))
