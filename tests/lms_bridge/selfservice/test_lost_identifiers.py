"""Lost identifiers, end to end: what are you, an address, a mail to the private mailbox, a new password, the door."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import requests
from sqlalchemy import event

from external_accounts import throttle
from external_accounts.accounts import suspend
from external_accounts.audit import SYSTEM, AuditEvent
from external_accounts.confirmation import lose_confirmation
from external_accounts.directory import DirectoryReadOnly, DirectoryUnavailable, PasswordRefused
from external_accounts.schema import Account, Address
from tests.bridge_under_test import PASSWORD, heading, running_bridge
from tests.lms_bridge.mailing import code_in, in_french
from tests.lms_bridge.selfservice.forgetting import EXPIRED, INVALID, NEW, USED, WAITING, plain
from tests.lms_bridge.selfservice.losing import OLD, University, link_in
from tests.lms_bridge.selfservice.test_forgotten_tells_nothing import comparable

CHOOSE, DONE = in_french("Choose a new password"), in_french("Your new password is set")
PRIVATE = "Nora@private.example"


@pytest.mark.parametrize("typed", ["nora@PRIVATE.example ", "Nora.Lopez@univ.example"])
def test_an_adjunct_gets_identifier_and_link_at_the_private_address_alone(university: University, typed: str) -> None:
    """D34: whichever address is typed, the stored private one is written to."""
    university.add("nlopez", institutional="nora.lopez@univ.example", private=PRIVATE)
    waiting = university.ask("vacataire", typed).page
    assert heading(waiting) == WAITING
    assert "un lien valable 30 minutes" in plain(waiting.text)
    (mail,) = university.mailbox.all()
    assert mail.to == PRIVATE
    assert "nlopez" in mail.text
    assert "nlopez" in mail.html
    browser = university.bridge.browser()
    assert heading(browser.get(link_in(mail))) == CHOOSE
    done = browser.submit(password=NEW, password_again=NEW)
    assert (done.status_code, heading(done)) == (200, DONE)
    assert "choisissez le profil « Compte SEL »" in plain(done.text).replace("\xa0", " ")
    assert 'href="/signin/sel"' in done.text
    assert university.directory.verify("nlopez", NEW)
    assert not university.directory.verify("nlopez", OLD)


def test_the_code_leads_where_the_link_leads(university: University) -> None:
    university.add("nlopez", private=PRIVATE)
    browser = university.ask("vacataire", PRIVATE)
    page = browser.submit(code=code_in(university.mailbox.newest()))
    assert heading(page) == CHOOSE
    assert heading(browser.submit(password=NEW, password_again=NEW)) == DONE
    assert university.directory.verify("nlopez", NEW)


def test_a_library_reader_s_local_password_is_set(university: University) -> None:
    account_id = university.bridge.add_account("ext.lea", email="lea@private.example")
    with university.bridge.runtime.database.begin() as session:
        session.get_one(Account, account_id).profile = "library_reader"
    (mail,) = university.mails("library_reader", "lea@private.example")
    done = university.choose(link_in(mail))
    assert heading(done) == DONE
    assert 'href="/signin/local"' in done.text
    assert university.bridge.browser().sign_in("ext.lea", NEW).status_code == 200
    assert university.bridge.browser().sign_in("ext.lea", PASSWORD).status_code == 401


@pytest.mark.parametrize("typed", ["secretariat@univ.example", "marie@univ.example"])
def test_a_technical_account_s_mail_goes_to_the_person_responsible(university: University, typed: str) -> None:
    university.add("mmartin", profile="staff", institutional="marie@univ.example")
    university.add("tech-lettres", profile="technical", institutional="secretariat@univ.example", sponsor="mmartin")
    (mail,) = university.mails("technical", typed)
    assert mail.to == "marie@univ.example"
    assert "tech-lettres" in mail.text
    assert in_french(
        "You receive this message because somebody lost the identifiers of an account that you answer for."
    ) in plain(mail.text)
    assert heading(university.choose(link_in(mail))) == DONE
    assert university.directory.verify("tech-lettres", NEW)


def test_several_accounts_of_one_address_are_all_listed_and_one_is_chosen(university: University) -> None:
    university.add("nlopez", private=PRIVATE)
    university.add("nlopez2", private=PRIVATE)
    (mail,) = university.mails("vacataire", PRIVATE)
    assert {"nlopez", "nlopez2"} <= set(re.findall(r"^- (\S+)", mail.text, re.MULTILINE))
    assert university.choose(link_in(mail)).status_code == 422
    assert heading(university.choose(link_in(mail), username="nlopez2")) == DONE
    assert university.directory.verify("nlopez2", NEW)
    assert university.directory.verify("nlopez", OLD)


def test_lnk_01_whoever_reads_one_mailbox_sets_no_password_of_another_one(university: University) -> None:
    """One typed address finds two accounts with two private mailboxes: each gets a link of its own."""
    university.add("nlopez", institutional="shared@lab.example", private=PRIVATE)
    university.add("other", private="shared@lab.example")
    mails = {mail.to: mail for mail in university.mails("vacataire", "shared@lab.example")}
    assert set(mails) == {PRIVATE, "shared@lab.example"}
    links = {to: link_in(mail) for to, mail in mails.items()}
    assert links[PRIVATE] != links["shared@lab.example"]
    page = university.bridge.browser().get(links["shared@lab.example"])
    assert 'value="other"' in page.text
    assert "nlopez" not in page.text
    university.choose(links["shared@lab.example"], username="nlopez")
    assert university.directory.verify("nlopez", OLD)


def test_nothing_is_sent_where_no_private_address_is_confirmed(university: University) -> None:
    """I4: what the staff office wrote down is no proof; an institutional mailbox needs the lost password itself."""
    university.add("unconfirmed", private="u@private.example", confirmed=False)
    university.add("institutional", institutional="i@univ.example")
    university.add("at-home", private="h@univ.example")
    lost = university.add("bounced", private="b@private.example")
    with university.bridge.runtime.database.begin() as session:
        address = session.query(Address).filter_by(account_id=lost).one()
        lose_confirmation(session, address, reason="bounce", now=university.bridge.clock(), origin=SYSTEM)
    university.add("of-another-kind", profile="staff", private="s@private.example")
    university.add("tech-alone", profile="technical", private="t@private.example")
    gone = university.add("gone", private="g@private.example")
    with university.bridge.runtime.database.begin() as session:
        session.get_one(Account, gone).erased_at = university.bridge.clock()
    for typed in ("u@private.example", "i@univ.example", "h@univ.example", "b@private.example", "g@private.example"):
        assert university.mails("vacataire", typed) == []
    assert university.mails("vacataire", "s@private.example") == []
    assert university.mails("technical", "t@private.example") == []


def test_a_technical_account_of_somebody_suspended_is_told_to_nobody(university: University) -> None:
    sponsor = university.add("mmartin", profile="staff", institutional="marie@univ.example")
    university.add("tech", profile="technical", institutional="tech@univ.example", sponsor="mmartin")
    with university.bridge.runtime.database.begin() as session:
        account, now = session.get_one(Account, sponsor), university.bridge.clock()
        suspend(session, account, reason="x", until=None, now=now, origin=SYSTEM)
    assert university.mails("technical", "tech@univ.example") == []


def test_an_account_that_was_never_activated_gets_its_identifier_and_where_to_begin(university: University) -> None:
    university.add("nlopez", private=PRIVATE, activated=False)
    (mail,) = university.mails("vacataire", PRIVATE)
    assert "nlopez" in mail.text
    assert f"{university.bridge.url}/account/activate" in mail.text
    assert "/perte-identifiant/" not in mail.text


TYPED = [PRIVATE, "u@private.example", "nora.lopez@univ.example", "gone@private.example", "nobody@no.example"]


def test_i3_known_and_unknown_get_the_same_bytes_everywhere(university: University) -> None:
    """TOK-01, D13, D14: asking, the waiting page, a wrong code, asking again, before and after the mails left."""
    university.add("nlopez", institutional="nora.lopez@univ.example", private=PRIVATE)
    university.add("unconfirmed", private="u@private.example", confirmed=False)
    gone = university.add("gone", private="gone@private.example")
    with university.bridge.runtime.database.begin() as session:
        session.get_one(Account, gone).erased_at = university.bridge.clock()
    hide = re.compile(r"/perte-identifiant/[\w.-]+")

    def seen_of(answer: requests.Response) -> object:
        status, headers, page = comparable(answer)
        return (
            status,
            [(name, hide.sub(lambda found: str(len(found[0])), value)) for name, value in headers],
            hide.sub("…", page),
        )

    seen: dict[str, list[object]] = {}
    pages = {}
    for typed in TYPED:
        browser = pages[typed] = university.bridge.browser()
        browser.get("/perte-identifiant")
        posted = browser.submit(profile="vacataire", email=typed, follow=False)
        waiting = browser.get(posted.headers["Location"])
        wrong = [seen_of(browser.submit(code="BBBB-BBBB")) for _ in range(7)]
        seen[typed] = [seen_of(posted), seen_of(waiting), wrong, seen_of(browser.submit(1))]
    university.mailbox.all()
    university.bridge.clock.forward(minutes=2)
    for typed in TYPED:
        pages[typed].get(pages[typed].page.url)
        seen[typed] += [seen_of(pages[typed].page), seen_of(pages[typed].submit(1))]
    for typed in TYPED:
        assert seen[typed] == seen["nobody@no.example"], typed


def test_i3_the_request_looks_nothing_up_and_sends_nothing(university: University) -> None:
    university.add("nlopez", private=PRIVATE)
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        statements.append(statement)

    engine = university.bridge.runtime.database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        university.ask("vacataire", PRIVATE)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert any("proofs" in statement for statement in statements)
    tables = ("accounts", "addresses", "identities", "local_passwords", "directory_passwords")
    assert not [table for table in tables if any(re.search(rf"\b{table}\b", statement) for statement in statements)]


def test_i10_a_link_dies_with_the_password_it_was_mailed_for(university: University) -> None:
    university.add("nlopez", private=PRIVATE)
    (first,) = university.mails("vacataire", PRIVATE)
    university.bridge.clock.forward(minutes=2)
    university.add("nlopez2", private="second@private.example")  # another one is none of this one's business
    assert heading(university.choose(link_in(first))) == DONE
    assert heading(university.bridge.browser().get(link_in(first))) == USED
    university.bridge.clock.forward(minutes=2)
    (second,) = university.mails("vacataire", PRIVATE)
    assert link_in(second) != link_in(first)
    assert heading(university.choose(link_in(second), "un autre mot bien long")) == DONE


def test_tok_06_the_link_lasts_thirty_minutes_and_the_old_page_sends_a_new_one(university: University) -> None:
    university.add("nlopez", private=PRIVATE)
    (mail,) = university.mails("vacataire", PRIVATE)
    university.bridge.clock.forward(minutes=30)
    browser = university.bridge.browser()
    late = browser.get(link_in(mail))
    assert (late.status_code, heading(late)) == (410, EXPIRED)
    assert "/assistance" in late.text
    assert heading(browser.submit()) == WAITING
    assert heading(university.choose(link_in(university.mailbox.newest()))) == DONE


def test_lnk_04_a_link_dies_when_its_mailbox_is_no_longer_confirmed(university: University) -> None:
    account_id = university.add("nlopez", private=PRIVATE)
    (mail,) = university.mails("vacataire", PRIVATE)
    with university.bridge.runtime.database.begin() as session:
        address = session.query(Address).filter_by(account_id=account_id).one()
        lose_confirmation(session, address, reason="bounce", now=university.bridge.clock(), origin=SYSTEM)
    page = university.bridge.browser().get(link_in(mail))
    assert (page.status_code, heading(page)) == (410, INVALID)


@pytest.mark.parametrize(
    ("trouble", "status", "words"),
    [
        (
            DirectoryUnavailable(),
            503,
            "The university's directory does not answer at the moment. Nothing was changed: try again in some minutes.",
        ),
        (
            DirectoryReadOnly(),
            503,
            "The university's directory takes no changes at the moment. Nothing was changed: try again later.",
        ),
        (PasswordRefused(), 422, "The university's directory refuses this password. Choose another one."),
    ],
)
def test_a_directory_that_refuses_uses_nothing_up(
    university: University, monkeypatch: pytest.MonkeyPatch, trouble: Exception, status: int, words: str
) -> None:
    university.add("nlopez", private=PRIVATE)
    (mail,) = university.mails("vacataire", PRIVATE)

    def refuse(*_arguments: str) -> None:
        raise trouble

    with monkeypatch.context() as patch:
        patch.setattr(type(university.directory), "set_password", refuse)
        page = university.choose(link_in(mail))
        assert page.status_code == status
        assert in_french(words) in plain(page.text)
        assert NEW not in page.text
    assert university.directory.verify("nlopez", OLD)
    university.bridge.clock.forward(minutes=2)
    assert heading(university.choose(link_in(mail))) == DONE


def test_d12_over_budget_the_page_is_the_same_and_nothing_leaves(university: University) -> None:
    university.add("nlopez", private=PRIVATE)
    for _ in range(throttle.PROOF_MAIL_ADDRESS.burst + 2):
        assert heading(university.ask("vacataire", PRIVATE).page) == WAITING
        mails = university.mailbox.all()
        university.bridge.clock.forward(seconds=70)
    assert len(mails) == throttle.PROOF_MAIL_ADDRESS.burst


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"profile": "vacataire", "email": "nora"}, "This is not an e-mail address"),
        ({"profile": "", "email": PRIVATE}, "Say which of these you are."),
        ({"profile": "boss", "email": PRIVATE}, "Say which of these you are."),
    ],
)
def test_what_is_missing_is_said_and_what_was_typed_stays(
    university: University, fields: dict[str, str], error: str
) -> None:
    browser = university.bridge.browser()
    browser.get("/perte-identifiant?lang=en")
    page = browser.submit(**fields)
    assert page.status_code == 422
    assert error in plain(page.text)
    assert fields["email"] in page.text


def test_the_page_is_linked_on_the_doors_and_asks_what_the_university_says(university: University) -> None:
    assert (
        'href="/perte-identifiant?service='
        in university.bridge.browser().get("/cas/login", params={"service": "https://app.example/landing"}).text
    )
    page = plain(university.bridge.browser().get("/perte-identifiant").text)
    for label in ("Enseignant vacataire", "Lecteur à la bibliothèque universitaire", "Autres (compte technique)"):
        assert label in page


def test_a_bridge_without_such_people_has_no_such_page(tmp_path: Path) -> None:
    with running_bridge(tmp_path) as bridge:
        assert bridge.browser().get("/perte-identifiant").status_code == 404


def test_ses_07_every_step_leaves_its_trace(university: University) -> None:
    university.add("nlopez", private=PRIVATE)
    (mail,) = university.mails("vacataire", PRIVATE)
    university.choose(link_in(mail))
    events = {
        "lost_identifier.asked": ["noted"],
        "lost_identifier.mailed": ["ok"],
        "password.recovered": ["ok"],
    }
    with university.bridge.runtime.database.read() as session:
        for name, outcomes in events.items():
            assert [row.outcome for row in session.query(AuditEvent).filter_by(event=name)] == outcomes


def test_a_cut_link_is_no_error_of_ours(university: University) -> None:
    page = university.bridge.browser().get("/perte-identifiant/cut-in-tw")
    assert (page.status_code, heading(page)) == (404, INVALID)
