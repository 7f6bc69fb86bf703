"""How far somebody of the help desk reaches: for whose accounts, and who is out of reach.

Nobody acts on their own account here: what one may do there, one does under "My account", like everybody. And only an
administrator acts on people of the help desk, so that nobody's mistake, or stolen session, shuts the others out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, true
from sqlalchemy.orm import InstrumentedAttribute, Session

from external_accounts.schema import Account, AccountId
from lms_bridge.helpdesk.members import Member, agent
from lms_bridge.helpdesk.refusals import Refusal
from lms_bridge.settings import Settings


def administrator() -> Member:
    """Who may act on many accounts at once. Raises: NotSignedIn, NotAMember."""
    return agent()


def is_administrator(_who: Member) -> bool:
    return True


def may_see(_who: Member, _unit: str) -> bool:
    """Whether accounts of this unit are within reach."""
    return True


def sees_everybody(_who: Member) -> bool:
    """Whether what belongs to no account, and so to no unit, is within reach too."""
    return True


def within(_who: Member, _unit: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """`may_see` as a condition on rows. `_unit` is the column of the account's unit."""
    return true()


def works_here(account: Account, settings: Settings) -> bool:
    """Whether settings give the account a role at the help desk, by its user name or by what a CAS said of it last."""
    return account.username in settings.help_desk.usernames or any(
        rule.issuer == identity.issuer and rule.value in _values(identity.attributes.get(rule.attribute))
        for rule in settings.help_desk.rules
        for identity in account.identities
    )


def _values(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else [value]


def out_of_reach(
    actor_id: AccountId, account_id: AccountId, *, is_administrator: bool, works_here: bool
) -> Refusal | None:
    """Why somebody may not act on an account that they see; None: they may."""
    if actor_id == account_id:
        return Refusal.OWN_ACCOUNT
    if works_here and not is_administrator:
        return Refusal.HELP_DESK
    return None


def reach(session: Session, who: Member, account: Account, settings: Settings) -> Refusal | None:
    """As `out_of_reach`, for a member and an account."""
    session.flush()
    return out_of_reach(
        who.account_id,
        account.id,
        is_administrator=is_administrator(who),
        works_here=works_here(account, settings),
    )
