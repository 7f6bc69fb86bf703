"""Which of two accounts is proposed to be kept, and why: the one with the longer history, as far as Moodle tells."""

from __future__ import annotations

from typing import NamedTuple

from external_accounts.schema import Account, AccountId
from lms_bridge.i18n import N_
from lms_bridge.runtime import Runtime
from lms_bridge.sync.histories import REASONS, Reason, histories, propose


class Proposed(NamedTuple):
    """The account to keep; `because` is marked for translation."""

    account_id: AccountId
    because: str


def longer(bridge: Runtime, one: AccountId, two: AccountId) -> Proposed:
    """To be asked while no transaction is open: Moodle may take seconds. Where it tells nothing, the older account."""
    found = histories(bridge.database, bridge.sites, (one, two))
    proposal = propose(found[one], found[two])
    if proposal.reason is not Reason.NOT_KNOWN:
        return Proposed((one, two)[proposal.kept], REASONS[proposal.reason])
    with bridge.database.read() as session:
        older = min((one, two), key=lambda each: (session.get_one(Account, each).created_at, each))
    return Proposed(older, N_("It is the older one; which was used more we could not find out."))
