"""From typed fields, or a line of a file, to an invitation: the same for pages and commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import Literal

from sqlalchemy.orm import Session

from external_accounts import audit, invitations
from external_accounts.accounts import Person
from external_accounts.addresses import EmailAddress
from external_accounts.duplicates import Traits, traits
from external_accounts.invitation_files import Rejected, Row, Sheet
from external_accounts.invitations import AddressOfMember, AlreadyUnderWay, Invitation
from external_accounts.local_calendar import end_of_day
from external_accounts.name_index import Alike, alike
from external_accounts.registration_outcome import AddressHasAccount
from external_accounts.registration_steps import find_sponsor
from lms_bridge.i18n import N_
from lms_bridge.i18n import gettext as _
from lms_bridge.registration_terms import terms, usual_last_day
from lms_bridge.runtime import Runtime
from lms_bridge.settings import Settings

Verdict = Literal["invite", "under way", "has account", "member", "no sponsor"]

PROBLEMS = {
    "email": N_("no e-mail address we could write to"),
    "given_name": N_("no first name, or one that is too long"),
    "family_name": N_("no last name, or one that is too long"),
    "until": N_("the last day is no date: write 2027-06-30 or 30/06/2027"),
    "past": N_("the last day is over"),
    "twice": N_("this address stands in the file already"),
    "columns": N_("more cells than the first line"),
}
VERDICTS: dict[Verdict, str] = {
    "invite": N_("will be invited"),
    "under way": N_("is invited already, or waits for a decision"),
    "has account": N_("has an account"),
    "member": N_("has an account of the university"),
    "no sponsor": N_("the sponsor is nobody who may answer for people"),
}
REJECTING: tuple[Verdict, ...] = ("member", "no sponsor")
"""What somebody has to correct; the others are as they should be."""


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody to invite, as typed."""

    email: EmailAddress
    person: Person
    until: date | None
    sponsor: str = ""


class NoSuchSponsor(Exception):
    """Nobody by this address or user name may answer for people."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A row of a file, and what would become of it."""

    row: Row
    verdict: Verdict
    alike: tuple[Alike, ...] = ()
    """Accounts that may be this person's, of somebody who would be invited: a human looks first (D27)."""


def usual_end(runtime: Runtime) -> date | None:
    """The last day of an account when nobody says another one."""
    settings = runtime.settings
    return usual_last_day(runtime.clock().astimezone(settings.zone).date(), settings.registration.rights_months)


def guest_of(row: Row, runtime: Runtime) -> Guest:
    return Guest(row.email, row.person, row.until or usual_end(runtime), row.sponsor)


def invitation_for(session: Session, guest: Guest, settings: Settings) -> Invitation:
    """Raises: NoSuchSponsor."""
    sponsor, _address = find_sponsor(session, guest.sponsor, terms(settings))
    if guest.sponsor and sponsor is None:
        raise NoSuchSponsor(guest.sponsor)
    return Invitation(
        email=guest.email,
        person=guest.person,
        profile=settings.registration.profile,
        language=settings.default_language,
        rights_end_at=end_of_day(guest.until, settings.zone) if guest.until else None,
        sponsor_id=sponsor.id if sponsor else None,
    )


def invite(runtime: Runtime, session: Session, guest: Guest, *, by: str, origin: audit.Origin) -> int:
    """Invite one; returns the invitation's number.

    Raises:
        NoSuchSponsor, AddressHasAccount, AlreadyUnderWay, AddressOfMember: nothing was written.
    """
    now = runtime.clock()
    invitation = invitation_for(session, guest, runtime.settings)
    found = invitations.invite(
        session, runtime.keys, invitation, terms(runtime.settings), by=by, now=now, origin=origin
    )
    return found.id


def judge(runtime: Runtime, session: Session, rows: Iterable[Row]) -> list[Judged]:
    """What an import would do with each row. Writes nothing."""
    now = runtime.clock()

    def look(row: Row) -> None:
        invitation = invitation_for(session, guest_of(row, runtime), runtime.settings)
        invitations.check(session, invitation, terms(runtime.settings), now=now)

    judged = [Judged(row, _verdict(partial(look, row))) for row in rows]
    new = {str(one.row.line): traits_of(one.row.person, one.row.email) for one in judged if one.verdict == "invite"}
    likely = alike(session, new)
    return [replace(one, alike=tuple(likely.get(str(one.row.line), ()))) for one in judged]


def traits_of(person: Person, email: EmailAddress) -> Traits:
    """What is compared of somebody who is to get an account."""
    return traits(person.given_name, person.family_name, addresses=[email.key])


def likely_accounts(session: Session, person: Person, email: EmailAddress, settings: Settings) -> list[Alike]:
    """Accounts so much like them that somebody has to look before they get another one (D27)."""
    found = alike(session, {"": traits_of(person, email)})[""]
    return [one for one in found if one.likeness.points >= settings.imports.homonym_threshold]


def apply(
    runtime: Runtime, rows: Iterable[Row], *, by: str, origin: audit.Origin, done: Callable[[], None] = lambda: None
) -> list[Judged]:
    """Invite everybody who can be. Each in a transaction of their own: whatever stops it, running it again goes on."""

    def send(row: Row) -> None:
        with runtime.database.begin() as session:
            invite(runtime, session, guest_of(row, runtime), by=by, origin=origin)

    judged = []
    for row in rows:
        judged.append(Judged(row, _verdict(partial(send, row))))
        done()
    return judged


def _verdict(act: Callable[[], None]) -> Verdict:
    try:
        act()
    except AlreadyUnderWay:
        return "under way"
    except AddressHasAccount:
        return "has account"
    except AddressOfMember:
        return "member"
    except NoSuchSponsor:
        return "no sponsor"
    return "invite"


def to_correct(sheet: Sheet, judged: Iterable[Judged]) -> list[tuple[Row | Rejected, str]]:
    """The lines somebody has to correct, in the file's order, with the reason in the language in force."""
    found: list[tuple[Row | Rejected, str]] = [(line, _(PROBLEMS[line.problem])) for line in sheet.rejected]
    found += [(one.row, _(VERDICTS[one.verdict])) for one in judged if one.verdict in REJECTING]
    return sorted(found, key=lambda pair: pair[0].line)
