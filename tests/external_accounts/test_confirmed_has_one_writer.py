"""I4, LNK-08: nothing but a claimed proof, or a trusted issuer for its own domain, makes an address confirmed."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.orm import Session

import external_accounts
import lms_bridge
from external_accounts import audit, engagements, outbox, proofs
from external_accounts.accounts import Person, UsernameTaken, create_account, suspend
from external_accounts.addresses import parse_address, primary_address, set_primary_address
from external_accounts.database import Database
from external_accounts.identities import Assertion, create_local_account, find_local_credential, sign_in_with_assertion
from external_accounts.keys import Keys
from external_accounts.proof_keys import handle_token, proof_keys
from external_accounts.proofs import ProofUnusable
from external_accounts.schema import Account, Address, Proof
from tests.external_accounts.conftest import NOW

PACKAGES = (external_accounts, lms_bridge)
WRITER = "external_accounts/confirmation.py"


def written_names(tree: ast.AST) -> Iterator[str]:
    """Attributes that are assigned to, keyword arguments, and string keys: every way to write a column."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            yield node.attr
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_only_the_confirmation_module_writes_the_column_i4() -> None:
    writers = set()
    for package in PACKAGES:
        root = Path(package.__path__[0])
        for path in root.rglob("*.py"):
            if "migrations" not in path.parts and "confirmed_at" in written_names(ast.parse(path.read_text("utf-8"))):
                writers.add(path.relative_to(root.parent).as_posix())
    assert writers == {WRITER}


def test_only_a_claim_and_a_cas_sign_in_call_the_writer_i4() -> None:
    callers: dict[str, set[str]] = {"confirm_by_proof": set(), "confirm_by_issuer": set()}
    for package in PACKAGES:
        root = Path(package.__path__[0])
        for path in root.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
                if name in callers:
                    callers[name].add(path.relative_to(root.parent).as_posix())
    assert callers == {
        "confirm_by_proof": {
            "external_accounts/activation.py",
            "external_accounts/address_changes.py",
            "external_accounts/parting.py",
            "external_accounts/proofs.py",
            "external_accounts/registration_outcome.py",
        },
        "confirm_by_issuer": {"external_accounts/identities.py"},
    }


EMAILS = ("ada@mail.example", "Ada@Mail.example", "ada@univ.example", "bob@mail.example")
Act = Callable[[Session, Keys, Account, str], None]


def _request(session: Session, keys: Keys, account: Account, _email: str) -> None:
    address = primary_address(account)
    if address is not None:
        proofs.request_proof(
            session,
            keys,
            proofs.about(address),
            purpose=proofs.CONFIRM_ADDRESS,
            lifetime=timedelta(hours=1),
            service=None,
            locale="fr",
            now=NOW,
        )


def _guess(session: Session, keys: Keys, account: Account, email: str) -> None:
    for proof_id in session.scalars(select(Proof.id).where(Proof.account_id == account.id)).all():
        with contextlib.suppress(ProofUnusable):
            proof = proofs.reserve_code_attempt(session, proof_id, now=NOW)
            proofs.claim_by_code(session, keys, proof, email, now=NOW, origin=audit.SYSTEM)


def _too_late(session: Session, _keys: Keys, account: Account, _email: str) -> None:
    for proof_id in session.scalars(select(Proof.id).where(Proof.account_id == account.id)).all():
        with contextlib.suppress(ProofUnusable):
            proofs.claim_by_link(session, proof_id, now=NOW + timedelta(days=2), origin=audit.SYSTEM)


def _look(session: Session, keys: Keys, account: Account, _email: str) -> None:
    for proof in session.scalars(select(Proof).where(Proof.account_id == account.id)):
        for token in (proof_keys(keys, proof).link_token, handle_token(keys, proof)):
            proofs.look_at(session, keys, token)


def _cas(session: Session, _keys: Keys, account: Account, email: str) -> None:
    assertion = Assertion("sel", "jdupont", Person("Jean", "Dupont"), email=email)
    sign_in_with_assertion(session, assertion, trusted_domains=["other.example"], now=NOW, origin=audit.SYSTEM)


def _another(session: Session, _keys: Keys, account: Account, email: str) -> None:
    with contextlib.suppress(UsernameTaken):
        create_local_account(
            session,
            username="ext.bob",
            profile="learner",
            person=Person("Bob"),
            email=parse_address(email),
            password_hash="x",
            now=NOW,
            origin=audit.SYSTEM,
        )


ACTS: dict[str, Act] = {
    "request": _request,
    "guess": _guess,
    "use too late": _too_late,
    "look": _look,
    "sign in by CAS": _cas,
    "add another account": _another,
    "change address": lambda session, _keys, account, email: (
        set_primary_address(session, account, parse_address(email), role="contact", now=NOW),
        None,
    )[1],
    "suspend": lambda session, _keys, account, _email: suspend(
        session, account, reason="test", until=None, now=NOW, origin=audit.SYSTEM
    ),
    "accept charter": lambda session, _keys, account, email: engagements.accept(
        session, account.id, "charter", email, now=NOW, origin=audit.SYSTEM
    ),
    "cancel": lambda session, _keys, account, _email: proofs.cancel_pending(session, account.id, NOW),
    "find": lambda session, _keys, _account, email: (find_local_credential(session, email), None)[1],
    "mail": lambda session, _keys, account, email: outbox.delivered(
        outbox.enqueue(session, "x", email, locale="fr", now=NOW, mail_domain="x", account_id=account.id), NOW
    ),
}


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(sorted(ACTS)), st.sampled_from(EMAILS)), max_size=12))
def test_no_sequence_of_anything_else_ever_confirms_an_address_i4(
    embedded: Database, keys: Keys, acts: list[tuple[str, str]]
) -> None:
    with embedded.begin() as session:
        account = session.scalar(select(Account).where(Account.username == "ada")) or create_account(
            session, username="ada", profile="learner", person=Person("Ada"), activated=True, now=NOW
        )
        account_id = account.id
    for act, email in acts:
        with embedded.begin() as session:
            ACTS[act](session, keys, session.get_one(Account, account_id), email)
        with embedded.read() as session:
            assert session.scalar(select(func.count()).where(Address.confirmed_at.is_not(None))) == 0, act


@pytest.mark.parametrize("trusted", [(), ("mail.example",)])
def test_a_claimed_proof_and_a_trusted_issuer_do_confirm_so_the_test_above_can_fail(
    embedded: Database, keys: Keys, trusted: tuple[str, ...]
) -> None:
    assertion = Assertion("sel", "jdupont", email="jean@mail.example")
    with embedded.begin() as session:
        account, _ = sign_in_with_assertion(
            session, replace(assertion), trusted_domains=trusted, now=NOW, origin=audit.SYSTEM
        )
        _request(session, keys, account, "")
        if not trusted:
            proof_id = session.scalars(select(Proof.id)).one()
            proofs.claim_by_link(session, proof_id, now=NOW, origin=audit.SYSTEM)
    with embedded.read() as session:
        assert session.scalars(select(Address.confirmed_by)).all() == ["sel" if trusted else "proof"]
