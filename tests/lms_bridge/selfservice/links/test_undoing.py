"""The receipt, and taking a link back for seven days: exactly what there was, and nobody outruns it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import requests
from sqlalchemy import select

from external_accounts import audit
from external_accounts.accounts import lock_account, suspend
from external_accounts.address_changes import drop_address
from external_accounts.engagements import accept
from external_accounts.institution_schema import MailboxChoice
from external_accounts.linking_schema import AccountLink
from external_accounts.schema import (
    Account,
    Address,
    AuditEvent,
    Engagement,
    LocalPassword,
    SignInIdentity,
)
from lms_bridge.selfservice.links.overview import DONE
from tests.bridge_under_test import Browser, heading
from tests.lms_bridge.mailing import in_french
from tests.lms_bridge.selfservice.account.conftest import words
from tests.lms_bridge.selfservice.links.town import LINKS, Links, link_of, path, press

ADA = "ext.ada@mail.example"
SEL = "adupont@univ.example"
TWO = in_french("The accounts are two again")
OVER = in_french("This link does not work any more")
EVERYTHING = (Account, Address, SignInIdentity, LocalPassword, Engagement, MailboxChoice)


def joined(links: Links, *, keep: str = "this") -> Browser:
    """Ada the learner and Ada the member are one; her browser."""
    links.learner()
    links.member("adupont")
    links.by_cas("adupont")
    return join_again(links, keep=keep)


def join_again(links: Links, *, keep: str = "this") -> Browser:
    ada = links.by_password("ext.ada")
    links.begin(ada)
    links.show_cas(ada, "adupont")
    links.confirm(ada, keep=keep)
    return ada


def test_both_mailboxes_receive_a_receipt_that_anybody_can_check(links: Links) -> None:
    joined(links)
    for mailbox in (ADA, SEL):
        (mail,) = [one for one in links.mails_to(mailbox) if f"{LINKS}/undo/" in one.text]
        receipt = next(line for line in mail.text.splitlines() if line.startswith("LMS-Bridge link"))
        anybody = links.bridge.browser()
        anybody.get(f"{LINKS}/receipt")
        said = press(anybody, f"{LINKS}/receipt", receipt=receipt)
        assert heading(said) == in_french("Check a receipt")
        assert "ext.ada + adupont = adupont" in words(said)
        changed = press(anybody, f"{LINKS}/receipt", receipt=receipt.replace("adupont", "mallory", 1))
        assert changed.status_code == 422


def test_the_undo_restores_both_accounts_byte_for_byte(links: Links) -> None:
    for keep in ("this", "other"):
        if keep == "this":
            links.learner()
            links.member("adupont")
            links.by_cas("adupont")
            _belongings(links)
        # Signing in is noted on the account: it happens before the comparison.
        ada = links.by_password("ext.ada")
        links.begin(ada)
        links.show_cas(ada, "adupont")
        before = links.dump(*EVERYTHING)
        links.confirm(ada, keep=keep)
        assert links.dump(*EVERYTHING) != before
        assert heading(links.undo(ADA)) == TWO
        assert links.dump(*EVERYTHING) == before, keep


def _belongings(links: Links) -> None:
    """An unconfirmed second address on each side, a document accepted on one, an end of rights."""
    with links.bridge.runtime.database.begin() as session:
        now = links.bridge.clock()
        accounts = session.scalars(select(Account).order_by(Account.id)).all()
        for account in accounts:
            key = f"second@{account.username}.example"
            account.addresses.append(Address(email=key, email_key=key, role="contact", created_at=now, confirmed_by=""))
        accounts[0].rights_end_at = now.replace(year=now.year + 1)
        accept(session, accounts[1].id, "charter", "1", now=now, origin=audit.SYSTEM)


def test_an_undo_ends_every_session_and_its_link_is_used_once_i10_i2(links: Links) -> None:
    ada = joined(links)
    assert heading(links.undo(SEL)) == TWO
    assert ada.get("/account", follow=False).status_code == 303
    again = links.undo(ADA)
    assert (again.status_code, heading(again)) == (410, OVER)
    assert links.mails_to(ADA)[-1].subject.endswith(in_french("joined accounts are two again"))
    assert links.by_cas("adupont").get("/account").status_code == 200
    assert links.by_password("ext.ada").get("/account").status_code == 200
    assert set(links.usernames()) == {"adupont", "ext.ada"}


def test_looking_at_the_undo_link_changes_nothing_i11(links: Links) -> None:
    joined(links)
    before = links.identities()
    link = link_of(links.mails_to(ADA)[-1], "undo")
    for method in ("GET", "HEAD", "OPTIONS"):
        assert requests.request(method, links.bridge.url + link, timeout=20).status_code == 200
    assert links.identities() == before


def test_the_undo_is_possible_for_seven_days_and_then_what_it_needed_is_forgotten(links: Links) -> None:
    joined(links)
    links.bridge.clock.forward(days=7, seconds=-1)
    link = link_of(links.mails_to(ADA)[-1], "undo")
    reader = links.bridge.browser()
    assert heading(reader.get(link)) == in_french("Make the accounts two again?")
    links.bridge.clock.forward(seconds=2)
    assert heading(reader.submit()) == OVER
    links.bridge.runner.run_once()
    with links.bridge.runtime.database.read() as session:
        assert session.scalars(select(AccountLink.before)).one() == {}
        closed = session.scalars(select(Account).where(Account.merged_into_id.is_not(None))).one()
        assert (closed.given_name, closed.family_name) == ("", "")


def test_what_was_added_since_stays_with_the_kept_account(links: Links) -> None:
    joined(links)
    with links.bridge.runtime.database.begin() as session:
        kept = lock_account(session, links.usernames()["adupont"])
        now = links.bridge.clock()
        new = "new@mail.example"
        kept.addresses.append(Address(email=new, email_key=new, role="contact", created_at=now, confirmed_by=""))
    links.undo(ADA)
    assert "new@mail.example" in links.addresses(links.usernames()["ext.ada"])
    assert set(links.addresses(links.usernames()["adupont"])) == {SEL}


def test_a_suspension_is_not_left_behind_by_parting(links: Links) -> None:
    joined(links)
    with links.bridge.runtime.database.begin() as session:
        kept = lock_account(session, links.usernames()["adupont"])
        suspend(session, kept, reason="x", until=None, now=links.bridge.clock(), origin=audit.SYSTEM)
    assert heading(links.undo(ADA)) == TWO
    with links.bridge.runtime.database.read() as session:
        assert all(moment is not None for moment in session.scalars(select(Account.suspended_at)))


def test_two_links_one_after_the_other_are_undone_by_the_mail_of_the_first(links: Links) -> None:
    """Whoever joins a stolen account to theirs, and that one to a third, is not out of reach."""
    joined(links)
    links.learner("ext.eve")
    thief = links.by_password("ext.ada")
    links.begin(thief)
    links.show_local(thief, "ext.eve", "ext.eve@mail.example")
    links.confirm(thief, keep="other")
    assert len(links.links()) == 2
    assert heading(links.undo(SEL, number=0)) == TWO
    assert links.links() == []
    assert set(links.usernames()) == {"adupont", "ext.ada", "ext.eve"}
    owners = links.identities()
    assert {owners[key] for key in owners} == set(links.usernames().values())


def test_an_address_that_was_removed_since_is_confirmed_by_the_link_of_its_own_mailbox_i4(links: Links) -> None:
    ada = joined(links, keep="other")
    with links.bridge.runtime.database.begin() as session:
        row = session.scalars(select(Address).where(Address.email == ADA)).one()
        drop_address(session, session.get_one(Account, row.account_id), row, links.bridge.clock())
    assert heading(links.undo(ADA)) == TWO
    assert links.addresses(links.usernames()["ext.ada"]) == {ADA: (True, True)}
    assert ada.get("/account", follow=False).status_code == 303


def test_my_page_makes_them_two_again(links: Links) -> None:
    ada = joined(links)
    (link,) = links.links()
    ada.get(LINKS)
    press(ada, f"{LINKS}/{link.id}/undo")
    assert path(ada) == LINKS
    assert in_french(DONE["parted"]) in words(ada.page)
    assert set(links.usernames()) == {"adupont", "ext.ada"}


def test_every_step_is_in_the_trail_of_both(links: Links) -> None:
    joined(links)
    links.undo(ADA)
    with links.bridge.runtime.database.read() as session:
        for account_id in links.usernames().values():
            query = select(AuditEvent.event).where(AuditEvent.account_id == account_id)
            events = set(session.scalars(query))
            assert {"link.proved", "link.made", "link.undone"} <= events


def test_the_undo_of_an_address_change_takes_back_the_links_made_since(links: Links) -> None:
    """D36: a thief changes the address, then joins the account to theirs; the owner has the first notice only."""
    links.learner()
    links.learner("ext.eve")
    thief = links.by_password("ext.ada")
    thief.get("/account/addresses")
    press(thief, "/account/addresses", email="thief@evil.example", role="")
    links.begin(thief)
    links.show_local(thief, "ext.eve", "ext.eve@mail.example")
    links.confirm(thief, keep="other")
    (notice,) = [mail for mail in links.mails_to(ADA) if "/account/undo/" in mail.text]
    owner = links.bridge.browser()
    owner.get(urlsplit(re.findall(r"https?://\S+/account/undo/\S+", notice.text)[0]).path)
    assert heading(owner.submit()) == in_french("The change is undone")
    assert links.links() == []
    owners = links.identities()
    assert owners[("local", "ext.ada")] == links.usernames()["ext.ada"] != owners[("local", "ext.eve")]
    assert links.addresses(owners[("local", "ext.ada")]) == {ADA: (True, True)}


def test_an_account_that_others_were_joined_to_is_erased_with_what_was_left_of_them(links: Links) -> None:
    links.learner("ext.ada")
    links.learner("ext.ada2")
    ada = links.by_password("ext.ada")
    links.begin(ada)
    links.show_local(ada, "ext.ada2", "ext.ada2@mail.example")
    links.confirm(ada)
    ada.get("/account/deletion")
    press(ada, "/account/deletion")
    links.bridge.clock.forward(days=8)
    for _ in range(4):
        links.bridge.runner.run_once()
    with links.bridge.runtime.database.read() as session:
        assert session.scalars(select(AccountLink.before)).all() == [{}]
        assert session.scalars(select(LocalPassword)).all() == []
        assert session.scalars(select(Address)).all() == []
        kept = session.scalars(select(Account).where(Account.merged_into_id.is_(None))).one()
        assert kept.erased_at is not None
        assert kept.erasure_due_at is None, "nothing is left to forget"
