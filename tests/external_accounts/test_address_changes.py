"""Changing addresses and taking changes back: whatever the order, the account keeps a mailbox that was shown (D36)."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import address_changes, audit, proofs
from external_accounts.address_changes import CONTACT, INSTITUTIONAL, MOST_ADDRESSES, Notices, TooManyAddresses, choices
from external_accounts.addresses import parse_address
from external_accounts.database import Database
from external_accounts.keys import Keys
from external_accounts.proofs import CONFIRM_ADDRESS, UNDO_ADDRESS_CHANGE, ProofUnusable, about, claim_by_link
from external_accounts.schema import Account, Address, AuditEvent, OutboxMail, Proof
from external_accounts.throttle import ADDRESS_CHANGES, Throttled
from tests.external_accounts.conftest import NOW

AddPerson = Callable[..., int]


def notices(keys: Keys) -> Notices:
    return Notices(keys, "fr", "bridge.example")


def confirm(session: Session, keys: Keys, address: Address) -> None:
    proof, _ = proofs.request_proof(
        session,
        keys,
        about(address),
        purpose=CONFIRM_ADDRESS,
        lifetime=timedelta(hours=1),
        service=None,
        locale="fr",
        now=NOW,
    )
    claim_by_link(session, proof.id, now=NOW, origin=audit.SYSTEM)


def add(session: Session, keys: Keys, account_id: int, email: str, *, role: str = CONTACT) -> Address:
    return address_changes.add_address(
        session, account_id, parse_address(email), role=role, notices=notices(keys), now=NOW, origin=audit.SYSTEM
    )


def undo_links(session: Session, account_id: int) -> list[int]:
    query = select(Proof.id).where(Proof.account_id == account_id, Proof.purpose == UNDO_ADDRESS_CHANGE)
    return list(session.scalars(query.order_by(Proof.id)))


def undo(session: Session, keys: Keys, proof_id: int) -> address_changes.Undone:
    return address_changes.undo(session, proof_id, notices=notices(keys), now=NOW, origin=audit.SYSTEM)


def address(*, primary: bool = False, confirmed: bool = True, role: str = CONTACT) -> Address:
    one = Address(role=role, is_primary=primary, email="", email_key="")
    setattr(one, "confirmed_at", NOW if confirmed else None)  # noqa: B010 (a value for a rule, not a row)
    return one


def test_choices_of_a_plain_account() -> None:
    main, other, unproved = address(primary=True), address(), address(confirmed=False)
    rows = [main, other, unproved]
    assert choices(main, rows) == address_changes.Choices(False, False, False)
    assert choices(other, rows) == address_changes.Choices(True, True, True)
    assert choices(unproved, rows) == address_changes.Choices(False, False, True)


def test_the_last_confirmed_address_stays_even_when_it_is_not_the_main_one() -> None:
    main, only = address(primary=True, confirmed=False), address()
    assert not choices(only, [main, only]).remove
    assert choices(only, [main, only]).make_primary


def test_an_address_of_the_university_is_not_changed_here_and_stays_the_main_one() -> None:
    main, other = address(primary=True, role=INSTITUTIONAL), address()
    assert choices(main, [main, other]) == address_changes.Choices(False, False, False)
    assert choices(other, [main, other]) == address_changes.Choices(False, True, True)


ACTS = ("add", "confirm", "primary", "recovery", "remove", "undo", "cancel")
EMAILS = ("ada@mail.example", "a@new.example", "b@new.example", "c@new.example")


@settings(max_examples=120)
@given(st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 3)), max_size=14))
def test_no_sequence_of_changes_loses_the_last_confirmed_address_or_confirms_another_way_i4(
    embedded: Database, keys: Keys, acts: list[tuple[str, int]]
) -> None:
    """Never zero confirmed if there was one, one main address at most, confirmed by proof alone."""
    with embedded.begin() as session:
        number = len(session.scalars(select(Account.id)).all())
        account = Account(username=f"ext.{number}", profile="learner", created_at=NOW)
        session.add(account)
        session.flush()
        account_id = account.id
        confirm(session, keys, add(session, keys, account_id, EMAILS[0]))
    for act, which in acts:
        with embedded.begin() as session:
            _act(session, keys, account_id, act, which)
        with embedded.read() as session:
            rows = session.scalars(select(Address).where(Address.account_id == account_id)).all()
            confirmed = [row for row in rows if row.confirmed_at is not None]
            assert confirmed, acts
            assert sum(row.is_primary for row in rows) == 1, acts
            assert next(row for row in rows if row.is_primary) in confirmed, acts
            shown = session.scalars(
                select(Proof.email_key).where(Proof.account_id == account_id, Proof.claimed_at.is_not(None))
            ).all()
            assert {row.email_key for row in confirmed} <= set(shown), acts


def _act(session: Session, keys: Keys, account_id: int, act: str, which: int) -> None:
    rows = session.scalars(select(Address).where(Address.account_id == account_id).order_by(Address.id)).all()
    row = rows[which % len(rows)]
    with contextlib.suppress(address_changes.ChangeRefused, ProofUnusable, Throttled):
        match act:
            case "add":
                add(session, keys, account_id, EMAILS[which])
            case "confirm":
                confirm(session, keys, row)
            case "primary":
                address_changes.make_primary(
                    session, account_id, row.id, notices=notices(keys), now=NOW, origin=audit.SYSTEM
                )
            case "recovery":
                address_changes.make_recovery(
                    session, account_id, row.id, notices=notices(keys), now=NOW, origin=audit.SYSTEM
                )
            case "remove":
                address_changes.remove_address(
                    session, account_id, row.id, notices=notices(keys), now=NOW, origin=audit.SYSTEM
                )
            case "undo":
                links = undo_links(session, account_id)
                if links:
                    undo(session, keys, links[which % len(links)])
            case "cancel":
                proofs.cancel_pending(session, account_id, NOW)


@pytest.fixture
def changed(database: Database, keys: Keys, add_person: AddPerson) -> int:
    """An account whose main address was moved: from ada@… to new@…, each step told."""
    account_id = add_person(database, email="ada@mail.example")
    with database.begin() as session:
        confirm(session, keys, session.get_one(Account, account_id).addresses[0])
        new = add(session, keys, account_id, "new@mail.example")
        confirm(session, keys, new)
        address_changes.make_primary(session, account_id, new.id, notices=notices(keys), now=NOW, origin=audit.SYSTEM)
    return account_id


def test_of_many_parallel_uses_of_an_undo_link_one_succeeds_i2(database: Database, keys: Keys, changed: int) -> None:
    with database.read() as session:
        link = undo_links(session, changed)[0]
    outcomes = _at_once(16, lambda _number: _try_undo(database, keys, link))
    assert sorted(outcomes) == [False] * 15 + [True]
    with database.read() as session:
        assert session.scalars(select(AuditEvent.id).where(AuditEvent.event == "address.undone")).all().__len__() == 1


def test_links_of_different_changes_used_at_once_end_in_the_oldest_state(
    database: Database, keys: Keys, changed: int
) -> None:
    with database.read() as session:
        links = undo_links(session, changed)
    assert len(links) == 3  # the first change told one mailbox, the second two
    outcomes = _at_once(len(links), lambda number: _try_undo(database, keys, links[number]))
    assert outcomes[0], "nothing newer can end an older link"
    with database.read() as session:
        rows = session.scalars(select(Address).where(Address.account_id == changed)).all()
        assert [(row.email, row.is_primary, row.confirmed_at is not None) for row in rows] == [
            ("ada@mail.example", True, True)
        ]


def _try_undo(database: Database, keys: Keys, link: int) -> bool:
    try:
        with database.begin() as session:
            undo(session, keys, link)
    except ProofUnusable:
        return False
    return True


def _at_once(count: int, work: Callable[[int], bool]) -> list[bool]:
    ready = threading.Barrier(count)

    def run(number: int) -> bool:
        ready.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_what_a_link_brings_back_is_confirmed_for_its_own_mailbox_alone_i4(
    embedded: Database, keys: Keys, add_person: AddPerson
) -> None:
    account_id = add_person(embedded, email="ada@mail.example")
    with embedded.begin() as session:
        first = session.get_one(Account, account_id).addresses[0]
        confirm(session, keys, first)
        second = add(session, keys, account_id, "second@mail.example", role="recovery")
        confirm(session, keys, second)
        third = add(session, keys, account_id, "third@mail.example")
        confirm(session, keys, third)
        address_changes.make_primary(session, account_id, third.id, notices=notices(keys), now=NOW, origin=audit.SYSTEM)
        moved = undo_links(session, account_id)[-3:]
        for gone in (first, second):
            address_changes.remove_address(
                session, account_id, gone.id, notices=notices(keys), now=NOW, origin=audit.SYSTEM
            )
        by_mailbox = {session.get_one(Proof, link).email_key: link for link in moved}
        undone = undo(session, keys, by_mailbox["second@mail.example"])
        assert undone.primary == "second@mail.example"
        assert undone.to_confirm == ("ada@mail.example",)
        rows = session.scalars(select(Address).where(Address.account_id == account_id)).all()
        assert {row.email: (row.is_primary, row.confirmed_at is not None, row.role) for row in rows} == {
            "third@mail.example": (False, True, "contact"),
            "ada@mail.example": (False, False, "contact"),
            "second@mail.example": (True, True, "recovery"),
        }


def test_a_change_its_mails_and_its_record_are_one_transaction_i8(
    embedded: Database, keys: Keys, add_person: AddPerson
) -> None:
    account_id = add_person(embedded)
    with embedded.begin() as session:
        confirm(session, keys, session.get_one(Account, account_id).addresses[0])
    with contextlib.suppress(ZeroDivisionError), embedded.begin() as session:
        add(session, keys, account_id, "new@mail.example")
        raise ZeroDivisionError
    with embedded.read() as session:
        assert session.scalars(select(OutboxMail.id)).all() == []
        assert session.scalars(select(AuditEvent.id).where(AuditEvent.event == "address.added")).all() == []
    with embedded.begin() as session:
        add(session, keys, account_id, "new@mail.example")
    with embedded.read() as session:
        assert [mail.template for mail in session.scalars(select(OutboxMail))] == ["address_changed"]
        event = session.scalars(select(AuditEvent).where(AuditEvent.event == "address.added")).one()
        assert "new@mail.example" not in str(event.details)


def test_an_account_has_a_bounded_number_of_addresses(embedded: Database, keys: Keys, add_person: AddPerson) -> None:
    account_id = add_person(embedded)
    with embedded.begin() as session:
        for number in range(MOST_ADDRESSES - 1):
            add(session, keys, account_id, f"a{number}@mail.example")
        with pytest.raises(TooManyAddresses):
            add(session, keys, account_id, "one-more@mail.example")


def test_d12_an_account_cannot_be_used_to_flood_mailboxes(
    embedded: Database, keys: Keys, add_person: AddPerson
) -> None:
    account_id = add_person(embedded)
    for number in range(ADDRESS_CHANGES.burst):
        with embedded.begin() as session:
            stranger = add(session, keys, account_id, f"stranger{number}@mail.example")
            session.delete(stranger)
    with contextlib.suppress(Throttled), embedded.begin() as session:
        add(session, keys, account_id, "one-more@mail.example")
    with embedded.read() as session:
        assert len(session.scalars(select(Address).where(Address.account_id == account_id)).all()) == 1
