"""What differs between Moodle's versions, and between the databases below it.

Versions: the behaviour table of the versions page. Databases: PostgreSQL compares text byte for byte; MariaDB with
`utf8mb4_unicode_ci` ignores case, accents, width, zero-width characters and trailing blanks (MariaDB page §1).
"""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum


class Version(StrEnum):
    """A Moodle version of which recordings exist."""

    V4_4 = "4.4"
    V4_5 = "4.5"
    V5_2 = "5.2"


class Database(StrEnum):
    """The database below Moodle, which decides what "equal" means."""

    POSTGRESQL = "postgresql"
    MARIADB = "mariadb"


@dataclass(frozen=True)
class Release:
    """The facts of one version that show on the outside."""

    release: str
    version: str
    plugin_version: str
    namespaced: bool
    php_cas: str
    failed_login: str
    failed_login_query: str
    wrong_host_keeps_path: bool


RELEASES: dict[Version, Release] = {
    Version.V4_4: Release(
        release="4.4dev (Build: 20231124)",
        version="2023112400",
        plugin_version="2023100900",
        namespaced=False,
        php_cas="1.6.0",
        failed_login="Invalid login, please try again",
        failed_login_query="",
        wrong_host_keeps_path=False,
    ),
    Version.V4_5: Release(
        release="4.5.6 (Build: 20250811)",
        version="2024100706",
        plugin_version="2024100700",
        namespaced=True,
        php_cas="1.6.1",
        failed_login="Invalid login, please try again",
        failed_login_query="?loginredirect=1",
        wrong_host_keeps_path=True,
    ),
    Version.V5_2: Release(
        release="5.2.1+ (Build: 20260714)",
        version="2026042001.06",
        plugin_version="2026042000",
        namespaced=True,
        php_cas="1.6.1",
        failed_login="Unable to log in. Your login info may be incorrect. Please try again.",
        failed_login_query="?loginredirect=1",
        wrong_host_keeps_path=True,
    ),
}

# Classes that moved into a namespace in 4.5; the others kept their short name (versions page §1).
_NAMESPACED = frozenset(
    {
        "moodle_exception",
        "invalid_parameter_exception",
        "required_capability_exception",
        "invalid_response_exception",
        "coding_exception",
    }
)


def exception_class(name: str, version: Version) -> str:
    """The class name as this version spells it in an answer."""
    return f"core\\exception\\{name}" if RELEASES[version].namespaced and name in _NAMESPACED else name


def php_trim(text: str) -> str:
    """PHP's trim: ASCII blanks and NUL only; a no-break space stays (recording `collision-ext1-trailing-nbsp-*`)."""
    return text.strip(" \t\n\r\0\x0b")


# One weight for everything beyond the basic plane: all emoji are equal in utf8mb4_unicode_ci (MariaDB page §1).
_SUPPLEMENTARY = re.compile("[\U00010000-\U0010ffff]")
# Ligatures that the collation expands and Unicode normalisation does not.
_EXPANSIONS = str.maketrans({"œ": "oe", "Œ": "oe"})
_SOFT_HYPHEN = "\u00ad"  # keeps a weight of its own here


def equality_key(text: str, database: Database) -> str:
    """What two texts share when the database calls them equal."""
    if database is Database.POSTGRESQL:
        return text
    text = _SUPPLEMENTARY.sub("\ufffd", text).translate(_EXPANSIONS)
    text = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text).casefold())
    text = unicodedata.normalize("NFKC", "".join(c for c in text if not _ignored(c)))
    text = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)
    return text.rstrip()


def _ignored(character: str) -> bool:
    if character == _SOFT_HYPHEN:
        return False
    return unicodedata.category(character) in {"Mn", "Cf", "Cc"}
