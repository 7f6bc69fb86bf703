"""What has changed about an account since somebody looked at it, in words for colleagues."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts.schema import Account, AuditEvent
from lms_bridge.helpdesk.acts.deeds import name_of
from lms_bridge.i18n import N_
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice.proof_pages import deadline

CHANGES: Mapping[str, str] = {
    "account.activated": N_("The account was activated."),
    "account.erased": N_("The account was erased."),
    "account.readmitted": N_("The suspension was lifted."),
    "account.suspended": N_("The account was suspended."),
    "address.added": N_("An address was added."),
    "address.confirmed": N_("An address was confirmed."),
    "address.corrected": N_("An address was corrected."),
    "address.lost": N_("An address no longer counts as confirmed."),
    "address.primary": N_("The main address was changed."),
    "address.recovery": N_("An address became a recovery address."),
    "address.removed": N_("An address was removed."),
    "address.dropped": N_("An address that was never confirmed was removed."),
    "address.undone": N_("A change of addresses was undone."),
    "engagement.accepted": N_("A document was accepted."),
    "engagement.withdrawn": N_("A consent was withdrawn."),
    "lifecycle.closed": N_("The rights ended."),
    "rights.moved": N_("The end of the rights was moved."),
}
"""Events that go with another state of the account."""
MOST = 5


def since(session: Session, account: Account, event: int) -> list[str]:
    """One sentence for each change after that event of the audit trail, the newest last."""
    query = (
        select(AuditEvent)
        .where(AuditEvent.account_id == account.id, AuditEvent.id > event, AuditEvent.event.in_(CHANGES))
        .order_by(AuditEvent.id.desc())
        .limit(MOST)
    )
    found = [
        _("%(what)s By %(who)s, %(moment)s.", what=_(CHANGES[row.event]), who=_by(session, row.actor), moment=at)
        for row in reversed(session.scalars(query).all())
        for at in (deadline(row.at),)
    ]
    return found or [_("Something about this account was changed.")]


def _by(session: Session, actor: str) -> str:
    """Who acted, by name."""
    if not actor:
        return _("the person themself")
    colleague = session.scalar(select(Account).where(Account.username == actor))
    if colleague is not None:
        return name_of(colleague)
    return _("this service itself") if actor == "system" or actor.startswith("job:") else actor
