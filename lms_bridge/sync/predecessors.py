"""Before a user gets the name or the address that another one had: Moodle must show that the other has it no more.

Asked of Moodle at the moment of the write, whatever our own rows say: two users with one name is what must never be
tried, and an enabled user of a joined account what must never be left behind (I6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from external_accounts.database import Database
from external_accounts.schema import Account, AccountId
from lms_bridge.gate import MirrorState
from lms_bridge.schema import Mirror
from lms_bridge.sync.actions import Action
from lms_bridge.sync.observed import ask
from moodle_ws.client import MoodleClient
from moodle_ws.users import MoodleUser, same_email


@dataclass(frozen=True, slots=True)
class _Known:
    """What our rows say of a user that is to be out of the way."""

    must_be_closed: bool = False
    for_a_human: bool = False


_UNKNOWN = _Known()


def waiting(database: Database, client: MoodleClient, site: str, actions: Sequence[Action]) -> Mapping[AccountId, bool]:
    """The accounts whose action has to wait, each with whether only a human can end that.

    Raises:
        MoodleError: the users in question could not be looked up.
    """
    ids = sorted({moodle_id for action in actions for moodle_id in action.needs})
    known = _known(database, site, ids)
    users, _ = ask(client, "id", ids)
    seen = {user.id: user for user in users}
    held: dict[AccountId, bool] = {}
    for action in actions:
        in_the_way = []
        for moodle_id in action.needs:
            other = known.get(moodle_id, _UNKNOWN)
            # Somebody Moodle does not show is not known to be away.
            if moodle_id not in seen or not is_away(seen[moodle_id], action, closed=other.must_be_closed):
                in_the_way.append(other)
        if in_the_way:
            held[action.account_id] = any(other.for_a_human for other in in_the_way)
    return held


def is_away(user: MoodleUser, action: Action, *, closed: bool) -> bool:
    """Whether `user` bears nothing that `action` gives to another one, and is suspended where it has to be `closed`."""
    if user.looks_deleted:
        return True
    email = action.after.get("email")
    return (
        user.username != action.after.get("username")
        and not (email is not None and user.email is not None and same_email(user.email, str(email)))
        and (user.suspended is True or not closed)
    )


def _known(database: Database, site: str, ids: Sequence[int]) -> Mapping[int, _Known]:
    query = (
        select(Mirror.moodle_id, Mirror.state, Mirror.owned, Account.merged_into_id)
        .join(Account, Account.id == Mirror.account_id)
        .where(Mirror.site == site, Mirror.moodle_id.in_(ids))
    )
    with database.read() as session:
        return {
            row.moodle_id: _Known(
                must_be_closed=row.owned and row.merged_into_id is not None,
                for_a_human=row.state == MirrorState.CONFLICT.value,
            )
            for row in session.execute(query)
        }
