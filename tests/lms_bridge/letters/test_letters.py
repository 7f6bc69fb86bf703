"""Account letters: printed by the help desk, typed by the person, and what the code is good for."""

from __future__ import annotations

import io
import json
import re
import sys
from datetime import timedelta
from pathlib import Path

import pypdf
import pytest
from click.testing import CliRunner

from external_accounts import letters, throttle
from external_accounts.activation import NotOpen
from external_accounts.audit import SYSTEM, AuditEvent
from external_accounts.institution_schema import ActivationLetter
from external_accounts.schema import Account
from lms_bridge.cli import main
from lms_bridge.letters.printing import read_list
from tests.bridge_under_test import APP, heading, settings_values
from tests.lms_bridge.letters.conftest import CODE, Desk, sheets
from tests.lms_bridge.mailing import in_french, link_in
from tests.lms_bridge.selfservice.activation.town import CHOSEN, DONE, EXPIRED, SETTINGS, plain

WRONG = in_french("This identifier and this code do not belong together, or the letter is too old or replaced.")


def test_the_whole_way_from_the_help_desk_to_the_sign_in(desk: Desk) -> None:
    """A person whom no mail can reach: paper, the steps, a password; then a private address, before any service."""
    desk.announce("ext.lea", profile="library_reader", private=None, mail=False)
    preview = desk.look("ext.lea")
    assert "Nora Lopez" in preview.page.text
    (sheet,) = sheets(preview.submit())
    assert "Nora Lopez" in sheet
    assert "ext.lea" in sheet
    assert "/account/activate/letter" in sheet.replace("\n", "")
    code = CODE.search(sheet)
    assert code
    browser = desk.enter(code[1].lower().replace("-", " "), "Ext.Lea ")
    for _ in range(6):
        if 'name="password"' in browser.page.text:
            break
        browser.submit(charter="1", directory="no", forward="no")
    assert heading(browser.submit(password=CHOSEN, password_again=CHOSEN)) == DONE
    person = desk.bridge.browser()
    assert person.sign_in("ext.lea", CHOSEN, service=APP).status_code == 403, "the letter proved no mailbox (I4)"
    person.get("/account/confirm", params={"service": APP})
    person.submit(email="lea@mail.example")
    person.get(link_in(desk.mailbox.newest()))
    person.submit()
    assert person.ticket()


def test_the_code_sets_the_password_of_a_directory_and_confirms_nothing_i4(desk: Desk) -> None:
    account_id = desk.announce(private="nora@mail.example", mail=False)
    browser = desk.enter(desk.code_for())
    for _ in range(6):
        if 'name="password"' in browser.page.text:
            break
        browser.submit(charter="1", directory="no", forward="no")
    assert heading(browser.submit(password=CHOSEN, password_again=CHOSEN)) == DONE
    assert desk.directory.verify("nlopez", CHOSEN)
    account = desk.account(account_id)
    assert account.activated_at
    assert [address for address in account.addresses if address.confirmed_at] == []


def test_the_steps_may_be_broken_off_and_the_code_typed_again_elsewhere(desk: Desk) -> None:
    desk.announce(mail=False)
    code = desk.code_for()
    first = desk.enter(code).page.url
    desk.bridge.clock.forward(minutes=5)
    assert desk.enter(code).page.url == first
    desk.bridge.clock.forward(days=2)
    assert heading(desk.bridge.browser().get(first)) == EXPIRED
    assert desk.enter(code).page.url != first


def test_tok_04_after_the_activation_the_code_opens_nothing(desk: Desk) -> None:
    desk.announce(mail=False)
    code = desk.code_for()
    browser = desk.enter(code)
    for _ in range(6):
        if 'name="password"' in browser.page.text:
            break
        browser.submit(charter="1", directory="no", forward="no")
    browser.submit(password=CHOSEN, password_again=CHOSEN)
    late = desk.enter(code).page
    assert late.status_code == 409
    assert in_french("This account is active already: sign in, or ask for a new password.") in plain(late)


def test_printing_again_makes_the_first_letter_void_and_what_it_opened(desk: Desk) -> None:
    desk.announce(mail=False)
    first = desk.code_for()
    opened = desk.enter(first).page.url
    second = desk.code_for()
    assert desk.enter(first).page.status_code == 422
    assert desk.bridge.browser().get(opened).status_code == 410
    assert desk.enter(second).page.status_code == 200
    with desk.bridge.runtime.database.read() as session:
        outcomes = [row.outcome for row in session.query(AuditEvent).filter_by(event="letter.printed")]
    assert outcomes == ["ok", "again"]


def test_the_code_lasts_to_the_last_minute_of_its_last_day(desk: Desk) -> None:
    desk.announce(mail=False)
    code = desk.code_for()
    zone = desk.bridge.runtime.settings.zone
    last = (desk.bridge.clock().astimezone(zone) + timedelta(days=30)).replace(hour=23, minute=58, second=59)
    desk.bridge.clock.moment = last
    assert desk.enter(code).page.status_code == 200
    desk.bridge.clock.moment = last.replace(minute=59, second=0)
    late = desk.enter(code).page
    assert late.status_code == 422
    assert WRONG in plain(late)


def test_i3_known_and_unknown_get_the_same_answer(desk: Desk) -> None:
    desk.announce(mail=False)
    code = desk.code_for()
    desk.announce("other", private="o@mail.example", mail=False)
    answers = set()
    for identifier, typed in [
        ("nlopez", "BBBB-BBBB-BBBB"),
        ("nobody", code),
        ("other", code),
        ("é\x00", code),
        ("nlopez", ""),
    ]:
        page = desk.enter(typed, identifier).page
        shown = re.sub(r'name="csrf_token" value="[^"]*"|value="[^"]*" autocomplete="username"', "", page.text)
        answers.add((page.status_code, shown))
    assert len(answers) == 1


def test_guesses_are_limited_by_identifier_before_anything_is_looked_up(desk: Desk) -> None:
    desk.announce(mail=False)
    code = desk.code_for()
    for _ in range(throttle.LETTER_IDENTIFIER.burst):
        assert desk.enter("BBBB-BBBB-BBBB").page.status_code == 422
    assert desk.enter(code).page.status_code == 429
    desk.bridge.clock.forward(minutes=6)
    assert desk.enter(code).page.status_code == 200


def test_tok_05_the_code_rests_nowhere(desk: Desk) -> None:
    desk.announce(mail=False)
    code = desk.code_for()
    with desk.bridge.runtime.database.read() as session:
        (row,) = session.query(ActivationLetter).all()
        audited = json.dumps([event.details for event in session.query(AuditEvent)])
    assert row.code_hash == letters.code_hash("nlopez", code)
    assert row.code_hash != letters.code_hash("other", code)
    assert code not in audited
    assert code.replace("-", "") not in row.code_hash.upper()


def test_who_gets_no_letter_is_said_before_anything_is_printed(desk: Desk) -> None:
    now = desk.bridge.clock()
    desk.announce("nlopez", mail=False)
    desk.announce("active", private="a@m.example", mail=False, activated_at=now)
    desk.announce("over", private="b@m.example", mail=False, rights_end_at=now)
    desk.announce("held", private="c@m.example", mail=False, suspended_at=now)
    preview = desk.look("nlopez\nactive\nover\nheld\nnobody\nnlopez")
    shown = plain(preview.page)
    for words in (
        "The account is active already.",
        "The rights of the account have ended.",
        "The account is suspended.",
        "There is no account of that identifier.",
    ):
        assert in_french(words) in shown.replace("&#39;", "'")
    with desk.bridge.runtime.database.read() as session:
        assert session.query(ActivationLetter).count() == 0
    assert len(sheets(preview.submit())) == 1


def test_a_batch_is_one_pdf_with_a_sheet_each_in_each_person_s_language(desk: Desk) -> None:
    for number in range(3):
        desk.announce(f"p{number}", private=f"p{number}@m.example", mail=False)
    with desk.bridge.runtime.database.begin() as session:
        account = session.query(Account).filter_by(username="p1").one()
        account.language, account.unit = "en", "Institut de recherche interdisciplinaire " * 2
        account.given_name, account.family_name = "Anne-Charlotte " * 6, "de la Tour " * 9
    printed = desk.print_for("p0;x\np1;y\np2;z")
    assert len(printed) == 3
    assert ["Your account is opened" in sheet for sheet in printed] == [False, True, False]
    assert len({CODE.search(sheet)[1] for sheet in printed if CODE.search(sheet)}) == 3  # type: ignore[index]


def test_the_pdf_is_tagged_and_says_its_language_and_title(desk: Desk) -> None:
    desk.announce(mail=False)
    answer = desk.look("nlopez").submit()
    assert 'filename="nlopez.pdf"' in answer.headers["Content-Disposition"]
    assert answer.headers["Cache-Control"] == "no-store"
    root = pypdf.PdfReader(io.BytesIO(answer.content)).trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == "fr"
    assert "/StructTreeRoot" in root
    assert b"pdfuaid:part" in answer.content or "/Metadata" in root


def test_only_the_help_desk_prints(desk: Desk) -> None:
    desk.bridge.add_account("ext.ada")
    browser = desk.bridge.browser()
    browser.sign_in("ext.ada")
    assert browser.get("/helpdesk/letters").status_code == 403
    assert heading(desk.bridge.browser().get("/helpdesk/letters")) != in_french("Account letters")


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("  \n ", "Enter at least one identifier."),
        ("\n".join(f"p{number}" for number in range(51)), "At most"),
    ],
)
def test_bad_lists_are_refused_with_what_was_typed(desk: Desk, typed: str, words: str) -> None:
    browser = desk.agent()
    browser.get("/helpdesk/letters?lang=en")
    page = browser.submit(identifiers=typed)
    assert page.status_code == 422
    assert words in plain(page)
    assert typed.strip()[:2] in page.text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("nlopez\n\n NLOPEZ \r\njdoe", ["nlopez", "jdoe"]),
        ("\ufeffNom;Identifiant\nLopez;nlopez\nDoe;jdoe\nX;", ["nlopez", "jdoe"]),
        ('"username","x"\n"a","b"\n"c"', ["a", "c"]),
        ("", []),
    ],
)
def test_a_list_or_a_csv_file_is_read(text: str, wanted: list[str]) -> None:
    assert read_list(text) == wanted


def test_without_the_libraries_the_page_and_the_command_say_what_to_install(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    desk.announce(mail=False)
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    page = desk.look("nlopez").page
    assert page.status_code == 503
    assert "lms-bridge[pdf]" in page.text
    with desk.bridge.runtime.database.read() as session:
        assert session.query(ActivationLetter).count() == 0


@pytest.fixture
def command(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    given = settings_values(tmp_path, **SETTINGS, letters={"days": 10, "most": 3}, secret_keys=["k" * 32])
    for name, value in given.items():
        monkeypatch.setenv(f"LMS_BRIDGE_{name.upper()}", value if isinstance(value, str) else json.dumps(value))
    return CliRunner()


def test_the_command_prints_a_list_for_its_owner_s_eyes(desk: Desk, command: CliRunner, tmp_path: Path) -> None:
    desk.announce(mail=False)
    desk.announce("jdoe", private="j@m.example", mail=False)
    source, output = tmp_path / "list.csv", tmp_path / "letters.pdf"
    source.write_text("Identifiant;Nom\nnlopez;Lopez\nnobody;X\n", "utf-8")
    dry = command.invoke(main, ["letters", "--file", str(source), "-o", str(output), "--dry-run"])
    assert "1 letters would be printed." in dry.output
    assert not output.exists()
    answer = command.invoke(main, ["letters", "--file", str(source), "jdoe", "-o", str(output)])
    assert answer.exit_code == 4, answer.output
    assert "nobody: There is no account of that identifier." in answer.output
    assert f"2 letters in {output}" in answer.output
    assert output.stat().st_mode & 0o777 == 0o600
    printed = [page.extract_text() for page in pypdf.PdfReader(output).pages]
    code = CODE.search(printed[0])
    assert code
    assert desk.enter(code[1]).page.status_code == 200
    too_many = command.invoke(main, ["letters", "a", "b", "c", "d", "-o", str(output)])
    assert too_many.exit_code == 2
    assert "at most 3" in too_many.output
    assert command.invoke(main, ["letters", "nobody", "-o", str(output)]).exit_code == 2


def test_a_letter_cannot_be_made_for_who_was_activated_meanwhile(desk: Desk) -> None:
    account_id = desk.announce(mail=False)
    made = letters.new_letter("nlopez")
    desk.change(account_id, activated_at=desk.bridge.clock())
    now = desk.bridge.clock()
    with desk.bridge.runtime.database.begin() as session:
        account, until = session.get_one(Account, account_id), now + timedelta(days=1)
        with pytest.raises(NotOpen):
            letters.printed(session, account, made, expires_at=until, by="x", now=now, origin=SYSTEM)


def test_old_letters_are_dropped(desk: Desk) -> None:
    desk.announce(mail=False)
    desk.code_for()
    desk.bridge.clock.forward(days=32)
    desk.bridge.runner.run_once()
    with desk.bridge.runtime.database.read() as session:
        assert session.query(ActivationLetter).count() == 0
