"""What is typed on the form that asks for an account, read. Rules on the text alone: nothing is looked up (I3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from external_accounts.accounts import Person
from external_accounts.addresses import EmailAddress, InvalidAddress, parse_address
from external_accounts.refused_domains import is_refused
from external_accounts.registration import Wish
from lms_bridge.i18n import gettext as _
from lms_bridge.settings import Settings

NAME_LENGTH = 100
REASON_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Form:
    """The fields as typed, what is wrong with each, and the wish when nothing is."""

    service: str | None = None
    given_name: str = ""
    family_name: str = ""
    email: str = ""
    reason: str = ""
    sponsor: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)
    wish: Wish | None = None


def read_name(text: str) -> str:
    """A name as it is kept: blanks folded, nothing that cannot be printed, not longer than the table holds."""
    return " ".join("".join(letter for letter in text if letter.isprintable() or letter == " ").split())[:NAME_LENGTH]


def name_errors(person: Person) -> dict[str, str]:
    errors = {}
    if not person.given_name:
        errors["given_name"] = _("Enter your first name.")
    if not person.family_name:
        errors["family_name"] = _("Enter your last name.")
    return errors


def read_form(fields: Mapping[str, str], settings: Settings, *, service: str | None, locale: str) -> Form:
    person = Person(read_name(fields.get("given_name", "")), read_name(fields.get("family_name", "")))
    typed = fields.get("email", "").strip()[:254]
    reason = " ".join(fields.get("reason", "").split())[:REASON_LENGTH]
    sponsor_typed = fields.get("sponsor", "").strip()[:254]
    errors = name_errors(person)
    email, problem = _address(typed, settings)
    if problem:
        errors["email"] = problem
    sponsor: EmailAddress | None = None
    if sponsor_typed and settings.registration.sponsors:
        try:
            sponsor = parse_address(sponsor_typed)
        except InvalidAddress:
            errors["sponsor"] = _("This is not an e-mail address. Leave the field empty if you do not know it.")
    charter = settings.charter
    if charter is not None and not fields.get("charter"):
        errors["charter"] = _("Tick the box if you accept the charter.")
    wish = None
    if not errors and email is not None:
        wish = Wish(
            email=email,
            person=person,
            profile=settings.registration.profile,
            language=locale,
            service=service,
            charter_version=charter.version if charter else "",
            reason=reason,
            sponsor=sponsor,
        )
    return Form(service, person.given_name, person.family_name, typed, reason, sponsor_typed, errors, wish)


def _address(typed: str, settings: Settings) -> tuple[EmailAddress | None, str]:
    try:
        email = parse_address(typed)
    except InvalidAddress:
        return None, _("This is not an e-mail address we can write to. It looks like name@example.org.")
    rules = settings.registration
    if is_refused(email, rules.refused, allowed=rules.allowed_domains):
        return None, _("This is the address of a disposable mailbox. Give one that you will still read in a year.")
    return email, ""
