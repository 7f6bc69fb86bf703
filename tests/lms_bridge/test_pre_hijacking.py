"""Accounts taken before their owner comes: the five attacks of Sudhodanan and Paverd (2022), and three bugs of 2026 in
how others link accounts (D22, D24, D25), black box."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from external_accounts.schema import Account, Address
from tests.bridge_under_test import APP, Browser, heading
from tests.lms_bridge.mailing import code_in, in_french, link_in
from tests.lms_bridge.selfservice.links.town import LINKS, Links, link_of, linking_bridge, press

VICTIM = "ada@univ.example"
PRIVATE = "ada@private.example"
BOTH = in_french("Join these two accounts?")


@pytest.fixture
def links(tmp_path: Path) -> Iterator[Links]:
    with linking_bridge(tmp_path) as found:
        yield found


def enters(links: Links, browser: Browser) -> bool:
    answer = browser.get("/cas/login", params={"service": APP}, follow=False)
    return "ticket=ST-" in answer.headers.get("Location", "")


def test_lnk_01_classic_federated_merge_two_accounts_of_one_address_stay_two(links: Links) -> None:
    attacker = links.learner("ext.mallory", confirmed=False, email=VICTIM)
    links.member("ada", mail=VICTIM)
    ada = links.by_cas("ada")
    assert enters(links, ada)
    owners = links.identities()
    assert owners[("sel", "ada")] != attacker
    mallory = links.by_password("ext.mallory")
    assert not enters(links, mallory)
    assert not enters(links, links.by_password(VICTIM))


def test_d22_keycloak_53041_vilnacrm_468_an_unconfirmed_local_account_is_never_the_other_side(links: Links) -> None:
    links.learner("ext.mallory", confirmed=False, email=VICTIM)
    links.member("ada", mail=VICTIM)
    ada = links.by_cas("ada")
    links.begin(ada, cas="ada")
    assert links.show_password(ada, "ext.mallory").status_code == 401, "the right password alone proves nothing"
    assert not links.mails_to(VICTIM)
    assert links.links() == []


def test_lnk_02_unexpired_session_whoever_was_in_is_out_when_the_owner_joins(links: Links) -> None:
    links.learner("ext.ada", email=PRIVATE)
    attacker = links.by_password("ext.ada")
    links.member("ada", mail=VICTIM)
    ada = links.by_cas("ada")
    links.begin(ada, cas="ada")
    links.show_local(ada, "ext.ada", PRIVATE)
    links.confirm(ada)
    assert attacker.get("/account", follow=False).status_code == 303
    assert not enters(links, attacker)


def test_lnk_03_trojan_identifier_what_nobody_confirmed_does_not_come_along(links: Links) -> None:
    links.learner("ext.ada", email=PRIVATE)
    attacker = links.by_password("ext.ada")
    attacker.get("/account/addresses")
    press(attacker, "/account/addresses", email="mallory@evil.example", role="recovery")
    links.member("ada", mail=VICTIM)
    ada = links.by_cas("ada")
    links.begin(ada, cas="ada")
    links.show_local(ada, "ext.ada", PRIVATE)
    links.confirm(ada)
    (account,) = links.usernames().values()
    assert set(links.addresses(account)) == {VICTIM, PRIVATE}
    stranger = links.bridge.browser()
    stranger.get("/account/forgot")
    stranger.submit(1, email="mallory@evil.example")
    assert not any("/account/reset/" in mail.text for mail in links.mails_to("mallory@evil.example"))


def sneak_in(links: Links, email: str = "mallory@evil.example") -> None:
    """Whoever has the account in hand adds an address of their own, and confirms nothing."""
    attacker = links.by_password("ext.ada")
    attacker.get("/account/addresses")
    press(attacker, "/account/addresses", email=email, role="recovery")


@pytest.mark.parametrize("by", ["link", "code"])
def test_lnk_03_trojan_identifier_the_first_confirmation_drops_what_was_added_before(links: Links, by: str) -> None:
    """An operator made the account and named both its addresses; somebody was in it before its owner."""
    number = links.learner("ext.ada", confirmed=False, email=PRIVATE)
    with links.bridge.runtime.database.begin() as session:
        now = links.bridge.clock()
        session.add(Address(account_id=number, email=VICTIM, email_key=VICTIM, role="recovery", created_at=now))
    sneak_in(links)
    trap = link_in(links.mails_to("mallory@evil.example")[-1])
    ada = links.by_password("ext.ada")
    ada.get("/cas/login", params={"service": APP})
    ada.submit()
    mail = links.mails_to(PRIVATE)[-1]
    if by == "link":
        ada.get(link_in(mail))
        done = ada.submit()
    else:
        done = ada.submit(code=code_in(mail))
    assert "mallory@evil.example" in done.text, "its owner reads what went"
    assert links.addresses(number) == {PRIVATE: (True, True), VICTIM: (False, False)}
    assert links.bridge.browser().get(trap).status_code == 410
    assert enters(links, ada)


def test_lnk_03_what_is_added_after_the_first_confirmation_waits_for_its_own(links: Links) -> None:
    number = links.learner("ext.ada", email=PRIVATE)
    for email in (VICTIM, "third@private.example"):
        sneak_in(links, email)
    reader = links.bridge.browser()
    reader.get(link_in(links.mails_to(VICTIM)[-1]))
    assert "third@private.example" not in reader.submit().text
    assert set(links.addresses(number)) == {PRIVATE, VICTIM, "third@private.example"}


def test_lnk_03_a_new_password_drops_what_nobody_confirmed(links: Links) -> None:
    number = links.learner("ext.ada", email=PRIVATE)
    sneak_in(links)
    owner = links.bridge.browser()
    owner.get("/account/forgot")
    owner.submit(1, email=PRIVATE)
    owner.get(link_in(next(mail for mail in links.mails_to(PRIVATE) if "/account/reset/" in mail.text)))
    owner.submit(password="entirely-other-words", password_again="entirely-other-words")
    assert links.addresses(number) == {PRIVATE: (True, True)}


def test_lnk_04_unexpired_email_change_a_pending_confirmation_dies_at_the_link(links: Links) -> None:
    links.learner("ext.ada", email=PRIVATE)
    attacker = links.by_password("ext.ada")
    attacker.get("/account/addresses")
    press(attacker, "/account/addresses", email="mallory@evil.example", role="recovery")
    trap = link_in(links.mails_to("mallory@evil.example")[-1])
    links.member("ada", mail=VICTIM)
    ada = links.by_cas("ada")
    links.begin(ada, cas="ada")
    links.show_local(ada, "ext.ada", PRIVATE)
    links.confirm(ada)
    reader = links.bridge.browser()
    assert reader.get(trap).status_code == 410
    with links.bridge.runtime.database.read() as session:
        confirmed = set(session.scalars(select(Address.email).where(Address.confirmed_at.is_not(None))))
    assert confirmed == {VICTIM, PRIVATE}


def test_lnk_05_non_verifying_idp_the_mail_attribute_of_a_cas_joins_and_confirms_nothing(links: Links) -> None:
    owner = links.learner("ext.ada", email=PRIVATE)
    links.member("mallory", mail=PRIVATE)
    mallory = links.by_cas("mallory")
    assert links.identities()[("sel", "mallory")] != owner
    assert not enters(links, mallory)
    links.begin(mallory, cas="mallory")
    links.show_cas(mallory, "mallory")
    assert heading(mallory.page) != BOTH
    with links.bridge.runtime.database.read() as session:
        rows = session.scalars(select(Address.account_id).where(Address.confirmed_at.is_not(None))).all()
    assert rows == [owner]


def test_d24_keycloak_49175_a_proof_is_of_no_use_to_another_upstream_identity(links: Links) -> None:
    """LNK-07: Ada's message, asked for in her ceremony, opened by somebody else who has one under way as well."""
    links.learner("ext.ada", email=PRIVATE)
    for name in ("ada", "mallory"):
        links.member(name)
    mallory = links.by_cas("mallory")
    links.begin(mallory, cas="mallory")
    ada = links.by_cas("ada")
    links.begin(ada, cas="ada")
    links.show_password(ada, "ext.ada")
    link = link_of(links.mails_to(PRIVATE)[-1], "proof")
    page = mallory.get(link)
    assert (page.status_code, heading(page)) == (403, in_french("Not here"))
    owners = links.identities()
    assert owners[("local", "ext.ada")] not in (owners[("sel", "mallory")], owners[("sel", "ada")])
    ada.get(link)
    assert heading(ada.submit()) == BOTH


def test_d24_the_way_back_from_the_cas_is_of_no_use_in_another_browser(links: Links) -> None:
    """LNK-07, SES-04: a ticket of the attacker's, slipped to somebody with a ceremony of their own."""
    links.learner("ext.ada", email=PRIVATE)
    links.member("mallory")
    mallory, ada = links.by_password("ext.ada"), links.by_password("ext.ada")
    links.begin(mallory)
    press(mallory, f"{mallory.page.url.partition(links.bridge.url)[2]}/cas/sel")
    mallory.submit(username="mallory", password="sel-password-1", follow=False)
    slipped = mallory.page.headers["Location"]
    links.begin(ada)
    page = ada.get(slipped)
    assert page.status_code == 400
    assert links.links() == []
    assert ("sel", "mallory") not in links.identities()


def test_d25_keycloak_50622_a_link_confirms_nothing(links: Links) -> None:
    """I4, LNK-08: an address that was not confirmed before the link is not confirmed by it."""
    links.learner("ext.ada", email=PRIVATE)
    links.member("ada", domain="elsewhere.example")  # a domain this CAS is not trusted for
    ada = links.by_password("ext.ada")
    links.begin(ada)
    links.show_cas(ada, "ada")
    assert heading(ada.page) == BOTH
    links.confirm(ada)
    (account,) = links.usernames().values()
    assert links.addresses(account) == {PRIVATE: (True, True), "ada@elsewhere.example": (False, False)}
    by_cas = links.by_cas("ada")
    assert enters(links, by_cas), "the address that is confirmed stays the main one"
    assert links.addresses(account)["ada@elsewhere.example"] == (False, False)


def test_d23_the_message_signs_nobody_in(links: Links) -> None:
    links.learner("ext.ada", email=PRIVATE)
    links.member("ada", mail=VICTIM)
    ada = links.by_cas("ada")
    links.begin(ada, cas="ada")
    links.show_local(ada, "ext.ada", PRIVATE)
    links.confirm(ada)
    for mailbox in (VICTIM, PRIVATE):
        for what in ("proof", "undo"):
            for mail in links.mails_to(mailbox):
                if f"{LINKS}/{what}/" in mail.text:
                    reader = links.bridge.browser()
                    reader.get(link_of(mail, what))
                    assert reader.get("/account", follow=False).status_code == 303
    with links.bridge.runtime.database.read() as session:
        assert len(session.scalars(select(Account)).all()) == 2
