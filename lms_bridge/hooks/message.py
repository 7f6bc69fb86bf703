"""What a hook is sent: the state of an account as JSON, and its signature.

`docs/reference/hooks.md` is the contract.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from external_accounts.institution_schema import Handover
from external_accounts.schema import Account

SIGNATURE_VERSION = "v1"


def state_of(account: Account, choices: Mapping[str, str], now: datetime) -> dict[str, Any]:
    """The account as it is now, as far as other systems are told. `choices`: see `mailbox.handed_on`; empty for an
    erased one, of whom nothing is told but the names."""
    return {
        "identifier": account.username,
        "key": account.key,
        "external_key": account.external_key,
        "profile": account.profile,
        "activated_at": _moment(account.activated_at),
        "rights_end_at": _moment(account.rights_end_at),
        "ended": account.rights_end_at is not None and account.rights_end_at <= now,
        "erased": account.erased_at is not None,
        "listed": choices.get("listed") == "yes",
        "forward_to": choices.get("forward_to") or None,
        "keep_copy": choices.get("keep_copy", "yes") == "yes",
        "antispam": choices.get("antispam") or None,
    }


def body_of(handover: Handover, state: dict[str, Any], now: datetime) -> bytes:
    """The body of a delivery. `state_at` says which of two deliveries knows more."""
    message = {
        "id": handover.key,
        "event": handover.event,
        "happened_at": _moment(handover.created_at),
        "state_at": _moment(now),
        "account": state,
    }
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def headers_of(handover: Handover, body: bytes, secrets: Sequence[str], now: datetime) -> dict[str, str]:
    """The headers of a delivery: which it is, and a signature under each secret, in their order."""
    timestamp = str(int(now.timestamp()))
    return {
        "Content-Type": "application/json; charset=utf-8",
        "Idempotency-Key": handover.key,
        "LMS-Bridge-Event": handover.event,
        "LMS-Bridge-Timestamp": timestamp,
        "LMS-Bridge-Signature": ",".join(f"{SIGNATURE_VERSION}={sign(one, timestamp, body)}" for one in secrets),
    }


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """HMAC-SHA256 over the timestamp, a dot, and the body as it travels; hexadecimal."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _moment(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
