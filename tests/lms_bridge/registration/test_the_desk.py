"""Who decides, who sees what, and what inviting does."""

from __future__ import annotations

import html
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from sqlalchemy import select, update

from external_accounts.schema import Account, AuditEvent, Registration, SignInIdentity
from lms_bridge.schema import SsoSession
from tests.bridge_under_test import APP, Browser, forms, heading, ticket_in
from tests.lms_bridge.mailing import code_in, in_french
from tests.lms_bridge.registration.conftest import ADA, NEW_PASSWORD, Office, link_in, office

REQUESTS = in_french("Requests for accounts")
NOT_FOR_YOU = in_french("These pages are for the help desk")
PAGES = ("/helpdesk", "/helpdesk/registrations", "/helpdesk/registrations/1", "/helpdesk/invitations")
GRACE = {"given_name": "Grace", "family_name": "Hopper", "email": "grace@mail.example"}


@pytest.fixture
def staffed(desk: Office) -> Office:
    """With two teachers, who may sponsor, and a learner, who may not."""
    for name, profile in (("ext.turing", "teacher"), ("ext.church", "teacher"), ("ext.learner", "learner")):
        number = desk.bridge.add_account(name, email=f"{name}@mail.example")
        with desk.bridge.runtime.database.begin() as session:
            session.get_one(Account, number).profile = profile
    return desk


def titles(browser: Browser) -> list[str]:
    return [heading(browser.get(page)) for page in PAGES]


def test_nobody_else_opens_the_desk(staffed: Office) -> None:
    staffed.proved()
    learner = staffed.helper("ext.learner")
    assert titles(learner) == [NOT_FOR_YOU] * 4
    assert "/helpdesk" not in learner.get("/").text
    token = forms(learner.get("/account/sign-out"))[0][2]["csrf_token"]
    number = staffed.number()
    for path in (
        f"/helpdesk/registrations/{number}",
        "/helpdesk/invitations",
        f"/helpdesk/invitations/{number}/withdraw",
        "/helpdesk/invitations/import",
        "/helpdesk/invitations/import/send",
        "/helpdesk/invitations/import/rejected",
    ):
        data = {"csrf_token": token, "decision": "accept"}
        assert learner.session.post(staffed.bridge.url + path, data=data, timeout=20).status_code == 403, path
    assert staffed.state() == "waiting"


def test_a_suspended_helper_decides_nothing(staffed: Office) -> None:
    helper = staffed.helper()
    with staffed.bridge.runtime.database.begin() as session:
        session.execute(update(Account).values(suspended_at=staffed.bridge.clock()))
    assert titles(helper) == [NOT_FOR_YOU] * 4


def test_the_link_of_a_mail_leads_through_the_sign_in_to_the_request(staffed: Office) -> None:
    staffed.proved()
    path = f"/helpdesk/registrations/{staffed.number()}"
    assert path in staffed.newest_to("aide@univ.example").text
    browser = staffed.browser()
    browser.get(path)
    browser.get("/signin/local")
    assert heading(browser.submit(identifier="ext.desk", password="correct horse battery")) == "Ada Lovelace"
    assert heading(browser.get("/")) == "Bonjour Ada Lovelace"


def test_the_sponsor_who_was_named_is_asked_and_sees_only_that(staffed: Office) -> None:
    staffed.proved("a@mail.example", sponsor="EXT.Turing@mail.example")
    staffed.proved("b@mail.example")
    mine, other = staffed.number("a@mail.example"), staffed.number("b@mail.example")
    assert "dit que vous pouvez répondre" in staffed.newest_to("ext.turing@mail.example").text
    assert len(staffed.mails_to("aide@univ.example")) == 1
    turing, church = staffed.helper("ext.turing"), staffed.helper("ext.church")
    listed = turing.get("/helpdesk/registrations").text
    assert "a@mail.example" in listed
    assert "b@mail.example" not in listed
    assert heading(turing.get("/helpdesk/invitations")) == NOT_FOR_YOU
    assert "/helpdesk" in turing.get("/").text
    for browser, number in ((turing, other), (church, mine), (church, other)):
        assert browser.get(f"/helpdesk/registrations/{number}").status_code == 404
    turing.get(f"/helpdesk/registrations/{mine}")
    turing.submit(decision="accept", until="")
    assert staffed.state("a@mail.example") == "accepted"
    assert {event.actor for event in decisions(staffed)} == {"ext.turing"}


def decisions(desk: Office) -> list[AuditEvent]:
    with desk.bridge.runtime.database.read() as session:
        found = session.scalars(select(AuditEvent).where(AuditEvent.event == "registration.decided")).all()
        session.expunge_all()
        return list(found)


@pytest.mark.parametrize("named", ["ext.learner@mail.example", "nobody@mail.example"])
def test_somebody_who_may_not_sponsor_is_not_written_to_and_the_desk_sees_who_was_named(
    staffed: Office, named: str
) -> None:
    staffed.proved(sponsor=named)
    assert staffed.mails_to(named) == []
    assert staffed.mails_to("aide@univ.example")
    page = staffed.helper().get(f"/helpdesk/registrations/{staffed.number()}")
    assert named in page.text


def test_two_people_at_once_one_decides_and_the_other_reads_who_did(staffed: Office) -> None:
    staffed.proved(sponsor="ext.turing@mail.example")
    number = staffed.number()
    browsers = [staffed.helper("ext.desk"), staffed.helper("ext.turing")]
    for browser in browsers:
        browser.get(f"/helpdesk/registrations/{number}")
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda browser: browser.submit(decision="accept", until=""), browsers))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    loser = next(answer for answer in answers if answer.status_code == 409)
    assert in_french("Somebody else decided before you.") in html.unescape(loser.text)
    assert len(decisions(staffed)) == 1
    assert len(staffed.mails_to(ADA["email"])) == 2


@pytest.mark.parametrize(("until", "status"), [("2020-01-01", 422), ("soon", 422), ("", 200), ("2099-12-31", 200)])
def test_the_last_day_must_be_one_to_come(desk: Office, until: str, status: int) -> None:
    desk.proved()
    assert desk.decide(until=until).status_code == status
    assert desk.state() == ("accepted" if status == 200 else "waiting")


def test_members_by_what_their_cas_says(tmp_path: Path) -> None:
    rules = {"members": [{"role": "agent", "issuer": "sel", "attribute": "isMemberOf", "value": "desk"}]}
    upstream = {"issuer": "sel", "cas_url": "https://cas.univ.example/cas", "keep": ["isMemberOf"]}
    with office(tmp_path, help_desk=rules, upstreams=[upstream]) as ruled:
        browser = ruled.helper()
        assert heading(browser.get("/helpdesk/registrations")) == NOT_FOR_YOU
        with ruled.bridge.runtime.database.begin() as session:
            session.scalars(select(SignInIdentity)).one().attributes = {"isMemberOf": ["desk", "all"]}
        assert heading(browser.get("/helpdesk/registrations")) == NOT_FOR_YOU, "the word of another issuer"
        with ruled.bridge.runtime.database.begin() as session:
            session.execute(update(SignInIdentity).values(issuer="sel"))
            session.execute(update(SsoSession).values(issuer="sel"))
        assert heading(browser.get("/helpdesk/registrations")) == REQUESTS


# --- Inviting ---


def invite(desk: Office, **fields: str) -> requests.Response:
    helper = desk.helper()
    helper.get("/helpdesk/invitations")
    return helper.submit(**(GRACE | fields))


def test_an_invited_person_makes_the_account_without_anybody_deciding(staffed: Office) -> None:
    invite(staffed, until="2099-06-30", sponsor="ext.turing")
    mail = staffed.newest_to(GRACE["email"])
    assert "Ada Lovelace vous invite" in mail.text
    done = staffed.finish(link_in(mail), family_name="Murray", username="Ext.Grace")
    assert heading(done) == in_french("Your account is ready")
    account = staffed.account("ext.grace")
    assert account is not None
    assert (account.family_name, account.profile) == ("Murray", "learner")
    assert account.rights_end_at is not None
    assert ticket_in(staffed.browser().sign_in("ext.grace", NEW_PASSWORD, service=APP))
    assert decisions(staffed) == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"username": "jdupont"}, "ext.prenom.nom"),
        ({"username": "ext.desk"}, "est libre"),
        ({"given_name": ""}, "Indiquez votre prénom"),
        ({"password": "short", "password_again": "short"}, "trop court"),
        ({"password": "grace hopper grace", "password_again": "grace hopper grace"}, "contient"),
        ({"password_again": "something else entirely"}, "ne sont pas"),
    ],
)
def test_pwd_04_the_last_step_says_what_is_wrong_and_the_link_stays_good(
    desk: Office, fields: dict[str, str], words: str
) -> None:
    invite(desk)
    link = link_in(desk.newest_to(GRACE["email"]))
    answer = desk.finish(link, **fields)
    assert (answer.status_code, words in answer.text) == (422, True)
    assert fields.get("password", NEW_PASSWORD) not in answer.text
    assert desk.accounts() == ["ext.desk"]
    assert heading(desk.finish(link)) == in_french("Your account is ready")


def test_nobody_takes_a_name_that_settings_give_rights_to(tmp_path: Path) -> None:
    """The help desk is named in the settings before its account is there."""
    desk_names = {"members": [{"role": "agent", "usernames": ["ext.desk", "ext.grace.hopper", "ext.boss"]}]}
    with office(tmp_path, help_desk=desk_names) as wary:
        invite(wary)
        link = link_in(wary.newest_to(GRACE["email"]))
        assert wary.finish(link, username="Ext.Boss").status_code == 422
        assert heading(wary.finish(link)) == in_french("Your account is ready")
        assert wary.accounts() == ["ext.desk", "ext.grace.hopper2"]
        browser = wary.browser()
        browser.sign_in("ext.grace.hopper2", NEW_PASSWORD)
        assert titles(browser) == [NOT_FOR_YOU] * 4


def test_the_user_name_may_be_given_instead_of_chosen(tmp_path: Path) -> None:
    with office(tmp_path, registration={"username_choice": False}) as strict:
        invite(strict)
        strict.finish(link_in(strict.newest_to(GRACE["email"])), username="ext.chosen")
        assert strict.accounts() == ["ext.desk", "ext.grace.hopper"]


def test_the_charter_of_the_request_counts_unless_there_is_a_newer_one(tmp_path: Path) -> None:
    charter = {"version": "2026-09", "url": "https://univ.example/charte"}
    with office(tmp_path, charter=charter) as chartered:
        invite(chartered)
        link = link_in(chartered.newest_to(GRACE["email"]))
        assert in_french("Tick the box if you accept the charter.") in chartered.finish(link).text
        assert heading(chartered.finish(link, charter="1")) == in_french("Your account is ready")
        _browser, page = chartered.ask()
        assert page.status_code == 422
        chartered.proved(charter="1")
        chartered.decide()
        last = link_in(chartered.newest_to(ADA["email"]))
        assert 'name="charter"' not in chartered.browser().get(last).text
        assert heading(chartered.finish(last)) == in_french("Your account is ready")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"email": "ext.desk@mail.example"}, "ext.desk"),
        ({"email": "desk@mail.example"}, "ext.desk"),
        ({"email": "theo@univ.example"}, "adresse de l'université"),
        ({"email": "nowhere"}, "pas une adresse"),
        ({"sponsor": "ext.desk"}, "ne peut répondre"),
        ({"until": "2020-01-01"}, "Ce jour est passé"),
        ({"until": "soon"}, "pas une date"),
        ({"family_name": ""}, "Indiquez votre nom"),
    ],
)
def test_who_cannot_be_invited_is_said_to_the_desk(desk: Office, fields: dict[str, str], words: str) -> None:
    if fields.get("email") == "ext.desk@mail.example":
        desk.bridge.add_account("ext.other", email="ext.desk@mail.example")
        words = "ext.other"
    answer = invite(desk, **fields)
    assert answer.status_code == 422
    assert words in answer.text.replace("&#39;", "'")
    assert desk.rows() == (0, 0)


def test_an_invitation_is_sent_again_and_withdrawn(desk: Office) -> None:
    invite(desk)
    assert invite(desk).status_code == 422, "twice"
    link = link_in(desk.newest_to(GRACE["email"]))
    desk.bridge.clock.forward(minutes=2)
    helper = desk.helper()
    helper.get("/helpdesk/invitations")
    helper.submit(2)
    assert [link_in(mail) for mail in desk.mails_to(GRACE["email"])] == [link, link]
    withdrawn = helper.submit(3)
    assert "invitation est retirée" in withdrawn.text
    assert desk.finish(link).status_code == 410
    assert helper.get("/helpdesk/invitations").text.count("grace@mail.example") == 0


def test_an_old_invitation_can_be_renewed_by_its_owner_with_a_code_as_well(desk: Office) -> None:
    invite(desk)
    first = desk.newest_to(GRACE["email"])
    assert "Ou saisissez ce code" not in first.text
    desk.bridge.clock.forward(days=15)
    browser = desk.browser()
    assert browser.get(link_in(first)).status_code == 410
    browser.submit()
    assert heading(browser.submit(code=code_in(desk.newest_to(GRACE["email"])))) == in_french("Create your account")


def test_somebody_who_asks_while_invited_gets_the_invitation_again(desk: Office) -> None:
    invite(desk)
    desk.bridge.clock.forward(minutes=5)
    browser = desk.proved(GRACE["email"])
    assert heading(browser.page) == in_french("Your request was accepted")
    desk.bridge.clock.forward(minutes=5)
    heads = [mail.subject for mail in desk.mails_to(GRACE["email"])]
    assert len(heads) == 3
    assert desk.mails_to("aide@univ.example") == []


# --- From a file ---

PEOPLE = (
    "Prénom;Nom;Courriel;Fin\nÉmile;Borel;emile@mail.example;30/06/2099\n"
    "X;Y;nowhere;\nD;D;desk@mail.example;\nT;M;theo@univ.example;\n"
)


def upload(desk: Office, content: bytes) -> tuple[Browser, requests.Response]:
    helper = desk.helper()
    helper.get("/helpdesk/invitations")
    action, _method, hidden = forms(helper.page)[1]
    answer = helper.session.post(
        desk.bridge.url + action, data=hidden, files={"file": ("people.csv", content, "text/csv")}, timeout=20
    )
    helper.page = answer
    return helper, answer


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252"])
def test_d56_a_file_is_looked_at_first_and_sent_on_a_second_click(desk: Office, encoding: str) -> None:
    helper, page = upload(desk, PEOPLE.encode(encoding))
    assert heading(page) == in_french("This is what will happen")
    assert "Émile Borel" in page.text
    assert "Ligne 3" in page.text
    assert "Ligne 5" in page.text
    assert desk.mailbox.all() == []
    assert desk.rows() == (0, 0)
    preview = helper.page
    sent = helper.submit(0)
    assert heading(sent) == in_french("The invitations are on their way")
    assert [mail.to for mail in desk.mailbox.all()] == ["emile@mail.example"]
    helper.page = preview
    assert "0 personne" in helper.submit(0).text, "sent twice"
    assert len(desk.mailbox.all()) == 1
    helper.page = preview
    rejected = helper.submit(1)
    assert rejected.headers["Content-Type"].startswith("text/csv")
    lines = rejected.content.decode("utf-8-sig").splitlines()
    assert lines[0] == "Prénom;Nom;Courriel;Fin;motif"
    assert [line.split(";")[2] for line in lines[1:]] == ["nowhere", "theo@univ.example"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04\x00\x00", b"a;b\n1;2\n", b"x" * 50_000])
def test_d56_what_is_no_list_is_explained(desk: Office, content: bytes) -> None:
    _helper, page = upload(desk, content)
    assert page.status_code == 422
    assert 'role="alert"' in page.text


def test_a_file_that_was_tampered_with_on_its_way_is_refused(desk: Office) -> None:
    helper, page = upload(desk, PEOPLE.encode())
    token = forms(page)[0][2]["csrf_token"]
    for content in ("not base64!", "", "AAAA"):
        answer = helper.session.post(
            f"{desk.bridge.url}/helpdesk/invitations/import/send",
            data={"csrf_token": token, "content": content},
            timeout=20,
        )
        assert answer.status_code == 400
    assert desk.rows() == (0, 0)


def test_many_requests_are_shown_page_by_page(desk: Office) -> None:
    now = desk.bridge.clock()
    with desk.bridge.runtime.database.begin() as session:
        for number in range(51):
            session.add(
                Registration(
                    mode="asked",
                    state="waiting",
                    email=f"p{number}@mail.example",
                    email_key=f"p{number}@mail.example",
                    profile="learner",
                    created_at=now,
                    proved_at=now,
                    expires_at=now,
                )
            )
    helper = desk.helper()
    first = helper.get("/helpdesk/registrations")
    assert "51 demandes" in first.text
    assert "p49@" in first.text
    assert "p50@" not in first.text
    assert "p50@" in helper.get("/helpdesk/registrations?after=50").text
    assert "p0@" in helper.get("/helpdesk/registrations?after=51").text  # the last page is empty by now: the first one
