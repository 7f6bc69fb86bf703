"""`lms-bridge registrations …` and `lms-bridge invitations …` beside a running bridge."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from external_accounts.schema import AuditEvent
from lms_bridge.cli import main
from tests.bridge_under_test import heading
from tests.lms_bridge.mailing import in_french
from tests.lms_bridge.registration.conftest import ADA, SITE, UPSTREAM, Office, desk, link_in
from tests.served_bridge import to_toml

__all__ = ["desk"]

Run = Callable[..., Result]
GRACE = ["grace@mail.example", "--given-name", "Grace", "--family-name", "Hopper"]


@pytest.fixture
def config(desk: Office, tmp_path: Path) -> Callable[..., Path]:
    """Writes the settings of the running bridge as an operator has them."""
    settings = desk.bridge.runtime.settings

    def write(**changes: Any) -> Path:
        values = {
            "public_url": settings.public_url,
            "secret_keys": [key.get_secret_value() for key in settings.secret_keys],
            "database_url": f"sqlite:///{desk.bridge.runtime.database.url.database}",
            "institution": {"help_email": "aide@univ.example"},
            "mail": {"host": "127.0.0.1", "sender": "noreply@univ.example"},
            "sites": [SITE],
            "upstreams": [UPSTREAM],
            "registration": {"sponsors": ["learner"], "rights_months": 12},
        }
        path = tmp_path / "operator.toml"
        path.write_text(to_toml(values | changes), encoding="utf-8")
        return path

    return write


@pytest.fixture
def run(config: Callable[..., Path]) -> Run:
    path = config()
    return lambda *words: CliRunner().invoke(main, ["--config", str(path), *map(str, words)])


def catch_up(desk: Office) -> None:
    """Let the bridge's clock, which stands, show a time after the command's, which is the real one."""
    desk.bridge.clock.moment = datetime.now(UTC) + timedelta(seconds=1)


def test_requests_are_listed_accepted_and_refused(desk: Office, run: Run) -> None:
    desk.proved()
    desk.proved("bob@mail.example")
    ada, bob = desk.number(), desk.number("bob@mail.example")
    listed = json.loads(run("registrations", "list", "--json").stdout)
    assert [(row["id"], row["email"], row["state"]) for row in listed] == [
        (ada, ADA["email"], "waiting"),
        (bob, "bob@mail.example", "waiting"),
    ]
    accepted = run("registrations", "accept", ada, "--until", "2099-06-30")
    assert (accepted.exit_code, accepted.stdout) == (0, "Accepted: Ada Lovelace.\n")
    assert json.loads(run("registrations", "refuse", bob, "--reason", "complet", "--json").stdout)["state"] == "refused"
    catch_up(desk)
    assert "complet" in desk.newest_to("bob@mail.example").text
    assert heading(desk.finish(link_in(desk.newest_to(ADA["email"])))) == in_french("Your account is ready")
    again = run("registrations", "accept", ada)
    assert again.exit_code == 2
    assert "waits for no decision: it is done by cli:" in again.stderr
    assert "No request is waiting." in run("registrations", "list").stdout
    assert len(json.loads(run("registrations", "list", "--all", "--json").stdout)) == 2
    with desk.bridge.runtime.database.read() as session:
        actors = session.scalars(select(AuditEvent.actor).where(AuditEvent.event == "registration.decided")).all()
    assert all(actor.startswith("cli:") for actor in actors)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("registrations", "accept", "99"), "no request with the number 99"),
        (("registrations", "accept", "1", "--until", "soon"), "`soon` is no date"),
        (("registrations", "accept", "1", "--until", "2020-01-01"), "2020-01-01 is over"),
        (("invitations", "send", "nowhere", *GRACE[1:]), "`nowhere` is not an address"),
        (("invitations", "send", "desk@mail.example", *GRACE[1:]), "has an account: ext.desk"),
        (("invitations", "send", "a@univ.example", *GRACE[1:]), "address of the university"),
        (("invitations", "send", *GRACE, "--sponsor", "nobody"), "`nobody` is nobody who may answer"),
        (("invitations", "withdraw", "grace@mail.example"), "no open invitation"),
        (("invitations", "resend", "grace@mail.example"), "no open invitation"),
    ],
)
def test_what_cannot_be_done_is_said(run: Run, words: tuple[str, ...], says: str) -> None:
    answer = run(*words)
    assert answer.exit_code == 2
    assert says in answer.stderr


def test_an_invitation_is_sent_listed_sent_again_and_withdrawn(desk: Office, run: Run) -> None:
    assert run("invitations", "send", *GRACE, "--sponsor", "ext.desk").stdout == "Invited grace@mail.example.\n"
    assert "invited already" in run("invitations", "send", *GRACE).stderr
    (row,) = json.loads(run("invitations", "list", "--json").stdout)
    assert row["sent_by"].startswith("cli:")
    assert row["rights_end_at"], "registration.rights_months counts"
    catch_up(desk)
    link = link_in(desk.newest_to("grace@mail.example"))
    assert run("invitations", "resend", "GRACE@mail.example").exit_code == 0
    assert json.loads(run("invitations", "withdraw", "grace@mail.example", "--json").stdout)["state"] == "withdrawn"
    assert desk.finish(link).status_code == 410
    assert run("invitations", "list").stdout == "No invitation is open.\n"


def test_a_closed_bridge_invites_nobody(desk: Office, config: Callable[..., Path]) -> None:
    path = config(sites=[SITE | {"registration": "closed"}])
    answer = CliRunner().invoke(main, ["--config", str(path), "invitations", "send", *GRACE])
    assert answer.exit_code == 2
    assert "No site takes registrations" in answer.stderr


def test_d56_an_import_says_first_then_sends_and_twice_is_once(desk: Office, run: Run, tmp_path: Path) -> None:
    file, rejected = tmp_path / "people.csv", tmp_path / "rejected.csv"
    file.write_bytes(
        "Courriel;Prénom;Nom;Référent\na@mail.example;Émile;Borel;ext.desk\nnowhere;X;Y;\n"
        "desk@mail.example;D;D;\nb@mail.example;B;B;nobody\n".encode("cp1252")
    )
    preview = run("invitations", "import", file)
    assert preview.exit_code == 4
    assert "line 2: a@mail.example will be invited" in preview.stdout
    assert "Nothing was sent" in preview.stdout
    assert desk.rows() == (0, 0)
    applied = json.loads(run("invitations", "import", file, "--apply", "--rejected", rejected, "--json").stdout)
    assert [row["verdict"] for row in applied["rows"]] == ["invite", "has account", "no sponsor"]
    assert [row["line"] for row in applied["rejected"]] == [3, 5]
    catch_up(desk)
    assert "Émile Borel" in desk.newest_to("a@mail.example").text
    assert rejected.read_bytes().startswith(b"\xef\xbb\xbfCourriel;")
    again = json.loads(run("invitations", "import", file, "--apply", "--json").stdout)
    assert [row["verdict"] for row in again["rows"]] == ["under way", "has account", "no sponsor"]
    assert len(desk.mailbox.all()) == 1


def test_exit_codes_of_an_import_say_what_is_left_to_do(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("email,given name,family name\na@mail.example,A,B\n")
    assert [run("invitations", "import", file, *more).exit_code for more in ((), ("--apply",), ())] == [2, 0, 0]
    file.write_text("a;b\n")
    answer = run("invitations", "import", file)
    assert answer.exit_code == 2
    assert "no column for email, given_name, family_name" in answer.stderr
