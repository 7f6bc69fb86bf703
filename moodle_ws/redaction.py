"""What must never reach a log, a traceback or an error message.

Moodle hands secrets back in ordinary answers: the site information carries the service user's private access key and,
when the token may change the site configuration, the site secret (versions page, 5.2); `debuginfo` carries SQL with
its values (recording `create-dbg-idnumber-too-long-300`). Nobody but Moodle needs them: they are dropped as soon as an
answer is decoded.
"""

import re
from typing import Any

HIDDEN = "[hidden]"

# Secrets of Moodle's in the answers of functions that are asked for something else.
SECRET_KEYS = frozenset({"userprivateaccesskey", "sitesecret"})

_SECRET_PAIR = re.compile(
    r"(?P<key>userprivateaccesskey|sitesecret|wstoken|token|privatetoken|password)"
    r"(?P<between>\W{1,6})(?P<value>[^\s\"'&<,}]+)",
    re.IGNORECASE,
)


def without_secrets(answer: Any) -> Any:
    """A decoded answer without the values of `SECRET_KEYS`, which read `[hidden]`. They only occur at its top."""
    if isinstance(answer, dict) and not SECRET_KEYS.isdisjoint(answer):
        return {key: HIDDEN if key in SECRET_KEYS else value for key, value in answer.items()}
    return answer


def redact(text: str, *secrets: str) -> str:
    """`text` with the given secrets, and anything that looks like `token=…`, replaced by `[hidden]`."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, HIDDEN)
    return _SECRET_PAIR.sub(lambda match: f"{match['key']}{match['between']}{HIDDEN}", text)
