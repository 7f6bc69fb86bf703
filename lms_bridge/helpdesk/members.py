"""Who may open the help desk's pages, and for whom: its own people by role, and sponsors for what names them.

A role comes from the settings, by user name or by what somebody's CAS says of them now; nothing of it is stored. A view
asks for the least role it needs (`viewer()`, `agent()`, `administrator()`) and gets a `Member` whose reach is that of
this role: somebody who may look at everybody, but act in one unit only, is told so by the same `units`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

from flask.typing import ResponseReturnValue
from sqlalchemy import ColumnElement, Select, SQLColumnExpression, false, or_, true
from sqlalchemy.orm import InstrumentedAttribute

from external_accounts.audit import Origin
from external_accounts.schema import AccountId, SignInIdentity
from lms_bridge.helpdesk.people import said
from lms_bridge.i18n import N_
from lms_bridge.i18n import gettext as _
from lms_bridge.settings import Settings
from lms_bridge.signin.sessions import CurrentSession
from lms_bridge.web import wanted
from lms_bridge.web.errors import error_page
from lms_bridge.web.request import current, origin, runtime

DESK = "/helpdesk"
LONGEST_NUMBER = 18
"""Digits that surely fit into the database's integers."""

S = TypeVar("S", bound=Select[Any])


class Role(StrEnum):
    """What somebody may do here; each may do what the ones before it may. Ordered by that, not by the alphabet."""

    VIEWER = "viewer"
    AGENT = "agent"
    ADMINISTRATOR = "administrator"

    @property
    def rank(self) -> int:
        return tuple(Role).index(self)

    def __lt__(self, other: str) -> bool:
        return self.rank < Role(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= Role(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > Role(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= Role(other).rank


class NotSignedIn(Exception):
    """Nobody is signed in: the page is shown after the sign-in."""


class NotAMember(Exception):
    """Whoever is signed in has no business here, or not with this role, or not beyond their units."""

    def __init__(self, needed: Role | None = None, *, everywhere: bool = False) -> None:
        super().__init__(needed)
        self.needed = needed
        self.everywhere = everywhere


@dataclass(frozen=True, slots=True)
class Grant:
    """A role, and for whose accounts."""

    role: Role
    units: frozenset[str] | None = None
    """Of these units only. None: every account, and what belongs to none."""


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody who works here."""

    account_id: AccountId
    username: str
    grants: tuple[Grant, ...] = ()
    is_sponsor: bool = False
    """Decides on the requests that name them, whatever else they are."""

    @property
    def is_help_desk(self) -> bool:
        return bool(self.grants)

    @property
    def role(self) -> Role | None:
        """The highest one; None for a sponsor."""
        return max((grant.role for grant in self.grants), default=None)

    @property
    def units(self) -> frozenset[str] | None:
        """The units whose accounts are seen; None: all accounts."""
        if any(grant.units is None for grant in self.grants):
            return None
        return frozenset().union(*(grant.units or () for grant in self.grants))

    def with_role(self, role: Role) -> Member | None:
        """The same person as far as they have at least this role, with the units they have it in; None: nowhere."""
        grants = tuple(grant for grant in self.grants if grant.role >= role)
        return replace(self, grants=grants) if grants else None

    def may(self, role: Role, unit: str) -> bool:
        """Whether they have this role for an account of this unit."""
        acting = self.with_role(role)
        return acting is not None and acting.may_see(unit)

    def may_see(self, unit: str) -> bool:
        units = self.units
        return units is None or unit in units

    def restrict(self, query: S, unit: InstrumentedAttribute[str]) -> S:
        """The query, as far as this member sees its rows. `unit` is the column of the account's unit."""
        units = self.units
        return query if units is None else query.where(unit.in_(units))

    def decides(self, *, unit: str, sponsor_id: AccountId | None) -> bool:
        """Whether they decide on a request of this unit that names this sponsor."""
        return self.may_see(unit) or (self.is_sponsor and sponsor_id == self.account_id)

    def decided_here(
        self, unit: SQLColumnExpression[str], sponsor_id: InstrumentedAttribute[AccountId | None]
    ) -> ColumnElement[bool]:
        """`decides` as a condition on rows."""
        units = self.units
        if units is None:
            return true()
        return or_(unit.in_(units), sponsor_id == self.account_id if self.is_sponsor else false())

    @property
    def origin(self) -> Origin:
        """The request's origin, with who acts."""
        return Origin(network=origin().network, actor=self.username)


def membership(person: CurrentSession, attributes: Mapping[str, Any], settings: Settings) -> Member | None:
    """What somebody is here, by their user name, by what their CAS says of them now, or by their profile."""
    facts = person.facts
    if facts.suspended_at is not None or facts.erased_at is not None or facts.merged_into_id is not None:
        return None
    grants = tuple(
        Grant(Role(entry.role), frozenset(entry.units) or None)
        for entry in settings.help_desk.members
        if facts.username in entry.usernames or said(entry.rule, person.issuer, attributes)
    )
    sponsor = facts.profile in settings.registration.sponsors
    return Member(facts.account_id, facts.username, grants, sponsor) if grants or sponsor else None


def current_member() -> Member | None:
    """The membership of whoever is signed in in this browser."""
    person = current()
    if person is None:
        return None
    bridge = runtime()
    attributes: Mapping[str, Any] = {}
    if any(entry.rule for entry in bridge.settings.help_desk.members):
        with bridge.database.read() as session:
            attributes = session.get_one(SignInIdentity, person.identity_id).attributes
    return membership(person, attributes, bridge.settings)


def member() -> Member:
    """Anybody who works here, sponsors too. Raises: NotSignedIn, NotAMember."""
    if current() is None:
        raise NotSignedIn
    found = current_member()
    if found is None:
        raise NotAMember
    return found


def viewer() -> Member:
    """Who may look things up. Raises: NotSignedIn, NotAMember."""
    return _with(Role.VIEWER)


def agent(*, everywhere: bool = False) -> Member:
    """Who may act on one account, or decide. `everywhere`: not for their own units only, but for what has no unit too.

    Raises:
        NotSignedIn, NotAMember: see there.
    """
    return _with(Role.AGENT, everywhere=everywhere)


def administrator(*, everywhere: bool = False) -> Member:
    """Who may act on many accounts at once. `everywhere`: see `agent`. Raises: NotSignedIn, NotAMember."""
    return _with(Role.ADMINISTRATOR, everywhere=everywhere)


def agent_or_sponsor() -> Member:
    """Who decides on requests: agents, and sponsors on what names them. Raises: NotSignedIn, NotAMember."""
    found = member()
    acting = found.with_role(Role.AGENT)
    if acting is None and not found.is_sponsor:
        raise NotAMember(Role.AGENT)
    return acting or replace(found, grants=())


def _with(role: Role, *, everywhere: bool = False) -> Member:
    found = member().with_role(role)
    if found is None:
        raise NotAMember(role)
    if everywhere and found.units is not None:
        raise NotAMember(role, everywhere=True)
    return found


def row_number(text: str) -> int | None:
    """A row's number as an address names it."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER else None


ROLES: Mapping[Role, str] = {
    Role.VIEWER: N_("viewer"),
    Role.AGENT: N_("agent"),
    Role.ADMINISTRATOR: N_("administrator"),
}


def to_sign_in(_error: NotSignedIn) -> ResponseReturnValue:
    return wanted.to_sign_in()


def not_for_you(error: NotAMember) -> ResponseReturnValue:
    """Says which role is missing to whoever has another one; to everybody else, that these pages are none of theirs."""
    found = current_member()
    if found is None or error.needed is None or not found.is_help_desk:
        return error_page(
            403,
            title=_("These pages are for the help desk"),
            what=_("And for people who answer for others. Your account is neither."),
            why=_("Should it be? Write to the help desk: the address is at the bottom of this page."),
        )
    return error_page(
        403,
        title=_("Your role does not reach this page"),
        what=_("It is for units other than yours too.")
        if error.everywhere
        else _("It is for those with the role “%(role)s”.", role=_(ROLES[error.needed])),
        why=_("Whoever runs this service gives the roles."),
        next=[{"label": _("The help desk's first page"), "url": DESK}],
    )
