"""Who may open the help desk's pages: its own people, and sponsors for the requests that name them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask.typing import ResponseReturnValue

from external_accounts.audit import Origin
from external_accounts.schema import AccountId, SignInIdentity
from lms_bridge.i18n import gettext as _
from lms_bridge.settings import Settings
from lms_bridge.signin.sessions import CurrentSession
from lms_bridge.web import wanted
from lms_bridge.web.errors import error_page
from lms_bridge.web.request import current, origin, runtime

DESK = "/helpdesk"
LONGEST_NUMBER = 18
"""Digits that surely fit into the database's integers."""


class NotSignedIn(Exception):
    """Nobody is signed in: the page is shown after the sign-in."""


class NotAMember(Exception):
    """Whoever is signed in has no business here."""


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody who works here."""

    account_id: AccountId
    username: str
    is_help_desk: bool
    """Sees everything. Else a sponsor, who sees what names them."""

    @property
    def only_sponsor_id(self) -> AccountId | None:
        """Whose requests to show; None: all."""
        return None if self.is_help_desk else self.account_id

    @property
    def origin(self) -> Origin:
        """The request's origin, with who acts."""
        return Origin(network=origin().network, actor=self.username)


def membership(person: CurrentSession, attributes: Mapping[str, Any], settings: Settings) -> Member | None:
    """What somebody is here, by their user name, by what their CAS says of them now, or by their profile."""
    facts = person.facts
    if facts.suspended_at is not None or facts.erased_at is not None:
        return None
    desk = facts.username in settings.help_desk.usernames or any(
        rule.issuer == person.issuer and rule.value in _values(attributes.get(rule.attribute))
        for rule in settings.help_desk.rules
    )
    if desk or facts.profile in settings.registration.sponsors:
        return Member(facts.account_id, facts.username, desk)
    return None


def _values(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def current_member() -> Member | None:
    """The membership of whoever is signed in in this browser."""
    person = current()
    if person is None:
        return None
    bridge = runtime()
    attributes: Mapping[str, Any] = {}
    if bridge.settings.help_desk.rules:
        with bridge.database.read() as session:
            attributes = session.get_one(SignInIdentity, person.identity_id).attributes
    return membership(person, attributes, bridge.settings)


def member() -> Member:
    """Raises: NotSignedIn, NotAMember."""
    if current() is None:
        raise NotSignedIn
    found = current_member()
    if found is None:
        raise NotAMember
    return found


def agent() -> Member:
    """A member of the help desk itself. Raises: NotSignedIn, NotAMember."""
    found = member()
    if not found.is_help_desk:
        raise NotAMember
    return found


def row_number(text: str) -> int | None:
    """A row's number as an address names it."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER else None


def to_sign_in(_error: NotSignedIn) -> ResponseReturnValue:
    return wanted.to_sign_in()


def not_for_you(_error: NotAMember) -> ResponseReturnValue:
    return error_page(
        403,
        title=_("These pages are for the help desk"),
        what=_("And for people who answer for others. Your account is neither."),
        why=_("Should it be? Write to the help desk: the address is at the bottom of this page."),
    )
