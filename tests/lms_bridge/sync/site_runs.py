"""Runs over the simulated Moodle of a `World`, and people by the dozen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from external_accounts import audit
from external_accounts.accounts import Person, account_by_username
from external_accounts.addresses import parse_address
from external_accounts.identities import create_local_account
from lms_bridge.sync import source
from lms_bridge.sync.mirrors import MirrorView
from lms_bridge.sync.runs import Orders, Report, run_site, tools_of
from lms_bridge.sync.sites import enrol_sites
from lms_bridge.sync.source import Entry
from moodle_ws.simulator import Database, Version
from tests.bridge_under_test import BridgeUnderTest
from tests.lms_bridge.sync.conftest import People, World, running_world

CANARY = "canary"
MOODLES = [(database, version) for database in Database for version in Version]
"""Every database flavour with every version."""
HASH = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$x"
"""Nobody signs in with it: hashing a password for each of many people would be the slowest part of a test."""


@contextmanager
def site_world(folder: Path, *, site: dict[str, Any] | None = None, **options: Any) -> Iterator[World]:
    """A world whose Moodle has a canary, and whose bridge knows the site already. Nobody is there but Ada."""
    with running_world(folder, site_changes={"canary": CANARY, **(site or {})}, **options) as world:
        add_canary(world)
        enrol_sites(world.bridge.runtime.database, world.bridge.runtime.sites)
        yield world


def add_canary(world: World) -> None:
    world.moodle.site.add_user(CANARY, firstname="Ca", lastname="Nary", email="canary@univ.example")


def add_people(world: World, count: int, *, confirmed: bool = True, first: int = 0) -> list[str]:
    """`count` accounts, `ext.p0000` and so on; returns their names."""
    names = [f"ext.p{number:04d}" for number in range(first, first + count)]
    for name in names:
        add_person(world.bridge, name, family=f"Nr {name[-4:]}", confirmed=confirmed)
    return names


def add_person(
    bridge: BridgeUnderTest, name: str, *, given: str = "Pat", family: str, email: str = "", confirmed: bool = True
) -> None:
    """An account nobody signs in with."""
    with bridge.runtime.database.begin() as session:
        account = create_local_account(
            session,
            username=name,
            profile="learner",
            person=Person(given, family),
            email=parse_address(email or f"{name}@mail.example"),
            password_hash=HASH,
            now=bridge.clock(),
            origin=audit.SYSTEM,
        )
        if confirmed:
            bridge.confirm(session, account)


def run(world: People, *, write: bool = True, folder: Path | None = None, **orders: Any) -> Report:
    """One run over the site, as the command line makes it."""
    runtime = world.bridge.runtime
    where = folder or world.folder
    return run_site(tools_of(runtime, "updago"), "updago", Orders(write=write, **orders), where)


def run_asked(world: People, **orders: Any) -> Report:
    """A run whose plan an operator has looked at."""
    return run(world, checksum=run(world, write=False, **orders).plan.checksum, **orders)


def edit(world: People, username: str, /, **values: Any) -> None:
    """Change an account here."""

    def change(_session: Any, account: Any) -> None:
        for name, value in values.items():
            setattr(account, name, value)
        account.note_change()

    world.change(username, change)


def account_id(world: People, username: str) -> int:
    with world.bridge.runtime.database.read() as session:
        account = account_by_username(session, username)
        assert account is not None
        return account.id


def entries(world: People) -> Iterator[Entry]:
    """Every account with its mirror."""
    database = world.bridge.runtime.database
    for page in source.stream(database, "updago", source.extent(database).last_id):
        yield from page


def mirrors_of(world: People) -> list[MirrorView]:
    """What is known of everybody's user at the site."""
    return [entry.mirror for entry in entries(world)]
