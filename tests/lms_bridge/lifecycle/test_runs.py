"""A run over all accounts: planned, guarded, applied, interrupted, at night."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, time, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.database import Database
from external_accounts.lifecycle import Step
from external_accounts.local_calendar import end_of_day
from external_accounts.rights import move_end
from external_accounts.schema import AuditEvent, OutboxMail
from lms_bridge.jobs import people
from lms_bridge.lifecycle import runs
from lms_bridge.schema import SsoSession
from tests.lms_bridge.lifecycle.conftest import Town, town_with


def ending(town: Town, count: int, *, days: int = 20, profile: str = "vacataire") -> None:
    for number in range(count):
        town.person(f"ext.p{number}", profile=profile, rights_end_at=town.clock() + timedelta(days=days))


def test_a_plan_counts_by_profile_and_writes_nothing(town: Town) -> None:
    ending(town, 3)
    town.person("ext.over", profile="staff", rights_end_at=town.clock() - timedelta(days=1))
    found = runs.make_plan(town.bridge.runtime, town.clock())
    assert found.counts == {("vacataire", Step.WARN_RIGHTS_FIRST): 3, ("staff", Step.CLOSE): 1}
    assert (found.living, found.read) == (6, 4)
    assert (town.notices(), town.handovers()) == ([], [])


def test_apply_and_then_an_empty_plan(town: Town) -> None:
    ending(town, 3)
    town.person("ext.over", rights_end_at=town.clock() - timedelta(days=400))
    assert town.run() == {"rights_30_days": 3, "closed": 1, "erasure_10_days": 1}
    assert runs.make_plan(town.bridge.runtime, town.clock()).size == 0
    assert town.run() == {}


def test_i9_a_run_that_would_do_more_than_the_guard_allows_writes_nothing(tmp_path: Path) -> None:
    limits = {"close": {"percent": 0, "floor": 2}}
    with town_with(tmp_path, lifecycle=limits) as town:
        ending(town, 3, days=-1)
        report = runs.run(town.bridge.runtime, actor="test")
        assert (report.outcome, [stop.name for stop in report.stops]) == ("stopped", ["TooManyChanges"])
        assert town.notices() == []
        again = runs.run(town.bridge.runtime, actor="test", checksum="0" * 16)
        assert again.outcome == "stopped"
        passed = runs.run(town.bridge.runtime, actor="test", checksum=report.plan.checksum)
        assert passed.done == {Step.CLOSE: 3}
        with town.bridge.runtime.database.read() as session:
            outcomes = session.scalars(select(AuditEvent.outcome).where(AuditEvent.event == "lifecycle.run")).all()
        assert outcomes == ["stopped", "stopped", "done"]


def test_a_run_takes_no_more_than_it_has_counted(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    ending(town, 2, days=-1)
    planned = runs.make_plan(town.bridge.runtime, town.clock())
    for number in range(5):
        town.person(f"ext.late{number}", rights_end_at=town.clock() - timedelta(hours=1))
    monkeypatch.setattr(runs, "make_plan", lambda *_words, **_more: planned)
    assert town.run() == {"closed": 2}


def test_i10_closing_ends_the_sessions_and_the_account_page_opens_again(town: Town) -> None:
    number = town.person(rights_end_at=town.clock() + timedelta(minutes=5))
    town.browser("ext.ada")
    town.clock.forward(minutes=5)
    assert town.run() == {"closed": 1}
    with town.bridge.runtime.database.read() as session:
        rows = session.scalars(select(SsoSession.end_reason).where(SsoSession.account_id == number)).all()
    assert rows == ["rights ended"]
    assert town.browser("ext.ada").get("/account").status_code == 200


def test_an_account_that_the_database_refuses_is_left_for_the_next_run(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending(town, 3, days=-1)
    take, calls = runs.take_due, Counter[str]()

    def refusing(session: Session, account_id: int, *words: object, **more: object) -> list[Step]:
        calls["all"] += 1
        if calls["all"] == 2:
            raise OperationalError("x", {}, Exception("gone"))
        return take(session, account_id, *words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(runs, "take_due", refusing)
    report = runs.run(town.bridge.runtime, actor="test")
    assert (report.outcome, report.failed, dict(report.done)) == ("partial", 1, {Step.CLOSE: 2})
    monkeypatch.undo()
    assert town.run() == {"closed": 1}


class Killed(BaseException):
    """The process is no more."""


@contextmanager
def dying(monkeypatch: pytest.MonkeyPatch, at: int) -> Iterator[Counter[str]]:
    """Within, the process dies before or after transaction number `at // 2`: what it had begun is rolled back."""
    points: Counter[str] = Counter()
    begin = Database.begin

    def point() -> None:
        points["passed"] += 1
        if points["passed"] >= at:
            raise Killed

    @contextmanager
    def mortal(self: Database) -> Iterator[Session]:
        with begin(self) as session:
            yield session
            point()
        point()

    with monkeypatch.context() as patched:
        patched.setattr(Database, "begin", mortal)
        yield points


def test_killed_at_any_point_a_run_again_converges(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    ending(town, 4)
    for number in range(3):
        town.person(f"ext.over{number}", rights_end_at=town.clock() - timedelta(days=400))
    for at in range(1, 40):
        with dying(monkeypatch, at) as points:
            try:
                runs.run(town.bridge.runtime, actor="test")
            except Killed:
                continue
        assert points["passed"] < at
        break
    else:
        pytest.fail("never came to an end")
    assert Counter(town.notices()) == {"rights_30_days": 4, "closed": 3, "erasure_10_days": 3}
    assert town.handovers() == ["account.ended"] * 3
    with town.bridge.runtime.database.read() as session:
        assert session.scalar(select(func.count()).select_from(OutboxMail)) == 7
    assert town.run() == {}


def nightly(town: Town, hour: int) -> None:
    """The job looks, at this hour of the day after the clock's."""
    zone = town.bridge.runtime.settings.zone
    local = town.clock().astimezone(zone)
    town.at((local + timedelta(days=1)).replace(hour=hour, minute=0))
    people.run_lifecycle(town.bridge.runtime)


def test_the_nightly_run_is_off_unless_settings_name_an_hour(town: Town) -> None:
    ending(town, 1)
    for _ in range(3):
        nightly(town, 12)
    assert town.notices() == []


def test_the_nightly_run_takes_place_once_a_night_from_the_night_after_it_was_switched_on(tmp_path: Path) -> None:
    with town_with(tmp_path, lifecycle={"nightly": time(3, 30)}) as town:
        ending(town, 1)
        nightly(town, 12)
        assert town.notices() == []
        nightly(town, 3)
        assert town.notices() == []
        town.clock.forward(hours=1)
        people.run_lifecycle(town.bridge.runtime)
        people.run_lifecycle(town.bridge.runtime)
        assert town.notices() == ["rights_30_days"]
        with town.bridge.runtime.database.read() as session:
            assert session.scalar(select(func.count()).where(AuditEvent.event == "lifecycle.run")) == 1


def test_a_nightly_run_that_the_guard_stops_writes_nothing(tmp_path: Path) -> None:
    with town_with(tmp_path, lifecycle={"nightly": time(3, 30), "close": {"percent": 0, "floor": 0}}) as town:
        ending(town, 1, days=-1)
        nightly(town, 4)
        nightly(town, 4)
        assert town.notices() == []


def test_a_return_opens_moodle_again_for_the_same_account(town: Town) -> None:
    """The mirror follows the account's version: what the gate says then is what Moodle is brought to."""
    number = town.person(rights_end_at=town.clock() - timedelta(days=1))
    assert town.run() == {"closed": 1}
    before = town.account(number).version
    end = end_of_day(date(town.clock().year + 1, 6, 30), town.bridge.runtime.settings.zone)
    with town.bridge.runtime.database.begin() as session:
        move_end(session, number, end, now=town.clock(), origin=audit.SYSTEM)
    assert town.account(number).version > before
    assert town.browser("ext.ada").ticket()
    assert town.handovers() == ["account.ended", "account.revived"]
