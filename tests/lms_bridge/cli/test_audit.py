"""`lms-bridge audit …`: verify the trail, in the database and in a file, and hand it on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from external_accounts import audit, audit_files
from external_accounts.audit import Origin
from external_accounts.database import Database
from external_accounts.keys import Keys
from lms_bridge.cli import main
from lms_bridge.jobs.audit import pseudonymise_events, seal_events
from tests.bridge_under_test import PASSWORD, BridgeUnderTest
from tests.external_accounts.test_audit_chain import append, seal_all
from tests.migrated import migrate
from tests.served_bridge import operator_file

Run = Callable[..., Result]


@pytest.fixture
def config(bridge: BridgeUnderTest, tmp_path: Path) -> Path:
    return operator_file(bridge.runtime.settings, tmp_path)


@pytest.fixture
def run(bridge: BridgeUnderTest, config: Path) -> Run:
    bridge.add_account()
    assert bridge.browser().sign_in("ext.ada", PASSWORD).status_code == 200
    bridge.browser().sign_in("ext.ada", "wrong password")
    seal_events(bridge.runtime)
    return lambda *words: CliRunner().invoke(main, ["--config", str(config), "audit", *map(str, words)])


def without_triggers(bridge: BridgeUnderTest, statement: str) -> None:
    with bridge.runtime.database.begin() as session:
        for verb in ("insert", "update", "delete"):
            session.execute(text(f"DROP TRIGGER audit_events_{verb}"))
        session.execute(text(statement))


def test_a_trail_that_nobody_touched_is_whole(run: Run) -> None:
    done = run("verify")
    assert done.exit_code == 0
    assert "The trail is whole" in done.output
    values = json.loads(run("verify", "--json").stdout)
    assert (values["whole"], values["findings"], values["checkpoints"], values["waiting"]) == (True, [], 1, 0)


def test_a_change_in_the_database_is_named_with_its_place(bridge: BridgeUnderTest, run: Run) -> None:
    without_triggers(bridge, "UPDATE audit_events SET outcome = 'ok' WHERE outcome = 'refused'")
    done = run("verify", "--json")
    assert done.exit_code == 1
    [finding] = json.loads(done.stdout)["findings"]
    with bridge.runtime.database.read() as session:
        [position] = session.scalars(
            text("SELECT position FROM audit_events WHERE event = 'signin.local' ORDER BY id DESC LIMIT 1")
        )
    assert (finding["kind"], finding["position"]) == ("edited", position)
    assert f"position {position}" in run("verify").output


def test_an_exported_file_proves_itself_also_where_there_are_no_settings(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "trail.jsonl"
    file.write_text(run("export").stdout, encoding="utf-8")
    values = json.loads(run("verify", file, "--json").stdout)
    assert (values["whole"], values["unchecked"], values["checkpoints"]) == (True, 0, 2)
    monkeypatch.chdir(tmp_path)
    elsewhere = CliRunner().invoke(main, ["audit", "verify", str(file), "--json"])
    assert elsewhere.exit_code == 0, elsewhere.output
    values = json.loads(elsewhere.stdout)
    assert (values["whole"], values["unchecked"], values["checkpoints"]) == (True, 2, 0)
    said = CliRunner().invoke(main, ["audit", "verify", str(file)]).output
    assert "no signature was checked" in said
    assert "is whole" not in said


def test_a_file_that_ends_early_or_is_none_of_ours_is_not_whole(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "trail.jsonl"
    lines = run("export").stdout.splitlines(keepends=True)
    file.write_text("".join(lines[:-1]), encoding="utf-8")
    assert run("verify", file).exit_code == 1
    file.write_bytes(b"\xff\xfe no file of ours\n")
    assert run("verify", file).exit_code == 1
    assert run("verify", tmp_path / "missing").exit_code == 2


def test_an_export_of_one_account_tells_of_nobody_else(bridge: BridgeUnderTest, run: Run, tmp_path: Path) -> None:
    other = bridge.add_account("ext.grace")
    seal_events(bridge.runtime)
    file = tmp_path / "grace.jsonl"
    file.write_text(run("export", "--account", "ext.grace").stdout, encoding="utf-8")
    events = [line for line in map(json.loads, file.read_text(encoding="utf-8").splitlines()) if "event" in line]
    assert events
    assert {event["account_id"] for event in events} == {other}
    assert run("verify", file).exit_code == 0
    assert run("export", "--account", "nobody").exit_code == 2


def test_an_export_is_of_the_time_that_was_asked_for(bridge: BridgeUnderTest, run: Run) -> None:
    bridge.clock.forward(days=2)
    bridge.browser().sign_in("ext.ada", "wrong again")
    seal_events(bridge.runtime)
    since = bridge.clock.moment.date().isoformat()
    events = [json.loads(line) for line in run("export", "--since", since).stdout.splitlines()]
    assert [line["event"] for line in events if "event" in line] == ["signin.local"]
    assert all("signin.local" not in line for line in run("export", "--until", "2020-01-01").stdout.splitlines())
    assert run("export", "--since", "yesterday").exit_code == 2


def test_events_that_are_not_sealed_are_said_to_be_missing(bridge: BridgeUnderTest, run: Run) -> None:
    bridge.browser().sign_in("ext.ada", "wrong again")
    done = run("export")
    assert "1 events wait to be sealed" in done.stderr
    assert "wait to be sealed" in run("verify").output


@pytest.fixture
def odd_event(bridge: BridgeUnderTest, run: Run) -> None:
    origin = Origin(network="2001:db8::7", actor='Grace "]|=\\\nHopper')
    with bridge.runtime.database.begin() as session:
        audit.record(session, "test.odd", outcome="a|b", now=bridge.clock(), origin=origin, word="é=\n")
    seal_events(bridge.runtime)


@pytest.mark.usefixtures("odd_event")
def test_cef_lines_keep_to_their_grammar(run: Run) -> None:
    lines = run("export", "--format", "cef").stdout.splitlines()
    assert all(
        re.match(r"CEF:0\|LMS Bridge\|lms-bridge\|[^|]+\|[a-z._]+\|[a-z._]+\|[35]\|rt=\d+ ", line) for line in lines
    )
    [odd] = [line for line in lines if "test.odd" in line]
    assert r'suser=Grace "]|\=\\ Hopper' in odd
    assert r"outcome=a|b" in odd
    assert "c6a2=2001:db8::7" in odd
    assert "src=127.0.0.1" in next(line for line in lines if "signin.local" in line)


@pytest.mark.usefixtures("odd_event")
def test_syslog_lines_keep_to_their_grammar(run: Run) -> None:
    lines = run("export", "--format", "syslog").stdout.splitlines()
    value = r'"(?:[^"\\\]]|\\["\\\]])*"'
    line_of_rfc_5424 = (
        rf"<1(09|10)>1 \d{{4}}-\d\d-\d\dT[\d:.]+Z \S+ lms-bridge - \S{{1,32}} \[audit@32473( \w+={value})+\]"
    )
    assert [line for line in lines if not re.fullmatch(line_of_rfc_5424, line)] == []
    assert any(r'actor="Grace \"\]|=\\ Hopper"' in line for line in lines)


def test_the_job_drops_who_it_was_after_the_months_of_the_settings(bridge: BridgeUnderTest, run: Run) -> None:
    bridge.clock.forward(days=360)
    assert pseudonymise_events(bridge.runtime) == 0
    bridge.clock.forward(days=10)
    assert pseudonymise_events(bridge.runtime) > 0
    assert pseudonymise_events(bridge.runtime) == 0
    assert run("verify").exit_code == 0
    assert "127.0.0.1" not in run("export").stdout


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Keys]:
    database, keys = Database(f"sqlite:///{tmp_path_factory.mktemp('file')}/a.db"), Keys(["k" * 32])
    migrate(database)
    append(database, 6)
    seal_all(database, keys)
    with database.read() as session:
        part = audit_files.stretch(session, since=None, until=None, account_id=None)
        lines = list(audit_files.write(session, keys, part))
    return "".join(f"{line}\n" for line in lines).encode(), keys


def test_a_file_signed_with_a_key_nobody_here_knows_is_not_whole(exported: tuple[bytes, Keys]) -> None:
    """Whoever writes a file anew can name any key: a proof that cannot be checked is none."""
    original, keys = exported
    rotated = Keys(["n" * 32, "k" * 32])
    assert audit_files.verify(original.splitlines(keepends=True), rotated).whole
    report = audit_files.verify(original.splitlines(keepends=True), Keys(["n" * 32]))
    assert [finding.kind for finding in report.findings] == ["unsigned"]
    assert keys.current_id in report.findings[0].text


def test_every_single_byte_of_the_end_counts(exported: tuple[bytes, Keys]) -> None:
    """The last line vouches for the others, and nothing for it but the signature within: each of its bytes is tried."""
    original, keys = exported
    start = original.rstrip(b"\n").rindex(b"\n") + 1
    for at in range(start, len(original) - 1):
        for new in (b"", b" ", b"0", original[at : at + 1] + b" ", original[at : at + 1] * 2):
            changed = original[:at] + new + original[at + 1 :]
            if changed != original:
                assert not audit_files.verify(changed.splitlines(keepends=True), keys).whole, (at, new)


@given(data=st.data(), where=st.floats(0, 1, exclude_max=True), what=st.integers(0, 255))
def test_any_byte_of_a_file_that_changes_is_found(
    exported: tuple[bytes, Keys], data: st.DataObject, where: float, what: int
) -> None:
    original, keys = exported
    at = int(where * len(original))
    how = data.draw(st.sampled_from(["replace", "drop", "insert"]))
    new = {"replace": bytes([what]), "drop": b"", "insert": bytes([what]) + original[at : at + 1]}[how]
    changed = original[:at] + new + original[at + 1 :]
    if changed.rstrip(b"\n") == original.rstrip(b"\n"):
        return
    assert not audit_files.verify(changed.splitlines(keepends=True), keys).whole, (at, how, what)


@given(first=st.integers(0, 8), second=st.integers(0, 8), how=st.sampled_from(["swap", "drop", "copy"]))
def test_any_line_of_a_file_that_moves_is_found(
    exported: tuple[bytes, Keys], first: int, second: int, how: str
) -> None:
    original, keys = exported
    lines = original.splitlines(keepends=True)
    first, second = first % len(lines), second % len(lines)
    changed = list(lines)
    if how == "swap":
        changed[first], changed[second] = changed[second], changed[first]
    elif how == "drop":
        del changed[first]
    else:
        changed.insert(second, lines[first])
    if changed != lines:
        assert not audit_files.verify(changed, keys).whole
