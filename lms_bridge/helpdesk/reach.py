"""How far somebody of the help desk reaches: for whose accounts, and who is out of reach.

Nobody acts on their own account here: what one may do there, one does under "My account", like everybody. And only an
administrator acts on people of the help desk, so that nobody's mistake, or stolen session, shuts the others out.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, true
from sqlalchemy.orm import InstrumentedAttribute, Session

from external_accounts.schema import Account, AccountId
from lms_bridge.helpdesk.members import Member, Role
from lms_bridge.helpdesk.people import works_here
from lms_bridge.helpdesk.refusals import Refusal
from lms_bridge.settings import Settings


def sees_everybody(who: Member) -> bool:
    """Whether what belongs to no account, and so to no unit, is within reach too."""
    return who.units is None


def within(who: Member, unit: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """`Member.may_see` as a condition on rows. `unit` is the column of the account's unit."""
    units = who.units
    return true() if units is None else unit.in_(units)


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
        is_administrator=who.may(Role.ADMINISTRATOR, account.unit),
        works_here=works_here(account, settings),
    )
