"""“Pourquoi je n'entre pas ?”: the page says nothing, the mailbox on file is told everything."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner, Result
from sqlalchemy import event, func, select

from external_accounts import audit, throttle
from external_accounts.accounts import suspend
from external_accounts.schema import Account, AuditEvent
from lms_bridge.cli import main
from lms_bridge.schema import Mirror, WhyRequest
from tests.bridge_under_test import BridgeUnderTest, heading
from tests.lms_bridge.mailing import in_french
from tests.lms_bridge.selfservice.account.conftest import Home, home
from tests.served_bridge import operator_file

__all__ = ["home"]

NAMES = ["ext.ada", "ext.nobody", "ada@mail.example", "nobody@no.example", "x\x00y", "é" * 300]


def ask(bridge: BridgeUnderTest, identifier: str, *, follow: bool = True) -> requests.Response:
    browser = bridge.browser()
    browser.get("/pourquoi")
    return browser.submit(identifier=identifier, follow=follow)


def comparable(answer: requests.Response) -> tuple[int, list[tuple[str, str]], str]:
    headers = {name: value for name, value in answer.headers.items() if name != "Date"}
    headers["Set-Cookie"] = re.sub(r"=[^;]*", "=…", headers.get("Set-Cookie", ""), count=1)
    page = re.sub(r'name="csrf_token" value="[^"]*"', "", answer.text)
    return answer.status_code, sorted(headers.items()), page


def stop(home: Home, reason: str = "under examination") -> None:
    with home.bridge.runtime.database.begin() as session:
        account = session.get_one(Account, home.account_id)
        suspend(session, account, reason=reason, until=None, now=home.bridge.clock(), origin=audit.SYSTEM)


def test_the_explanation_goes_to_the_mailbox_on_file_and_never_to_the_screen(home: Home) -> None:
    stop(home)
    before = len(home.mailbox.all())
    answer = ask(home.bridge, "ext.ada")
    assert heading(answer) == in_french("Why can't I enter?")
    assert in_french("Your account is suspended") not in answer.text
    [mail] = home.mailbox.all()[before:]
    assert mail.to == "ada@mail.example"
    for part in (mail.text, mail.html):
        assert in_french("Your account is suspended") in " ".join(part.split())
    assert "ext.ada" in mail.text
    assert "under examination" not in mail.text, "the reason is for the help desk"


def test_whoever_may_enter_is_told_so_and_by_which_door(home: Home) -> None:
    before = len(home.mailbox.all())
    ask(home.bridge, "Ada@Mail.Example")
    [mail] = home.mailbox.all()[before:]
    told = " ".join(mail.text.split())
    assert in_french("open to you. Nothing stands in the way: sign in by your door, with this user name.") in told
    assert "Extérieurs" in told


def test_i3_known_and_unknown_get_the_same_bytes_and_the_same_rows(home: Home) -> None:
    answers, pages, statements = {}, {}, {}
    seen: list[str] = []
    engine = home.bridge.runtime.database.engine
    event.listen(engine, "before_cursor_execute", lambda *arguments: seen.append(arguments[2]))
    for name in NAMES:
        browser = home.bridge.browser()
        browser.get("/pourquoi")
        seen.clear()
        answers[name] = comparable(browser.submit(identifier=name, follow=False))
        statements[name] = list(seen)
        pages[name] = comparable(browser.get("/pourquoi?sent=1"))
    for name in NAMES:
        assert answers[name] == answers["ext.nobody"], name
        assert pages[name] == pages["ext.nobody"], name
        assert statements[name] == statements["ext.nobody"], name
    with home.bridge.runtime.database.read() as session:
        assert session.scalar(select(func.count()).select_from(WhyRequest)) == len(NAMES)
        assert not any("accounts" in statement for statement in statements["ext.ada"])


def test_a_mailbox_gets_a_few_of_these_whatever_it_is_asked_by(home: Home) -> None:
    before = len(home.mailbox.all())
    for name in ["ext.ada", "ada@mail.example"] * (throttle.WHY_MAIL.burst + 1):
        assert ask(home.bridge, name).status_code == 200
    assert len(home.mailbox.all()) - before == throttle.WHY_MAIL.burst
    with home.bridge.runtime.database.read() as session:
        assert session.scalar(select(func.count()).select_from(WhyRequest)) == 0


def test_an_unknown_name_writes_to_nobody_and_everything_is_audited(home: Home) -> None:
    before = len(home.mailbox.all())
    ask(home.bridge, "ext.nobody")
    ask(home.bridge, "ext.ada")
    assert len(home.mailbox.all()) - before == 1
    with home.bridge.runtime.database.read() as session:
        events = session.scalars(select(AuditEvent.event).where(AuditEvent.event.like("why.%"))).all()
    assert events == ["why.asked", "why.asked", "why.mailed"]


def test_one_request_that_cannot_be_answered_holds_up_no_other(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from lms_bridge.selfservice import why_answers

    home.bridge.add_account("ext.grace")
    explain = why_answers.explanation

    def fails_for_ada(runtime: Any, account: Account, *rest: Any) -> Any:
        if account.username == "ext.ada":
            raise RuntimeError("broken")
        return explain(runtime, account, *rest)

    monkeypatch.setattr(why_answers, "explanation", fails_for_ada)
    ask(home.bridge, "ext.ada")
    ask(home.bridge, "ext.grace")
    assert home.mailbox.newest().to == "ext.grace@mail.example"
    monkeypatch.undo()
    home.bridge.clock.forward(minutes=6)
    assert home.mailbox.newest().to == "ada@mail.example"


def test_an_empty_field_is_said_and_get_changes_nothing(home: Home) -> None:
    assert ask(home.bridge, "  ").status_code == 422
    assert home.bridge.browser().get("/pourquoi?identifier=ext.ada&sent=1").status_code == 200
    with home.bridge.runtime.database.read() as session:
        assert session.scalar(select(func.count()).select_from(WhyRequest)) == 0


def test_the_help_of_the_sign_in_pages_leads_there(home: Home) -> None:
    for path in ("/signin/local", "/cas/login"):
        assert 'href="/pourquoi"' in home.bridge.browser().get(path).text


# --- lms-bridge why ---


@pytest.fixture
def run(home: Home, tmp_path: Path) -> Callable[..., Result]:
    settings = home.bridge.runtime.settings
    services = [service.model_dump(mode="json", exclude_defaults=True) for service in settings.services]
    path = operator_file(settings, tmp_path, services=services)
    return lambda *words: CliRunner().invoke(main, ["--config", str(path), "why", *words])


def test_operators_see_the_decision_and_every_fact_it_rests_on(home: Home, run: Callable[..., Result]) -> None:
    stop(home)
    with home.bridge.runtime.database.begin() as session:
        session.add(Mirror(account_id=home.account_id, site="updago", moodle_id=7, problem="two users", owned=True))
    home.bridge.browser().sign_in("ext.ada", "wrong")
    [facts] = json.loads(run("ext.ada", "--json").output)
    by_name = {one["name"]: one for one in facts["services"]}
    assert by_name["app"]["obstacles"] == ["suspended"]
    assert facts["account"]["suspension_reason"] == "under examination"
    assert facts["addresses"][0]["email"] == "ada@mail.example"
    assert facts["addresses"][0]["confirmed"]
    assert facts["mirrors"][0]["problem"] == "two users"
    assert facts["sign_ins"][0]["outcome"] == "refused"
    told = run("ada@mail.example").output
    assert "enters App: NO – Your account is suspended" in told
    assert "suspended since" in told
    assert "two users" in told


def test_operators_can_ask_by_number_and_about_one_application(home: Home, run: Callable[..., Result]) -> None:
    [facts] = json.loads(run(f"#{home.account_id}", "--service", "app", "--json").output)
    assert [one["name"] for one in facts["services"]] == ["app"]
    assert facts["services"][0]["admitted"] is True
    assert run("ext.nobody").exit_code == 2
    assert run("#999").exit_code == 2
    assert run("ext.ada", "--service", "nothing").exit_code == 2


def test_operators_see_a_proof_that_is_waited_for(home: Home, run: Callable[..., Result]) -> None:
    home.add("second@mail.example", confirm=False)
    [facts] = json.loads(run("ext.ada", "--json").output)
    assert "confirm address" in [one["purpose"] for one in facts["proofs"]]
    assert any(one["to"] == "second@mail.example" for one in facts["mails"])
    assert "waits for “confirm address”" in run("ext.ada").output
