"""How the doctor knows that what answers at the public address is this very bridge.

The question is signed with the bridge's secret keys and lives a few minutes: only somebody who holds the keys gets more
than `ok` out of `/healthz`. The answer carries a code that only a holder of the keys can compute, so nothing between
the two can make it up. It says how the request looked on arrival, which is what the proxies in front are judged by.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from external_accounts.keys import Keys, UnknownKey

LIFETIME = timedelta(minutes=10)
"""Also the greatest difference of clocks that can still be told."""
_QUESTION = "identification question"
_ANSWER = "identification answer"


def question(keys: Keys, now: datetime) -> str:
    """A new question: `<signed>` travels in an address as it is."""
    return keys.sign(_QUESTION, f"{int(now.timestamp())}-{secrets.token_hex(8)}")


def is_ours(keys: Keys, text: str, now: datetime) -> bool:
    """Whether `text` is a question made not long ago by somebody who holds the keys."""
    made = keys.unsign(_QUESTION, text) if len(text) < 200 else None
    return made is not None and abs(now.timestamp() - int(made.partition("-")[0])) <= LIFETIME.total_seconds()


def answer(keys: Keys, text: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """`facts` (JSON values) with the code that vouches for them and for this question."""
    return {"key": keys.current_id, "code": _code(keys, text, facts, keys.current_id), "facts": dict(facts)}


def verified(keys: Keys, text: str, document: Any) -> dict[str, Any] | None:
    """The facts of the answer in `document["bridge"]`, or None when it is not the answer to this question of ours."""
    told = document.get("bridge") if isinstance(document, dict) else None
    if not isinstance(told, dict) or not isinstance(told.get("facts"), dict):
        return None
    facts: dict[str, Any] = told["facts"]
    try:
        expected = _code(keys, text, facts, str(told.get("key")))
    except UnknownKey:
        return None
    return facts if hmac.compare_digest(expected.encode(), str(told.get("code")).encode()) else None


def fingerprint(keys: Keys, value: str) -> str:
    """A short name for `value` that says nothing to anybody without the keys."""
    return keys.derive("identification fingerprint", value.encode()).hex()[:16]


def _code(keys: Keys, text: str, facts: Mapping[str, Any], key_id: str) -> str:
    material = json.dumps([text, facts], sort_keys=True, separators=(",", ":")).encode()
    return keys.derive(_ANSWER, material, key_id=key_id).hex()
