"""I3, TOK-01: whoever fills in the form learns nothing about anybody; the mailbox learns what there is to say."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from sqlalchemy import event, select

from external_accounts.addresses import parse_address, set_primary_address
from external_accounts.proofs import ProofUnknown, look_at
from external_accounts.schema import Account, OutboxMail, Registration
from tests.bridge_under_test import APP, forms, heading
from tests.lms_bridge.mailing import code_in, in_french
from tests.lms_bridge.registration.conftest import ADA, Office, link_in, office

KNOWN, UNKNOWN, MEMBER = "known@mail.example", "nobody@mail.example", "member@univ.example"
RANDOM = re.compile(r"[0-9a-f]{32}\.[\w-]+|value=\"[\w.-]{60,}\"|[?&]v=\w+")


@pytest.fixture
def told(desk: Office) -> Office:
    """With somebody who has an account."""
    desk.bridge.add_account("ext.known", email=KNOWN)
    return desk


@contextmanager
def statements(desk: Office) -> Iterator[list[str]]:
    """What the database is asked in between."""
    seen: list[str] = []
    engine = desk.bridge.runtime.database.engine

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_tok_01_the_same_bytes_for_known_unknown_and_member(told: Office) -> None:
    answers = []
    for email in (KNOWN, UNKNOWN, MEMBER):
        browser = told.browser()
        browser.get("/account/register")
        sent = browser.submit(**(ADA | {"email": email}), follow=False)
        page = browser.get(sent.headers["Location"])
        headers = {
            name: value for name, value in sent.headers.items() if name not in ("Date", "Location", "Set-Cookie")
        }
        answers.append((sent.status_code, headers, page.status_code, RANDOM.sub("", page.text)))
    assert answers[0] == answers[1] == answers[2]


def test_i3_the_request_looks_nothing_up_and_writes_the_same_for_everybody(told: Office) -> None:
    logs = []
    for email in (KNOWN, UNKNOWN, MEMBER):
        browser = told.browser()
        browser.get("/account/register")
        before = told.rows()
        with statements(told) as seen:
            browser.submit(**(ADA | {"email": email}), follow=False)
        logs.append(seen)
        assert told.rows() == (before[0] + 1, before[1] + 1)
    assert logs[0] == logs[1] == logs[2]
    asked = "\n".join(logs[0])
    for table in ("accounts", "addresses", "identities", "outbox_mails"):
        assert not re.search(rf"\b{table}\b", asked), (table, asked)


def test_d14_no_mail_is_written_in_the_request(told: Office) -> None:
    told.ask(email=KNOWN)
    with told.bridge.runtime.database.read() as session:
        assert session.scalars(select(OutboxMail.id)).all() == []


def test_who_has_an_account_is_told_so_by_mail_alone(told: Office) -> None:
    browser, page = told.ask(email=KNOWN.upper())
    mail = told.newest_to(KNOWN)
    assert "ext.known" in mail.text
    assert "/account/register/" not in mail.text
    assert heading(browser.get(page.url)) == in_french("Look in your mailbox")
    assert told.accounts() == ["ext.desk", "ext.known"]


def test_a_member_is_shown_to_the_door_of_the_university(told: Office) -> None:
    told.ask(email=MEMBER)
    mail = told.newest_to(MEMBER)
    assert "Enseignant·es, étudiant·es" in mail.text
    assert "/account/register/" not in mail.text


def test_what_a_stranger_types_as_a_name_goes_to_nobodys_mailbox(told: Office) -> None:
    for email in (KNOWN, UNKNOWN, MEMBER):
        told.ask(email=email, given_name="Gagnez", family_name="http://evil.example")
        mail = told.newest_to(email)
        assert "evil.example" not in mail.text + mail.html + mail.subject


def test_d12_a_mailbox_is_not_flooded_and_the_page_looks_the_same(told: Office) -> None:
    pages = {heading(told.ask(email=UNKNOWN)[1]) for _ in range(8)}
    assert pages == {in_french("Look in your mailbox")}
    assert len(told.mails_to(UNKNOWN)) == 5
    told.bridge.clock.forward(minutes=11)
    told.ask(email=UNKNOWN)
    assert len(told.mails_to(UNKNOWN)) == 6


def test_a_flood_from_one_network_is_stopped_before_it_fills_the_database(told: Office) -> None:
    browser = told.browser()
    statuses = []
    for number in range(32):
        browser.get("/account/register")
        statuses.append(browser.submit(**(ADA | {"email": f"a{number}@mail.example"})).status_code)
    assert statuses == [200] * 30 + [429] * 2
    assert told.rows()[0] == 30


def test_d06_a_resend_sends_the_same_link(told: Office) -> None:
    browser, page = told.ask(email=UNKNOWN)
    first = link_in(told.newest_to(UNKNOWN))
    told.bridge.clock.forward(seconds=61)
    browser.get(page.url)
    again = browser.submit(1)
    assert heading(again) == in_french("Look in your mailbox")
    assert [link_in(mail) for mail in told.mails_to(UNKNOWN)] == [first, first]
    browser.get(again.url)
    browser.submit(1)
    assert len(told.mails_to(UNKNOWN)) == 2, "within the pause"


def test_d06_a_resend_to_somebody_known_tells_them_again_and_looks_the_same(told: Office) -> None:
    browser, page = told.ask(email=KNOWN)
    told.mailbox.all()
    told.bridge.clock.forward(seconds=61)
    browser.get(page.url)
    assert heading(browser.submit(1)) == in_french("Look in your mailbox")
    assert len(told.mails_to(KNOWN)) == 2


def test_an_account_that_appeared_meanwhile_is_found_at_every_step(told: Office) -> None:
    """Between asking and proving, and between being accepted and the last step."""
    browser, _page = told.ask(email=UNKNOWN)
    link = link_in(told.newest_to(UNKNOWN))
    told.bridge.add_account("ext.meanwhile", email=UNKNOWN)
    browser.get(link)
    done = browser.submit()
    assert heading(done) == in_french("You have an account")
    assert "ext.meanwhile" in done.text
    last = told.accepted("late@mail.example")
    told.bridge.add_account("ext.late", email="late@mail.example")
    answer = told.finish(last)
    assert (answer.status_code, heading(answer)) == (409, in_french("You have an account"))
    assert "ext.late" in answer.text
    assert told.account("ext.ada.lovelace") is None


def test_an_unconfirmed_secondary_mention_is_no_account_of_that_address(told: Office) -> None:
    """LNK-03: somebody writes a stranger's address into their own account; the stranger registers all the same."""
    with told.bridge.runtime.database.begin() as session:
        account = session.scalars(select(Account).where(Account.username == "ext.known")).one()
        own = account.addresses[0]
        set_primary_address(session, account, parse_address(UNKNOWN), role="contact", now=told.bridge.clock())
        session.flush()
        next(address for address in account.addresses if address is not own).is_primary = False
        session.flush()
        own.is_primary = True
    told.ask(email=UNKNOWN)
    assert "/account/register/" in told.newest_to(UNKNOWN).text


def test_disposable_addresses_are_refused_by_their_text_alone(tmp_path: Path) -> None:
    own = tmp_path / "refused.txt"
    own.write_text("# ours\nparty.example  # since May\n")
    rules = {
        "refused_domains": ["spam.example"],
        "refused_domains_file": str(own),
        "allowed_domains": ["good.spam.example"],
    }
    with office(tmp_path, registration=rules) as strict:
        for email in ("a@mailinator.com", "a@spam.example", "a@sub.spam.example", "A@Party.Example"):
            _browser, page = strict.ask(email=email)
            assert page.status_code == 422
            assert "adresse jetable" in page.text
            assert 'value="Ada"' in page.text, "what was typed stays"
        assert strict.rows() == (0, 0)
        assert strict.ask(email="a@good.spam.example")[1].status_code == 200
        assert strict.ask(email="a@notspam.example")[1].status_code == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"email": "not an address"},
        {"email": "a@mail.example\r\nBcc: eve@mail.example"},
        {"given_name": " "},
        {"family_name": "\x00\x1b"},
        {"sponsor": "Mme Martin"},
    ],
)
def test_bad_input_gets_a_message_and_writes_nothing(desk: Office, fields: dict[str, str]) -> None:
    _browser, page = desk.ask(**fields)
    assert page.status_code == 422
    assert 'role="alert"' in page.text
    assert desk.rows() == (0, 0)


def test_forms_without_a_token_are_refused(desk: Office) -> None:
    for path in ("/account/register", "/account/register/x", "/helpdesk/registrations/1", "/helpdesk/invitations"):
        assert requests.post(desk.bridge.url + path, data=ADA, timeout=20).status_code == 400
    assert desk.rows() == (0, 0)


def test_tokens_of_one_purpose_open_no_page_of_another(desk: Office) -> None:
    desk.ask()
    register = link_in(desk.newest_to(ADA["email"])).rsplit("/", 1)[1]
    desk.bridge.add_account("ext.karim", confirmed=False)
    browser = desk.browser()
    browser.sign_in("ext.karim", service=APP)
    browser.submit()
    confirm = browser.page.url.rsplit("/", 1)[1]
    for path in (f"/account/register/{confirm}", f"/account/confirm/{register}"):
        page = browser.get(path)
        assert page.status_code == 404
        browser.get("/account/register")
        token = forms(browser.page)[0][2]["csrf_token"]
        for tail in ("", "/resend"):
            answer = browser.session.post(desk.bridge.url + path + tail, data={"csrf_token": token}, timeout=20)
            assert answer.status_code == 404, path + tail
    assert desk.state() == "unproved"


def test_tok_03_five_guesses_and_no_more(desk: Office) -> None:
    browser, _page = desk.ask()
    right = code_in(desk.newest_to(ADA["email"]))
    for _ in range(5):
        assert browser.submit(code="BCDF-GHJK").status_code == 422
    assert browser.submit(code=right).status_code == 422
    assert desk.state() == "unproved"


def test_garbage_dies_on_its_signature(desk: Office) -> None:
    page = desk.browser().get("/account/register/" + "A" * 190)
    assert page.status_code == 404
    with desk.bridge.runtime.database.read() as session, pytest.raises(ProofUnknown):
        look_at(session, desk.bridge.runtime.keys, "A" * 190)


def test_the_answer_is_written_within_a_second_of_the_request(desk: Office) -> None:
    """Woken by the commit, not found by the sweep."""
    woken: list[object] = []
    desk.bridge.runtime.database.on_waiting = woken.append
    desk.ask()
    deadline = time.monotonic() + 5
    while not woken:
        assert time.monotonic() < deadline
    assert frozenset({Registration}) in woken
