"""Searches for forgotten accounts, and what their links are good for: alone, and many at once (I2)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from external_accounts import audit, proofs, recovery, throttle
from external_accounts.database import Database
from external_accounts.keys import Keys
from external_accounts.proof_keys import proof_keys
from external_accounts.proofs import CodeSpent, CodeWrong, ProofUnusable, ProofUsed
from external_accounts.schema import Account, LocalPassword, Proof
from tests.external_accounts.conftest import NOW

MANY = 64
AddPerson = Callable[..., int]


def nowhere(_account: Account) -> str:
    """No directory holds anybody's password."""
    return ""


def ask(database: Database, keys: Keys, sought: str = "username:ext.ada", **delta: float) -> Proof:
    with database.begin() as session:
        now = NOW + timedelta(**delta)
        return recovery.ask(session, keys, sought, may_mail=True, service=None, locale="fr", now=now)


def mailed(database: Database, keys: Keys, sought: str = "username:ext.ada") -> Proof:
    """A search that was answered."""
    ask(database, keys, sought)
    with database.begin() as session:
        proof = recovery.next_search(session, NOW)
        assert proof is not None
        recovery.remember(keys, proof, recovery.look_up(session, proof.sought, nowhere), NOW)
        proof.search_due_at = None
    return proof


def still_offered(session: Session, proof: Proof) -> list[Account]:
    return recovery.offered(session, proof, nowhere)


def set_password(database: Database, proof: Proof, account_id: int, number: int = 0) -> bool:
    """Claim the proof and set a password, as a reset does; whether that worked."""
    try:
        with database.begin() as session:
            recovery.claim_for(session, proof, account_id, still_offered, now=NOW, origin=audit.SYSTEM)
            session.get_one(LocalPassword, account_id).hash = f"$argon2id$number{number}"
    except ProofUnusable:
        return False
    return True


def test_64_parallel_claims_of_one_link_set_one_password_i2(
    database: Database, keys: Keys, add_person: AddPerson
) -> None:
    """TOK-04."""
    account_id = add_person(database)
    proof = mailed(database, keys)
    with ThreadPoolExecutor(MANY) as pool:
        won = list(pool.map(lambda number: set_password(database, proof, account_id, number), range(MANY)))
    assert won.count(True) == 1
    with database.read() as session:
        assert session.get_one(LocalPassword, account_id).hash == f"$argon2id$number{won.index(True)}"


def test_two_links_to_one_account_used_at_once_set_one_password_i10(
    database: Database, keys: Keys, add_person: AddPerson
) -> None:
    account_id = add_person(database)
    links = [mailed(database, keys), mailed(database, keys, "email:ext.ada@mail.example")]
    with ThreadPoolExecutor(MANY) as pool:
        won = list(pool.map(lambda n: set_password(database, links[n % 2], account_id, n), range(MANY)))
    assert won.count(True) == 1


def test_64_parallel_guesses_compare_five_codes_at_most_i2(
    database: Database, keys: Keys, add_person: AddPerson
) -> None:
    """TOK-03."""
    add_person(database)
    proof = mailed(database, keys)

    def guess(_number: int) -> type[Exception] | None:
        try:
            with database.begin() as session:
                reserved = proofs.reserve_code_attempt(session, proof.id, now=NOW)
            with database.begin() as session:
                proofs.change_code_for_link(session, keys, reserved, "BBBBBBBB", now=NOW)
        except ProofUnusable as error:
            return type(error)
        return None

    with ThreadPoolExecutor(MANY) as pool:
        outcomes = list(pool.map(guess, range(MANY)))
    assert outcomes.count(CodeWrong) == proofs.CODE_ATTEMPTS
    assert outcomes.count(CodeSpent) == MANY - proofs.CODE_ATTEMPTS


def test_64_parallel_searches_for_one_name_are_one_row_d16(database: Database, keys: Keys) -> None:
    def search(_number: int) -> int:
        with database.begin() as session:
            throttle.reserve(session, [throttle.Use(throttle.Limit("test", MANY, 1), "username:ext.ada")], NOW)
            return recovery.ask(session, keys, "username:ext.ada", may_mail=True, service=None, locale="fr", now=NOW).id

    with ThreadPoolExecutor(MANY) as pool:
        assert len(set(pool.map(search, range(MANY)))) == 1


def test_a_used_search_keeps_its_name_and_gets_other_keys(
    database: Database, keys: Keys, add_person: AddPerson
) -> None:
    account_id = add_person(database)
    proof = mailed(database, keys)
    before = proof_keys(keys, proof)
    assert set_password(database, proof, account_id)
    again = ask(database, keys, minutes=2)
    assert (again.id, again.handle) == (proof.id, proof.handle)
    assert proof_keys(keys, again) != before
    assert proofs.state_of(again, NOW) == "pending"


def test_who_holds_a_former_link_cannot_use_the_keys_that_replaced_it(
    database: Database, keys: Keys, add_person: AddPerson
) -> None:
    """They looked at it, and before they pressed the button it was used, and the account asked for again."""
    account_id = add_person(database)
    looked_at = mailed(database, keys)
    assert set_password(database, looked_at, account_id)
    ask(database, keys, minutes=2)
    with database.begin() as session:
        proof = recovery.next_search(session, NOW + timedelta(minutes=2))
        assert proof is not None
        recovery.remember(keys, proof, recovery.look_up(session, proof.sought, nowhere), NOW)
    with pytest.raises(ProofUsed), database.begin() as session:
        recovery.claim_for(session, looked_at, account_id, still_offered, now=NOW, origin=audit.SYSTEM)


@pytest.mark.parametrize(("minutes", "same"), [(29, True), (30, False)])
def test_a_search_is_the_same_one_for_as_long_as_its_page_lasts(
    embedded: Database, keys: Keys, minutes: int, same: bool
) -> None:
    first = ask(embedded, keys)
    assert recovery.page_is_over(first, NOW + timedelta(minutes=minutes)) is not same
    assert (ask(embedded, keys, minutes=minutes).handle == first.handle) is same


def test_a_link_that_outlives_its_page_does_not_lend_the_next_page_its_name(embedded: Database, keys: Keys) -> None:
    """Its mail was taken late, so it works longer: known and unknown must not differ by that."""
    first = ask(embedded, keys)
    with embedded.begin() as session:
        session.get_one(Proof, first.id).expires_at = NOW + timedelta(hours=1)
    assert ask(embedded, keys, minutes=31).handle != first.handle


@pytest.mark.parametrize("typed", ["x\x00y", "é" * 300, "", "\ud800", "ext.ada\r\nBcc: eve@mail.example"])
def test_what_can_be_nobody_s_is_written_down_like_everything_else(database: Database, keys: Keys, typed: str) -> None:
    sought = recovery.sought_text("username", typed)
    assert len(sought) < 320
    ask(database, keys, sought)
    with database.begin() as session:
        assert recovery.look_up(session, sought, nowhere) == []


def test_one_text_for_every_spelling_of_a_name_d32() -> None:
    assert recovery.sought_text("username", " EXT.Ada\t") == "username:ext.ada"
    assert recovery.sought_text("email", "Ada@\uff2dail.example") == "email:ada@mail.example"


def test_nothing_is_gone_through_row_by_row_however_many_accounts_there_are(embedded: Database, keys: Keys) -> None:
    """By SQLite's own plans: every table is entered by an index on what was asked for."""
    statements: list[tuple[str, object]] = []

    def note(_connection: object, _cursor: object, statement: str, values: object, *_more: object) -> None:
        statements.append((statement, values))

    event.listen(embedded.engine, "before_cursor_execute", note)
    ask(embedded, keys)
    with embedded.begin() as session:
        recovery.next_search(session, NOW)
        for sought in ("username:ext.ada", "email:ada@mail.example"):
            recovery.look_up(session, sought, nowhere)
    event.remove(embedded.engine, "before_cursor_execute", note)
    asked = [one for one in statements if one[0].startswith(("SELECT", "UPDATE"))]
    assert len(asked) >= 7
    with embedded.driver() as connection:
        for statement, values in asked:
            cursor = connection.cursor()
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", values)
            plan = [str(row[3]) for row in cursor.fetchall()]
            assert not [step for step in plan if step.startswith("SCAN") or step.endswith("(issuer=?)")], (
                plan,
                statement,
            )
