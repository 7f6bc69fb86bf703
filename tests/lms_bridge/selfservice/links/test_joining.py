"""The linking ceremony over HTTP, with a real CAS and a mailbox: both stories, and what is kept (D27, D31)."""

from __future__ import annotations

import pytest

from lms_bridge.selfservice.links.overview import DONE
from tests.bridge_under_test import APP, PASSWORD, heading
from tests.lms_bridge.mailing import in_french
from tests.lms_bridge.selfservice.account.conftest import words
from tests.lms_bridge.selfservice.links.town import LINKS, Links, path

ADA = "ext.ada@mail.example"
BOTH = in_french("Join these two accounts?")


def test_d27_a_learner_who_became_a_member_joins_both_and_is_one_person_by_either_door(links: Links) -> None:
    learner = links.learner()
    links.member("adupont")
    links.by_cas("adupont")  # has been in before: two accounts
    member = links.usernames()["adupont"]
    ada = links.by_password("ext.ada")
    links.begin(ada)
    links.show_cas(ada, "adupont")
    assert heading(ada.page) == BOTH
    assert "adupont" in words(ada.page)
    assert "ext.ada" in words(ada.page)
    done = links.confirm(ada, keep="this")
    assert path(ada) == LINKS
    assert in_french(DONE["linked"]) in words(done)
    assert links.usernames() == {"adupont": learner}, "the kept account bears the name that the university knows"
    assert links.identities() == {("local", "ext.ada"): learner, ("sel", "adupont"): learner}
    assert links.addresses(learner) == {ADA: (False, True), "adupont@univ.example": (True, True)}
    assert member != learner
    for browser in (links.by_password("ext.ada"), links.by_cas("adupont")):
        ticket = browser.ticket()
        assert "<cas:user>adupont</cas:user>" in links.bridge.validate(ticket).text


def test_the_session_that_joined_goes_on_and_all_others_end_lnk_02(links: Links) -> None:
    links.learner()
    links.member("adupont")
    elsewhere = [links.by_cas("adupont"), links.by_password("ext.ada")]
    ada = links.by_password("ext.ada")
    links.begin(ada)
    links.show_cas(ada, "adupont")
    stolen = links.bridge.browser()
    stolen.session.cookies.update(ada.session.cookies)
    links.confirm(ada)
    assert ada.get("/account", follow=False).status_code == 200
    for browser in (*elsewhere, stolen):
        assert browser.get("/account", follow=False).status_code == 303


def test_a_cas_account_that_never_signed_in_here_becomes_a_way_in_and_the_names_stay_taken(links: Links) -> None:
    learner = links.learner()
    links.member("adupont")
    ada = links.by_password("ext.ada")
    links.begin(ada)
    links.show_cas(ada, "adupont")
    assert links.usernames() == {"ext.ada": learner}, "no account before it is confirmed"
    links.confirm(ada)
    assert links.usernames() == {"adupont": learner}
    assert links.by_cas("adupont").get("/account").status_code == 200
    assert links.usernames() == {"adupont": learner}


def test_a_member_joins_a_learner_s_account_by_its_password_and_a_message(links: Links) -> None:
    learner = links.learner()
    links.member("adupont")
    ada = links.by_cas("adupont")
    member = links.usernames()["adupont"]
    links.begin(ada, cas="adupont")
    waiting = links.show_password(ada, "ext.ada")
    assert f"{LINKS}/proof/" in waiting.url
    assert ADA not in waiting.text
    links.show_mail(ada, ADA)
    assert heading(ada.page) == BOTH
    links.confirm(ada)
    assert links.usernames() == {"adupont": member}
    assert links.identities() == {("local", "ext.ada"): member, ("sel", "adupont"): member}
    assert learner not in links.usernames().values()


def test_the_code_of_the_message_does_as_well(links: Links) -> None:
    links.learner()
    links.member("adupont")
    ada = links.by_cas("adupont")
    links.begin(ada, cas="adupont")
    links.show_password(ada, "ext.ada")
    links.show_code(ada, ADA)
    assert heading(ada.page) == BOTH


@pytest.mark.parametrize("keep", ["this", "other"])
def test_the_person_chooses_which_is_kept_and_stays_signed_in(links: Links, keep: str) -> None:
    learner = links.learner()
    links.member("adupont")
    links.by_cas("adupont")
    member = links.usernames()["adupont"]
    ada = links.by_password("ext.ada")
    links.begin(ada)
    links.show_cas(ada, "adupont")
    links.confirm(ada, keep=keep)
    assert links.usernames() == {"adupont": learner if keep == "this" else member}
    assert "adupont" in words(ada.get("/account"))
    assert "ticket=ST-" in ada.get("/cas/login", params={"service": APP}, follow=False).headers["Location"]


def test_two_accounts_with_passwords_leave_one_password_and_the_other_name_leads_nowhere(links: Links) -> None:
    kept = links.learner("ext.ada")
    links.bridge.add_account("ext.ada2")
    ada = links.by_password("ext.ada")
    links.begin(ada)
    links.show_local(ada, "ext.ada2", "ext.ada2@mail.example")
    links.confirm(ada)
    assert links.usernames() == {"ext.ada": kept}
    assert links.by_password("ext.ada2").get("/account", follow=False).status_code == 303
    assert links.by_password("ext.ada2@mail.example").get("/account", follow=False).status_code == 200
    assert set(links.addresses(kept)) == {ADA, "ext.ada2@mail.example"}


def test_whoever_was_signed_in_by_the_password_that_leads_nowhere_any_more_signs_in_again(links: Links) -> None:
    links.learner("ext.ada")
    kept = links.bridge.add_account("ext.ada2")
    ada = links.by_password("ext.ada")
    links.begin(ada)
    links.show_local(ada, "ext.ada2", "ext.ada2@mail.example")
    done = links.confirm(ada, keep="other")
    assert heading(done) == in_french("The two accounts are one")
    assert ada.get("/account", follow=False).status_code == 303
    assert links.usernames() == {"ext.ada2": kept}


def test_a_forgotten_password_of_a_joined_account_comes_back_by_its_old_name_d31(links: Links) -> None:
    links.learner()
    links.member("adupont")
    links.by_cas("adupont")
    ada = links.by_password("ext.ada")
    links.begin(ada)
    links.show_cas(ada, "adupont")
    links.confirm(ada)
    stranger = links.bridge.browser()
    stranger.get("/account/forgot")
    stranger.submit(0, username="ext.ada")
    assert any("/account/reset/" in mail.text for mail in links.mails_to(ADA))


def test_nothing_is_joined_without_the_last_button(links: Links) -> None:
    learner = links.learner()
    links.member("adupont")
    links.by_cas("adupont")
    before = links.identities()
    ada = links.by_password("ext.ada", PASSWORD)
    here = links.begin(ada)
    links.show_cas(ada, "adupont")
    for method in ("get", "head", "options"):
        getattr(ada.session, method)(f"{links.bridge.url}{here}", timeout=20)
    assert links.identities() == before
    assert links.usernames()["ext.ada"] == learner
