"""What the jobs carry to Moodle: closing, opening, and ending sessions; and what an outage does to them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from external_accounts import audit
from external_accounts.accounts import account_by_username
from lms_bridge.jobs import functions
from lms_bridge.runtime import Runtime
from lms_bridge.selfservice.set_password import set_password
from tests.lms_bridge.sync.conftest import World

ROUND_SECONDS = 20
"""More than a round of all jobs ever takes, also on a busy machine."""


def round_of_jobs(world: World) -> None:
    """One round; a round that never ends is a failure, not a hanging test."""
    thread = threading.Thread(target=world.bridge.runner.run_once, daemon=True)
    thread.start()
    thread.join(ROUND_SECONDS)
    if thread.is_alive():
        world.bridge.runner.stop(0)
        pytest.fail("a round of jobs did not come to its end")


def signed_in_to_moodle(world: World) -> str | None:
    """Who Moodle thinks the browser is."""
    name: str | None = world.browser.get(world.service.replace("/login/index.php", "/whoami.json")).json()["username"]
    return name


def enter_moodle(world: World) -> None:
    world.browser = world.bridge.browser()
    world.browser.get(world.service)
    world.browser.get("/signin/local", params={"service": world.service})
    world.browser.submit(identifier="ext.ada", password="correct horse battery")
    assert signed_in_to_moodle(world) == "ext.ada"


def sign_out_everywhere(world: World) -> None:
    world.browser.get("/account/sign-out")
    world.browser.submit()


def test_a_new_password_after_a_reset_ends_the_session_in_moodle_too_tok_12_ses_01(world: World) -> None:
    enter_moodle(world)
    bridge = world.bridge
    with bridge.runtime.database.begin() as session:
        account = account_by_username(session, "ext.ada")
        assert account is not None
        set_password(
            session, bridge.runtime, account, "$x", event="password.reset", now=bridge.clock(), origin=audit.SYSTEM
        )
    round_of_jobs(world)
    assert signed_in_to_moodle(world) is None
    assert world.user().suspended is False


def test_i6_suspending_the_account_closes_the_moodle_user(world: World) -> None:
    world.ticket()
    world.suspend()
    round_of_jobs(world)
    assert world.user().suspended is True


def test_i7_the_end_of_our_suspension_opens_the_moodle_user_before_the_ticket(world: World) -> None:
    world.ticket()
    world.suspend()
    round_of_jobs(world)
    world.readmit()
    assert world.ticket()
    assert world.user().suspended is False


def test_the_end_of_our_suspension_opens_the_moodle_user_without_a_sign_in(world: World) -> None:
    world.ticket()
    world.suspend()
    round_of_jobs(world)
    world.readmit()
    round_of_jobs(world)
    assert world.user().suspended is False


def test_i7_a_suspension_made_in_moodle_outlives_ours(world: World) -> None:
    world.ticket()
    world.user().suspended = True
    world.suspend()
    round_of_jobs(world)
    world.readmit()
    round_of_jobs(world)
    assert world.enter().status_code == 403
    assert world.user().suspended is True


def test_i6_a_right_that_ends_by_itself_closes_the_moodle_user(world: World) -> None:
    world.ticket()

    def until_tomorrow(_session: object, account: object) -> None:
        account.rights_end_at = world.bridge.clock() + timedelta(days=1)  # type: ignore[attr-defined]
        account.note_change()  # type: ignore[attr-defined]

    world.change("ext.ada", until_tomorrow)
    round_of_jobs(world)
    assert world.user().suspended is False
    world.bridge.clock.forward(hours=25)
    round_of_jobs(world)
    assert world.user().suspended is True


def test_i7_what_moodle_closed_by_hand_after_a_right_ended_is_not_ours_to_lift(world: World) -> None:
    world.ticket()
    world.user().suspended = True

    def over(_session: object, account: object) -> None:
        account.rights_end_at = world.bridge.clock()  # type: ignore[attr-defined]
        account.note_change()  # type: ignore[attr-defined]

    world.change("ext.ada", over)
    writes = len(world.writes())
    for _ in range(3):
        world.bridge.clock.forward(hours=1)
        round_of_jobs(world)
    assert len(world.writes()) == writes


def test_a_suspension_while_moodle_is_down_reaches_it_when_it_is_back(world: World) -> None:
    world.ticket()
    world.suspend()
    world.down()
    round_of_jobs(world)
    assert world.user().suspended is False
    world.down(False)
    world.bridge.clock.forward(seconds=10)
    round_of_jobs(world)
    assert world.user().suspended is True


def test_moodle_being_down_does_not_keep_the_jobs_from_their_other_work(world: World) -> None:
    world.ticket()
    world.suspend()
    world.down()
    calls = len(world.moodle.calls)
    round_of_jobs(world)
    assert len(world.moodle.calls) - calls <= 2  # once a round, not as fast as it can


def test_a_round_that_moodle_interrupts_leaves_nobody_behind(world: World) -> None:
    names = [f"ext.p{number:02d}" for number in range(15)]
    for name in names:
        world.bridge.add_account(name)
        world.ticket(name)
    for name in names:
        world.suspend(name)
    world.moodle.faults.next("", "", "503")
    round_of_jobs(world)
    assert [world.user(name).suspended for name in names[:2]] == [True, False]
    world.bridge.clock.forward(seconds=10)
    round_of_jobs(world)
    assert [name for name in names if not world.user(name).suspended] == []


def test_signing_out_everywhere_ends_the_moodle_sessions_and_leaves_the_user_open(world: World) -> None:
    enter_moodle(world)
    sign_out_everywhere(world)
    round_of_jobs(world)
    assert signed_in_to_moodle(world) is None
    assert world.user().suspended is False


def test_signing_out_everywhere_reaches_a_moodle_that_was_down(world: World) -> None:
    enter_moodle(world)
    world.down()
    sign_out_everywhere(world)
    round_of_jobs(world)
    world.down(False)
    round_of_jobs(world)
    assert signed_in_to_moodle(world) is None
    assert world.user().suspended is False


def test_i6_signing_out_everywhere_does_not_open_an_account_closed_meanwhile(world: World) -> None:
    enter_moodle(world)
    sign_out_everywhere(world)
    world.suspend()
    world.moodle.faults.next("503")  # the sessions are not ended in this round, the account is closed
    round_of_jobs(world)
    round_of_jobs(world)
    assert world.user().suspended is True
    assert signed_in_to_moodle(world) is None


def test_signing_out_everywhere_interrupted_halfway_is_finished_in_the_next_round(world: World) -> None:
    enter_moodle(world)
    sign_out_everywhere(world)
    world.moodle.faults.next("", "", "503")  # looked up, suspended, and the lifting failed
    round_of_jobs(world)
    assert world.user().suspended is True
    round_of_jobs(world)
    assert world.user().suspended is False


def test_i7_signing_out_everywhere_lifts_no_suspension_made_in_moodle(world: World) -> None:
    enter_moodle(world)
    world.user().suspended = True
    sign_out_everywhere(world)
    round_of_jobs(world)
    assert world.user().suspended is True


@pytest.mark.parametrize("job", [functions.bring_mirrors_into_step, functions.end_sessions_in_moodle])
def test_looking_for_work_that_is_not_there_reads_no_table(world: World, job: Callable[[Runtime], int]) -> None:
    # Every process looks each second or two: with 100,000 accounts, reading them all would fill a processor.
    round_of_jobs(world)
    engine = world.bridge.runtime.database.engine
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        asked.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    assert job(world.bridge.runtime) == 0
    event.remove(engine, "before_cursor_execute", note)
    questions = [question for question in asked if question[0].startswith("SELECT")]
    assert questions
    with engine.connect() as connection:
        for statement, parameters in questions:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            reads = [line for line in plan if line.startswith(("SCAN", "SEARCH"))]
            assert reads, plan
            assert all("INDEX ix_mirrors_" in line for line in reads), plan
