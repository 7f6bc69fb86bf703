"""Handovers reach hooks and directories: signed, at least once, under one key, whatever the receiver does meanwhile."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from external_accounts.accounts import lock_account
from external_accounts.directory import DirectoryUnavailable, EntryMissing
from external_accounts.directory.embedded import EmbeddedDirectory
from external_accounts.handovers import hand_over
from external_accounts.institution_schema import DirectoryEntry, HandoverDelivery
from lms_bridge.cli import main
from lms_bridge.settings import SettingsError, build
from tests.bridge_under_test import running_bridge, settings_values
from tests.lms_bridge.cas.listeners import Behaviour, Listener, babbles, floods, hangs, hangs_up, says, trickles
from tests.lms_bridge.hooks.conftest import OLDER, SECRET, Town, told, values

HOOK, DIRECTORY = "hook:mail", "directory:sel"
REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "hooks.md"


def test_a_change_reaches_the_hook_and_the_directory_with_the_account_as_it_is_now(town: Town) -> None:
    town.forward_to("ada@elsewhere.example")
    town.deliver()
    (received,) = town.receiver.received
    assert (received.method, received.target) == ("POST", "/app/hook")
    message = told(received)
    assert message["event"] == "mailbox.changed"
    assert message["account"]["identifier"] == "ext.ada"
    assert message["account"]["profile"] == "vacataire"
    assert message["account"]["forward_to"] is None, "nobody has shown yet that they read it"
    assert message["account"]["keep_copy"] is True
    assert town.states() == {HOOK: "done", DIRECTORY: "done"}
    with town.bridge.runtime.database.read() as session:
        choices = session.query(DirectoryEntry).filter_by(username="ext.ada").one().choices
    assert choices["listed"] == "no"


def test_what_is_told_is_read_when_it_is_told(town: Town) -> None:
    """The last state arrives whatever the order: an older handover that comes late does no harm."""
    first = town.tell()
    town.receiver.behaviour = says("503 Service Unavailable")
    town.deliver()
    with town.bridge.runtime.database.begin() as session:
        lock_account(session, town.account_id).rights_end_at = town.bridge.clock()
    town.receiver.behaviour = says("204 No Content")
    town.bridge.clock.forward(minutes=1)
    town.tell("account.ended")
    town.deliver()
    _, *later = (told(one) for one in town.receiver.received)
    assert [message["account"]["ended"] for message in later] == [True, True]
    assert first


def test_the_signature_is_over_timestamp_and_body_under_every_secret(town: Town) -> None:
    town.tell()
    town.deliver()
    (received,) = town.receiver.received
    headers = {name.lower(): value for name, value in received.headers.items()}
    timestamp = headers["lms-bridge-timestamp"]
    assert int(timestamp) == int(town.bridge.clock().timestamp())
    wanted = [
        "v1=" + hmac.new(secret.encode(), timestamp.encode() + b"." + received.body, hashlib.sha256).hexdigest()
        for secret in (SECRET, OLDER)
    ]
    assert headers["lms-bridge-signature"] == ",".join(wanted)
    assert headers["idempotency-key"] == told(received)["id"]
    assert headers["lms-bridge-event"] == "mailbox.changed"


def test_the_examples_of_the_documentation_verify_a_real_delivery(town: Town, tmp_path: Path) -> None:
    town.tell()
    town.deliver()
    (received,) = town.receiver.received
    headers = {name.lower(): value for name, value in received.headers.items()}
    (tmp_path / "body").write_bytes(received.body)
    examples = dict(re.findall(r"```(python|sh)\n(.*?)```", REFERENCE.read_text("utf-8"), re.DOTALL))
    timestamp, signature = headers["lms-bridge-timestamp"], headers["lms-bridge-signature"]
    program = examples["python"] + (
        "\nimport pathlib, sys\n"
        "timestamp, signature, secret = sys.argv[1:]\n"
        "body = pathlib.Path('body').read_bytes()\n"
        "ok = is_genuine(body, timestamp, signature, [secret], now=int(timestamp) + 5)\n"
        "late = is_genuine(body, timestamp, signature, [secret], now=int(timestamp) + 3600)\n"
        "other = is_genuine(body + b' ', timestamp, signature, [secret], now=int(timestamp))\n"
        "print(ok, late, other)\n"
    )
    for secret, genuine in ((SECRET, True), (OLDER, True), ("x" * 32, False)):
        arguments = [timestamp, signature, secret]
        answer = subprocess.run(
            [sys.executable, "-c", program, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert answer.stdout.split() == [str(genuine), "False", "False"]
        environment = {"PATH": "/usr/bin:/bin", "TIMESTAMP": timestamp, "SIGNATURE": signature, "SECRET": secret}
        shell = subprocess.run(["sh", "-c", examples["sh"]], cwd=tmp_path, env=environment, check=False)
        assert (shell.returncode == 0) is genuine


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (hangs, "no answer: "),
        (hangs_up, "no answer: "),
        (babbles, "no answer: "),
        (trickles, "no answer: "),
        (says("500 Internal Server Error"), "answered 500"),
        (says("302 Found", "Location: http://127.0.0.1:9/"), "answered 302: redirects are not followed"),
        (says("408 Request Timeout"), "answered 408"),
        (says("425 Too Early"), "answered 425"),
        (says("429 Too Many Requests"), "answered 429"),
    ],
    ids=["hangs", "hangs up", "babbles", "trickles", "500", "302", "408", "425", "429"],
)
def test_what_is_not_taken_is_tried_again_under_the_same_key(town: Town, behaviour: Behaviour, words: str) -> None:
    town.tell()
    town.receiver.behaviour = behaviour
    town.deliver()
    (row,) = [row for row in town.rows() if row.target == HOOK]
    assert (row.state, row.attempts) == ("pending", 1)
    assert row.last_error.startswith(words)
    assert town.deliver() == 0, "not before its pause is over"
    town.receiver.behaviour = says("200 OK")
    town.bridge.clock.forward(seconds=16)
    town.deliver()
    assert town.states()[HOOK] == "done"
    keys = {told(one)["id"] for one in town.receiver.received if one.body}
    assert len(town.receiver.received) == 2
    assert len(keys) == 1


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "404 Not Found", "410 Gone", "422 No"])
def test_a_final_refusal_is_kept_for_people_to_see(town: Town, status: str) -> None:
    town.tell()
    town.receiver.behaviour = says(status)
    town.deliver()
    assert town.states() == {HOOK: "failed", DIRECTORY: "done"}


def test_a_body_without_end_is_not_read(town: Town) -> None:
    town.tell()
    town.receiver.behaviour = floods
    town.deliver()
    assert town.states()[HOOK] == "done"


def test_pauses_grow_to_an_hour_and_after_three_days_it_is_given_up(town: Town) -> None:
    town.tell()
    town.receiver.behaviour = says("503 Service Unavailable")
    pauses = []
    for _ in range(200):
        town.deliver()
        (row,) = [row for row in town.rows() if row.target == HOOK]
        if row.state == "failed":
            break
        pause = row.due_at - town.bridge.clock()
        pauses.append(pause.total_seconds())
        town.bridge.clock.moment = row.due_at
    assert row.state == "failed"
    assert pauses[:4] == [15, 30, 60, 120]
    assert max(pauses) == 3600
    assert 3 * 24 <= sum(pauses) / 3600 <= 3 * 24 + 1


@pytest.mark.parametrize("asked", ["600", "Mon, 01 Jan 2090 00:00:00 GMT", "99999999999999999999"])
def test_a_receiver_that_asks_for_a_pause_gets_it(town: Town, asked: str) -> None:
    for _ in range(3):
        town.tell()
    town.receiver.behaviour = says("429 Too Many Requests", f"Retry-After: {asked}")
    town.deliver()
    pause = timedelta(seconds=600) if asked == "600" else timedelta(days=1)
    rows = [row for row in town.rows() if row.target == HOOK]
    assert [row.due_at - town.bridge.clock() for row in rows] == [pause] * 3
    town.bridge.clock.moment += pause - timedelta(seconds=1)
    town.deliver()
    assert len(town.receiver.received) == 1
    town.receiver.behaviour = says("200 OK")
    town.bridge.clock.forward(seconds=1)
    town.deliver()
    assert set(town.states().values()) == {"done"}
    assert len(town.receiver.received) == 4


@pytest.mark.parametrize("asked", ["", "-5", "soon", "Mon, 01 Jan 1990 00:00:00 GMT", "1e3", "٣"])
def test_a_pause_that_says_nothing_changes_nothing(town: Town, asked: str) -> None:
    town.tell()
    town.receiver.behaviour = says("503 Service Unavailable", f"Retry-After: {asked}")
    town.deliver()
    (row,) = [row for row in town.rows() if row.target == HOOK]
    assert row.due_at - town.bridge.clock() == timedelta(seconds=15)


def test_an_outage_costs_one_try_a_round_and_nothing_is_lost(town: Town) -> None:
    for _ in range(5):
        town.tell()
    town.receiver.behaviour = hangs_up
    town.deliver()
    assert len(town.receiver.received) == 1
    town.receiver.behaviour = says("200 OK")
    town.bridge.clock.forward(seconds=16)
    town.deliver()
    assert set(town.states().values()) == {"done"}
    assert len({told(one)["id"] for one in town.receiver.received}) == 5


def test_one_account_that_a_receiver_chokes_on_holds_up_no_other(town: Town) -> None:
    other = town.bridge.add_account("ext.bob")
    town.tell()
    seen: list[bytes] = []

    def choke(connection: object, over: object) -> None:
        body = town.receiver.received[-1].body
        seen.append(body)
        says("500 No" if b"ext.ada" in body else "200 OK")(connection, over)  # type: ignore[arg-type]

    town.receiver.behaviour = choke
    town.account_id, ada = other, town.account_id
    town.tell()
    town.deliver()
    states = {row.handover_id: row.state for row in town.rows() if row.target == HOOK}
    assert sorted(states.values()) == ["done", "pending"]
    assert ada


def test_each_hook_has_a_state_of_its_own_and_hears_what_it_asked_for(tmp_path: Path) -> None:
    with Listener() as good, Listener(says("404 Not Found")) as bad, Listener() as picky:
        hooks = [
            {"name": name, "url": f"{one.url}/hook", "secrets": [SECRET], "timeout": 1}
            for name, one in (("good", good), ("bad", bad), ("picky", picky))
        ]
        hooks[2]["events"] = ["account.ended"]
        with running_bridge(tmp_path, **values(good, hooks=hooks)) as bridge:
            town = Town(bridge, good, bridge.add_account())
            town.tell("account.ended")
            town.tell("listing.changed")
            town.deliver()
            states = {(row.handover_id, row.target): row.state for row in town.rows()}
    assert states == {
        (1, "hook:good"): "done",
        (1, "hook:bad"): "failed",
        (1, "hook:picky"): "done",
        (2, "hook:good"): "done",
        (2, "hook:bad"): "failed",
    }
    assert [told(one)["event"] for one in picky.received] == ["account.ended"]


@pytest.mark.parametrize("error", [DirectoryUnavailable(), EntryMissing()])
def test_a_directory_that_does_not_take_it_is_tried_again(
    town: Town, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    town.tell()

    def refuse(*_arguments: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(EmbeddedDirectory, "write_choices", refuse)
        town.deliver()
    assert town.states() == {HOOK: "done", DIRECTORY: "pending"}
    town.bridge.clock.forward(seconds=16)
    town.deliver()
    assert town.states() == {HOOK: "done", DIRECTORY: "done"}


def test_i8_a_killed_worker_s_delivery_goes_out_again_when_its_lease_ends(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """The process ends here: nothing catches this."""

    town.tell("account.ended")

    def die(*_arguments: object, **_more: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("lms_bridge.hooks.delivery.outbound.call", die)
        with pytest.raises(Killed):
            town.deliver()
    assert town.deliver() == 0, "it may still be on its way"
    town.bridge.clock.forward(minutes=3)
    town.deliver()
    (row,) = town.rows()
    assert (row.state, row.attempts) == ("done", 2)


def test_i8_what_was_rolled_back_is_told_to_nobody(town: Town) -> None:
    with town.bridge.runtime.database.begin() as session:
        hand_over(session, "account.ended", town.account_id, now=town.bridge.clock())
        session.flush()
        session.rollback()
    assert town.deliver() == 0
    assert town.receiver.received == []


def test_an_erased_account_is_told_by_its_names_alone(town: Town) -> None:
    town.forward_to("ada@elsewhere.example")
    with town.bridge.runtime.database.begin() as session:
        lock_account(session, town.account_id).erased_at = town.bridge.clock()
    town.tell("account.erased")
    town.deliver()
    message = told(town.receiver.received[-1])
    assert message["account"]["erased"] is True
    assert (message["account"]["identifier"], message["account"]["forward_to"]) == ("ext.ada", None)


def test_the_job_is_woken_by_the_change_itself(town: Town) -> None:
    town.tell()
    town.bridge.runner.run_once()
    assert len(town.receiver.received) == 1


@pytest.fixture
def command(town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments that lead the command line to the town's settings."""
    given = settings_values(tmp_path, **values(town.receiver))
    given["secret_keys"] = ["k" * 32]
    for name, value in given.items():
        text = value if isinstance(value, str) else json.dumps(value)
        monkeypatch.setenv(f"LMS_BRIDGE_{name.upper()}", text)
    return ["hooks"]


def test_the_command_shows_what_was_given_up_and_sends_it_again(town: Town, command: list[str]) -> None:
    number = town.tell()
    town.receiver.behaviour = says("404 Not Found")
    town.deliver()
    run = CliRunner()
    shown = run.invoke(main, [*command, "status"])
    assert shown.exit_code == 4
    assert re.search(r"hook:mail +0 +0 +0 +1", shown.output)
    assert f"{number}  hook:mail  answered 404" in shown.output
    machine = json.loads(run.invoke(main, [*command, "status", "--json"]).output)
    assert machine["failed"] == [{"id": number, "target": HOOK, "error": "answered 404"}]
    town.receiver.behaviour = says("200 OK")
    again = run.invoke(main, [*command, "retry", str(number)])
    assert again.exit_code == 0, again.output
    town.bridge.clock.forward(seconds=60)
    town.deliver()
    assert town.states()[HOOK] == "done"
    assert run.invoke(main, [*command, "status"]).exit_code == 0
    assert run.invoke(main, [*command, "retry", "--to", "hook:other"]).exit_code == 2
    assert run.invoke(main, [*command, "retry"]).exit_code == 2


def test_the_command_tries_a_hook(town: Town, command: list[str]) -> None:
    run = CliRunner()
    assert run.invoke(main, [*command, "test", "mail"]).output == "mail: took the message\n"
    message = told(town.receiver.received[-1])
    assert (message["event"], message["account"]) == ("test", {})
    town.receiver.behaviour = says("301 Moved", "Location: https://univ.example/")
    refused = run.invoke(main, [*command, "test", "mail"])
    assert refused.exit_code == 4
    assert "redirects are not followed" in refused.output
    assert run.invoke(main, [*command, "test", "other"]).exit_code == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"url": "http://mail.univ.example/hook"}, "https://"),
        ({"secrets": ["short"]}, "at least 32 characters"),
        ({"secrets": []}, "must not be empty"),
        ({"events": ["account.moved"]}, "account.activated"),
    ],
)
def test_a_hook_that_cannot_be_trusted_is_refused_at_start(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    hook = {"name": "mail", "url": "https://mail.univ.example/hook", "secrets": [SECRET]} | change
    with pytest.raises(SettingsError, match=re.escape(words)) as refused:
        build(settings_values(tmp_path, hooks=[hook]))
    assert SECRET not in str(refused.value)


def test_old_handovers_are_dropped_with_their_deliveries(town: Town) -> None:
    town.tell()
    town.deliver()
    town.bridge.clock.forward(days=91)
    town.bridge.runner.run_once()
    with town.bridge.runtime.database.read() as session:
        assert session.query(HandoverDelivery).count() == 0
