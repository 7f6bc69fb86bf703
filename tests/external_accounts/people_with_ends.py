"""People whose rights end, for tests of the life cycle."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.accounts import Person, create_account
from external_accounts.addresses import parse_address, set_primary_address
from external_accounts.keys import Keys
from external_accounts.lifecycle_mails import Terms
from external_accounts.local_calendar import end_of_day
from external_accounts.profiles import ProfilePolicy
from external_accounts.proofs import CONFIRM_ADDRESS, about, claim_by_link, make_proof
from external_accounts.schema import Account, Address

PARIS = ZoneInfo("Europe/Paris")
KEYS = Keys(["k" * 32])
POLICIES = {
    "vacataire": ProfilePolicy("vacataire", directory="sel", issuer="sel", retention_months=6, extension_months=6),
    "staff": ProfilePolicy("staff", issuer="sel", retention_months=12, extension_months=12),
    "learner": ProfilePolicy("learner"),
}
TERMS = Terms(
    zone=PARIS,
    keys=KEYS,
    mail_domain="bridge.example",
    locale="fr",
    policies=POLICIES,
    deciders=("desk@univ.example",),
)
ORIGIN = audit.Origin(actor="test")
END = end_of_day(date(2027, 6, 30), PARIS)


def noon(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, 12, tzinfo=UTC)


def add(
    session: Session,
    username: str = "vnguyen",
    *,
    end: datetime | None = END,
    profile: str = "vacataire",
    confirmed: bool = True,
    **columns: Any,
) -> Account:
    """Somebody with an institutional and a recovery address."""
    now = noon(2026, 9, 1)
    account = create_account(
        session, username=username, profile=profile, person=Person("Valentin", "Nguyen"), activated=True, now=now
    )
    account.rights_end_at = end
    for name, value in columns.items():
        setattr(account, name, value)
    set_primary_address(session, account, parse_address(f"{username}@univ.example"), role="institutional", now=now)
    private = parse_address(f"{username}@mail.example")
    account.addresses.append(
        Address(email=private.email, email_key=private.key, role="recovery", created_at=now, confirmed_by="")
    )
    session.flush()
    if confirmed:
        for address in account.addresses:
            proof = make_proof(
                session,
                KEYS,
                about(address),
                purpose=CONFIRM_ADDRESS,
                lifetime=end_of_day(date(2026, 9, 2), PARIS) - now,
                service=None,
                locale="fr",
                now=now,
            )
            claim_by_link(session, proof.id, now=now, origin=ORIGIN)
    return account
