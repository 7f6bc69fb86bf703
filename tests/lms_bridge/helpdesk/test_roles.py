"""Who may do what at the help desk: three roles, for everybody or for some units."""

from __future__ import annotations

import html
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import select

from external_accounts.accounts import AccountFacts
from external_accounts.institution_schema import AssistanceRequest, Extension
from external_accounts.schema import Account, Registration
from lms_bridge.helpdesk.members import Grant, Member, Role, membership
from lms_bridge.settings import Settings, build
from lms_bridge.signin.again import FRESH_AT_THE_DESK
from lms_bridge.signin.sessions import CurrentSession
from tests.bridge_under_test import PASSWORD, Browser, heading, settings_values
from tests.lms_bridge.helpdesk.conftest import ARTS, LAW, Console
from tests.lms_bridge.mailing import in_french

NOT_FOR_YOU = in_french("These pages are for the help desk")
WRONG_ROLE = in_french("Your role does not reach this page")
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def test_the_roles_are_ordered_by_what_they_may_and_not_by_the_alphabet() -> None:
    assert sorted(Role) == [Role.VIEWER, Role.AGENT, Role.ADMINISTRATOR]
    for less, more in pairwise(Role):
        assert less < more
        assert less <= more
        assert more > less
        assert more >= less
        assert not less >= more
    assert max(Role) is Role.ADMINISTRATOR


def test_several_entries_add_up_and_each_role_keeps_its_own_units() -> None:
    both = Member(1, "both", (Grant(Role.VIEWER, frozenset({ARTS})), Grant(Role.AGENT, frozenset({LAW}))))
    assert both.role is Role.AGENT
    assert both.units == {ARTS, LAW}
    assert both.may(Role.AGENT, LAW)
    assert not both.may(Role.AGENT, ARTS)
    assert not both.may_see("")
    acting = both.with_role(Role.AGENT)
    assert acting is not None
    assert acting.units == {LAW}
    assert both.with_role(Role.ADMINISTRATOR) is None
    everywhere = replace(both, grants=(*both.grants, Grant(Role.VIEWER)))
    assert everywhere.units is None
    assert everywhere.may_see("")
    assert not everywhere.may(Role.AGENT, ARTS)


@pytest.mark.parametrize("role", [None, *Role])
def test_a_query_shows_the_rows_of_ones_units_only(console: Console, role: Role | None) -> None:
    """The same answer in the database as in `may_see`."""
    for number, unit in enumerate((ARTS, LAW, "")):
        console.person(f"ext.n{number}", unit=unit)
    grants = (Grant(role, frozenset({ARTS})),) if role else ()
    member = Member(1, "x", grants)
    with console.bridge.runtime.database.read() as session:
        units = set(session.scalars(member.restrict(select(Account.unit), Account.unit)))
    assert units == {unit for unit in (ARTS, LAW, "") if member.may_see(unit)} == ({ARTS} if role else set())


def person(settings: Settings, **facts: object) -> Member | None:
    known = AccountFacts(
        account_id=7, version=1, username="jdupont", given_name="", family_name="", profile="staff", language="",
        activated_at=NOW, suspended_at=None, suspended_until=None, rights_end_at=None, erased_at=None, email=None,
        email_confirmed_at=None, charter_version=None,
    )  # fmt: skip
    session = CurrentSession(1, "sel", 1, NOW, replace(known, **facts), proved_at=NOW)  # type: ignore[arg-type]
    return membership(session, {"isMemberOf": ["desk"]}, settings)


def test_by_what_the_cas_says_of_somebody_who_is_still_somebody() -> None:
    rule = {"issuer": "sel", "attribute": "isMemberOf", "value": "desk"}
    upstream = {"issuer": "sel", "cas_url": "https://cas.univ.example/cas", "keep": ["isMemberOf"]}
    members = [{"role": "viewer", "usernames": ["jdupont"]}, {"role": "agent", "units": [LAW]} | rule]
    settings = build(settings_values(Path("/nowhere"), help_desk={"members": members}, upstreams=[upstream]))
    found = person(settings)
    assert found is not None
    assert (found.role, found.units, found.may(Role.AGENT, LAW), found.may(Role.AGENT, ARTS)) == (
        Role.AGENT,
        None,
        True,
        False,
    )
    assert person(settings, username="other").units == {LAW}  # type: ignore[union-attr]
    for gone in ({"suspended_at": NOW}, {"erased_at": NOW}, {"merged_into_id": 9}):
        assert person(settings, **gone) is None, gone


# --- Over HTTP ---


def _rows(console: Console) -> None:
    """One row for each queue: of the arts, of law, of nobody."""
    now = console.bridge.clock()
    numbers = {unit: console.person(f"ext.of.{place}", unit=unit) for place, unit in enumerate((ARTS, LAW))}
    common = {"asked_at": now, "asked_until": now + timedelta(days=30), "state": "waiting"}
    asked = {
        "mode": "asked", "state": "waiting", "profile": "learner", "created_at": now, "proved_at": now,
        "expires_at": now + timedelta(days=30), "family_name": "Doe",
    }  # fmt: skip
    with console.bridge.runtime.database.begin() as session:
        for unit, number in numbers.items():
            session.add(Extension(account_id=number, reason=unit, **common))
            email = f"{number}@mail.example"
            session.add(Registration(email=email, email_key=email, given_name=unit, sponsor_id=number, **asked))
        email = "nobody@mail.example"
        session.add(Registration(email=email, email_key=email, given_name="Nobody", **asked))
        session.add(
            AssistanceRequest(
                asked_at=now, state="waiting", reference="ABCDEFGH", subject="other", contact="x", locale="fr"
            )
        )


@pytest.mark.parametrize(
    ("username", "denied"),
    [
        ("ext.viewer", {"registrations", "extensions", "assistance", "invitations", "letters"}),
        ("ext.lawyer", {"assistance", "invitations"}),
        ("ext.agent", set()),
        ("ext.admin", set()),
    ],
)
def test_each_page_says_which_role_it_needs(console: Console, username: str, denied: set[str]) -> None:
    browser = console.as_(username)
    for page in ("registrations", "extensions", "assistance", "invitations", "letters"):
        answer = browser.get(f"/helpdesk/{page}")
        expected = (403, WRONG_ROLE) if page in denied else (200, heading(answer))
        assert (answer.status_code, heading(answer)) == expected, page


def shown(browser: Browser, page: str) -> set[str]:
    text = browser.get(f"/helpdesk/{page}").text
    return {name for name in (ARTS, LAW, "Nobody") if name in text}


def test_an_agent_of_one_unit_decides_for_that_unit(console: Console) -> None:
    _rows(console)
    lawyer, agent = console.as_("ext.lawyer"), console.as_("ext.agent")
    assert shown(agent, "registrations") == {ARTS, LAW, "Nobody"}
    assert shown(lawyer, "registrations") == {LAW}
    for row, status in ((1, 404), (2, 200), (3, 404)):
        assert lawyer.get(f"/helpdesk/registrations/{row}").status_code == status
        assert agent.get(f"/helpdesk/registrations/{row}").status_code == 200
    for row, status in ((1, 404), (2, 200)):
        assert lawyer.get(f"/helpdesk/extensions/{row}").status_code == status
    assert lawyer.get("/helpdesk/extensions").text.count("/helpdesk/extensions/") == 1


def test_a_letter_for_somebody_of_another_unit_is_for_nobody(console: Console) -> None:
    console.person("ext.arts.man", unit=ARTS, activated_at=None)
    console.person("ext.law.man", unit=LAW, activated_at=None)
    pytest.importorskip("weasyprint")
    lawyer = console.as_("ext.lawyer")
    lawyer.get("/helpdesk/letters")
    page = lawyer.submit(identifiers="ext.arts.man\next.law.man")
    assert html.unescape(page.text).count(in_french("There is no account of that identifier.")) == 1
    assert page.text.count("Ada Lovelace") == 1


def test_ses_03_a_change_asks_who_it_is_after_half_an_hour_and_loses_nothing(console: Console) -> None:
    _rows(console)
    agent = console.as_("ext.agent")
    agent.get("/helpdesk/extensions/1")
    console.bridge.clock.moment += FRESH_AT_THE_DESK + timedelta(seconds=1)
    question = agent.submit(decision="refuse", reason="No, sorry")
    assert heading(question) == in_french("Is it really you?")
    assert in_french("Decide on a request for more time") in html.unescape(question.text)
    assert 'href="/helpdesk/extensions/1"' in question.text
    with console.bridge.runtime.database.read() as session:
        assert session.get_one(Extension, 1).state == "waiting"
    agent.submit(password=PASSWORD)
    with console.bridge.runtime.database.read() as session:
        row = session.get_one(Extension, 1)
        assert (row.state, row.decision_reason, row.decided_by) == ("refused", "No, sorry", "ext.agent")


def test_within_half_an_hour_nobody_is_asked_again(console: Console) -> None:
    _rows(console)
    agent = console.as_("ext.agent")
    console.bridge.clock.moment += FRESH_AT_THE_DESK - timedelta(minutes=1)
    agent.get("/helpdesk/extensions/1")
    agent.submit(decision="refuse", reason="")
    with console.bridge.runtime.database.read() as session:
        assert session.get_one(Extension, 1).state == "refused"


def test_somebody_without_a_role_is_told_nothing_of_roles(console: Console) -> None:
    console.person("ext.ada")
    answer = console.as_("ext.ada").get("/helpdesk/letters")
    assert (answer.status_code, heading(answer)) == (403, NOT_FOR_YOU)
