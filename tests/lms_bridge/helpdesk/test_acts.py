"""The acts on one account: what each does, what it refuses, and that nothing typed is lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from external_accounts.institution_schema import Extension
from external_accounts.local_calendar import end_of_day, local_day
from external_accounts.schema import Proof
from lms_bridge.schema import SsoSession
from tests.bridge_under_test import APP, forms, heading, ticket_in
from tests.lms_bridge.helpdesk.acting import DESK, PASSWORD, PATH, SECOND, Office, done, office, words
from tests.lms_bridge.mailing import in_french, link_in, path_of

ADA = "ext.ada@mail.example"
ACTS = ("suspend", "readmit", "sessions", "extend", "reset", "resend")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path) as running:
        yield running


def days_from_now(desk: Office, days: int) -> str:
    return (local_day(desk.clock(), desk.bridge.runtime.settings.zone) + timedelta(days=days)).isoformat()


# --- Who may ---


def test_only_the_help_desk_opens_the_acts_and_no_look_changes_anything_i11(desk: Office) -> None:
    ada = desk.person()
    before = desk.account(ada).version
    for act in ACTS:
        path = f"{PATH}/{ada}/{act}"
        assert desk.bridge.browser().get(path, follow=False).status_code == 303
        assert desk.browser("ext.ada").get(path).status_code == 403
        assert desk.browser().get(path).status_code == 200
        assert desk.browser().get(f"{PATH}/999/{act}").status_code == 404
    assert desk.account(ada).version == before


def test_nobody_acts_on_their_own_account_and_the_attempt_is_written_down(desk: Office) -> None:
    browser = desk.browser()
    mine = next(number for number in (1, 2) if desk.account(number).username == DESK)
    page = browser.get(f"{PATH}/{mine}/suspend")
    assert forms(page) == [], "no button"
    other = browser.get(f"{PATH}/{mine % 2 + 1}/suspend")
    hidden = forms(other)[0][2] | {"seen": f"{desk.account(mine).version}-0", "reason": "holidays"}
    answer = browser.session.post(f"{desk.bridge.url}{PATH}/{mine}/suspend", data=hidden, timeout=20)
    assert answer.status_code == 409
    assert desk.account(mine).suspended_at is None
    assert [(event.outcome, event.actor) for event in desk.events(mine, "helpdesk.refused")] == [("own account", DESK)]


def test_the_way_through_the_sign_in_leads_to_the_act(desk: Office) -> None:
    ada = desk.person()
    browser = desk.bridge.browser()
    browser.get(f"{PATH}/{ada}/suspend")
    browser.get("/signin/local")
    assert heading(browser.submit(identifier=DESK, password=PASSWORD)) == in_french("Suspend an account")


# --- Suspending ---


def test_suspending_closes_ends_sessions_and_tells_the_person_i10(desk: Office) -> None:
    ada = desk.person()
    person = desk.browser("ext.ada")
    assert ticket_in(person.get(f"/cas/login?service={APP}", follow=False))
    until = days_from_now(desk, 3)
    assert done(desk.act("suspend", ada, reason="stolen  laptop", until=until), ada, "suspend")
    account = desk.account(ada)
    zone = desk.bridge.runtime.settings.zone
    assert (account.suspended_at, account.suspension_reason) == (desk.clock(), "stolen laptop")
    assert account.suspended_until == end_of_day(local_day(desk.clock(), zone) + timedelta(days=3), zone)
    assert desk.open_sessions(ada) == 0
    assert person.get("/account", follow=False).status_code == 303
    event = desk.events(ada, "account.suspended")[-1]
    assert (event.actor, event.details["reason"]) == (DESK, "stolen laptop")
    mail = desk.mails_to(ADA)[-1]
    assert in_french("Your account is suspended") in mail.html
    assert "stolen" not in mail.text
    page = desk.browser().get(f"{PATH}/{ada}/suspend")
    assert in_french("The account is suspended already.") in words(page)
    assert forms(page) == []


def test_lifting_a_suspension_opens_again(desk: Office) -> None:
    ada = desk.person()
    desk.act("suspend", ada, reason="by mistake")
    assert done(desk.act("readmit", ada, reason="it was a mistake"), ada, "readmit")
    assert desk.account(ada).suspended_at is None
    assert desk.events(ada, "account.readmitted")[0].details["reason"] == "it was a mistake"
    assert in_french("Your account is open again") in desk.mails_to(ADA)[-1].html
    assert ticket_in(desk.bridge.browser().sign_in("ext.ada", service=APP, follow=False))
    assert forms(desk.browser().get(f"{PATH}/{ada}/readmit")) == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"reason": " "}, "Say in a few words why."),
        ({"reason": "x" * 501}, "At most %(count)s characters."),
        ({"reason": "spam", "until": "soon"}, "This is not a date. It looks like 2027-06-30."),
        ({"reason": "spam", "until": "2020-01-01"}, "This day is over. Choose a later one."),
    ],
)
def test_what_is_mistyped_is_said_and_kept(desk: Office, fields: dict[str, str], said: str) -> None:
    ada = desk.person()
    answer = desk.act("suspend", ada, **fields)
    assert answer.status_code == 422
    assert in_french(said) % {"count": 500} in words(answer) if "%" in said else in_french(said) in words(answer)
    for typed in fields.values():
        assert typed.strip() in answer.text
    assert desk.account(ada).suspended_at is None


# --- Sessions ---


def test_one_session_or_all_are_ended_and_the_person_is_told(desk: Office) -> None:
    ada = desk.person()
    first, second = desk.browser("ext.ada"), desk.browser("ext.ada")
    browser = desk.browser()
    page = browser.get(f"{PATH}/{ada}/sessions")
    numbers = [word.split('"')[0] for word in page.text.split('name="session" value="')[1:]]
    assert len(numbers) == 3
    answer = browser.submit(follow=False, session=numbers[-1], reason="lost telephone")
    assert done(answer, ada, "sessions")
    assert sorted(one.get("/account", follow=False).status_code for one in (first, second)) == [200, 303]
    assert in_french("You were signed out") in desk.mails_to(ADA)[-1].html
    assert done(desk.act("sessions", ada, session="", reason="all of them"), ada, "sessions")
    assert desk.open_sessions(ada) == 0
    assert [event.outcome for event in desk.events(ada, "helpdesk.sessions_ended")] == ["one", "all"]


def test_a_session_of_somebody_else_is_not_ended_by_this_page(desk: Office) -> None:
    ada, _bob = desk.person(), desk.person("ext.bob")
    bob = desk.browser("ext.bob")
    with desk.bridge.runtime.database.read() as session:
        theirs = session.scalars(select(SsoSession.id).order_by(SsoSession.id.desc())).first()
    answer = desk.act("sessions", ada, session=str(theirs), reason="mischief")
    assert answer.status_code == 409
    assert in_french("This session is over already.") in words(answer)
    assert bob.get("/account", follow=False).status_code == 200


# --- Rights ---


def test_rights_are_extended_up_to_the_policy_and_a_waiting_request_is_answered(desk: Office) -> None:
    ada = desk.person(rights_end_at=desk.clock() + timedelta(days=5))
    person = desk.browser("ext.ada")
    person.get("/account/extension")
    person.submit(until=days_from_now(desk, 20), reason="The course")
    assert done(desk.act("extend", ada, until=days_from_now(desk, 60), reason="asked by telephone"), ada, "extend")
    zone = desk.bridge.runtime.settings.zone
    assert desk.account(ada).rights_end_at == end_of_day(local_day(desk.clock(), zone) + timedelta(days=60), zone)
    with desk.bridge.runtime.database.read() as session:
        asked = session.scalars(select(Extension)).one()
    assert (asked.state, asked.decided_by, asked.decision_reason) == ("accepted", DESK, "asked by telephone")
    assert in_french("Your access is extended") in desk.mails_to(ADA)[-1].html


def test_an_extension_nobody_asked_for_is_said_to_be_that(desk: Office) -> None:
    ada = desk.person(rights_end_at=desk.clock() - timedelta(days=5))
    assert done(desk.act("extend", ada, until=days_from_now(desk, 60), reason="comes back"), ada, "extend")
    assert "Votre demande" not in desk.mails_to(ADA)[-1].text
    assert desk.events(ada, "rights.moved")[-1].outcome == "revived"


def test_nothing_is_extended_beyond_the_policy_or_without_an_end(desk: Office) -> None:
    ada, bob = desk.person(rights_end_at=desk.clock() + timedelta(days=5)), desk.person("ext.bob")
    answer = desk.act("extend", ada, until=days_from_now(desk, 900), reason="for ever")
    assert answer.status_code == 409
    assert days_from_now(desk, 900) in answer.text
    assert "for ever" in answer.text
    assert forms(desk.browser().get(f"{PATH}/{bob}/extend")) == []


# --- Reset ---


def test_a_reset_goes_to_the_person_and_to_nobody_else(desk: Office) -> None:
    ada = desk.person()
    browser = desk.browser()
    answer = desk.act("reset", ada, by=browser, reason="forgot it")
    assert done(answer, ada, "reset")
    mail = desk.mails_to(ADA)[-1]
    link = link_in(mail)
    token = link.rpartition("/")[2]
    for page in (answer, browser.get(f"{PATH}/{ada}/reset"), browser.get("/")):
        assert token not in page.text
    person = desk.bridge.browser()
    person.get(path_of(link))
    person.submit(password="another battery staple", password_again="another battery staple")
    assert person.sign_in("ext.ada", "another battery staple").status_code == 200
    assert desk.events(ada, "helpdesk.reset_started")[0].actor == DESK
    desk.clock.forward(seconds=30)
    assert desk.act("reset", ada, reason="again").status_code == 409


def test_a_reset_of_an_account_behind_a_directory_goes_as_forgetting_does(desk: Office) -> None:
    ada = desk.person(profile="vacataire", directory="sel")
    page = desk.browser().get(f"{PATH}/{ada}/reset")
    assert ADA in page.text
    assert done(desk.act("reset", ada, reason="forgot it"), ada, "reset")
    assert "/account/reset/" in desk.mails_to(ADA)[-1].text


# --- Sending again ---


def test_d06_sending_again_sends_the_same_link_and_kills_none(desk: Office) -> None:
    ada = desk.person(confirmed=False)
    assert done(desk.act("resend", ada, message=f"confirm-{desk.addresses(ada)[0].id}"), ada, "resend")
    first = link_in(desk.mails_to(ADA)[-1])
    again = desk.act("resend", ada, message=f"confirm-{desk.addresses(ada)[0].id}")
    assert again.status_code == 409
    assert in_french("This message left less than a minute ago. Wait until it has arrived.") in words(again)
    desk.clock.forward(minutes=2)
    assert done(desk.act("resend", ada, message=f"confirm-{desk.addresses(ada)[0].id}"), ada, "resend")
    assert link_in(desk.mails_to(ADA)[-1]) == first
    person = desk.bridge.browser()
    person.get(path_of(first))
    person.submit()
    assert desk.addresses(ada)[0].confirmed_at is not None
    assert forms(desk.browser().get(f"{PATH}/{ada}/resend")) == []


def test_d12_a_mailbox_is_not_flooded_by_the_help_desk_either(desk: Office) -> None:
    ada = desk.person(confirmed=False)
    answers = []
    for _ in range(6):
        answers.append(desk.act("resend", ada, message=f"confirm-{desk.addresses(ada)[0].id}").status_code)
        desk.clock.forward(seconds=61)
    assert answers == [303] * 5 + [409]


def test_the_mail_of_any_other_link_goes_out_once_more(desk: Office) -> None:
    ada = desk.person()
    person = desk.browser("ext.ada")
    person.get("/account/deletion")
    person.submit()
    first = desk.mails_to(ADA)[-1]
    desk.clock.forward(minutes=2)
    with desk.bridge.runtime.database.read() as session:
        proof = session.scalars(select(Proof).where(Proof.purpose == "keep account")).one()
    assert done(desk.act("resend", ada, message=f"link-{proof.id}"), ada, "resend")
    second = desk.mails_to(ADA)[-1]
    assert second.id != first.id
    keep = next(word for word in first.text.split() if "/account/keep/" in word)
    assert keep in second.text


def test_an_account_that_is_not_activated_is_sent_its_activation(desk: Office) -> None:
    ada = desk.person(confirmed=False, activated_at=None, profile="vacataire", directory="sel")
    assert done(desk.act("resend", ada, message="activate"), ada, "resend")
    assert "/account/activate/" in desk.mails_to(ADA)[-1].text


# --- Stale pages, and who it is ---


def test_a_page_that_is_out_of_date_does_nothing_says_who_changed_what_and_keeps_what_was_typed(desk: Office) -> None:
    ada = desk.person(rights_end_at=desk.clock() + timedelta(days=5))
    first, second = desk.browser(DESK), desk.browser(SECOND)
    for browser in (first, second):
        browser.get(f"{PATH}/{ada}/extend")
    day = days_from_now(desk, 30)
    assert second.submit(follow=False, until=days_from_now(desk, 40), reason="second").status_code == 303
    answer = first.submit(follow=False, until=day, reason="a long <story>")
    assert answer.status_code == 409
    assert in_french("The end of the rights was moved.") in words(answer)
    assert "Ada Lovelace" in words(answer), "by whom"
    assert day in answer.text
    assert "a long &lt;story&gt;" in answer.text
    assert len(desk.events(ada, "rights.moved")) == 1
    assert first.submit(follow=False, until=days_from_now(desk, 50), reason="still").status_code == 303


def test_the_owner_changes_something_while_an_agent_looks(desk: Office) -> None:
    ada = desk.person()
    browser = desk.browser()
    browser.get(f"{PATH}/{ada}/suspend")
    person = desk.browser("ext.ada")
    person.get("/account/addresses")
    person.submit(email="ada@new.example")
    answer = browser.submit(follow=False, reason="unreachable")
    assert answer.status_code == 409
    assert in_french("An address was added.") in words(answer)
    assert in_french("the person themself") in words(answer)
    assert desk.account(ada).suspended_at is None


def test_ses_03_an_old_sign_in_is_asked_who_it_is_and_nothing_typed_is_lost(desk: Office) -> None:
    ada = desk.person()
    browser = desk.browser()
    browser.get(f"{PATH}/{ada}/suspend")
    desk.clock.forward(minutes=31)
    page = browser.submit(reason="stolen laptop")
    assert heading(page) == in_french("Is it really you?")
    assert in_french("Suspend an account") in words(page)
    assert desk.account(ada).suspended_at is None
    wrong = browser.submit(password="not mine")
    assert wrong.status_code == 401
    answer = browser.submit(follow=True, password=PASSWORD)
    assert answer.url.endswith(f"{PATH}/{ada}?done=suspend")
    assert desk.account(ada).suspension_reason == "stolen laptop"


def test_a_form_without_its_state_is_not_ours(desk: Office) -> None:
    ada = desk.person()
    browser = desk.browser()
    browser.get(f"{PATH}/{ada}/suspend")
    for seen in ("", "x-y", "1", "9" * 30 + "-1"):
        assert browser.submit(follow=False, reason="x", seen=seen).status_code == 400
        browser.get(f"{PATH}/{ada}/suspend")


@pytest.mark.parametrize("column", ["erased_at", "merged_into_id"])
def test_nothing_is_done_for_an_account_that_is_over(desk: Office, column: str) -> None:
    ada = desk.person()
    desk.change(ada, **{column: desk.clock() if column == "erased_at" else 1})
    for act in ACTS:
        page = desk.browser().get(f"{PATH}/{ada}/{act}")
        assert (page.status_code, forms(page)) == (200, []), act
