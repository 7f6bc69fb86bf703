"""What Moodle shows of the accounts of a page: looked up by id where one is known, by name otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from external_accounts.schema import AccountId
from lms_bridge.sync.source import Entry
from moodle_ws.batches import MOST_ROWS
from moodle_ws.client import MoodleClient
from moodle_ws.users import LookupField, MoodleUser


@dataclass(frozen=True, slots=True)
class Found:
    """The users of a page. An account that is neither in `users` nor in `unreadable` has nobody in Moodle."""

    users: Mapping[AccountId, MoodleUser]
    unreadable: frozenset[AccountId]
    """Accounts whose row Moodle cannot show (poison rows): not the same as absent."""


def look_up(client: MoodleClient, entries: Sequence[Entry], pool: Executor) -> Found:
    """Look the accounts up, 50 a call, as many calls at once as `pool` has threads.

    Raises:
        MoodleError: a look-up failed, which is not the same as "not found".
    """
    by_id = {entry.mirror.moodle_id: entry.account_id for entry in entries if entry.mirror.moodle_id is not None}
    by_name = {entry.subject.facts.username: entry.account_id for entry in entries if entry.mirror.moodle_id is None}
    calls: list[tuple[LookupField, list[str | int]]] = [("id", ids) for ids in _pieces(list(by_id))]
    calls += [("username", names) for names in _pieces(list(by_name))]
    users: dict[AccountId, MoodleUser] = {}
    unreadable: set[AccountId] = set()
    for found, poisoned in pool.map(lambda call: ask(client, *call), calls):
        for user in found:
            account = by_id.get(user.id) or by_name.get(user.username or "")
            if account is not None:
                users[account] = user
        for value in poisoned:
            account = by_name.get(value) or (by_id.get(int(value)) if value.isdigit() else None)
            if account is not None:
                unreadable.add(account)
    return Found(users, frozenset(unreadable))


def ask(
    client: MoodleClient, field: LookupField, values: Iterable[str | int]
) -> tuple[Sequence[MoodleUser], Sequence[str]]:
    """The users behind `values`, and the values whose rows Moodle cannot show.

    Raises:
        MoodleError: the look-up failed as a whole.
    """
    users: list[MoodleUser] = []
    poisoned: list[str] = []
    for batch in client.iter_users_by_field(field, values):
        users += batch.users
        poisoned += batch.poisoned
    return users, poisoned


def _pieces(values: Sequence[str | int | None]) -> list[list[str | int]]:
    known = [value for value in values if value is not None]
    return [known[start : start + MOST_ROWS] for start in range(0, len(known), MOST_ROWS)]
