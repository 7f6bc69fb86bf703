"""Throttling: slows guessing down, locks nobody out.

Each limit is a budget that refills steadily (GCRA): `burst` uses at once, then one every `every` seconds. A use is
reserved *before* anything is looked up (I3, D13), in one atomic statement that all processes share. Nothing is ever
locked: a victim whose budget an attacker drained still has the budget of every device that signed in before (D38), and
a use that turned out well is given back, so that a class of forty behind one address is not taken for an attack (D41).
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, bindparam, case, delete, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from external_accounts.database import Prepared
from external_accounts.schema import ThrottleBucket

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Limit:
    """A budget: `burst` uses at once, refilled by one every `every` seconds."""

    name: str
    burst: int
    every: float

    @property
    def cost_ms(self) -> int:
        return int(self.every * 1000)

    @property
    def window_ms(self) -> int:
        return self.burst * self.cost_ms


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a limit by one subject (an identifier, a network, an address)."""

    limit: Limit
    subject: str

    @property
    def key(self) -> str:
        return hashlib.sha256(f"{self.limit.name}\0{self.subject}".encode("utf-8", "surrogatepass")).hexdigest()


SIGN_IN_IDENTIFIER = Limit("sign-in identifier", burst=10, every=30)
"""Strangers' tries on one identifier: at most 10, then 2 a minute. PWD-07 allows no more than 100 in a row."""
SIGN_IN_DEVICE = Limit("sign-in device", burst=10, every=30)
"""Tries from a device that signed in to this account before: untouched by what strangers do."""
SIGN_IN_NETWORK = Limit("sign-in network", burst=60, every=2)
SIGN_IN_CAMPUS = Limit("sign-in campus", burst=3000, every=0.1)
"""A declared campus prefix: a lecture hall signs in at once."""
PROOF_MAIL_ADDRESS = Limit("proof mail address", burst=5, every=600)
"""Mails to one address: the sixth within the hour waits (D12)."""
PROOF_MAIL_NETWORK = Limit("proof mail network", burst=60, every=10)
THROTTLED_NOTE = Limit("throttled note", burst=1, every=60)
WHY_MAIL = Limit("why mail", burst=3, every=3600)
UNKNOWN_MAIL = Limit("unknown recipients", burst=100, every=36)
"""Mails to addresses nobody here has, all together: we are no way to write to strangers."""
PROOF_MAIL_CAMPUS = Limit("proof mail campus", burst=1000, every=1)
ADDRESS_CHANGES = Limit("address changes", burst=12, every=3600)
"""Each change writes to somebody: an account must not become a way to flood mailboxes (D12)."""
NEW_DEVICE_NOTICE = Limit("new device notice", burst=3, every=24 * 3600)
"""Somebody whose browser keeps no cookies must not get a message each morning."""

REGISTER_NETWORK = Limit("register network", burst=30, every=20)
REGISTER_CAMPUS = Limit("register campus", burst=1000, every=1)
"""Requests for an account from one network: each leaves rows for a day. A course registers at once on the campus."""

API_KEY = Limit("api key", burst=600, every=0.1)
"""Requests of one key of the API: a staff office's nightly changes, not a whole university."""
API_REFUSED = Limit("api refused", burst=30, every=10)
"""Requests of one network with a key that is none."""
ASSISTANCE_NETWORK = Limit("assistance network", burst=10, every=300)
ASSISTANCE_CAMPUS = Limit("assistance campus", burst=200, every=10)
"""Requests for assistance from one network."""
LETTER_IDENTIFIER = Limit("letter identifier", burst=10, every=300)
"""Tries of letters' codes with one identifier, whoever makes them; the network draws on that of signing in."""
ASSISTANCE_MAIL = Limit("assistance mail", burst=60, every=60)
"""Mails about them to the help desk, all together: what is more stands in its list only."""


class Throttled(Exception):
    """A budget is used up. `retry_after` is whole seconds until one use is available again."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"retry after {retry_after} s")
        self.retry_after = retry_after


def network_use(address: str, campus: Sequence[IPNetwork], *, ordinary: Limit, campus_limit: Limit) -> Use:
    """Which network budget a caller's address draws on: its campus prefix, its /64 (IPv6), or itself."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return Use(ordinary, "unknown")
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    for prefix in campus:
        if ip.version == prefix.version and ip in prefix:
            return Use(campus_limit, str(prefix))
    if ip.version == 6:
        return Use(ordinary, str(ipaddress.ip_network((ip, 64), strict=False)))
    return Use(ordinary, str(ip))


def _reserve(insert: Any) -> Prepared:
    """One statement: a first use, or one more if it fits; no row comes back when it does not."""

    def statement() -> Any:
        now, cost = bindparam("now", type_=BigInteger), bindparam("cost", type_=BigInteger)
        full_at = ThrottleBucket.full_at_ms
        start = case((full_at > now, full_at), else_=now)
        return (
            insert(ThrottleBucket)
            .values(key=bindparam("key"), full_at_ms=bindparam("first"))
            .on_conflict_do_update(
                index_elements=[ThrottleBucket.key],
                set_={"full_at_ms": start + cost},
                where=start <= bindparam("latest", type_=BigInteger),
            )
            .returning(full_at)
        )

    return Prepared(statement)


_RESERVE = {"sqlite": _reserve(sqlite_insert), "postgresql": _reserve(postgresql_insert)}
_GIVE_BACK = Prepared(
    lambda: (
        update(ThrottleBucket)
        .where(ThrottleBucket.key == bindparam("bucket"))
        .values(full_at_ms=ThrottleBucket.full_at_ms - bindparam("cost", type_=BigInteger))
    )
)


def reserve(session: Session, uses: Sequence[Use], now: datetime) -> None:
    """Take one use of each budget, in the caller's transaction.

    Raises:
        Throttled: one of them is used up. The caller's transaction must roll back, so that none is taken.
    """
    now_ms = _milliseconds(now)
    upsert = _RESERVE[session.get_bind().dialect.name]
    # Always in the same order, so that two requests on the same budgets cannot wait for each other.
    for use in sorted(uses, key=lambda use: use.key):
        cost, window = use.limit.cost_ms, use.limit.window_ms
        taken = upsert.within(
            session,
            {"key": use.key, "now": now_ms, "cost": cost, "first": now_ms + cost, "latest": now_ms + window - cost},
        )
        if not taken:
            full_at = session.scalar(select(ThrottleBucket.full_at_ms).where(ThrottleBucket.key == use.key)) or now_ms
            raise Throttled(retry_after=max(1, -(-(full_at + cost - window - now_ms) // 1000)))


def give_back(session: Session, uses: Sequence[Use]) -> None:
    """Return one use of each budget: it turned out well. Only what this attempt took, never the whole count (D42)."""
    for use in sorted(uses, key=lambda use: use.key):
        _GIVE_BACK.within(session, {"bucket": use.key, "cost": use.limit.cost_ms})


def clear(session: Session, uses: Sequence[Use]) -> None:
    """Forget what was used: after a reset the person starts with a full budget (D39)."""
    session.execute(delete(ThrottleBucket).where(ThrottleBucket.key.in_([use.key for use in uses])))


def purge(session: Session, now: datetime) -> None:
    """Drop the buckets that are full again: they say nothing any more."""
    session.execute(delete(ThrottleBucket).where(ThrottleBucket.full_at_ms <= _milliseconds(now)))


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
