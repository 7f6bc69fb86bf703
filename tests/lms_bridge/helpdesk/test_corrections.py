"""Correcting a bounced address by two people, and proposing a link: what each side sees, and what stays as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from sqlalchemy import select

from external_accounts import audit
from external_accounts.address_changes import drop_address
from external_accounts.confirmation import lose_confirmation
from external_accounts.linking_schema import AddressCorrection, LikelyPair
from external_accounts.schema import Account, Address
from tests.bridge_under_test import APP, forms, heading
from tests.lms_bridge.helpdesk.acting import DESK, PATH, SECOND, Office, done, office, words
from tests.lms_bridge.mailing import in_french, link_in, path_of

QUEUE = "/helpdesk/corrections"
WRONG, RIGHT = "ext.ada@mail.example", "ada@right.example"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path) as running:
        yield running


def bounced(desk: Office, username: str = "ext.ada") -> int:
    """Somebody whose confirmed address does not exist any more."""
    number = desk.person(username)
    with desk.bridge.runtime.database.begin() as session:
        address = session.scalars(select(Address).where(Address.account_id == number)).one()
        lose_confirmation(session, address, reason="bounce", now=desk.clock(), origin=audit.SYSTEM)
    return number


def ask(desk: Office, number: int, *, email: str = RIGHT, reason: str = "said on the telephone") -> int:
    """The first person asks; returns the request's number."""
    address = desk.addresses(number)[0].id
    assert done(desk.act("correct", number, address=str(address), email=email, reason=reason), number, "correct")
    return newest(desk).id


def newest(desk: Office) -> AddressCorrection:
    with desk.bridge.runtime.database.read() as session:
        return session.scalars(select(AddressCorrection).order_by(AddressCorrection.id.desc())).first()  # type: ignore[return-value]


def decide(desk: Office, request: int, decision: str, *, by: str = SECOND, **fields: str) -> requests.Response:
    browser = desk.browser(by)
    browser.get(f"{QUEUE}/{request}")
    return browser.submit(follow=False, decision=decision, **fields)


def test_i4_two_people_replace_an_address_and_only_its_reader_confirms_it(desk: Office) -> None:
    ada = bounced(desk)
    request = ask(desk, ada)
    assert desk.addresses(ada)[0].email == WRONG, "nothing changes yet"
    queue = desk.browser(SECOND).get(QUEUE)
    assert WRONG in queue.text
    assert RIGHT in queue.text
    assert decide(desk, request, "approve").status_code == 303
    address = desk.addresses(ada)[0]
    assert (address.email, address.is_primary, address.confirmed_at) == (RIGHT, True, None)
    assert newest(desk).state == "approved"
    assert [event.outcome for event in desk.events(ada, "address.correction")] == ["asked", "approved"]
    assert {event.actor for event in desk.events(ada, "address.correction")} == {DESK, SECOND}
    assert desk.mails_to(WRONG) == [], "it cannot be reached"
    person = desk.bridge.browser()
    assert heading(person.sign_in("ext.ada", service=APP)) == in_french("E-mail not confirmed")
    person.get(path_of(link_in(desk.mails_to(RIGHT)[-1])))
    person.submit()
    assert desk.addresses(ada)[0].confirmed_at is not None


def test_whoever_asks_does_not_decide_and_the_attempt_is_written_down(desk: Office) -> None:
    ada = bounced(desk)
    request = ask(desk, ada)
    page = desk.browser(DESK).get(f"{QUEUE}/{request}")
    assert in_french("Somebody else decides") in words(page)
    for decision in ("approve", "refuse"):
        browser = desk.browser(DESK)
        browser.get(f"{QUEUE}/{request}")
        answer = browser.submit(follow=False, decision=decision, reason="me again")
        assert answer.status_code == 409
    assert newest(desk).state == "waiting"
    assert desk.addresses(ada)[0].email == WRONG
    assert [event.outcome for event in desk.events(ada, "helpdesk.refused")] == ["second person"] * 2


def test_joining_two_accounts_does_not_make_a_second_person_of_whoever_asked(desk: Office) -> None:
    ada = bounced(desk)
    request = ask(desk, ada)
    with desk.bridge.runtime.database.begin() as session:
        accounts = {one.username: one for one in session.scalars(select(Account))}
        accounts[DESK].merged_into_id = accounts[SECOND].id
    assert decide(desk, request, "approve").status_code == 409
    assert desk.addresses(ada)[0].email == WRONG


def test_whoever_asked_takes_it_back_and_nobody_else_does(desk: Office) -> None:
    ada = bounced(desk)
    request = ask(desk, ada)
    assert decide(desk, request, "withdraw", by=SECOND).status_code == 403
    assert decide(desk, request, "withdraw", by=DESK).status_code == 303
    assert newest(desk).state == "withdrawn"
    assert decide(desk, ask(desk, ada), "approve").status_code == 303, "it can be asked for again"


def test_a_refusal_needs_a_reason_and_changes_nothing(desk: Office) -> None:
    ada = bounced(desk)
    request = ask(desk, ada)
    browser = desk.browser(SECOND)
    browser.get(f"{QUEUE}/{request}")
    assert browser.submit(1, follow=False, decision="refuse", reason="").status_code == 422
    assert browser.submit(1, follow=False, decision="refuse", reason="not them").status_code == 303
    assert desk.addresses(ada)[0].email == WRONG
    assert "not them" in desk.browser(DESK).get(f"{QUEUE}/{request}").text


def test_lnk_04_what_was_under_way_to_the_wrong_address_dies(desk: Office) -> None:
    ada = desk.person(confirmed=False)
    desk.act("resend", ada, message=f"confirm-{desk.addresses(ada)[0].id}")
    old_link = path_of(link_in(desk.mails_to(WRONG)[-1]))
    decide(desk, ask(desk, ada), "approve")
    assert desk.bridge.browser().get(old_link).status_code == 410
    told = desk.mails_to(WRONG)[-1]
    assert in_french("A mistake was corrected") in told.html
    assert "ext.ada" not in told.text.replace(WRONG, ""), "it may be a stranger's"
    assert "Ada" not in told.text


def test_d36_the_other_confirmed_addresses_are_told_and_can_undo_it(desk: Office) -> None:
    ada = bounced(desk)
    with desk.bridge.runtime.database.begin() as session:
        session.add(
            Address(
                account_id=ada,
                email="ada@home.example",
                email_key="ada@home.example",
                role="recovery",
                created_at=desk.clock(),
                confirmed_at=desk.clock(),
                confirmed_by="proof",
            )
        )
    decide(desk, ask(desk, ada), "approve")
    mail = desk.mails_to("ada@home.example")[-1]
    assert "a•••@right.example" in mail.text
    undo = next(word for word in mail.text.split() if "/account/undo/" in word)
    person = desk.bridge.browser()
    person.get(path_of(undo))
    person.submit()
    assert {one.email for one in desk.addresses(ada)} == {WRONG, "ada@home.example"}


@pytest.mark.parametrize("meanwhile", ["removed", "confirmed", "there already", "erased"])
def test_a_request_that_the_account_outran_is_over(desk: Office, meanwhile: str) -> None:
    ada = bounced(desk)
    request = ask(desk, ada)
    with desk.bridge.runtime.database.begin() as session:
        address = session.scalars(select(Address).where(Address.account_id == ada)).one()
        if meanwhile == "removed":
            drop_address(session, session.get_one(Account, ada), address, desk.clock())
        elif meanwhile == "confirmed":
            desk.bridge.confirm(session, session.get_one(Account, ada))
        elif meanwhile == "there already":
            added = Address(
                account_id=ada, email=RIGHT, email_key=RIGHT, role="contact", created_at=desk.clock(), confirmed_by=""
            )
            session.add(added)
        else:
            session.get_one(Account, ada).erased_at = desk.clock()
    before = [(one.email, one.confirmed_at) for one in desk.addresses(ada)]
    assert decide(desk, request, "approve").status_code == 303
    assert newest(desk).state == "over"
    assert [(one.email, one.confirmed_at) for one in desk.addresses(ada)] == before


def test_an_address_with_a_request_can_still_be_removed_by_its_owner(desk: Office) -> None:
    ada = bounced(desk)
    ask(desk, ada)
    with desk.bridge.runtime.database.begin() as session:
        session.add(
            Address(
                account_id=ada,
                email="ada@home.example",
                email_key="ada@home.example",
                role="contact",
                created_at=desk.clock(),
                confirmed_at=desk.clock(),
                confirmed_by="proof",
            )
        )
    person = desk.browser("ext.ada")
    page = person.get("/account/addresses")
    actions = [action for action, *_rest in forms(page)]
    primary = next(place for place, action in enumerate(actions) if action.endswith("/primary"))
    person.submit(primary)
    page = person.get("/account/addresses")
    removal = next(place for place, (action, *_rest) in enumerate(forms(page)) if action.endswith("/remove"))
    assert person.submit(removal).status_code == 200
    assert [one.email for one in desk.addresses(ada)] == ["ada@home.example"]
    assert newest(desk).address_id is None


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"email": "nowhere"}, 422),
        ({"email": RIGHT, "reason": ""}, 422),
        ({"email": RIGHT, "address": "x"}, 422),
        ({"email": RIGHT, "address": "999"}, 409),
        ({"email": WRONG.upper()}, 409),
    ],
)
def test_what_cannot_be_asked_is_said_and_kept(desk: Office, fields: dict[str, str], status: int) -> None:
    ada = bounced(desk)
    given = {"address": str(desk.addresses(ada)[0].id), "reason": "a <call>"} | fields
    answer = desk.act("correct", ada, **given)
    assert answer.status_code == status
    assert f'value="{given["email"]}"' in answer.text
    with desk.bridge.runtime.database.read() as session:
        assert session.scalars(select(AddressCorrection)).all() == []


def test_a_confirmed_address_is_not_corrected_and_asking_twice_is_asking_once(desk: Office) -> None:
    ada, bob = bounced(desk), desk.person("ext.bob")
    assert forms(desk.browser().get(f"{PATH}/{bob}/correct")) == []
    ask(desk, ada)
    again = desk.act("correct", ada, address=str(desk.addresses(ada)[0].id), email=RIGHT, reason="again")
    assert again.status_code == 409
    assert in_french("A request to correct this address waits already.") in words(again)


def test_the_decision_shows_who_else_has_the_new_address(desk: Office) -> None:
    ada = bounced(desk)
    desk.bridge.add_account("ext.bob", email=RIGHT)
    page = desk.browser(SECOND).get(f"{QUEUE}/{ask(desk, ada)}")
    assert "ext.bob" in words(page)


# --- Two accounts of one person ---


def pair(desk: Office) -> LikelyPair | None:
    with desk.bridge.runtime.database.read() as session:
        return session.scalars(select(LikelyPair)).one_or_none()


def test_d30_a_proposal_tells_both_sides_names_neither_and_joins_nothing(desk: Office) -> None:
    ada, bob = desk.person(), desk.person("ext.bob")
    assert done(desk.act("link", ada, other="ext.bob", reason="same person"), ada, "link")
    found = pair(desk)
    assert found is not None
    assert (found.first_id, found.second_id, found.state, found.proposed_by) == (ada, bob, "proposed", DESK)
    for mine, other in (("ext.ada", "ext.bob"), ("ext.bob", "ext.ada")):
        mail = desk.mails_to(f"{mine}@mail.example")[-1]
        assert "/account/links" in mail.text
        assert other not in mail.text
        assert other not in mail.html
    for number in (ada, bob):
        assert desk.account(number).merged_into_id is None
        assert [event.actor for event in desk.events(number, "duplicates.proposed")] == [DESK]


@pytest.mark.parametrize("other", ["ext.nobody", "ext.ada", DESK, "#999", "shared@mail.example"])
def test_what_cannot_be_proposed_is_refused(desk: Office, other: str) -> None:
    ada = desk.person()
    for name in ("ext.bob", "ext.eve"):
        desk.bridge.add_account(name, email="shared@mail.example")
    answer = desk.act("link", ada, other=other, reason="same person")
    assert answer.status_code == 409
    assert f'value="{other}"' in answer.text
    assert pair(desk) is None
    assert len(desk.events(ada, "helpdesk.refused")) == 1


def test_proposing_twice_writes_once_and_who_said_no_is_not_asked_again(desk: Office) -> None:
    """They can still join the two by themselves, at any time."""
    ada, _bob = desk.person(), desk.person("ext.bob")
    desk.act("link", ada, other="ext.bob", reason="same person")
    assert desk.act("link", ada, other="ext.bob", reason="again").status_code == 409
    assert len(desk.mails_to("ext.bob@mail.example")) == 1
    with desk.bridge.runtime.database.begin() as session:
        found = session.scalars(select(LikelyPair).where(LikelyPair.state == "proposed")).one()
        found.state, found.declined_at = "declined", desk.clock()
    answer = desk.act("link", ada, other="ext.bob", reason="they called")
    assert answer.status_code == 409
    assert in_french("They have said no: they are not asked again.") in words(answer)
    assert len(desk.mails_to("ext.bob@mail.example")) == 1
