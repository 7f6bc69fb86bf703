"""Setting a password in the directory that holds it: claimed once, given back when it was not done, settled after a
kill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from external_accounts import audit, directory_passwords, proofs
from external_accounts.accounts import lock_account
from external_accounts.database import Database
from external_accounts.directory import (
    DirectoryError,
    DirectoryReadOnly,
    DirectoryUnavailable,
    Entry,
    EntryMissing,
    PasswordRefused,
)
from external_accounts.directory.embedded import EmbeddedDirectory
from external_accounts.directory_passwords import BUSY_FOR, UNFINISHED_AFTER, PasswordBeingSet
from external_accounts.institution_schema import DirectoryPassword
from external_accounts.keys import Keys
from external_accounts.passwords import PasswordHashing
from external_accounts.proofs import ProofCancelled, ProofUnusable, ProofUsed, Subject
from external_accounts.schema import Account, AuditEvent, Proof
from tests.external_accounts.conftest import NOW

MANY = 64
OLD = "the old one"


class Killed(BaseException):
    """The process ends here: nothing catches this."""


@dataclass
class Faulty:
    """The embedded directory, with something in the way of setting a password."""

    inner: EmbeddedDirectory
    before: BaseException | None = None
    """Happens instead of the write."""
    after: BaseException | None = None
    """Happens when the write was done."""
    written: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.inner.name

    def find(self, username: str) -> Entry | None:
        return self.inner.find(username)

    def save(self, entry: Entry) -> None:
        self.inner.save(entry)

    def verify(self, username: str, password: str) -> bool:
        return self.inner.verify(username, password)

    def write_choices(self, username: str, choices: object) -> None:
        raise AssertionError("nobody chose anything")

    def set_password(self, username: str, password: str) -> None:
        if self.before is not None:
            raise self.before
        self.inner.set_password(username, password)
        self.written.append(password)
        if self.after is not None:
            raise self.after


@dataclass
class Desk:
    """A person whose password is in a directory, a proof mailed to them, and what a new password ends."""

    database: Database
    keys: Keys
    directory: Faulty
    account_id: int
    now: datetime = NOW
    finished: list[str] = field(default_factory=list)

    def prove(self, purpose: str = "activate") -> Proof:
        with self.database.begin() as session:
            return proofs.make_proof(
                session,
                self.keys,
                Subject(account_id=self.account_id),
                purpose=purpose,
                lifetime=timedelta(hours=1),
                service=None,
                locale="fr",
                now=self.now,
            )

    def set(self, proof: Proof | None, password: str) -> None:
        def claim(session: Session, now: datetime) -> Account:
            account = lock_account(session, self.account_id)
            if proof is not None:
                proofs.claim_by_link(session, proof.id, now=now, origin=audit.SYSTEM)
            return account

        def finish(session: Session, account: Account, now: datetime) -> None:
            proofs.cancel_pending(session, account.id, now)
            account.activated_at = now
            self.finished.append(password)

        directory_passwords.set_password(
            self.database,
            self.directory,
            password,
            event="password.reset",
            claim=claim,
            proof=proof,
            finish=finish,
            clock=lambda: self.now,
            origin=audit.SYSTEM,
        )

    def tries(self, proof: Proof, password: str) -> bool:
        try:
            self.set(proof, password)
        except (ProofUnusable, PasswordBeingSet):
            return False
        return True

    def state(self, proof: Proof) -> str:
        with self.database.read() as session:
            return proofs.state_of(session.get_one(Proof, proof.id), self.now)

    def stored(self) -> DirectoryPassword:
        with self.database.read() as session:
            return session.get_one(DirectoryPassword, self.account_id)

    def settle(self) -> bool:
        with self.database.begin() as session:
            account = directory_passwords.next_unfinished(session, self.now)
            if account is None:
                return False
            directory_passwords.settle(session, account, now=self.now)
            return True

    def works(self, password: str) -> bool:
        return self.directory.verify("ext.ada", password)


@pytest.fixture
def desk(database: Database, keys: Keys, add_person: Callable[..., int]) -> Iterator[Desk]:
    hashing = PasswordHashing(time_cost=1, memory_kib=64, queue=2 * MANY)
    directory = EmbeddedDirectory("sel", database, hashing)
    directory.save(Entry("ext.ada"))
    directory.set_password("ext.ada", OLD)
    yield Desk(database, keys, Faulty(directory), add_person(database))
    hashing.close()


def test_the_password_is_set_and_what_it_ends_is_ended_with_it(desk: Desk) -> None:
    proof, other = desk.prove(), desk.prove("other")
    desk.set(proof, "new")
    assert desk.works("new")
    assert (desk.state(proof), desk.state(other)) == ("claimed", "cancelled")
    assert desk.finished == ["new"]
    stored = desk.stored()
    assert (stored.set_at, stored.busy_until, stored.unfinished_at) == (NOW, None, None)


def test_64_parallel_uses_of_one_proof_set_one_password_i2(desk: Desk) -> None:
    """TOK-04."""
    proof = desk.prove()
    with ThreadPoolExecutor(MANY) as pool:
        won = list(pool.map(lambda number: desk.tries(proof, f"number {number}"), range(MANY)))
    assert won.count(True) == 1
    assert desk.directory.written == [f"number {won.index(True)}"] == desk.finished
    assert desk.works(f"number {won.index(True)}")


def test_of_two_proofs_used_at_once_one_sets_the_password_i10(desk: Desk) -> None:
    """The other one waits for its turn, and is over when that comes."""
    proofs_of_ada = [desk.prove(), desk.prove("other")]
    with ThreadPoolExecutor(MANY) as pool:
        won = list(pool.map(lambda number: desk.tries(proofs_of_ada[number % 2], f"number {number}"), range(MANY)))
    assert won.count(True) == 1
    assert desk.directory.written == desk.finished == [f"number {won.index(True)}"]


@pytest.mark.parametrize(
    "error", [DirectoryUnavailable("no route"), DirectoryReadOnly("busy"), PasswordRefused("too short"), EntryMissing()]
)
def test_a_directory_that_does_not_do_it_gives_the_proof_back(desk: Desk, error: DirectoryError) -> None:
    proof = desk.prove()
    desk.directory.before = error
    with pytest.raises(type(error)):
        desk.set(proof, "new")
    assert desk.works(OLD)
    assert desk.state(proof) == "pending"
    assert desk.finished == []
    stored = desk.stored()
    assert (stored.set_at, stored.busy_until, stored.unfinished_at) == (None, None, None)
    desk.directory.before = None
    desk.set(proof, "new")
    assert desk.works("new")


def test_what_the_directory_did_not_do_is_in_the_audit_trail(desk: Desk) -> None:
    desk.directory.before = PasswordRefused("it contains hunter2")
    with pytest.raises(PasswordRefused):
        desk.set(desk.prove(), "hunter2")
    with desk.database.read() as session:
        event = session.query(AuditEvent).filter_by(event="password.reset").one()
    assert (event.outcome, event.details) == ("refused", {"directory": "sel", "reason": "PasswordRefused"})


def test_without_a_proof_nothing_is_given_back(desk: Desk) -> None:
    """Somebody who is signed in and has just shown the current password."""
    desk.directory.before = DirectoryReadOnly()
    with pytest.raises(DirectoryReadOnly):
        desk.set(None, "new")
    desk.directory.before = None
    desk.set(None, "new")
    assert desk.works("new")


def test_a_proof_that_became_another_one_meanwhile_is_not_given_back(desk: Desk) -> None:
    proof = desk.prove()

    class Renewing(Faulty):
        def set_password(self, username: str, password: str) -> None:
            with desk.database.begin() as session:
                renewed = session.get_one(Proof, proof.id)
                proofs.renew(desk.keys, renewed, now=desk.now)
                renewed.claimed_at = desk.now  # and its next owner has used it
            raise DirectoryUnavailable

    desk.directory = Renewing(desk.directory.inner)
    with pytest.raises(DirectoryUnavailable):
        desk.set(proof, "new")
    assert desk.state(proof) == "claimed"


def test_an_entry_that_was_not_written_yet_is_written_first(desk: Desk) -> None:
    with desk.database.begin() as session:
        session.get_one(Account, desk.account_id).username = "ext.grace"
    desk.set(desk.prove(), "new")
    assert desk.directory.find("ext.grace") == Entry("ext.grace", "Ada", "Lovelace", has_password=True)
    assert desk.directory.verify("ext.grace", "new")


def test_a_claim_that_fails_asks_the_directory_nothing(desk: Desk) -> None:
    proof = desk.prove()
    desk.set(proof, "new")
    with pytest.raises(ProofUsed):
        desk.set(proof, "newer")
    assert desk.directory.written == ["new"]


def test_killed_before_the_write_asking_again_converges(desk: Desk) -> None:
    proof = desk.prove()
    desk.directory.before = Killed()
    with pytest.raises(Killed):
        desk.set(proof, "new")
    assert desk.works(OLD)
    desk.directory.before = None
    again = desk.prove()
    with pytest.raises(PasswordBeingSet):
        desk.set(again, "new")  # perhaps it is still at work
    assert desk.state(again) == "pending"
    desk.now += BUSY_FOR
    desk.set(again, "new")
    assert desk.works("new")
    desk.now += UNFINISHED_AFTER
    assert not desk.settle()


def test_killed_after_the_write_what_a_password_ends_is_settled_later_i10(desk: Desk) -> None:
    proof = desk.prove()
    desk.directory.after = Killed()
    with pytest.raises(Killed):
        desk.set(proof, "new")
    assert desk.finished == []
    assert not desk.settle(), "it may still be at work"
    desk.now += UNFINISHED_AFTER
    assert desk.settle()
    assert desk.stored().set_at == desk.now
    assert not desk.settle()


def test_a_write_that_may_have_arrived_is_settled_unless_another_one_succeeds(desk: Desk) -> None:
    proof = desk.prove()
    desk.directory.after = DirectoryUnavailable(may_have_arrived=True)
    with pytest.raises(DirectoryUnavailable):
        desk.set(proof, "new")
    assert desk.state(proof) == "pending"
    assert desk.stored().unfinished_at == desk.now + UNFINISHED_AFTER
    desk.directory.after = None
    desk.set(proof, "newer")
    assert desk.stored().unfinished_at is None


def test_a_fault_of_the_program_gives_the_proof_back_and_is_settled(desk: Desk) -> None:
    proof = desk.prove()
    desk.directory.after = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        desk.set(proof, "new")
    assert desk.state(proof) == "pending"
    desk.now += UNFINISHED_AFTER
    assert desk.settle()


def test_many_workers_settle_one_account_once(desk: Desk) -> None:
    desk.directory.after = Killed()
    with pytest.raises(Killed):
        desk.set(desk.prove(), "new")
    desk.now += UNFINISHED_AFTER
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _n: desk.settle(), range(8))).count(True) == 1


def test_a_proof_that_was_cancelled_while_the_directory_was_asked_stays_over(desk: Desk) -> None:
    proof = desk.prove()

    class Cancelling(Faulty):
        def set_password(self, username: str, password: str) -> None:
            with desk.database.begin() as session:
                session.get_one(Proof, proof.id).cancelled_at = desk.now
            raise DirectoryUnavailable

    desk.directory = Cancelling(desk.directory.inner)
    with pytest.raises(DirectoryUnavailable):
        desk.set(proof, "new")
    with pytest.raises(ProofCancelled):
        desk.set(proof, "new")
