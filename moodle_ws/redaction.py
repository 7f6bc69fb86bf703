"""What must never reach a log, a traceback or an error message.

Moodle hands secrets back in ordinary answers: the site information carries the service user's private access key and,
when the token may change the site configuration, the site secret (versions page, 5.2); `debuginfo` carries SQL with
its values (recording `create-dbg-idnumber-too-long-300`). They are dropped here, before anything else sees them.
"""

import re
from typing import Any

HIDDEN = "[hidden]"

# Moodle's own names of the values nobody but Moodle needs.
SECRET_KEYS = frozenset(
    {"userprivateaccesskey", "sitesecret", "debuginfo", "wstoken", "token", "privatetoken", "password", "stacktrace"}
)

_SECRET_PAIR = re.compile(
    r"(?P<key>" + "|".join(sorted(SECRET_KEYS)) + r")(?P<sep>\W{1,6})(?P<value>[^\s\"'&<,}]+)", re.IGNORECASE
)


def without_secrets(value: Any) -> Any:
    """A copy of a decoded answer in which every secret of `SECRET_KEYS` reads `[hidden]`, at any depth."""
    if isinstance(value, dict):
        return {key: HIDDEN if key in SECRET_KEYS else without_secrets(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    return value


def redact(text: str, *secrets: str) -> str:
    """`text` with the given secrets, and anything that looks like `token=…`, replaced by `[hidden]`."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, HIDDEN)
    return _SECRET_PAIR.sub(lambda match: f"{match['key']}{match['sep']}{HIDDEN}", text)
