"""Removing a way in and bringing it back (LNK-12), and the short path of a member who goes on as an external."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from external_accounts import audit
from external_accounts.addresses import parse_address
from external_accounts.proofs import CONFIRM_ADDRESS, about, claim_by_link, request_proof
from external_accounts.schema import Account, Address, SignInIdentity
from lms_bridge.selfservice.links.overview import DONE
from tests.bridge_under_test import PASSWORD, Browser, heading
from tests.lms_bridge.mailing import in_french
from tests.lms_bridge.selfservice.account.conftest import words
from tests.lms_bridge.selfservice.links.test_undoing import ADA, SEL, joined
from tests.lms_bridge.selfservice.links.town import LINKS, Links, path, press

NEW = "une lampe dans le grenier"


def identity_id(links: Links, issuer: str) -> int:
    with links.bridge.runtime.database.read() as session:
        return session.scalars(select(SignInIdentity.id).where(SignInIdentity.issuer == issuer)).one()


def remove(links: Links, browser: Browser, issuer: str) -> None:
    number = identity_id(links, issuer)
    browser.get(LINKS)
    press(browser, f"{LINKS}/ways/{number}/remove")


def test_lnk_12_a_way_in_is_removed_told_to_all_and_brought_back_by_the_mail(links: Links) -> None:
    ada = joined(links)
    account = links.usernames()["adupont"]
    member = links.by_cas("adupont")
    remove(links, ada, "sel")
    assert links.identities() == {("local", "ext.ada"): account}
    assert member.get("/account", follow=False).status_code == 303, "what it had opened ends"
    assert ada.get("/account", follow=False).status_code == 200
    for mailbox in (ADA, SEL):
        assert f"{LINKS}/undo/" in links.mails_to(mailbox)[-1].text
    done = links.undo(SEL)
    assert heading(done) == in_french("The way in is back")
    assert links.identities() == {("local", "ext.ada"): account, ("sel", "adupont"): account}
    assert ada.get("/account", follow=False).status_code == 303
    assert links.undo(ADA).status_code == 410


def test_the_password_comes_back_with_its_name(links: Links) -> None:
    ada = joined(links)
    remove(links, links.by_cas("adupont"), "local")
    assert links.by_password("ext.ada").get("/account", follow=False).status_code == 303
    links.undo(ADA)
    assert links.by_password("ext.ada").get("/account", follow=False).status_code == 200
    assert ada.get("/account", follow=False).status_code == 303


def test_lnk_12_the_last_way_in_stays(links: Links) -> None:
    links.learner()
    ada = links.by_password("ext.ada")
    number = identity_id(links, "local")
    page = ada.get(LINKS)
    assert f"{LINKS}/ways/{number}/remove" not in page.text
    token = page.text.split('name="csrf_token" value="')[1].split('"')[0]
    ada.session.post(f"{links.bridge.url}{LINKS}/ways/{number}/remove", data={"csrf_token": token}, timeout=20)
    assert ("local", "ext.ada") in links.identities()


def test_a_cas_that_settings_do_not_name_any_more_is_no_way_in(links: Links) -> None:
    account = links.learner()
    with links.bridge.runtime.database.begin() as session:
        now = links.bridge.clock()
        session.add(
            SignInIdentity(
                account_id=account, issuer="old", subject="ada", attributes={}, created_at=now, refreshed_at=now
            )
        )
    ada = links.by_password("ext.ada")
    page = ada.get(LINKS)
    assert in_french("Does not work at the moment") in words(page)
    assert f"{LINKS}/ways/{identity_id(links, 'local')}/remove" not in page.text
    assert f"{LINKS}/ways/{identity_id(links, 'old')}/remove" in page.text


def test_lnk_12_removing_asks_for_the_password_again(links: Links) -> None:
    ada = joined(links)
    links.bridge.clock.forward(minutes=6)
    remove(links, ada, "sel")
    assert heading(ada.page) == in_french("Is it really you?")
    assert ("sel", "adupont") in links.identities()
    ada.submit(password=PASSWORD)
    assert ("sel", "adupont") not in links.identities()


def test_a_removed_way_in_is_brought_back_on_my_page(links: Links) -> None:
    ada = joined(links)
    remove(links, ada, "sel")
    with links.bridge.runtime.database.read() as session:
        from external_accounts.linking_schema import UnlinkedIdentity

        record = session.scalars(select(UnlinkedIdentity.id)).one()
    press(ada, f"{LINKS}/removed/{record}/restore")
    assert in_french(DONE["restored"]) in words(ada.page)
    assert ("sel", "adupont") in links.identities()


def test_an_undo_of_the_link_brings_back_ways_in_that_were_removed_since(links: Links) -> None:
    ada = joined(links)
    remove(links, ada, "sel")
    number = next(n for n, mail in enumerate(undo_mails(links, SEL)) if "joined" in mail or "réunis" in mail)
    links.undo(SEL, number=number)
    owners = links.identities()
    assert set(owners) == {("local", "ext.ada"), ("sel", "adupont")}
    assert owners[("local", "ext.ada")] != owners[("sel", "adupont")]


def undo_mails(links: Links, email: str) -> list[str]:
    return [mail.subject for mail in links.mails_to(email) if f"{LINKS}/undo/" in mail.text]


@pytest.fixture
def leaving(links: Links) -> Browser:
    """A member whose time ends in a month, with a private address that is confirmed."""
    links.member("jdurand")
    jean = links.by_cas("jdurand")
    now = links.bridge.clock()
    with links.bridge.runtime.database.begin() as session:
        account = session.scalars(select(Account)).one()
        account.rights_end_at = now + timedelta(days=30)
        email = parse_address("jean@private.example")
        address = Address(email=email.email, email_key=email.key, role="recovery", created_at=now, confirmed_by="")
        account.addresses.append(address)
        session.flush()
        proof, _ = request_proof(
            session,
            links.bridge.runtime.keys,
            about(address),
            purpose=CONFIRM_ADDRESS,
            lifetime=timedelta(hours=1),
            service=None,
            locale="fr",
            now=now,
        )
        claim_by_link(session, proof.id, now=now, origin=audit.SYSTEM)
    return jean


def test_d31_a_member_who_leaves_goes_on_with_the_same_account_by_a_password(links: Links, leaving: Browser) -> None:
    leaving.get(LINKS)
    press(leaving, f"{LINKS}/password/begin")
    assert heading(leaving.page) == in_french("A password for the time after")
    refused = press(leaving, f"{LINKS}/password", password="short", password_again="short")
    assert refused.status_code == 422
    press(leaving, f"{LINKS}/password", password=NEW, password_again=NEW)
    assert in_french(DONE["added"]) in words(leaving.page)
    local = next(subject for issuer, subject in links.identities() if issuer == "local")
    assert local.startswith("ext."), "LNK-06: a name that no CAS brings"
    assert set(links.usernames()) == {"jdurand"}, "what the applications know stays"
    for name in (local, "jean@private.example"):
        assert "jdurand" in words(links.by_password(name, NEW).get("/account"))


def test_without_a_private_address_the_page_says_to_add_one_first(links: Links) -> None:
    links.member("jdurand")
    jean = links.by_cas("jdurand")
    with links.bridge.runtime.database.begin() as session:
        session.scalars(select(Account)).one().rights_end_at = links.bridge.clock() + timedelta(days=3)
    page = jean.get(f"{LINKS}/password")
    assert 'href="/account/addresses"' in page.text
    assert 'type="password"' not in page.text


def test_who_stays_at_the_university_is_not_offered_a_second_password(links: Links) -> None:
    links.member("jdurand")
    jean = links.by_cas("jdurand")
    assert f"{LINKS}/password" not in jean.get(LINKS).text
    jean.get(f"{LINKS}/password")
    assert path(jean) == LINKS


def test_a_leaving_member_joins_the_external_account_they_have_and_keeps_what_is_alive(
    links: Links, leaving: Browser
) -> None:
    links.learner()
    links.bridge.clock.forward(minutes=6)
    links.begin(leaving, cas="jdurand")
    links.show_local(leaving, "ext.ada", ADA)
    links.confirm(leaving)
    assert set(links.usernames()) == {"jdurand"}
    assert "jdurand" in words(links.by_password("ext.ada").get("/account"))
    assert any(f"{LINKS}/undo/" in mail.text for mail in links.mails_to(ADA))
