"""Printing account letters: who gets one, the codes, one PDF.

Codes are made before the transaction (each costs some 50 ms) and kept in it; the PDF is drawn after it. A PDF that
cannot be drawn or is lost costs one more printing, which makes the first one's codes void.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import audit, letters
from external_accounts.accounts import Person
from external_accounts.activation import NotOpen, Standing, standing
from external_accounts.identities import LOCAL
from external_accounts.local_calendar import end_of_day
from external_accounts.schema import Account
from lms_bridge import i18n
from lms_bridge.i18n import gettext as _
from lms_bridge.letters import pdf
from lms_bridge.runtime import Runtime
from lms_bridge.settings import Settings
from lms_bridge.settings.sections import text_in

_BETWEEN = re.compile(r"[;,\t]")
_HEADINGS = frozenset({"identifiant", "identifiants", "identifier", "username", "login", "uid"})
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One identifier of a list, and whether a letter can be printed for it."""

    identifier: str
    name: str = ""
    refusal: str = ""
    """`unknown`, or the name of a `Standing`; empty: it can."""
    printed_at: datetime | None = None
    """When its last letter was printed, whose code the new one makes void."""


def read_list(text: str) -> list[str]:
    """The identifiers of a list or a CSV file, each once, in order.

    In a file with a heading the column called `identifiant` (or `username`) counts, else the first one.
    """
    rows = [[cell.strip().strip('"') for cell in _BETWEEN.split(line)] for line in text.lstrip("\ufeff").splitlines()]
    rows = [row for row in rows if any(row)]
    column = 0
    if rows and (found := [place for place, cell in enumerate(rows[0]) if cell.lower() in _HEADINGS]):
        column, rows = found[0], rows[1:]
    return list(dict.fromkeys(row[column].lower() for row in rows if len(row) > column and row[column]))


def look_at(
    session: Session, identifiers: Sequence[str], now: datetime, may_see: Callable[[str], bool] = lambda _unit: True
) -> list[Candidate]:
    """Whom letters can be printed for, in the order of the list. Accounts of units not to be seen are unknown."""
    accounts = {
        account.username: account
        for account in session.scalars(select(Account).where(Account.username.in_(identifiers)))
        if account.erased_at is None and may_see(account.unit)
    }
    return [_candidate(session, identifier, accounts.get(identifier), now) for identifier in identifiers]


def _candidate(session: Session, identifier: str, account: Account | None, now: datetime) -> Candidate:
    if account is None:
        return Candidate(identifier, refusal=UNKNOWN)
    stands = standing(account, now)
    letter = letters.letter_of(session, account)
    return Candidate(
        identifier,
        name=Person(account.given_name, account.family_name).display_name,
        refusal="" if stands is Standing.OPEN else stands.value,
        printed_at=letter.printed_at if letter else None,
    )


def refusals() -> dict[str, str]:
    """Why there is no letter, in words."""
    return {
        UNKNOWN: _("There is no account of that identifier."),
        Standing.ACTIVE: _("The account is active already."),
        Standing.SUSPENDED: _("The account is suspended."),
        Standing.ENDED: _("The rights of the account have ended."),
        Standing.ERASED: _("There is no account of that identifier."),
    }


def print_letters(
    runtime: Runtime,
    identifiers: Sequence[str],
    *,
    by: str,
    origin: audit.Origin,
    progress: Callable[[int], None] = lambda _done: None,
) -> tuple[bytes, int]:
    """One PDF with a page for each account that is open, and how many pages. No page: no PDF (empty).

    `progress` is told how many codes are made.

    Raises:
        pdf.NoPdf: the libraries are missing; no code was made.
    """
    pdf.check()
    now = runtime.clock()
    made = []
    for done, identifier in enumerate(identifiers, start=1):
        made.append(letters.new_letter(identifier))
        progress(done)
    until = last_moment(runtime.settings, now)
    pages: list[pdf.Page] = []
    with runtime.database.begin() as session:
        for letter in made:
            account = session.scalar(select(Account).where(Account.username == letter.username))
            if account is None:
                continue
            try:
                letters.printed(session, account, letter, expires_at=until, by=by, now=now, origin=origin)
            except NotOpen:
                continue  # activated meanwhile
            pages.append(_page(runtime.settings, account, letter.code, until))
    return (pdf.document(runtime.settings, pages, on=now) if pages else b""), len(pages)


def last_moment(settings: Settings, now: datetime) -> datetime:
    """The end of the last day on which the codes of letters that are printed now can be used."""
    day: date = now.astimezone(settings.zone).date() + timedelta(days=settings.letters.days)
    return end_of_day(day, settings.zone)


def _page(settings: Settings, account: Account, code: str, until: datetime) -> pdf.Page:
    locale = account.language or settings.default_language
    issuer = settings.profile(account.profile).issuer or LOCAL
    door = settings.upstream(issuer) or settings.local
    return pdf.Page(
        locale=locale,
        name=Person(account.given_name, account.family_name).display_name,
        unit=account.unit,
        username=account.username,
        code=letters.format_code(code),
        deadline=i18n.format_deadline(until, settings.zone, locale),
        door=text_in(door.title, locale),
    )
