"""What the ceremony refuses, and what it tells while it does: nothing of the other account (LNK-11, I3, I5, D26)."""

from __future__ import annotations

import re

import pytest
import requests

from external_accounts import audit
from external_accounts.accounts import lock_account, suspend
from external_accounts.linking_schema import LikelyPair
from external_accounts.schema import Account
from lms_bridge.selfservice.links.overview import DONE
from tests.bridge_under_test import PASSWORD, Browser, heading
from tests.lms_bridge.mailing import in_french
from tests.lms_bridge.selfservice.account.conftest import words
from tests.lms_bridge.selfservice.links.town import LINKS, Links, link_of, path, press

ADA = "ext.ada@mail.example"
BOB = "ext.bob@mail.example"
SUGGESTED = in_french(
    "The help desk suggests that you have another account here. If that is so, join the two: only you can."
)
BOTH = in_french("Join these two accounts?")


def member_at_it(links: Links) -> Browser:
    """Ada came by the CAS and has begun."""
    links.member("adupont")
    ada = links.by_cas("adupont")
    links.begin(ada, cas="adupont")
    return ada


def without_tokens(page: requests.Response) -> str:
    return re.sub(r'name="csrf_token" value="[^"]+"', "", page.text)


def test_i3_unknown_wrong_and_right_but_unconfirmed_get_the_same_bytes(links: Links) -> None:
    links.learner("ext.known")
    links.learner("ext.fresh", confirmed=False)
    ada = member_at_it(links)
    here = path(ada)
    pages = []
    for name, password in (("ext.known", "wrong"), ("ext.nobody", "wrong"), ("ext.fresh", PASSWORD)):
        page = links.show_password(ada, name, password)
        pages.append((page.status_code, without_tokens(page).replace(name, "NAME")))
        ada.get(here)
    assert pages[0] == pages[1] == pages[2]
    assert pages[0][0] == 401
    assert not links.mails_to("ext.fresh@mail.example")


def test_guesses_in_the_ceremony_draw_on_the_budget_of_the_door(links: Links) -> None:
    links.learner("ext.known")
    ada = member_at_it(links)
    here = path(ada)
    for _ in range(10):
        ada.get(here)
        assert links.show_password(ada, "ext.known", "wrong").status_code == 401
    ada.get(here)
    assert links.show_password(ada, "ext.known", "wrong").status_code == 429
    door = links.bridge.browser()
    assert door.sign_in("ext.known", "wrong").status_code == 429


def test_nothing_of_the_other_account_is_shown_before_its_mailbox_answered(links: Links) -> None:
    links.learner()
    ada = member_at_it(links)
    waiting = links.show_password(ada, "ext.ada")
    for shown in (ADA, "Lovelace", "mail.example"):
        assert shown not in words(waiting)
    assert path(ada) != LINKS
    assert heading(ada.get(path(ada))) != BOTH


@pytest.mark.parametrize("where", ["nobody", "somebody else", "the same person elsewhere"])
def test_d26_the_link_opened_elsewhere_names_neither_account_and_proves_nothing(links: Links, where: str) -> None:
    links.learner()
    links.learner("ext.bob")
    ada = member_at_it(links)
    links.show_password(ada, "ext.ada")
    reader = links.bridge.browser()
    if where == "somebody else":
        reader = links.by_password("ext.bob")
    elif where != "nobody":
        reader = links.by_cas("adupont")
    link = link_of(links.mails_to(ADA)[-1], "proof")
    page = reader.get(link)
    assert (page.status_code, heading(page)) == (403, in_french("Not here"))
    for name in ("adupont", "ext.ada", "ext.bob", "Lovelace"):
        assert name not in words(page)
    reader.get("/account/check")
    token = ada.page.text.split('name="csrf_token" value="')[1].split('"')[0]
    assert reader.session.post(links.bridge.url + link, data={"csrf_token": token}, timeout=20).status_code in (
        400,
        403,
    )
    assert heading(ada.get(link)) == in_french("Is this account yours as well?")


def test_i5_lnk_07_d24_a_proof_of_one_ceremony_is_none_in_another(links: Links) -> None:
    links.learner()
    links.learner("ext.bob")
    ada = member_at_it(links)
    links.show_password(ada, "ext.ada")
    first = link_of(links.mails_to(ADA)[-1], "proof")
    links.begin(ada)
    links.show_password(ada, "ext.bob")
    second = link_of(links.mails_to(BOB)[-1], "proof")
    over = ada.get(first)
    assert heading(over) != in_french("Is this account yours as well?")
    ada.get(second)
    ada.submit()
    assert heading(ada.page) == BOTH
    assert "ext.bob" in words(ada.page)


def test_a_ceremony_belongs_to_its_session(links: Links) -> None:
    links.learner()
    ada = member_at_it(links)
    here = path(ada)
    other = links.by_cas("adupont")
    assert path_after(other, here) == LINKS
    mallory = links.by_password("ext.ada")
    assert path_after(mallory, here) == LINKS


def path_after(browser: Browser, address: str) -> str:
    browser.get(address)
    return path(browser)


def test_the_same_cas_account_is_already_a_way_in(links: Links) -> None:
    ada = member_at_it(links)
    links.show_cas(ada, "adupont")
    assert (ada.page.status_code, heading(ada.page)) == (
        409,
        in_french("This is already a way in to your account"),
    )


def test_a_suspended_account_is_refused_and_stays_suspended(links: Links) -> None:
    learner = links.learner()
    with links.bridge.runtime.database.begin() as session:
        now = links.bridge.clock()
        suspend(session, lock_account(session, learner), reason="x", until=None, now=now, origin=audit.SYSTEM)
    ada = member_at_it(links)
    links.show_local(ada, "ext.ada", ADA)
    assert (ada.page.status_code, heading(ada.page)) == (409, in_french("A suspended account cannot be joined"))
    assert "ext.ada" not in words(ada.page)


def test_a_suspension_that_comes_before_the_last_button_counts(links: Links) -> None:
    learner = links.learner()
    ada = member_at_it(links)
    links.show_local(ada, "ext.ada", ADA)
    with links.bridge.runtime.database.begin() as session:
        now = links.bridge.clock()
        suspend(session, lock_account(session, learner), reason="x", until=None, now=now, origin=audit.SYSTEM)
    assert links.confirm(ada).status_code == 409
    assert links.links() == []


def test_i10_a_password_changed_meanwhile_ends_what_it_proved(links: Links) -> None:
    learner = links.learner()
    ada = member_at_it(links)
    links.show_local(ada, "ext.ada", ADA)
    links.bridge.clock.forward(minutes=1)
    with links.bridge.runtime.database.begin() as session:
        from external_accounts.schema import LocalPassword

        password = session.get_one(LocalPassword, learner)
        password.set_at = links.bridge.clock()
    answer = links.confirm(ada)
    assert (answer.status_code, heading(answer)) == (409, in_french("Something changed meanwhile"))
    assert links.links() == []


def test_a_ceremony_lasts_half_an_hour(links: Links) -> None:
    links.learner()
    ada = member_at_it(links)
    links.show_local(ada, "ext.ada", ADA)
    links.bridge.clock.forward(minutes=30)
    links.confirm(ada)
    assert path(ada) == LINKS
    assert links.links() == []


def test_lnk_01_lnk_11_a_cas_account_whose_name_is_taken_is_asked_whether_it_is_theirs(links: Links) -> None:
    links.member("adupont")
    account = links.learner("ext.ada")
    with links.bridge.runtime.database.begin() as session:
        session.get_one(Account, account).username = "adupont"  # as after the CAS was removed from a joined account
    stranger = links.bridge.browser()
    stranger.get("/signin/sel")
    page = links.type_at_cas(stranger, "adupont")
    assert (page.status_code, heading(page)) == (403, in_french("Do you have an account here already?"))
    for shown in ("ext.ada", "mail.example", "Lovelace"):
        assert shown not in words(page)
    stranger.get("/signin/local")
    stranger.submit(identifier="ext.ada", password=PASSWORD)
    assert path(stranger) == LINKS, "after the sign-in, on to the ceremony"
    links.begin(stranger)
    links.show_cas(stranger, "adupont")
    done = links.confirm(stranger)
    assert in_french(DONE["added"]) in words(done)
    assert links.identities()[("sel", "adupont")] == account


def test_a_name_that_is_somebody_else_s_is_for_the_help_desk(links: Links) -> None:
    links.learner()
    other = links.learner("ext.bob")
    with links.bridge.runtime.database.begin() as session:
        session.get_one(Account, other).username = "adupont"
    links.member("adupont")
    ada = links.by_password("ext.ada")
    links.begin(ada)
    links.show_cas(ada, "adupont")
    assert (ada.page.status_code, heading(ada.page)) == (409, in_french("The help desk must look at this"))
    assert "ext.bob" not in words(ada.page)


def test_d30_the_help_desk_only_proposes_and_the_person_may_decline(links: Links) -> None:
    first, second = sorted((links.learner(), links.learner("ext.bob")))
    with links.bridge.runtime.database.begin() as session:
        now = links.bridge.clock()
        session.add(LikelyPair(first_id=first, second_id=second, points=80, facts=[], state="proposed", found_at=now))
    ada = links.by_password("ext.ada")
    page = ada.get(LINKS)
    assert SUGGESTED in words(page)
    assert "ext.bob" not in words(page)
    press(ada, f"{LINKS}/decline")
    assert SUGGESTED not in words(ada.get(LINKS))
    with links.bridge.runtime.database.read() as session:
        assert session.get_one(LikelyPair, 1).state == "declined"
    assert links.links() == []


def test_giving_up_changes_nothing(links: Links) -> None:
    links.learner()
    ada = member_at_it(links)
    here = path(ada)
    links.show_local(ada, "ext.ada", ADA)
    press(ada, f"{here}/give-up")
    assert in_french(DONE["given_up"]) in words(ada.page)
    assert path_after(ada, here) == LINKS
    assert links.links() == []
