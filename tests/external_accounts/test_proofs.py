"""Proofs: one mail, two keys, one state, used once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from external_accounts import audit, proofs
from external_accounts.accounts import account_facts
from external_accounts.addresses import parse_address, primary_address, set_primary_address
from external_accounts.database import Database
from external_accounts.keys import Keys
from external_accounts.proof_deadlines import note_accepted
from external_accounts.proof_keys import CODE_ALPHABET, CODE_LENGTH, ProofKeys, handle_token, proof_keys
from external_accounts.proofs import (
    CODE_ATTEMPTS,
    CONFIRM_ADDRESS,
    CodeSpent,
    CodeWrong,
    ProofCancelled,
    ProofExpired,
    ProofUnknown,
    ProofUnusable,
    ProofUsed,
)
from external_accounts.schema import Account, AuditEvent, Proof
from tests.external_accounts.conftest import NOW

DAY = timedelta(hours=24)
AddPerson = Callable[..., int]


def ask(database: Database, keys: Keys, account_id: int, now: datetime = NOW) -> Proof:
    with database.begin() as session:
        address = primary_address(session.get_one(Account, account_id))
        assert address is not None
        proof, _ = proofs.request_proof(
            session,
            keys,
            proofs.about(address),
            purpose=CONFIRM_ADDRESS,
            lifetime=DAY,
            service=None,
            locale="fr",
            now=now,
        )
        return proof


def by_link(database: Database, proof: Proof, now: datetime = NOW) -> None:
    with database.begin() as session:
        proofs.claim_by_link(session, proof.id, now=now, origin=audit.SYSTEM)


def by_code(database: Database, keys: Keys, proof: Proof, typed: str, now: datetime = NOW) -> None:
    with database.begin() as session:
        reserved = proofs.reserve_code_attempt(session, proof.id, now=now)
    with database.begin() as session:
        proofs.claim_by_code(session, keys, reserved, typed, now=now, origin=audit.SYSTEM)


def confirmed(database: Database, account_id: int) -> bool:
    facts = account_facts(database, account_id)
    assert facts is not None
    return facts.email_confirmed_at is not None


def secrets_of(database: Database, keys: Keys, proof: Proof) -> ProofKeys:
    with database.read() as session:
        return proof_keys(keys, session.get_one(Proof, proof.id))


def test_fifty_parallel_uses_by_link_and_code_succeed_exactly_once_i2(
    database: Database, keys: Keys, add_person: AddPerson
) -> None:
    account_id = add_person(database)
    proof = ask(database, keys, account_id)
    code = secrets_of(database, keys, proof).code
    start = Barrier(50)

    def use(number: int) -> bool:
        start.wait(timeout=30)
        try:
            # A few by code: it may be tried five times only.
            by_code(database, keys, proof, code) if number < 4 else by_link(database, proof)
        except ProofUsed:
            return False
        return True

    with ThreadPoolExecutor(50) as pool:
        assert sum(pool.map(use, range(50))) == 1
    with database.read() as session:
        events = session.scalar(select(func.count()).where(AuditEvent.event == "address.confirmed"))
    assert events == 1
    assert confirmed(database, account_id)


def test_parallel_guesses_cannot_exceed_the_five_tries(database: Database, keys: Keys, add_person: AddPerson) -> None:
    proof = ask(database, keys, add_person(database))
    start = Barrier(20)

    def guess(_number: int) -> str:
        start.wait(timeout=30)
        try:
            by_code(database, keys, proof, "BBBB-BBBB")
        except ProofUnusable as refused:
            return type(refused).__name__
        return "accepted"

    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(guess, range(20)))
    assert outcomes.count("CodeWrong") == CODE_ATTEMPTS
    assert outcomes.count("CodeSpent") == 20 - CODE_ATTEMPTS


def test_after_five_wrong_codes_the_right_one_is_refused_and_the_link_still_works(
    database: Database, keys: Keys, add_person: AddPerson
) -> None:
    account_id = add_person(database)
    proof = ask(database, keys, account_id)
    for left in (4, 3, 2, 1, 0):
        with pytest.raises(CodeWrong) as wrong:
            by_code(database, keys, proof, "BBBB-BBBB")
        assert wrong.value.attempts_left == left
    with pytest.raises(CodeSpent):
        by_code(database, keys, proof, secrets_of(database, keys, proof).code)
    assert not confirmed(database, account_id)
    by_link(database, proof)
    assert confirmed(database, account_id)


def test_a_resend_after_spent_tries_brings_a_new_code_and_keeps_the_link(
    database: Database, keys: Keys, add_person: AddPerson
) -> None:
    proof = ask(database, keys, add_person(database))
    first = secrets_of(database, keys, proof)
    for _ in range(CODE_ATTEMPTS):
        with pytest.raises(CodeWrong):
            by_code(database, keys, proof, "BBBB-BBBB")
    later = NOW + timedelta(minutes=2)
    assert ask(database, keys, proof.account_id, later).id == proof.id
    second = secrets_of(database, keys, proof)
    assert second.code != first.code
    assert second.link_token == first.link_token
    with pytest.raises(CodeWrong):
        by_code(database, keys, proof, first.code, later)
    by_code(database, keys, proof, second.code, later)


def test_a_resend_within_the_lifetime_is_the_same_proof_with_the_same_end_d06(
    database: Database, keys: Keys, add_person: AddPerson
) -> None:
    account_id = add_person(database)
    first = ask(database, keys, account_id)
    with database.begin() as session:
        note_accepted(session, first.id, NOW)
    second = ask(database, keys, account_id, NOW + timedelta(minutes=5))
    assert (second.id, second.expires_at) == (first.id, first.expires_at)
    assert secrets_of(database, keys, second) == secrets_of(database, keys, first)


@pytest.mark.parametrize(("seconds", "works"), [(-1, True), (0, False), (1, False)])
def test_the_lifetime_holds_to_the_second_d08(
    database: Database, keys: Keys, add_person: AddPerson, seconds: int, works: bool
) -> None:
    account_id = add_person(database)
    proof = ask(database, keys, account_id)
    moment = NOW + DAY + timedelta(seconds=seconds)
    assert proofs.state_of(proof, moment) == ("pending" if works else "expired")
    if works:
        by_link(database, proof, moment)
    else:
        with pytest.raises(ProofExpired):
            by_link(database, proof, moment)
    assert confirmed(database, account_id) is works


@pytest.mark.parametrize(("seconds", "works"), [(-1, True), (0, False), (1, False)])
def test_the_code_lives_ten_minutes_to_the_second_tok_06(
    database: Database, keys: Keys, add_person: AddPerson, seconds: int, works: bool
) -> None:
    proof = ask(database, keys, add_person(database))
    moment = NOW + timedelta(minutes=10, seconds=seconds)
    code = secrets_of(database, keys, proof).code
    if works:
        by_code(database, keys, proof, code, moment)
    else:
        with pytest.raises(CodeSpent):
            by_code(database, keys, proof, code, moment)


@pytest.mark.parametrize("form", ["{0}-{1}", "{0}{1}", " {0} {1} ", "{0}–{1}", "{0}\u00a0{1}"])
def test_the_code_is_understood_as_people_copy_it(
    embedded: Database, keys: Keys, add_person: AddPerson, form: str
) -> None:
    proof = ask(embedded, keys, add_person(embedded))
    code = secrets_of(embedded, keys, proof).code.lower()
    by_code(embedded, keys, proof, form.format(code[:4], code[4:]))


def test_codes_and_links_are_long_enough_and_do_not_repeat_tok_03(
    embedded: Database, keys: Keys, add_person: AddPerson
) -> None:
    seen = [secrets_of(embedded, keys, ask(embedded, keys, add_person(embedded, f"ext.p{n}"))) for n in range(30)]
    assert len({one.code for one in seen}) == 30
    assert len({one.link_token for one in seen}) == 30
    assert len(CODE_ALPHABET) ** CODE_LENGTH > 2**20
    assert all(len(bytes.fromhex(one.link_token.split(".")[0])) * 8 >= 128 for one in seen)


def test_neither_key_rests_in_the_database_tok_05(embedded: Database, keys: Keys, add_person: AddPerson) -> None:
    proof = ask(embedded, keys, add_person(embedded))
    known = secrets_of(embedded, keys, proof)
    stored = repr([getattr(proof, column.key) for column in Proof.__table__.columns])
    assert known.code not in stored
    assert known.link_token not in stored
    assert known.link_token.split(".")[0] not in stored


@given(st.one_of(st.text(max_size=300), st.from_regex(r"\A[A-Za-z0-9_.-]{1,120}\Z")))
def test_garbage_never_reaches_the_database_i11(keys: Keys, token: str) -> None:
    with Session(bind=None) as nowhere, pytest.raises(ProofUnknown):  # any query would fail on this session
        proofs.look_at(nowhere, keys, token)


def test_altered_and_cut_tokens_never_reach_the_database(embedded: Database, keys: Keys, add_person: AddPerson) -> None:
    proof = ask(embedded, keys, add_person(embedded))
    link, handle = secrets_of(embedded, keys, proof).link_token, handle_token(keys, proof)
    broken = [link[:end] for end in range(len(link))] + [link + "A", " " + link, link.upper(), link * 2]
    # The last character of the signature holds two bits nobody reads.
    broken += [link[:i] + ("b" if link[i] == "a" else "a") + link[i + 1 :] for i in range(len(link) - 1)]
    broken += [handle[:-5], handle + "x", f"{handle.split('.')[0]}.{link.split('.')[1]}", "\ud800" + link]
    with Session(bind=None) as nowhere:
        for token in broken:
            with pytest.raises(ProofUnknown):
                proofs.look_at(nowhere, keys, token)


def test_a_token_signed_for_another_purpose_opens_nothing(
    embedded: Database, keys: Keys, add_person: AddPerson
) -> None:
    proof = ask(embedded, keys, add_person(embedded))
    secret = secrets_of(embedded, keys, proof).link_token.split(".")[0]
    with embedded.read() as session:
        for purpose in ("known device", "proof handle", "upstream state", ""):
            with pytest.raises(ProofUnknown):
                proofs.look_at(session, keys, keys.sign(purpose, secret))


def test_a_rotated_key_still_verifies_and_a_dropped_one_does_not(embedded: Database, add_person: AddPerson) -> None:
    old, new = "o" * 40, "n" * 40
    proof = ask(embedded, Keys([old]), account_id := add_person(embedded))
    before = secrets_of(embedded, Keys([old]), proof)
    rotated = Keys([new, old])
    with embedded.read() as session:
        assert proofs.look_at(session, rotated, before.link_token).proof.id == proof.id
        with pytest.raises(ProofUnknown):
            proofs.look_at(session, Keys([new]), before.link_token)
    after = secrets_of(embedded, rotated, proof)
    assert after.code == before.code
    with embedded.read() as session:
        assert proofs.look_at(session, rotated, after.link_token).proof.id == proof.id
    # With the old key gone its proofs are dead: a new request makes a new one.
    assert ask(embedded, Keys([new]), account_id, NOW + timedelta(minutes=2)).id != proof.id


def test_parallel_requests_make_one_pending_proof_d16(database: Database, keys: Keys, add_person: AddPerson) -> None:
    account_id = add_person(database)
    start = Barrier(12)

    def request(_number: int) -> int:
        start.wait(timeout=30)
        return ask(database, keys, account_id).id

    with ThreadPoolExecutor(12) as pool:
        assert len(set(pool.map(request, range(12)))) == 1


def test_a_cancelled_proof_proves_nothing_i10(database: Database, keys: Keys, add_person: AddPerson) -> None:
    account_id = add_person(database)
    proof = ask(database, keys, account_id)
    code = secrets_of(database, keys, proof).code
    with database.begin() as session:
        proofs.cancel_pending(session, account_id, NOW)
    with pytest.raises(ProofCancelled):
        by_link(database, proof)
    with pytest.raises(ProofCancelled):
        by_code(database, keys, proof, code)
    assert not confirmed(database, account_id)


def test_the_proof_of_a_former_address_says_nothing_about_the_new_one_lnk_04(
    database: Database, keys: Keys, add_person: AddPerson
) -> None:
    account_id = add_person(database)
    former = ask(database, keys, account_id)
    with database.begin() as session:
        account = session.get_one(Account, account_id)
        set_primary_address(session, account, parse_address("new@mail.example"), role="contact", now=NOW)
    with database.begin() as session, pytest.raises(ProofUnusable):
        proofs.claim_by_link(session, former.id, now=NOW, origin=audit.SYSTEM)
    assert not confirmed(database, account_id)
    current = ask(database, keys, account_id)
    assert current.id != former.id
    by_link(database, current)
    assert confirmed(database, account_id)


def test_a_proof_whose_address_was_rewritten_is_not_spent_and_confirms_nothing(
    database: Database, keys: Keys, add_person: AddPerson
) -> None:
    account_id = add_person(database)
    proof = ask(database, keys, account_id)
    with database.begin() as session:
        session.execute(update(Proof).where(Proof.id == proof.id).values(email_key="other@mail.example"))
    with pytest.raises(ProofCancelled):
        by_link(database, proof)
    assert not confirmed(database, account_id)
    with database.read() as session:
        assert session.get_one(Proof, proof.id).claimed_at is None


def test_a_claim_that_fails_half_way_leaves_the_proof_unused_i8(
    database: Database, keys: Keys, add_person: AddPerson, monkeypatch: pytest.MonkeyPatch
) -> None:
    account_id = add_person(database)
    proof = ask(database, keys, account_id)
    with monkeypatch.context() as broken:
        broken.setattr(audit, "record", _fail)
        with pytest.raises(RuntimeError):
            by_link(database, proof)
    assert not confirmed(database, account_id)
    by_link(database, proof)
    assert confirmed(database, account_id)


def _fail(*_arguments: object, **_details: object) -> None:
    raise RuntimeError("the machine stops here")


def test_d12_no_mail_goes_out_within_the_pause_after_a_resend_either(
    embedded: Database, keys: Keys, add_person: AddPerson
) -> None:
    account_id = add_person(embedded)
    due = []
    for seconds in (0, 30, 60, 61, 119, 120):
        moment = NOW + timedelta(seconds=seconds)
        due.append(ask(embedded, keys, account_id, moment).sent_at == moment)
    assert due == [True, False, True, False, False, True]
