"""`lms-bridge merges …`: the work list for an administrator of Moodle (D28)."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from external_accounts.linking_schema import AccountLink
from external_accounts.schema import AuditEvent
from lms_bridge.cli import main
from lms_bridge.sync.merge_list import Hint, hint_of
from tests.lms_bridge.sync.conftest import World
from tests.lms_bridge.sync.joined import LEARNER, MEMBER, link, merge_rows, settle, two_accounts, unlink
from tests.served_bridge import to_toml

Run = Callable[..., Result]
NOW = datetime(2026, 11, 25, tzinfo=UTC)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with two_accounts(tmp_path) as running:
        yield running


@pytest.fixture
def run(world: World, tmp_path: Path) -> Run:
    settings = world.bridge.runtime.settings
    site, token = settings.sites[0], world.moodle.site.options.token
    values: dict[str, Any] = {
        "public_url": settings.public_url,
        "secret_keys": [key.get_secret_value() for key in settings.secret_keys],
        "database_url": f"sqlite:///{world.bridge.runtime.database.url.database}",
        "institution": {"help_email": "aide@univ.example"},
        "mail": {"host": "127.0.0.1", "sender": "noreply@univ.example"},
        "sites": [{"name": site.name, "url": site.url, "token": token}],
    }
    path = tmp_path / "operator.toml"
    path.write_text(to_toml(values), encoding="utf-8")
    return lambda *words: CliRunner().invoke(main, ["--config", str(path), "merges", *map(str, words)])


def time_to_undo_is_over(world: World) -> None:
    with world.bridge.runtime.database.begin() as session:
        for made in session.scalars(select(AccountLink)):
            made.undo_until = datetime.now(UTC) - timedelta(seconds=1)


@pytest.mark.parametrize(
    ("ours", "away", "days", "hint"),
    [
        (True, True, 7, Hint.UNDOABLE),
        (False, False, 7, Hint.UNDOABLE),
        (True, True, 0, Hint.READY),
        (True, False, -1, Hint.UNDER_WAY),
        (False, False, -1, Hint.NOT_OURS),
    ],
)
def test_what_stands_against_moving_course_work(ours: bool, away: bool, days: int, hint: Hint) -> None:
    assert hint_of(ours=ours, away=away, undo_until=NOW + timedelta(days=days), now=NOW) is hint


def test_d28_the_list_names_both_users_by_moodles_ids_and_says_what_to_wait_for(world: World, run: Run) -> None:
    kept, other = world.user(LEARNER), world.user(MEMBER)
    link(world, LEARNER, MEMBER, swap=True)
    [line] = json.loads(run("list", "--json").stdout)
    assert (line["from_id"], line["to_id"], line["site"]) == (other.id, kept.id, "updago")
    assert line["hint"] == "undoable"
    assert "Wait: the person can still undo it" in run("list").stdout
    time_to_undo_is_over(world)
    assert "not renamed and closed yet" in run("list").stdout
    settle(world)
    text = run("list").stdout
    assert f"{other.id} ({other.username}) -> {kept.id} ({MEMBER})" in text
    assert "can be moved now" in text


def test_d28_the_file_is_in_the_form_of_the_merge_users_plugin(world: World, run: Run, tmp_path: Path) -> None:
    kept, other = world.user(LEARNER), world.user(MEMBER)
    link(world, LEARNER, MEMBER)
    settle(world)
    early = run("export")
    assert early.stdout.splitlines() == [
        "fromid,toid,id,site,fromusername,tousername,state,hint,since,undo_until"
    ]  # fmt: skip
    assert "1 left out for now" in early.stderr
    time_to_undo_is_over(world)
    out = tmp_path / "merges.csv"
    assert run("export", "--out", out).exit_code == 0
    with out.open(encoding="utf-8", newline="") as file:
        [row] = csv.DictReader(file)
    assert (row["fromid"], row["toid"], row["hint"]) == (str(other.id), str(kept.id), "ready")
    pairs = run("export", "--pairs").stdout
    # As Moodle's `cli_input` reads a file: 2048 bytes an answer, blanks cut off.
    answers = [pairs[start : start + 2048].strip() for start in range(0, len(pairs), 2048)]
    assert answers == [str(other.id), str(kept.id), "-1"]


def test_what_may_still_be_undone_is_left_out_unless_asked_for(world: World, run: Run) -> None:
    link(world, LEARNER, MEMBER)
    assert len(run("export").stdout.splitlines()) == 1
    assert len(run("export", "--early").stdout.splitlines()) == 2


def test_a_merge_is_noted_as_done_once_with_who_said_so(world: World, run: Run) -> None:
    link(world, LEARNER, MEMBER)
    [merge] = merge_rows(world)
    assert run("done", merge.id).stdout == f"{merge.id} is done.\n"
    again = run("done", merge.id)
    assert again.exit_code == 2
    assert "does not wait" in again.stderr
    assert run("list").stdout == "No merge waits.\n"
    [line] = json.loads(run("list", "--all", "--json").stdout)
    assert line["state"] == "done"
    with world.bridge.runtime.database.read() as session:
        [event] = session.scalars(select(AuditEvent).where(AuditEvent.event == "merge.done"))
        assert event.actor == line["done_by"]
        assert event.details["removed"] == merge.other_moodle_id


def test_a_link_that_is_undone_is_no_work_any_more(world: World, run: Run) -> None:
    unlink(world, link(world, LEARNER, MEMBER))
    assert run("list", "--all").stdout == "No merge waits.\n"


def test_a_site_that_settings_do_not_name_is_refused(run: Run) -> None:
    refused = run("list", "--site", "moodle9")
    assert refused.exit_code == 2
    assert "updago" in refused.stderr
