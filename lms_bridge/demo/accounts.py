"""The people of the demo: each shows one case."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.accounts import Person, account_by_username, create_account, suspend
from external_accounts.addresses import parse_address, primary_address, set_primary_address
from external_accounts.bounces import BOUNCE
from external_accounts.confirmation import lose_confirmation
from external_accounts.directory import Entry
from external_accounts.identities import create_local_account
from external_accounts.institution_schema import DirectoryEntry
from external_accounts.local_calendar import end_of_day, local_day
from external_accounts.proofs import CONFIRM_ADDRESS, about, claim_by_link, request_proof
from external_accounts.rights import move_end
from external_accounts.schema import Account, Address, SignInIdentity
from lms_bridge.demo.sel_directory import SelDirectory, SelUser
from lms_bridge.runtime import Runtime

DOMAIN = "univ-demo.example"
CANARY = "canari"
"""An ordinary user of the simulated Moodle, by whom the bridge sees that it sees."""
ORIGIN = audit.Origin(actor="demo")


@dataclass(frozen=True, slots=True)
class DemoAccount:
    """One person: which case they show, and how to sign in.

    `email` is where their mail arrives: for adjunct teachers the private mailbox that the staff office wrote down.
    """

    case: str
    door: str
    identifier: str
    password: str
    email: str
    given_name: str
    family_name: str
    affiliation: str = ""
    confirmed: bool = False
    suspended: bool = False
    profile: str = ""
    """Where it is not the usual one of the door."""
    also_reads: str = ""
    """A second address of theirs, confirmed."""
    sponsor: str = ""
    """Identifier of the person who answers for the account and gets its mail."""

    def public(self) -> dict[str, str]:
        """As `/api/demo` tells it."""
        return {
            "case": self.case,
            "door": self.door,
            "identifier": self.identifier,
            "password": self.password,
            "email": self.email,
        }


ACCOUNTS = (
    DemoAccount("teacher", "sel", "tmartin", "teacher-demo-1", f"theo.martin@{DOMAIN}", "Théo", "Martin", "faculty"),
    DemoAccount("student", "sel", "sdiallo", "student-demo-1", f"sira.diallo@{DOMAIN}", "Sira", "Diallo", "student"),
    DemoAccount(
        "vacataire",
        "sel",
        "vnguyen",
        "vacataire-demo-1",
        "valentin.nguyen@courriel.example",
        "Valentin",
        "Nguyen",
        "affiliate",
        confirmed=True,
    ),
    DemoAccount(
        "helpdesk", "sel", "hbernard", "helpdesk-demo-1", f"helene.bernard@{DOMAIN}", "Hélène", "Bernard", "staff"
    ),
    DemoAccount(
        "helpdesk_second", "sel", "yroche", "helpdesk-demo-2", f"yann.roche@{DOMAIN}", "Yann", "Roche", "staff"
    ),
    DemoAccount("not_activated", "sel", "nlopez", "", "nora.lopez@courriel.example", "Nora", "Lopez", "affiliate"),
    DemoAccount(
        "learner_confirmed",
        "local",
        "ext.alice.moreau",
        "learner-demo-1",
        "alice.moreau@courriel.example",
        "Alice",
        "Moreau",
        confirmed=True,
    ),
    DemoAccount(
        "learner_unconfirmed",
        "local",
        "ext.karim.haddad",
        "learner-demo-2",
        "karim.haddad@courriel.example",
        "Karim",
        "Haddad",
    ),
    DemoAccount(
        "learner_suspended",
        "local",
        "ext.paul.petit",
        "learner-demo-3",
        "paul.petit@courriel.example",
        "Paul",
        "Petit",
        confirmed=True,
        suspended=True,
    ),
    DemoAccount(
        "learner_ending",
        "local",
        "ext.lea.garnier",
        "learner-demo-4",
        "lea.garnier@courriel.example",
        "Léa",
        "Garnier",
        confirmed=True,
    ),
    DemoAccount(
        "learner_bounced",
        "local",
        "ext.ines.faure",
        "learner-demo-6",
        "ines.fuare@courriel.example",
        "Inès",
        "Faure",
        confirmed=True,
    ),
    DemoAccount(
        "learner_ended",
        "local",
        "ext.noe.fabre",
        "learner-demo-5",
        "noe.fabre@courriel.example",
        "Noé",
        "Fabre",
        confirmed=True,
    ),
    # The student before she enrolled: as soon as she has signed in by SEL, the two accounts are likely one person's.
    DemoAccount(
        "student_before",
        "local",
        "ext.sira.diallo",
        "learner-demo-6",
        "sira.diallo@courriel.example",
        "Sira",
        "Diallo",
        confirmed=True,
        also_reads=f"sira.diallo@{DOMAIN}",
    ),
    DemoAccount(
        "sponsor",
        "local",
        "ext.claire.dubois",
        "sponsor-demo-1",
        "claire.dubois@courriel.example",
        "Claire",
        "Dubois",
        confirmed=True,
    ),
    DemoAccount(
        "library_reader",
        "local",
        "ext.lea.roux",
        "reader-demo-1",
        "lea.roux@courriel.example",
        "Léa",
        "Roux",
        confirmed=True,
        profile="library_reader",
    ),
    DemoAccount(
        "technical",
        "sel",
        "tech-lettres",
        "technical-demo-1",
        f"secretariat.lettres@{DOMAIN}",
        "Secrétariat",
        "Lettres",
        "employee",
        profile="technical",
        sponsor="hbernard",
    ),
)


def fill_directory(directory: SelDirectory) -> None:
    """The university's directory: everybody who has a SEL account. An empty password means: not activated yet."""
    for person in ACCOUNTS:
        if person.door == "sel":
            directory.add(SelUser(person.identifier, person.password, _sel_attributes(person)))


def _sel_attributes(person: DemoAccount) -> dict[str, Any]:
    email = person.email if person.email.endswith(f"@{DOMAIN}") else f"{person.identifier}@{DOMAIN}"
    return _attributes(email, person.given_name, person.family_name, person.affiliation)


def _attributes(email: str, given_name: str, family_name: str, affiliation: str) -> dict[str, Any]:
    return {
        "mail": email,
        "givenName": given_name,
        "sn": family_name,
        "displayName": f"{given_name} {family_name}",
        "eduPersonAffiliation": [affiliation, "member"],
        "supannEtablissement": "{UAI}0000000X",
    }


def described(entry: Entry) -> SelUser:
    """What SEL releases of somebody whose entry the bridge wrote (an imported adjunct teacher)."""
    email = f"{entry.username}@{DOMAIN}"
    return SelUser(entry.username, "", _attributes(email, entry.given_name, entry.family_name, "affiliate"))


def fill_embedded_directory(runtime: Runtime, former_hashes: Mapping[str, str]) -> None:
    """Entries of those whose password the bridge sets, with the demo's password or the one of an earlier run."""
    for person in ACCOUNTS:
        usual = "vacataire" if person.affiliation == "affiliate" else ""
        profile = runtime.settings.profile(person.profile or usual)
        directory = runtime.directories.get(profile.directory or "")
        if directory is None:
            continue
        directory.save(Entry(person.identifier, person.given_name, person.family_name, person.email))
        if person.password:
            directory.set_password(person.identifier, person.password)
    with runtime.database.begin() as session:
        for entry in session.scalars(select(DirectoryEntry).where(DirectoryEntry.password_hash != "")):
            entry.password_hash = former_hashes.get(entry.username, entry.password_hash)


def former_hashes(database_file: Path) -> dict[str, str]:
    """The passwords that an earlier run's database has in its directory, hashed; by user name."""
    if not database_file.exists():
        return {}
    with suppress(sqlite3.Error), closing(sqlite3.connect(database_file)) as connection:
        return dict(connection.execute("SELECT username, password_hash FROM directory_entries"))
    return {}


def fill_bridge(runtime: Runtime) -> None:
    """The accounts the bridge knows before anybody signs in: its own, and those the staff office announced."""
    now = runtime.clock()
    hashes = {person.case: runtime.hashing.hash(person.password) for person in ACCOUNTS if person.door == "local"}
    with runtime.database.begin() as session:
        for person in ACCOUNTS:
            if person.door == "local":
                account = create_local_account(
                    session,
                    username=person.identifier,
                    profile=person.profile or "learner",
                    person=Person(person.given_name, person.family_name),
                    email=parse_address(person.email),
                    password_hash=hashes[person.case],
                    now=now,
                    origin=ORIGIN,
                )
            elif person.affiliation == "affiliate":
                account = _announced(session, person, now)
            elif person.sponsor:
                account = _technical(session, runtime, person, now)
            else:
                continue  # members appear at their first sign-in
            if person.confirmed:
                _confirm(session, runtime, account, now)
            if person.also_reads:
                second = parse_address(person.also_reads)
                account.addresses.append(
                    Address(email=second.email, email_key=second.key, role="recovery", created_at=now)
                )
                session.flush()
                _confirm(session, runtime, account, now, address=account.addresses[-1])
            if person.suspended:
                suspend(session, account, reason="demo", until=None, now=now, origin=ORIGIN)
        _let_rights_end(session, runtime, now)
        _let_bounce(session, now)


def _let_rights_end(session: Session, runtime: Runtime, now: datetime) -> None:
    """Two learners for whom somebody answers: the rights of one end in a week, those of the other have ended."""
    people = {
        person.case: account
        for person in ACCOUNTS
        if (account := account_by_username(session, person.identifier)) is not None
    }
    people["sponsor"].profile = "staff"
    for case, days in (("learner_ending", 8), ("learner_ended", -40)):
        day = local_day(now, runtime.settings.zone) + timedelta(days=days)
        people[case].sponsor_id = people["sponsor"].id
        move_end(session, people[case].id, end_of_day(day, runtime.settings.zone), now=now, origin=ORIGIN)


def _let_bounce(session: Session, now: datetime) -> None:
    """A learner whose address was mistyped: it does not exist, and no longer counts."""
    mistyped = next(person for person in ACCOUNTS if person.case == "learner_bounced")
    account = account_by_username(session, mistyped.identifier)
    address = primary_address(account) if account is not None else None
    if address is not None:
        lose_confirmation(session, address, reason=BOUNCE, now=now, origin=ORIGIN)


def _announced(session: Session, person: DemoAccount, now: datetime) -> Account:
    """An adjunct teacher as the staff office announces one: an identifier, and a private address for recovery.

    Who has no password yet is sent the first activation mail.
    """
    account = create_account(
        session,
        username=person.identifier,
        profile="vacataire",
        person=Person(person.given_name, person.family_name),
        activated=bool(person.password),
        now=now,
    )
    account.identities.append(
        SignInIdentity(issuer="sel", subject=person.identifier, attributes={}, created_at=now, refreshed_at=now)
    )
    set_primary_address(session, account, parse_address(person.email), role="recovery", now=now)
    if not person.password:
        university = parse_address(f"{person.identifier}@{DOMAIN}")
        account.addresses.append(
            Address(email=university.email, email_key=university.key, role="institutional", created_at=now)
        )
        account.activation_mail_due_at = now
    return account


def _technical(session: Session, runtime: Runtime, person: DemoAccount, now: datetime) -> Account:
    """An account that is nobody's own, with the address of its office and the member who answers for it."""
    sponsor = next(one for one in ACCOUNTS if one.identifier == person.sponsor)
    answers = _member(session, sponsor, "staff", now)
    _confirm(session, runtime, answers, now)
    account = _member(session, person, person.profile, now)
    account.sponsor_id = answers.id
    return account


def _member(session: Session, person: DemoAccount, profile: str, now: datetime) -> Account:
    account = create_account(
        session,
        username=person.identifier,
        profile=profile,
        person=Person(person.given_name, person.family_name),
        activated=True,
        now=now,
    )
    account.identities.append(
        SignInIdentity(issuer="sel", subject=person.identifier, attributes={}, created_at=now, refreshed_at=now)
    )
    set_primary_address(session, account, parse_address(person.email), role="institutional", now=now)
    return account


def _confirm(
    session: Session, runtime: Runtime, account: Account, now: datetime, *, address: Address | None = None
) -> None:
    """By a proof, like everybody: nothing else may write "confirmed" (I4). Without `address`: the main one."""
    address = address or primary_address(account)
    assert address is not None  # noqa: S101 (just added)
    proof, _ = request_proof(
        session,
        runtime.keys,
        about(address),
        purpose=CONFIRM_ADDRESS,
        lifetime=timedelta(hours=1),
        service=None,
        locale="fr",
        now=now,
    )
    claim_by_link(session, proof.id, now=now, origin=ORIGIN)
