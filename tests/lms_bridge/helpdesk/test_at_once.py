"""Two agents on one account, an agent and its owner, all at once: on both databases one wins and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from sqlalchemy import select

from external_accounts import audit
from external_accounts.confirmation import lose_confirmation
from external_accounts.linking_schema import AddressCorrection
from external_accounts.schema import Address
from lms_bridge.helpdesk import bulk_runs
from tests.bridge_under_test import Browser
from tests.lms_bridge.helpdesk.acting import DESK, PATH, SECOND, Office, office, words
from tests.lms_bridge.mailing import in_french


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Office]:
    """SQLite always, PostgreSQL where it is installed."""
    if request.param == "sqlite":
        with office(tmp_path) as running:
            yield running
        return
    server = request.getfixturevalue("postgresql")
    url = server.create_database()
    with office(tmp_path, database_url=url) as running:
        yield running
    server.drop_database(url)


def together(*acts: Callable[[], requests.Response]) -> list[requests.Response]:
    with ThreadPoolExecutor(len(acts)) as pool:
        return [found.result() for found in [pool.submit(act) for act in acts]]


def opened(desk: Office, username: str, path: str) -> Browser:
    browser = desk.browser(username)
    browser.get(path)
    return browser


def test_of_two_agents_one_suspends_and_the_other_reads_who_did(desk: Office) -> None:
    ada = desk.person()
    first, second = (opened(desk, who, f"{PATH}/{ada}/suspend") for who in (DESK, SECOND))
    answers = together(
        lambda: first.submit(follow=False, reason="the first"), lambda: second.submit(follow=False, reason="the second")
    )
    assert sorted(answer.status_code for answer in answers) == [303, 409]
    loser = next(answer for answer in answers if answer.status_code == 409)
    assert in_french("The account was suspended.") in words(loser)
    assert [event.details["reason"] for event in desk.events(ada, "account.suspended")] == [
        desk.account(ada).suspension_reason
    ]


def test_an_agent_and_the_owner_at_once_lose_nothing_of_each_other(desk: Office) -> None:
    ada = desk.person()
    agent = opened(desk, DESK, f"{PATH}/{ada}/suspend")
    owner = opened(desk, "ext.ada", "/account/addresses")
    answers = together(
        lambda: agent.submit(follow=False, reason="stolen"), lambda: owner.submit(follow=False, email="ada@new.example")
    )
    suspended = desk.account(ada).suspended_at is not None
    added = "ada@new.example" in {one.email for one in desk.addresses(ada)}
    assert answers[0].status_code == (303 if suspended else 409)
    assert suspended or added
    assert len(desk.events(ada, "address.added")) == int(added)


def test_of_two_who_decide_on_a_correction_one_does(desk: Office) -> None:
    ada = desk.person()
    with desk.bridge.runtime.database.begin() as session:
        address = session.scalars(select(Address).where(Address.account_id == ada)).one()
        lose_confirmation(session, address, reason="bounce", now=desk.clock(), origin=audit.SYSTEM)
        number = address.id
    desk.act("correct", ada, address=str(number), email="ada@right.example", reason="called")
    with desk.bridge.runtime.database.read() as session:
        request = session.scalars(select(AddressCorrection.id)).one()
    browsers = [opened(desk, SECOND, f"/helpdesk/corrections/{request}") for _ in range(2)]
    answers = together(
        lambda: browsers[0].submit(follow=False, decision="approve"),
        lambda: browsers[1].submit(1, follow=False, decision="refuse", reason="no"),
    )
    assert sorted(answer.status_code for answer in answers) == [303, 409]
    with desk.bridge.runtime.database.read() as session:
        state = session.scalars(select(AddressCorrection.state)).one()
    corrected = desk.addresses(ada)[0].email == "ada@right.example"
    assert corrected == (state == "approved")


def test_two_who_propose_the_same_the_other_way_round_propose_once(desk: Office) -> None:
    ada, bob = desk.person(), desk.person("ext.bob")
    first = opened(desk, DESK, f"{PATH}/{ada}/link")
    second = opened(desk, SECOND, f"{PATH}/{bob}/link")
    answers = together(
        lambda: first.submit(follow=False, other="ext.bob", reason="same"),
        lambda: second.submit(follow=False, other="ext.ada", reason="same"),
    )
    assert sorted(answer.status_code for answer in answers) == [303, 409]
    assert len(desk.mails_to("ext.bob@mail.example")) == 1


def test_i2_of_many_starts_of_a_bulk_run_one_counts_and_each_account_is_done_once(desk: Office) -> None:
    people = [desk.person(f"ext.p{n}") for n in range(3)]
    browser = opened(desk, DESK, "/helpdesk/bulk")
    page = browser.submit(act="suspend", reason="end", identifiers="ext.p0\next.p1\next.p2")
    browsers = [opened(desk, DESK, page.url) for _ in range(3)]
    answers = together(*[lambda one=one: one.submit(follow=False) for one in browsers])  # type: ignore[misc]
    assert sorted(answer.status_code for answer in answers) == [303, 409, 409]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _n: bulk_runs.carry_out(desk.bridge.runtime), range(3)))
    assert [len(desk.events(number, "account.suspended")) for number in people] == [1, 1, 1]
