"""Keys of programs: made, found, revoked. Of a key only a hash is kept; who loses it makes another one.

A key is `lmsb_<prefix>_<secret>`. The prefix finds the row and is no secret; the secret has 256 bits, so a plain hash
is enough: nobody guesses it from a copy of the database.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.institution_schema import ApiKey

SCOPES: Final = {
    "accounts:read": "look accounts up by their key",
    "accounts:create": "create accounts",
    "accounts:update": "change accounts",
    "accounts:end": "end accounts",
}
NOTE_USE_AFTER = timedelta(minutes=1)
_TOKEN = re.compile(r"lmsb_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_NOBODYS = hashlib.sha256(b"").hexdigest()


class NameTaken(Exception):
    """Another key, revoked or not, has this name: the audit trail knows keys by name."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A program that showed its key."""

    key_id: int
    name: str
    scopes: frozenset[str]

    @property
    def actor(self) -> str:
        """As the audit trail names it."""
        return f"api:{self.name}"


def make(
    session: Session,
    name: str,
    scopes: Collection[str],
    *,
    expires_at: datetime | None,
    now: datetime,
    origin: audit.Origin,
) -> str:
    """Make a key and return it: the only time that anybody sees it.

    Raises:
        NameTaken: see there.
    """
    if session.scalar(select(ApiKey.id).where(ApiKey.name == name)) is not None:
        raise NameTaken(name)
    prefix = "".join(secrets.choice(_ALPHABET) for _ in range(12))
    secret = secrets.token_urlsafe(32)
    session.add(
        ApiKey(
            name=name,
            prefix=prefix,
            secret_hash=_hash(secret),
            scopes=sorted(scopes),
            created_at=now,
            expires_at=expires_at,
        )
    )
    audit.record(session, "api_key.made", outcome="ok", now=now, origin=origin, key=name, scopes=sorted(scopes))
    return f"lmsb_{prefix}_{secret}"


def find(session: Session, token: str, *, now: datetime) -> Caller | None:
    """Whose key this is. None: nobody's, or it is revoked or expired."""
    parts = _TOKEN.fullmatch(token)
    row = session.scalar(select(ApiKey).where(ApiKey.prefix == parts[1])) if parts else None
    # Compared also when there is no such prefix, so that the time says nothing about which there are.
    right = hmac.compare_digest(_hash(parts[2] if parts else ""), row.secret_hash if row is not None else _NOBODYS)
    if row is None or not right or row.revoked_at is not None:
        return None
    if row.expires_at is not None and row.expires_at <= now:
        return None
    return Caller(row.id, row.name, frozenset(row.scopes))


def note_use(session: Session, caller: Caller, now: datetime) -> None:
    """Write down that the key is in use; to the minute."""
    row = session.get_one(ApiKey, caller.key_id)
    if row.last_used_at is None or row.last_used_at <= now - NOTE_USE_AFTER:
        row.last_used_at = now


def revoke(session: Session, name: str, *, now: datetime, origin: audit.Origin) -> bool:
    """End a key at once. False: there is none of this name, or it is revoked already."""
    row = session.scalar(select(ApiKey).where(ApiKey.name == name, ApiKey.revoked_at.is_(None)))
    if row is None:
        return False
    row.revoked_at = now
    audit.record(session, "api_key.revoked", outcome="ok", now=now, origin=origin, key=name)
    return True


def all_keys(session: Session) -> Sequence[ApiKey]:
    return session.scalars(select(ApiKey).order_by(ApiKey.id)).all()


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
