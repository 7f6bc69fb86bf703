"""What every step of a registration needs: its words, its terms, its mails, and who has the address already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, or_, select, update
from sqlalchemy.orm import Session

from external_accounts import outbox, proofs
from external_accounts.accounts import Person
from external_accounts.identities import LOCAL
from external_accounts.keys import Keys
from external_accounts.proofs import Subject
from external_accounts.schema import Account, Address, Proof, Registration, SignInIdentity

PROVE_ADDRESS = "register"
"""Purpose of the proof that the address of a request is read."""
CHOOSE_PASSWORD = "choose password"  # noqa: S105 (a purpose)
"""Purpose of the proof that opens the last step: user name and password. It proves the address once more."""
ASKED, INVITED = "asked", "invited"
PROVE_WITHIN = timedelta(hours=24)

UNPROVED, WAITING, ACCEPTED, DONE, REFUSED, WITHDRAWN = (
    *("unproved", "waiting", "accepted", "done", "refused", "withdrawn"),
)
ALIVE = (UNPROVED, WAITING, ACCEPTED)


@dataclass(frozen=True, slots=True)
class Terms:
    """What settings say about registrations, as far as the rules need it."""

    mail_domain: str
    """Right side of message ids."""
    waiting: timedelta
    """How long a request waits for a decision."""
    link: timedelta
    """How long the link to the last step is good."""
    sponsor_profiles: tuple[str, ...] = ()
    deciders: tuple[str, ...] = ()
    """Addresses that are told of a request without a sponsor."""
    decider_locale: str = "fr"
    member_domains: Mapping[str, str] | None = None
    """Mail domain → issuer of the CAS that vouches for it: its people need no account here."""

    def member_issuer(self, email_key: str) -> str | None:
        return (self.member_domains or {}).get(email_key.rpartition("@")[2])


def write_mail(
    session: Session,
    registration: Registration,
    template: str,
    terms: Terms,
    now: datetime,
    *,
    proof: Proof | None = None,
    context: Mapping[str, object] | None = None,
) -> None:
    # What a stranger typed as a name goes to nobody's mailbox before that mailbox has answered: it could say anything.
    trusted = registration.mode == INVITED or registration.proved_at is not None
    name = Person(registration.given_name, registration.family_name).display_name if trusted else ""
    outbox.enqueue(
        session,
        template,
        registration.email,
        locale=registration.language,
        now=now,
        mail_domain=terms.mail_domain,
        proof_id=proof.id if proof else None,
        context={"display_name": name, **(context or {})},
    )


def send_link(
    session: Session,
    keys: Keys,
    registration: Registration,
    terms: Terms,
    *,
    mail: bool = True,
    page_waits: bool = False,
    now: datetime,
) -> Proof:
    """Send the link to the last step: the living one again, or a new one when it is over.

    Without `mail` (a budget is used up) nothing goes out, and everything looks the same. The mail has a code as well
    when a page waits for it.
    """
    proof, due = proofs.request_proof(
        session,
        keys,
        Subject(registration_id=registration.id, email_key=registration.email_key),
        purpose=CHOOSE_PASSWORD,
        lifetime=terms.link,
        service=registration.service,
        locale=registration.language,
        now=now,
    )
    registration.expires_at = max(registration.expires_at, proof.expires_at)
    if due and mail:
        sponsor = session.get(Account, registration.sponsor_id) if registration.sponsor_id else None
        ends = registration.rights_end_at
        context = {
            "page_waits": page_waits,
            "sponsor_name": Person(sponsor.given_name, sponsor.family_name).display_name if sponsor else "",
            "rights_end": ends.isoformat() if ends else "",
        }
        template = "invitation" if registration.mode == INVITED else "register_accepted"
        write_mail(session, registration, template, terms, now, proof=proof, context=context)
    return proof


def accounts_of(session: Session, email_key: str) -> Sequence[Account]:
    """The accounts an address stands for: confirmed there, or the primary one of a local account.

    What a CAS account merely mentions does not count: that is data, not proof (LNK-05), and would let somebody keep
    the owner of an address from an account of their own.
    """
    local = select(SignInIdentity.id).where(SignInIdentity.account_id == Account.id, SignInIdentity.issuer == LOCAL)
    return session.scalars(
        select(Account)
        .join(Address, Address.account_id == Account.id)
        .where(
            Account.erased_at.is_(None),
            Address.email_key == email_key,
            or_(Address.confirmed_at.is_not(None), and_(Address.is_primary, local.exists())),
        )
        .order_by(Account.id)
    ).all()


def door_of(account: Account) -> str:
    """The issuer by which the account signs in."""
    return next((identity.issuer for identity in account.identities), LOCAL)


def find_sponsor(session: Session, text: str, terms: Terms) -> tuple[Account | None, Address | None]:
    """Who is meant by a confirmed address or a user name, if their profile may sponsor; and where to write to them."""
    key = text.strip().lower()
    if not key:
        return None, None
    found = session.execute(
        select(Account, Address)
        .join(Address, Address.account_id == Account.id)
        .where(
            or_(Address.email_key == key, Account.username == key),
            Address.confirmed_at.is_not(None),
            Account.profile.in_(terms.sponsor_profiles),
            Account.erased_at.is_(None),
            Account.suspended_at.is_(None),
        )
        .order_by(Address.is_primary.desc(), Account.id)
        .limit(1)
    ).first()
    return (found[0], found[1]) if found else (None, None)


def withdraw(session: Session, registration: Registration, *, now: datetime) -> None:
    """End it: its links open nothing any more."""
    end(registration, WITHDRAWN, now)
    session.execute(
        update(Proof)
        .where(Proof.registration_id == registration.id, Proof.claimed_at.is_(None), Proof.cancelled_at.is_(None))
        .values(cancelled_at=now)
    )


def end(registration: Registration, state: str, now: datetime) -> None:
    registration.state, registration.expires_at, registration.mail_due_at = state, now, None


def hold_all(session: Session, email_key: str) -> Sequence[Registration]:
    """Every registration for the address, held until the transaction ends: whoever finishes one is alone with all."""
    session.flush()
    return session.scalars(
        select(Registration)
        .where(Registration.email_key == email_key)
        .order_by(Registration.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
