"""Account letters: a code on paper that opens the activation, for people to whom no mail can be written.

The code is typed together with the identifier it was printed for. What is kept is a hash of the two, slow to compute
and salted with the identifier, so a copy of the database opens nothing (TOK-05); and whether it fits is one look-up
that names no account, the same work for known and unknown (I3). It can be typed again until the account is active: the
steps may be broken off and resumed elsewhere. It proves that somebody holds the letter, and no mailbox (I4).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from external_accounts import audit, proofs
from external_accounts.accounts import lock_account
from external_accounts.activation import ACTIVATE, LINKS, NotOpen, Standing, standing
from external_accounts.activation_deadlines import life_of
from external_accounts.identities import canonical_identifier
from external_accounts.institution_schema import ActivationLetter
from external_accounts.keys import Keys
from external_accounts.profiles import ProfilePolicy
from external_accounts.proof_deadlines import note_accepted
from external_accounts.proof_keys import CODE_ALPHABET, ProofKeys, proof_keys, read_code
from external_accounts.proofs import Subject
from external_accounts.schema import Account, Proof

CODE_LENGTH = 12
"""58 bits. Guesses are limited as well (`throttle.LETTER_IDENTIFIER`), and each costs some 50 ms."""
_GROUP = 4


class LetterRefused(Exception):
    """No letter that is good has this identifier and this code."""


@dataclass(frozen=True, slots=True)
class NewLetter:
    """One letter to print. The code is nowhere else."""

    username: str
    code: str
    code_hash: str


def new_letter(username: str) -> NewLetter:
    """Make a code for an account. Takes some 50 ms: not in a transaction."""
    code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))
    return NewLetter(username, code, code_hash(username, code))


def code_hash(username: str, code: str) -> str:
    """What is kept of a code, from what was printed or typed. Takes some 50 ms, whatever the texts are."""
    name = hashlib.sha256(b"letter\0" + canonical_identifier(username).encode("utf-8", "surrogatepass")).digest()
    typed = read_code(code).encode("utf-8", "surrogatepass")
    return hashlib.scrypt(typed, salt=name, n=2**14, r=8, p=1, maxmem=2**26, dklen=32).hex()


def format_code(code: str) -> str:
    """The code as the letter shows it, in groups of four."""
    return "-".join(code[start : start + _GROUP] for start in range(0, len(code), _GROUP))


def printed(
    session: Session,
    account: Account,
    letter: NewLetter,
    *,
    expires_at: datetime,
    by: str,
    now: datetime,
    origin: audit.Origin,
) -> None:
    """A letter is printed: from now on its code opens the activation, and that of an earlier one opens nothing.

    Raises:
        NotOpen: the account is active, or its time here is over.
    """
    account = lock_account(session, account.id)
    if (stands := standing(account, now)) is not Standing.OPEN:
        raise NotOpen(stands)
    row = session.get(ActivationLetter, account.id)
    again = row is not None
    if row is None:
        row = ActivationLetter(account_id=account.id)
        session.add(row)
    row.code_hash, row.printed_at, row.printed_by, row.expires_at = letter.code_hash, now, by, expires_at
    opened = update(Proof).where(Proof.account_id == account.id, Proof.purpose.in_(LINKS), Proof.email_key == "")
    session.execute(opened.where(Proof.claimed_at.is_(None), Proof.cancelled_at.is_(None)).values(cancelled_at=now))
    outcome = "again" if again else "ok"
    audit.record(session, "letter.printed", outcome=outcome, now=now, origin=origin, account_id=account.id)


def open_by_code(
    session: Session,
    keys: Keys,
    typed_hash: str,
    *,
    policy_of: Callable[[Account], ProfilePolicy],
    zone: ZoneInfo,
    service: str | None,
    locale: str,
    now: datetime,
    origin: audit.Origin,
) -> ProofKeys:
    """The link of the activation steps, for whoever typed identifier and code of a letter.

    `typed_hash` is the `code_hash` of the two. The proof names no mailbox: claiming it confirms none.

    Raises:
        LetterRefused: no such letter, or it is too old. NotOpen: the account is active, or its time is over.
    """
    letter = session.scalar(
        select(ActivationLetter).where(ActivationLetter.code_hash == typed_hash, ActivationLetter.expires_at > now)
    )
    if letter is None:
        raise LetterRefused
    account = lock_account(session, letter.account_id)
    if (stands := standing(account, now)) is not Standing.OPEN:
        raise NotOpen(stands)
    life = life_of(policy_of(account).link_again, now, zone)
    proof, _ = proofs.request_proof(
        session,
        keys,
        Subject(account_id=account.id),
        purpose=ACTIVATE,
        lifetime=life.lifetime,
        service=service,
        locale=locale,
        now=now,
        calendar_end=life.calendar_end,
    )
    note_accepted(session, proof.id, now)  # nothing is mailed: its time begins now
    audit.record(
        session, "letter.typed", outcome="ok", now=now, origin=origin, account_id=account.id, proof_id=proof.id
    )
    return proof_keys(keys, proof)


def letter_of(session: Session, account: Account) -> ActivationLetter | None:
    """The last letter printed for an account."""
    return session.get(ActivationLetter, account.id)


def purge(session: Session, now: datetime) -> None:
    """Drop the letters whose time is over."""
    session.execute(delete(ActivationLetter).where(ActivationLetter.expires_at <= now))
