"""The embedded runner: woken by a commit of its own process, and no job waits for another."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lms_bridge.jobs import embedded
from lms_bridge.jobs.embedded import Runner
from lms_bridge.jobs.schedule import JOBS, Job
from tests.lms_bridge.jobs.conftest import Hold, Works, eventually
from tests.lms_bridge.sync.conftest import World, running_world
from tests.peers.mail_server import running_mail_server
from tests.peers.programs import reserved_port


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/works.db"


@pytest.fixture
def no_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first round a job is only done when it is woken."""
    monkeypatch.setattr(embedded, "JOBS", tuple(replace(job, every=3600) for job in JOBS))


@pytest.fixture
def runner(works: Works, no_sweeps: None) -> Iterator[Runner]:
    running = Runner(works.runtime)
    running.start()
    yield running
    running.stop()


def test_a_mail_leaves_as_soon_as_it_is_committed(works: Works, runner: Runner) -> None:
    for number in range(3):
        works.write_mails(f"m{number}@mail.example")
        eventually(lambda: len(works.received()) == number + 1)  # noqa: B023 (called in this turn of the loop)


def close_and_open_again(world: World) -> None:
    world.suspend()
    eventually(lambda: world.user().suspended)
    world.readmit()
    eventually(lambda: not world.user().suspended)


def test_a_changed_account_is_brought_into_step_as_soon_as_it_is_committed(tmp_path: Path, no_sweeps: None) -> None:
    with running_world(tmp_path) as world:
        world.ticket()
        runner = Runner(world.bridge.runtime)
        runner.start()
        try:
            close_and_open_again(world)
            close_and_open_again(world)
        finally:
            runner.stop()


def test_a_mail_server_that_does_not_answer_does_not_keep_moodle_waiting(tmp_path: Path, no_sweeps: None) -> None:
    with reserved_port() as port, running_mail_server(port) as server:
        server.to_recipient = hold = Hold("slow@mail.example")
        mail = {"host": "127.0.0.1", "port": port, "security": "none", "sender": "noreply@univ.example"}
        with running_world(tmp_path, bridge_changes={"mail": mail}) as world:
            world.ticket()
            runtime = world.bridge.runtime
            runner = Runner(runtime)
            Works.write_mails(Works(tmp_path, server, {}, runtime), "slow@mail.example")
            runner.start()
            try:
                eventually(hold.reached.is_set)
                close_and_open_again(world)
                assert not server.accepted
            finally:
                hold.release()
                runner.stop()


def test_a_job_that_fails_ends_neither_the_others_nor_itself(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = []

    def fail(_runtime: object) -> int:
        failures.append(True)
        raise RuntimeError("broken")

    jobs = [replace(job, run=fail, every=0.01) if job.name == "deliver_logouts" else job for job in JOBS]
    monkeypatch.setattr(embedded, "JOBS", tuple(jobs))
    runner = Runner(works.runtime)
    runner.start()
    try:
        works.write_mails("m@mail.example")
        eventually(lambda: works.received() == ["m@mail.example"])
        eventually(lambda: len(failures) > 2)
    finally:
        runner.stop()


def test_a_stopped_runner_has_ended_all_its_threads(works: Works, runner: Runner) -> None:
    runner.stop()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("job-")]


def test_a_job_goes_round_until_nothing_is_left() -> None:
    left = [1, 1, 1, 0]
    Job("test", lambda _runtime: left.pop(0), every=1).work(None, threading.Event())  # type: ignore[arg-type]
    assert left == []


def test_background_work_carries_no_web_framework() -> None:
    """A worker serves no page: Flask and the CAS client are memory it need not hold."""
    look = "import sys, lms_bridge.jobs.schedule; print(sorted({'flask', 'cas'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"
