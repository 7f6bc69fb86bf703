"""Delivery in figures, for operators: what waits, what left, what was refused, by the domain it goes to (D20)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from external_accounts.addresses import mask_address
from external_accounts.schema import OutboxMail

DAY, WEEK = timedelta(days=1), timedelta(days=7)
FEWEST_REFUSALS = 3
REFUSED_SHARE = 0.1
"""From this share on, a domain refuses more than the wrong addresses there always are (about 7 % of registrations in
one large service: D19)."""
STUCK = timedelta(hours=1)
USUAL = (
    *("gmail.com", "googlemail.com", "icloud.com", "protonmail.com", "aol.com", "gmx.com", "gmx.fr"),
    *("hotmail.com", "hotmail.fr", "outlook.com", "outlook.fr", "live.com", "live.fr", "msn.com"),
    *("yahoo.com", "yahoo.fr", "orange.fr", "wanadoo.fr", "laposte.net", "free.fr", "sfr.fr", "neuf.fr", "bbox.fr"),
)
"""Where most people of a French university have their mail."""

_ADDRESS = re.compile(r"[^\s<>\"(),:;]+@[A-Za-z0-9.-]+")


@dataclass(frozen=True, slots=True)
class Domain:
    """What became of the mails to one domain, within a period. `waiting` counts whatever its age."""

    name: str
    counts: Mapping[str, int] = field(default_factory=dict)
    """By state, but for `pending`."""
    waiting: int = 0
    deferred: int = 0
    """Of those that wait: tried in vain."""
    oldest_waiting: datetime | None = None
    last_error: str = ""
    """What was said last, addresses masked."""

    @property
    def refused(self) -> int:
        return self.counts.get("failed", 0) + self.counts.get("bounced", 0)

    @property
    def settled(self) -> int:
        return self.refused + self.counts.get("sent", 0)


def flags(domain: Domain, now: datetime) -> list[str]:
    """What an operator should look at: `refuses`, `stuck`, `like gmail.com`."""
    found = []
    if domain.refused >= FEWEST_REFUSALS and domain.refused >= REFUSED_SHARE * domain.settled:
        found.append("refuses")
    if domain.deferred and domain.oldest_waiting is not None and now - domain.oldest_waiting > STUCK:
        found.append("stuck")
    if meant := mistyped(domain.name):
        found.append(f"like {meant}")
    return found


def mistyped(domain: str) -> str:
    """The usual domain that this one differs from by one slip (`gmial.com`), or empty."""
    if domain in USUAL:
        return ""
    return next((usual for usual in USUAL if len(usual) > 7 and _is_one_slip(domain, usual)), "")


def _is_one_slip(typed: str, meant: str) -> bool:
    """One letter too many, too few, wrong, or two swapped."""
    start = 0
    while start < min(len(typed), len(meant)) and typed[start] == meant[start]:
        start += 1
    left, right = typed[start:], meant[start:]
    swapped = left[:2] == right[1::-1] and left[2:] == right[2:] and len(left) > 1
    return swapped or left[1:] == right or left == right[1:] or left[1:] == right[1:]


def by_domain(session: Session, *, since: datetime) -> Sequence[Domain]:
    """Every domain written to since then, or waited for; those with most trouble first."""
    name = _domain(session)
    states: dict[str, dict[str, int]] = {}
    grouped = select(name, OutboxMail.state, func.count()).where(
        OutboxMail.created_at >= since, OutboxMail.state != "pending"
    )
    for domain, state, count in session.execute(grouped.group_by(name, OutboxMail.state)):
        states.setdefault(domain, {})[state] = count
    in_vain = func.count(OutboxMail.id).filter(OutboxMail.attempts > 0)
    waiting = select(name, func.count(), in_vain, func.min(OutboxMail.created_at)).where(OutboxMail.state == "pending")
    waits = {row[0]: row[1:] for row in session.execute(waiting.group_by(name))}
    latest = select(func.max(OutboxMail.id)).where(OutboxMail.last_error != "", OutboxMail.created_at >= since)
    said = select(name, OutboxMail.last_error).where(OutboxMail.id.in_(latest.group_by(name)))
    errors = {domain: masked(text) for domain, text in session.execute(said)}
    domains = []
    for domain in states.keys() | waits.keys():
        waiting_now, deferred, oldest = waits.get(domain, (0, 0, None))
        counts, error = states.get(domain, {}), errors.get(domain, "")
        domains.append(Domain(domain, counts, waiting_now, deferred, oldest, error))
    return sorted(domains, key=lambda one: (-one.refused - one.deferred, -one.settled, one.name))


def total(domains: Iterable[Domain]) -> Domain:
    """All of them as one."""
    known = list(domains)
    counts = {
        state: sum(one.counts.get(state, 0) for one in known) for state in ("sent", "bounced", "failed", "expired")
    }
    oldest = [one.oldest_waiting for one in known if one.oldest_waiting is not None]
    return Domain(
        "", counts, sum(one.waiting for one in known), sum(one.deferred for one in known), min(oldest, default=None)
    )


def masked(text: str) -> str:
    """A server's words without anybody's address."""
    return _ADDRESS.sub(lambda found: mask_address(found.group()), text)


def _domain(session: Session) -> ColumnElement[str]:
    recipient = OutboxMail.recipient
    if session.get_bind().dialect.name == "sqlite":
        return func.substr(recipient, func.instr(recipient, "@") + 1)
    return func.split_part(recipient, "@", 2)
