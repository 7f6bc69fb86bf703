"""What has changed about an account since somebody looked at it, in words for colleagues."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts.schema import Account, AuditEvent
from lms_bridge.helpdesk.acts.deeds import name_of
from lms_bridge.helpdesk.timeline_words import sentence
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice.proof_pages import deadline

CHANGES = frozenset(
    {
        "account.activated",
        "account.erased",
        "account.readmitted",
        "account.suspended",
        "address.added",
        "address.confirmed",
        "address.corrected",
        "address.dropped",
        "address.lost",
        "address.primary",
        "address.recovery",
        "address.removed",
        "address.undone",
        "engagement.accepted",
        "engagement.withdrawn",
        "lifecycle.closed",
        "rights.moved",
    }
)
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
        _(
            "%(what)s By %(who)s, %(moment)s.",
            what=sentence(row.event, row.outcome),
            who=_by(session, row.actor),
            moment=at,
        )
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
