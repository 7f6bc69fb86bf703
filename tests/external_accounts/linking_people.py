"""People with several accounts, and the ceremony without its pages: for tests that go through many histories."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import audit, link_ceremonies, proofs
from external_accounts.accounts import Person
from external_accounts.addresses import parse_address
from external_accounts.database import Base, Database
from external_accounts.identities import LOCAL, Assertion, create_local_account, sign_in_with_assertion
from external_accounts.institution_schema import MailboxChoice
from external_accounts.keys import Keys
from external_accounts.link_ceremonies import Bound
from external_accounts.linking_schema import LinkCeremony
from external_accounts.proofs import CONFIRM_ADDRESS, about
from external_accounts.schema import Account, Address, Engagement, LocalPassword, SignInIdentity

ORIGIN = audit.SYSTEM
TABLES: tuple[type[Base], ...] = (Account, Address, SignInIdentity, LocalPassword, Engagement, MailboxChoice)


def add_learner(session: Session, keys: Keys, username: str, now: datetime) -> int:
    """A local account with a confirmed address."""
    account = create_local_account(
        session,
        username=username,
        profile="learner",
        person=Person("Ada", "Lovelace"),
        email=parse_address(f"{username}@mail.example"),
        password_hash=f"$argon2id${username}",
        now=now,
        origin=ORIGIN,
    )
    confirm(session, keys, account.addresses[0], now)
    return account.id


def add_member(session: Session, subject: str, now: datetime) -> int:
    """An account that came by the CAS."""
    assertion = Assertion("sel", subject, Person("Ada", "Lovelace"), email=f"{subject}@univ.example")
    account, _ = sign_in_with_assertion(session, assertion, trusted_domains=["univ.example"], now=now, origin=ORIGIN)
    return account.id


def confirm(session: Session, keys: Keys, address: Address, now: datetime) -> None:
    """By a proof, the only way there is."""
    proof, _ = proofs.request_proof(
        session,
        keys,
        about(address),
        purpose=CONFIRM_ADDRESS,
        lifetime=timedelta(hours=1),
        service=None,
        locale="fr",
        now=now,
    )
    proofs.claim_by_link(session, proof.id, now=now, origin=ORIGIN)


@dataclass
class Ceremony:
    """One that is under way."""

    handle: str
    who: Bound


def begin(session: Session, account_id: int, session_id: int, now: datetime) -> Ceremony:
    """Signed in by the first way in there is."""
    identity = session.get_one(Account, account_id).identities[0]
    who = Bound(account_id, session_id, identity.issuer, identity.id)
    return Ceremony(link_ceremonies.begin(session, who, proved_at=now, now=now, origin=ORIGIN).handle, who)


def found(session: Session, ceremony: Ceremony, now: datetime) -> LinkCeremony:
    return link_ceremonies.find(session, ceremony.handle, ceremony.who, now=now)


def show_other(session: Session, keys: Keys, ceremony: Ceremony, other_id: int, now: datetime) -> bool:
    """The other side is proved as its first way in allows. False: it cannot be."""
    row = found(session, ceremony, now)
    other = session.get_one(Account, other_id)
    if not other.identities:
        return False
    identity = other.identities[0]
    if identity.issuer != LOCAL:
        link_ceremonies.prove_by_cas(session, row, Assertion(identity.issuer, identity.subject), now=now, origin=ORIGIN)
        return True
    proof = link_ceremonies.send_proof(
        session, keys, row, other_id, may_mail=True, locale="fr", mail_domain="x.example", now=now, origin=ORIGIN
    )
    if proof is None:
        return False
    claimed = proofs.claim_by_link(session, proof.id, now=now, origin=ORIGIN)
    link_ceremonies.prove_by_mail(session, row, claimed, now=now, origin=ORIGIN)
    return True


def dump(database: Database, account_ids: list[int]) -> dict[str, list[Any]]:
    """Every row of these accounts, but for the count of changes that other systems mirror."""
    with database.read() as session:
        result = {}
        for table in TABLES:
            column: Any = table.id if table is Account else table.account_id  # type: ignore[attr-defined]
            rows = session.scalars(select(table).where(column.in_(account_ids)))
            result[table.__tablename__] = sorted(
                repr([(c.key, getattr(row, c.key)) for c in table.__table__.columns if c.key != "version"])
                for row in rows
            )
        return result
