"""Requests for assistance: without signing in, nothing revealed, nothing lost; and the help desk's list of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from sqlalchemy import event

from external_accounts import throttle
from external_accounts.audit import AuditEvent
from external_accounts.institution_schema import AssistanceRequest
from tests.bridge_under_test import BridgeUnderTest, Browser, heading
from tests.lms_bridge.mailing import Mailbox, in_french, mailing_bridge
from tests.lms_bridge.selfservice.forgetting import plain

RECEIVED = in_french("We have received your request")
TEXT = "Je ne lis plus ma messagerie.\nLe cours commence lundi <b>!</b>"
FIELDS = {
    "subject": "lost_identifier",
    "given_name": "Nora",
    "family_name": "Lopez",
    "contact": "nora@private.example",
    "identifier": "nlopez",
    "message": TEXT,
}


@dataclass
class Desk:
    bridge: BridgeUnderTest
    mailbox: Mailbox

    def write(self, browser: Browser | None = None, **changes: str) -> requests.Response:
        browser = browser or self.bridge.browser()
        browser.get("/assistance?subject=lost_identifier")
        return browser.submit(**FIELDS | changes)

    def agent(self, username: str = "ext.desk") -> Browser:
        browser = self.bridge.browser()
        browser.sign_in(username)
        return browser

    def rows(self) -> list[AssistanceRequest]:
        with self.bridge.runtime.database.read() as session:
            rows = session.query(AssistanceRequest).order_by(AssistanceRequest.id).all()
            session.expunge_all()
            return rows


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    profiles = [{"name": "vacataire", "label": {"fr": "Vacataire"}}]
    desk_people = {"members": [{"role": "agent", "usernames": ["ext.desk", "ext.other"]}]}
    with mailing_bridge(tmp_path, help_desk=desk_people, profiles=profiles) as (bridge, mailbox):
        for username in ("ext.desk", "ext.other", "ext.ada"):
            bridge.add_account(username)
        yield Desk(bridge, mailbox)


def test_the_whole_way_from_the_form_to_the_closed_request(desk: Desk) -> None:
    page = desk.write()
    assert (page.status_code, heading(page)) == (200, RECEIVED)
    reference = re.search(r"[A-Z0-9]{4}-[A-Z0-9]{4}", page.text)
    assert reference
    mail = desk.mailbox.newest()
    assert mail.to == "aide@univ.example"
    assert reference[0] in mail.subject
    assert "> Je ne lis plus ma messagerie." in mail.text
    assert "<b>" not in mail.html
    browser = desk.agent()
    listed = browser.get("/helpdesk/assistance")
    assert "Nora Lopez" in listed.text
    path = re.search(r'href="(/helpdesk/assistance/\d+)"', listed.text)
    assert path
    shown = browser.get(path[1])
    assert reference[0] in shown.text
    assert "lundi &lt;b&gt;!" in shown.text
    assert path[1] in mail.text
    closed = browser.submit(note="Appelée, pièce d'identité vue")
    assert "pièce d'identité vue" in plain(closed.text)
    assert in_french("No request is waiting.") in plain(browser.get("/helpdesk/assistance").text)
    assert "Nora Lopez" in browser.get("/helpdesk/assistance?state=closed").text
    with desk.bridge.runtime.database.read() as session:
        events = [(row.event, row.actor) for row in session.query(AuditEvent).filter(AuditEvent.event.like("assist%"))]
    assert events == [("assistance.asked", ""), ("assistance.closed", "ext.desk")]


def test_i3_the_form_looks_nobody_up_and_answers_known_and_unknown_alike(desk: Desk) -> None:
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        statements.append(statement)

    engine = desk.bridge.runtime.database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        pages = [desk.write(identifier=typed) for typed in ("ext.ada", "nobody")]
    finally:
        event.remove(engine, "before_cursor_execute", note)
    same = {re.sub(r"[A-Z0-9]{4}-[A-Z0-9]{4}|/assistance/[\w.-]+", "…", page.text) for page in pages}
    assert len(same) == 1
    assert not [one for one in statements if re.search(r"\b(accounts|identities|addresses)\b", one)]


@pytest.mark.parametrize("field", ["subject", "given_name", "family_name", "contact", "message"])
def test_what_is_missing_is_named_and_the_rest_stays(desk: Desk, field: str) -> None:
    page = desk.write(**{field: " "})
    assert page.status_code == 422
    assert f'href="#{field}"' in page.text
    assert field == "message" or "Le cours commence lundi" in page.text
    assert desk.rows() == []


def test_too_long_a_text_is_not_cut_behind_somebody_s_back(desk: Desk) -> None:
    page = desk.write(message="é" * 4001)
    assert page.status_code == 422
    assert "é" * 4001 in page.text
    assert heading(desk.write(message="é" * 4000)) == RECEIVED


def test_a_filled_trap_loses_nothing_and_lets_a_person_through(desk: Desk) -> None:
    """What fills every field is asked once more, with the trap empty again: a browser that filled it in by itself."""
    browser = desk.bridge.browser()
    page = desk.write(browser, leave_empty="https://spam.example")
    assert page.status_code == 422
    assert "Le cours commence lundi" in page.text
    assert "spam.example" not in page.text
    assert desk.rows() == []
    assert heading(browser.submit(**FIELDS)) == RECEIVED


def test_over_the_network_s_budget_the_text_stays_on_the_page(desk: Desk) -> None:
    for _ in range(throttle.ASSISTANCE_NETWORK.burst):
        assert heading(desk.write()) == RECEIVED
    page = desk.write()
    assert page.status_code == 429
    assert int(page.headers["Retry-After"]) > 0
    assert "Le cours commence lundi" in page.text
    assert len(desk.rows()) == throttle.ASSISTANCE_NETWORK.burst
    desk.bridge.clock.forward(minutes=6)
    assert heading(desk.write()) == RECEIVED


def test_characters_that_no_database_holds_are_dropped(desk: Desk) -> None:
    assert heading(desk.write(message="a\x00b\u2028c\r\nd", contact="\x1b[2J 05 49 00 00 00")) == RECEIVED
    (row,) = desk.rows()
    assert (row.message, row.contact) == ("abc\nd", "[2J 05 49 00 00 00")


def test_the_form_wants_its_token(desk: Desk) -> None:
    answer = requests.post(f"{desk.bridge.url}/assistance", data=FIELDS, timeout=20)
    assert answer.status_code == 400
    assert desk.rows() == []


def test_a_forged_receipt_is_no_page(desk: Desk) -> None:
    assert desk.bridge.browser().get("/assistance/BBBBBBBB").status_code == 404


def test_only_the_help_desk_reads_them(desk: Desk) -> None:
    desk.write()
    (row,) = desk.rows()
    for path in ("/helpdesk/assistance", f"/helpdesk/assistance/{row.id}"):
        assert desk.agent("ext.ada").get(path).status_code == 403
        assert "Nora" not in desk.bridge.browser().get(path).text


def test_of_two_who_close_at_once_one_does(desk: Desk) -> None:
    desk.write()
    (row,) = desk.rows()
    agents = [desk.agent(name) for name in ("ext.desk", "ext.other")]
    for browser in agents:
        browser.get(f"/helpdesk/assistance/{row.id}")
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda browser: browser.submit(note="fait").status_code, agents))
    assert sorted(answers) == [200, 409]


def test_a_long_list_is_read_in_pages_and_closing_needs_a_note(desk: Desk) -> None:
    now = desk.bridge.clock()
    with desk.bridge.runtime.database.begin() as session:
        for number in range(51):
            session.add(
                AssistanceRequest(
                    asked_at=now,
                    state="waiting",
                    reference=f"R{number}",
                    subject="other",
                    given_name="N",
                    family_name=str(number),
                    contact="x",
                    locale="fr",
                )
            )
    browser = desk.agent()
    first = browser.get("/helpdesk/assistance")
    assert first.text.count("/helpdesk/assistance/") == 50
    further = re.search(r'href="(/helpdesk/assistance\?after=\d+)"', first.text)
    assert further
    last = browser.get(further[1])
    assert last.text.count("/helpdesk/assistance/") == 1
    beyond = browser.get("/helpdesk/assistance?after=51", follow=False)  # what stood there was closed: the first page
    assert (beyond.status_code, beyond.headers["Location"]) == (303, "/helpdesk/assistance")
    closed = browser.get("/helpdesk/assistance?state=closed&after=51", follow=False)
    assert (closed.status_code, closed.headers["Location"]) == (303, "/helpdesk/assistance?state=closed")
    browser.get("/helpdesk/assistance/51")
    assert browser.submit(note=" ").status_code == 422
    assert browser.get("/helpdesk/assistance/99999").status_code == 404
    assert browser.get("/helpdesk/assistance/x").status_code == 404


def test_closed_requests_are_dropped_after_half_a_year(desk: Desk) -> None:
    desk.write()
    desk.write()
    first, _ = desk.rows()
    browser = desk.agent()
    browser.get(f"/helpdesk/assistance/{first.id}")
    browser.submit(note="fait")
    desk.bridge.clock.forward(days=181)
    desk.bridge.runner.run_once()
    assert [row.state for row in desk.rows()] == ["waiting"]
