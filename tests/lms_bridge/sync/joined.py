"""Two accounts joined into one and parted again, in the database, as the ceremony does it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts.accounts import account_by_username
from external_accounts.linking_schema import AccountLink
from external_accounts.schema import Account, Address
from lms_bridge.gate import MirrorState
from lms_bridge.schema import MoodleMerge
from lms_bridge.sync import merges
from lms_bridge.sync.runs import tools_of
from lms_bridge.sync.step import bring_into_step
from lms_bridge.sync.worker import work_on_due
from moodle_ws.simulator import User
from tests.lms_bridge.sync.conftest import People, World
from tests.lms_bridge.sync.site_runs import add_person, entries, run_asked, site_world

LEARNER = "ext.ada"
MEMBER = "alovelace"
MEMBERS_ADDRESS = "ada.lovelace@univ.example"


def link(world: People, kept: str, other: str, *, swap: bool = False, address: bool = False) -> int:
    """Join `other` to `kept`. `swap`: the kept account bears the other's user name from now on. `address`: the other's
    address becomes its primary one. Returns the link's number."""
    bridge = world.bridge
    with bridge.runtime.database.begin() as session:
        one, two = _account(session, kept), _account(session, other)
        if swap:
            _swap_names(session, one, two)
        before = _move_addresses(session, one, two, primary=address)
        two.merged_into_id = one.id
        made = AccountLink(
            kept_id=one.id,
            other_id=two.id,
            linked_at=bridge.clock(),
            undo_until=bridge.clock() + timedelta(days=7),
            before={"addresses": before, "swapped": swap},
        )
        session.add(made)
        session.flush()
        merges.join(session, kept_id=one.id, other_id=two.id, link_id=made.id, now=bridge.clock())
        one.note_change()
        two.note_change()
        return made.id


def unlink(world: People, link_id: int) -> list[str]:
    """Undo a link. Returns the sites at which course work was moved already."""
    bridge = world.bridge
    with bridge.runtime.database.begin() as session:
        made = session.get_one(AccountLink, link_id)
        one, two = session.get_one(Account, made.kept_id), session.get_one(Account, made.other_id)
        two.merged_into_id = None
        if made.before["swapped"]:
            _swap_names(session, one, two)
        addresses = made.before["addresses"]
        rows = [session.get_one(Address, int(number)) for number in addresses]
        for row in rows:
            row.is_primary = False
        session.flush()
        for row in rows:
            row.account_id, row.is_primary = addresses[str(row.id)]
        made.undone_at, made.undone_by = bridge.clock(), "test"
        moved = merges.part(session, kept_id=one.id, other_id=two.id, link_id=link_id, now=bridge.clock())
        one.note_change()
        two.note_change()
        return [merge.site for merge in moved]


def _account(session: Session, username: str) -> Account:
    found = account_by_username(session, username)
    assert found is not None
    return found


def _swap_names(session: Session, one: Account, two: Account) -> None:
    first, second = one.username, two.username
    one.username = "being.swapped"
    session.flush()
    two.username = first
    session.flush()
    one.username = second
    session.flush()


def _move_addresses(session: Session, one: Account, two: Account, *, primary: bool) -> dict[str, Any]:
    rows = session.scalars(select(Address).where(Address.account_id.in_((one.id, two.id)))).all()
    before = {str(row.id): [row.account_id, row.is_primary] for row in rows}
    theirs = [row for row in rows if row.account_id == two.id]
    chosen = {row.id for row in theirs if row.is_primary}
    for row in rows if primary else theirs:
        row.is_primary = False
    session.flush()
    for row in theirs:
        row.account_id = one.id
        row.is_primary = primary and row.id in chosen
    session.flush()
    return before


def make_primary(world: People, username: str, email: str) -> None:
    """The person has another one of their addresses stand first."""
    with world.bridge.runtime.database.begin() as session:
        account = _account(session, username)
        for address in account.addresses:
            address.is_primary = False
        session.flush()
        [chosen] = [address for address in account.addresses if address.email == email]
        chosen.is_primary = True
        account.note_change()


def merge_rows(world: People) -> list[MoodleMerge]:
    with world.bridge.runtime.database.read() as session:
        return list(session.scalars(select(MoodleMerge).order_by(MoodleMerge.id)))


@contextmanager
def two_accounts(folder: Path, *, site: dict[str, Any] | None = None, **options: Any) -> Iterator[World]:
    """Ada has a learner's account and a member's, and a user of each in Moodle. `options` as of `running_world`."""
    with site_world(folder, site=site, **options) as world:
        add_person(world.bridge, MEMBER, given="Ada", family="Lovelace", email=MEMBERS_ADDRESS)
        run_asked(world)
        yield world


def settle(world: World) -> None:
    """Let the continuous worker do what is due."""
    while work_on_due(world.bridge.runtime):
        pass


def take(world: World, number: int) -> MirrorState:
    """Bring one account, by its number, into step."""
    runtime = world.bridge.runtime
    policy = tools_of(runtime, "updago").policy
    return bring_into_step(runtime.database, runtime.sites, "updago", number, policy, now=world.bridge.clock())


def by_id(world: World, number: int) -> User:
    return world.moodle.site.users[number]


def check_moodle(world: World) -> None:
    """No two living users share a name or an address, and no joined account's user of ours is open."""
    living = list(world.moodle.site.living())
    for name in ("username", "email"):
        values = [getattr(user, name).lower() for user in living]
        assert len(values) == len(set(values)), f"two users with one {name}"
    for entry in entries(world):
        if entry.subject.facts.merged_into_id is not None and entry.mirror.owned and entry.mirror.moodle_id:
            assert by_id(world, entry.mirror.moodle_id).suspended, "I6: the user of a joined account is open"
    assert "core_user_delete_users" not in world.moodle.calls
