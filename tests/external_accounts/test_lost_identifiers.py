"""Lost identifiers, on every database: whom a search finds, and that a link works once (I2)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sqlalchemy.orm import Session

from external_accounts import lost_identifiers, recovery
from external_accounts.audit import SYSTEM
from external_accounts.database import Database
from external_accounts.keys import Keys
from external_accounts.lost_identifiers import Population
from external_accounts.proofs import CONFIRM_ADDRESS, ProofUnusable, about, claim_by_link, request_proof
from external_accounts.schema import Account, Proof
from tests.external_accounts.conftest import NOW

MANY = 64
READERS = Population(
    profiles=("learner",),
    by_sponsor=False,
    university_domains=("univ.example",),
    password_of=lambda session, account: recovery.password_of(session, account, lambda _account: ""),
)


def mailed(database: Database, keys: Keys, email: str) -> list[Proof]:
    """Ask and look up; the proofs that are mailed."""
    sought = lost_identifiers.sought_text("reader", email)
    with database.begin() as session:
        search = recovery.ask(
            session,
            keys,
            sought,
            may_mail=True,
            service=None,
            locale="fr",
            now=NOW,
            purpose=lost_identifiers.SEEK_IDENTIFIER,
        )
        assert lost_identifiers.read_sought(search.sought) == ("reader", email.lower())
        boxes = lost_identifiers.look_up(session, email.lower(), READERS)
        found = [lost_identifiers.proof_for(session, keys, search, box, now=NOW) for box in boxes]
        session.flush()
        session.expunge_all()
        return [proof for proof in found if proof is not None]


def confirm(database: Database, keys: Keys, account_id: int) -> None:
    with database.begin() as session:
        (address,) = session.get_one(Account, account_id).addresses
        proof, _ = request_proof(
            session,
            keys,
            about(address),
            purpose=CONFIRM_ADDRESS,
            lifetime=timedelta(hours=1),
            service=None,
            locale="fr",
            now=NOW,
        )
        claim_by_link(session, proof.id, now=NOW, origin=SYSTEM)


def still_offered(session: Session, proof: Proof) -> list[Account]:
    return lost_identifiers.offered(session, proof, READERS)


def test_i2_of_many_parallel_uses_of_a_link_one_succeeds(
    database: Database, keys: Keys, add_person: Callable[..., int]
) -> None:
    account_id = add_person(database, email="ada@mail.example")
    confirm(database, keys, account_id)
    (proof,) = mailed(database, keys, "Ada@mail.example")

    def use(_number: int) -> bool:
        try:
            with database.begin() as session:
                recovery.claim_for(session, proof, account_id, still_offered, now=NOW, origin=SYSTEM)
        except ProofUnusable:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(use, range(MANY))) == 1


def test_an_address_that_nobody_confirmed_gets_no_proof(
    database: Database, keys: Keys, add_person: Callable[..., int]
) -> None:
    add_person(database, email="ada@mail.example")
    assert mailed(database, keys, "ada@mail.example") == []
    assert mailed(database, keys, "nobody@mail.example") == []


def test_the_university_s_own_domain_is_not_private(
    database: Database, keys: Keys, add_person: Callable[..., int]
) -> None:
    account_id = add_person(database, email="ada@univ.example")
    confirm(database, keys, account_id)
    assert mailed(database, keys, "ada@univ.example") == []
