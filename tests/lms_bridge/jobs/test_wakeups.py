"""Who writes rows for the background work wakes it: after the commit, and only then."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import select

from external_accounts import outbox
from external_accounts.accounts import account_by_username
from external_accounts.database import Waiting
from external_accounts.schema import Account, OutboxMail
from lms_bridge.jobs.schedule import JOBS, Job, woken
from lms_bridge.schema import Mirror, Ticket
from tests.bridge_under_test import BridgeUnderTest, settings_values
from tests.lms_bridge.sync.conftest import World
from tests.served_bridge import to_toml


@pytest.fixture
def noted(bridge: BridgeUnderTest) -> list[Waiting]:
    """What the bridge's own transactions woke."""
    kinds: list[Waiting] = []
    bridge.runtime.database.on_waiting = kinds.append
    return kinds


def write_mail(bridge: BridgeUnderTest, session: object) -> None:
    outbox.enqueue(
        session,  # type: ignore[arg-type]
        "confirm_address",
        "a@mail.example",
        locale="fr",
        now=bridge.clock(),
        mail_domain="univ.example",
    )


def test_the_wake_up_comes_when_the_row_can_be_seen(bridge: BridgeUnderTest) -> None:
    seen: list[int] = []

    def look(kinds: Waiting) -> None:
        assert kinds == {OutboxMail}
        with bridge.runtime.database.read() as session:
            seen.append(len(session.scalars(select(OutboxMail)).all()))

    bridge.runtime.database.on_waiting = look
    with bridge.runtime.database.begin() as session:
        write_mail(bridge, session)
        assert seen == []
    assert seen == [1]


def test_what_is_rolled_back_wakes_nobody(bridge: BridgeUnderTest, noted: list[Waiting]) -> None:
    def change_the_mind() -> None:
        with bridge.runtime.database.begin() as session:
            write_mail(bridge, session)
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        change_the_mind()
    assert noted == []


def test_a_changed_account_wakes(bridge: BridgeUnderTest, noted: list[Waiting]) -> None:
    bridge.add_account()
    noted.clear()
    with bridge.runtime.database.begin() as session:
        account = account_by_username(session, "ext.ada")
        assert account is not None
        account.note_change()
    assert noted == [{Account}]


def test_a_sign_out_wakes_only_when_an_application_is_to_be_told(bridge: BridgeUnderTest, noted: list[Waiting]) -> None:
    bridge.add_account()
    browser = bridge.browser()
    browser.sign_in()
    noted.clear()
    browser.get("/cas/logout")
    assert noted == []
    browser.sign_in()
    bridge.validate(browser.ticket())
    browser.get("/cas/logout")
    assert noted == [{Ticket}]


def test_signing_out_everywhere_wakes_for_moodle_and_the_applications(world: World) -> None:
    world.sign_in()
    world.bridge.validate(world.browser.ticket(world.service), world.service)
    noted: list[Waiting] = []
    world.bridge.runtime.database.on_waiting = noted.append
    world.browser.get("/account/sign-out")
    world.browser.submit(follow=False)
    assert noted == [{Ticket, Mirror}]


def test_every_kind_of_row_that_is_noted_wakes_a_job() -> None:
    assert {kind: [job.name for job in woken(frozenset({kind}))] for kind in (Ticket, OutboxMail, Mirror, Account)} == {
        Ticket: ["deliver_logouts"],
        OutboxMail: ["deliver_mails"],
        Mirror: ["end_sessions_in_moodle", "bring_mirrors_into_step"],
        Account: ["write_activation_mails", "bring_mirrors_into_step", "seek_pairs", "write_directory_entries"],
    }


def test_a_job_asked_for_while_it_works_goes_round_once_more_and_nobody_waits() -> None:
    pytest.importorskip("celery")
    from lms_bridge.jobs.worker import Turn

    begun, go_on, rounds = threading.Event(), threading.Event(), []

    def work(_runtime: object) -> int:
        rounds.append(True)
        begun.set()
        assert go_on.wait(20)
        return 0

    turn = Turn(Job("test", work, every=1), None, threading.Event())  # type: ignore[arg-type]
    thread = threading.Thread(target=turn.take)
    thread.start()
    assert begun.wait(20)
    for _ in range(5):
        turn.take()  # returns although the round is not over
    go_on.set()
    thread.join(20)
    assert len(rounds) == 2


def test_names_of_jobs_are_distinct() -> None:
    assert len({job.name for job in JOBS}) == len(JOBS)


def test_without_a_broker_no_process_carries_celery(tmp_path: Path) -> None:
    config = tmp_path / "lms-bridge.toml"
    config.write_text(to_toml(settings_values(tmp_path)))
    script = f"""
import sys
from pathlib import Path
from lms_bridge import migrations
from lms_bridge.app import create_app
from lms_bridge.cli import serve, worker
from lms_bridge.jobs.embedded import start_background_work
from lms_bridge.runtime import build_runtime
from lms_bridge.settings import load
runtime = build_runtime(load(Path({str(config)!r})))
migrations.upgrade(runtime.database)
create_app(runtime)
start_background_work(runtime).stop()
print(sorted({{"celery", "kombu", "amqp", "redis", "billiard"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "[]\n", done.stderr
