"""What the help desk's one box finds: a number, a name that is known exactly, or pieces of anything.

Exact things come first and say what they were found by; they lead to erased and merged accounts too, which no longer
have words of their own (`external_accounts.search_index`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Select, literal, select, union_all
from sqlalchemy.orm import Session

from external_accounts import search_index
from external_accounts.identities import LOCAL
from external_accounts.schema import Account, AccountId, Address, SignInIdentity
from lms_bridge.helpdesk.members import Member, row_number
from lms_bridge.schema import Mirror
from lms_bridge.settings import Settings

LONGEST = 200
"""Characters of a question. More was pasted by mistake."""
SHOWN = 50
_MOODLE = "moodle:"


class FoundBy(StrEnum):
    """What the question was the whole of."""

    NUMBER = "number"
    MOODLE = "moodle"
    USERNAME = "username"
    SUBJECT = "subject"
    EXTERNAL_KEY = "external_key"
    ADDRESS = "address"


@dataclass(frozen=True, slots=True)
class Found:
    """What a question leads to."""

    exact: dict[AccountId, FoundBy]
    others: tuple[AccountId, ...] = ()
    """By pieces, the likeliest first."""
    more: bool = False
    """There are more than are shown."""
    cut: bool = False
    """The words are so frequent that not everybody who has them was looked at."""
    proposals: tuple[str, ...] = ()
    """With nothing found: what may have been meant."""

    @property
    def ids(self) -> tuple[AccountId, ...]:
        return (*self.exact, *self.others)


def search(session: Session, settings: Settings, member: Member, question: str) -> Found:
    """What somebody of the help desk finds, within the units they see."""
    text = question.strip()[:LONGEST]
    if not text:
        return Found({})
    exact = _found_exactly(session, settings, member, text)
    if text.startswith("#") or text.lower().startswith(_MOODLE):
        return Found(exact)
    beginnings = search_index.terms(session, text)
    hits = search_index.find(session, beginnings, units=member.units, limit=SHOWN)
    others = tuple(number for number in hits.ids if number not in exact)
    proposals: Sequence[list[str]] = ()
    if not exact and not others:
        proposals = search_index.nearly(session, beginnings, units=member.units)
    return Found(exact, others, hits.more, hits.cut, tuple(" ".join(words) for words in proposals))


def _found_exactly(session: Session, settings: Settings, member: Member, text: str) -> dict[AccountId, FoundBy]:
    """All look-ups in one statement: a way to the database and back costs more than any of them."""
    looked_up = [
        select(literal(by.value), member.restrict(query, Account.unit).limit(SHOWN).subquery().c.id)
        for by, query in _exact(settings, text)
    ]
    found: dict[AccountId, FoundBy] = {}
    if looked_up:
        order = list(FoundBy)
        rows = [(FoundBy(by), number) for by, number in session.execute(union_all(*looked_up))]
        for by, number in sorted(rows, key=lambda row: (order.index(row[0]), row[1])):
            found.setdefault(number, by)
    return found


def _exact(settings: Settings, text: str) -> Iterable[tuple[FoundBy, Select[Any]]]:
    """The look-ups of what is known exactly: each one probe of an index."""
    folded = text.lower()
    if folded.startswith(_MOODLE):
        yield from _of_moodle(settings, row_number(folded.removeprefix(_MOODLE).strip()))
        return
    if text.startswith("#"):
        yield from _of_number(row_number(text[1:].strip()))
        return
    yield FoundBy.USERNAME, select(Account.id).where(Account.username == folded)
    yield FoundBy.EXTERNAL_KEY, select(Account.id).where(Account.external_key.in_({text, folded, text.upper()}))
    issuers = [LOCAL, *(upstream.issuer for upstream in settings.upstreams)]
    identity = select(SignInIdentity.account_id).where(
        SignInIdentity.issuer.in_(issuers), SignInIdentity.subject == folded
    )
    yield FoundBy.SUBJECT, select(Account.id).where(Account.id.in_(identity))
    if "@" in text:
        address = select(Address.account_id).where(Address.email_key == folded)
        yield FoundBy.ADDRESS, select(Account.id).where(Account.id.in_(address)).order_by(Account.id)
    yield from _of_number(row_number(text))
    yield from _of_moodle(settings, row_number(text))


def _of_number(number: int | None) -> Iterable[tuple[FoundBy, Select[Any]]]:
    if number is not None:
        yield FoundBy.NUMBER, select(Account.id).where(Account.id == number)


def _of_moodle(settings: Settings, number: int | None) -> Iterable[tuple[FoundBy, Select[Any]]]:
    if number is not None:
        sites = [site.name for site in settings.sites]
        mirrored = select(Mirror.account_id).where(Mirror.site.in_(sites), Mirror.moodle_id == number)
        yield FoundBy.MOODLE, select(Account.id).where(Account.id.in_(mirrored)).order_by(Account.id)
