"""The chain over the audit trail: what each event's hash covers, and the walk that finds what does not fit.

An event is hashed with its place, with the hash before it, and with a *commitment* to its personal part (whom, who,
from where, details): a hash of that part and of a random salt of its own. Once salt and personal part are dropped,
nobody can find out again what was committed to, and the chain still holds.

Everything here is a function over values: it verifies an exported file as it does the database.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

GENESIS = hashlib.sha256(b"LMS Bridge audit trail").hexdigest()
"""What stands before the first event."""

NOTICE = "audit.pseudonymised"
"""The event that says how many others lost their personal part: none may lose it without one."""


@dataclass(frozen=True, slots=True)
class Link:
    """A sealed event."""

    position: int
    id: int
    at: datetime
    event: str
    outcome: str
    account_id: int | None
    actor: str
    network: str
    details: dict[str, Any]
    salt: str | None
    commitment: str
    hash: str

    @property
    def is_pseudonymous(self) -> bool:
        return self.salt is None


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where the chain does not hold."""

    kind: str
    """`edited`, `missing`, `order`, `cut`, `checkpoint`, `unsigned`, `pseudonymised`."""
    position: int
    text: str


def commit(salt: str, account_id: int | None, actor: str, network: str, details: dict[str, Any]) -> str:
    """The commitment to an event's personal part under a salt."""
    return _hash(bytes.fromhex(salt), [account_id, actor, network, details])


def hash_of(previous: str, link: Link) -> str:
    """The hash that stands for an event and for everything before it."""
    at = link.at.astimezone(UTC).isoformat(timespec="microseconds")
    return _hash(bytes.fromhex(previous), [link.position, link.id, at, link.event, link.outcome, link.commitment])


def _hash(before: bytes, values: list[Any]) -> str:
    text = json.dumps(values, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(before + text.encode("ascii")).hexdigest()


@dataclass(slots=True)
class Walk:
    """Goes along a chain, link by link, and says what does not fit. Holds nothing but where it is."""

    position: int = 0
    """Of the link that was seen last."""
    previous: str | None = GENESIS
    """Its hash. None: unknown, the next link is taken as it stands."""
    pseudonymous: int = 0
    announced: int = 0
    """How many events lost their personal part, and how many the notices say."""
    seen: int = field(default=0)

    def take(self, link: Link) -> Iterator[Finding]:
        """The next link, as stored. After a finding the walk goes on from what is stored."""
        self.seen += 1
        if link.position <= self.position:
            yield Finding("order", link.position, f"stands after position {self.position}")
        elif link.position > self.position + 1 and self.previous is not None:
            gone = f"{self.position + 1}" + (f" to {link.position - 1}" if link.position > self.position + 2 else "")
            yield Finding("missing", self.position + 1, f"nothing at position {gone}")
            self.previous = None
        yield from self._personal_part(link)
        try:
            fits = self.previous is None or hash_of(self.previous, link) == link.hash
        except ValueError:  # what should be hexadecimal is not
            fits = False
        if not fits:
            yield Finding(
                "edited", link.position, f"event {link.id} ({link.event}): it, its place or its neighbour was changed"
            )
        self.position, self.previous = link.position, link.hash
        if link.event == NOTICE:
            self.announced += announced_by(link.details)

    def _personal_part(self, link: Link) -> Iterator[Finding]:
        who = f"event {link.id} ({link.event}): whom, who, from where or details"
        if link.salt is None:
            self.pseudonymous += 1
            if link.account_id is not None or link.actor or link.network or link.details:
                yield Finding("edited", link.position, f"{who} were put in later")
            return
        try:
            fits = commit(link.salt, link.account_id, link.actor, link.network, link.details) == link.commitment
        except ValueError:
            fits = False
        if not fits:
            yield Finding("edited", link.position, f"{who} were changed")

    def settle(self, announced_later: int = 0) -> Iterator[Finding]:
        """After the last link of a whole chain. `announced_later` is what notices say that are not sealed yet."""
        announced = self.announced + announced_later
        if self.pseudonymous != announced:
            yield Finding(
                "pseudonymised",
                self.position,
                f"{self.pseudonymous} events lost their personal part, the trail says {announced}",
            )


def announced_by(details: dict[str, Any]) -> int:
    """How many events a notice speaks of."""
    events = details.get("events", 0)
    return events if isinstance(events, int) else 0
