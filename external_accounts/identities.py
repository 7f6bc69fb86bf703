"""Identities: which account a proven (issuer, subject) belongs to.

A sign-in through a CAS never joins an account because an e-mail address is equal (I5, LNK-01): it finds its own
identity, or it makes a new account.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.accounts import Person, UsernameTaken, create_account, lock_account
from external_accounts.addresses import (
    EmailAddress,
    InvalidAddress,
    parse_address,
    primary_address,
    set_primary_address,
)
from external_accounts.confirmation import confirm_by_issuer, lose_confirmation
from external_accounts.database import Prepared
from external_accounts.schema import Account, Address, LocalPassword, SignInIdentity

LOCAL = "local"
"""The issuer of accounts whose password we keep ourselves."""

SUBJECT_PATTERN = re.compile(r"[A-Za-z0-9._@-]{1,100}")
IDENTIFIER_PATTERN = re.compile(r"[\x21-\x7e]{1,254}")


class SubjectRefused(ValueError):
    """The issuer asserted a name that can be nobody's here: wrong characters, or a name reserved for local accounts."""


@dataclass(frozen=True, slots=True)
class Assertion:
    """What an issuer said about the person who just signed in, after the allow-list of settings."""

    issuer: str
    subject: str
    person: Person = field(default_factory=Person)
    email: str = ""
    profile: str = "staff"
    profile_is_certain: bool = False
    """Whether the issuer's attributes name the profile; else it is only what a new account begins with."""
    attributes: Mapping[str, Any] = field(default_factory=dict)


def canonical_subject(text: str, *, local_names: re.Pattern[str]) -> str:
    """The one form of a subject (D32).

    An LDAP-backed CAS takes `JDupont` for `jdupont` and asserts what was typed, so ASCII letters are lower-cased. The
    characters are checked *before*: U+212A KELVIN SIGN would otherwise become a `k` (Moodle on MariaDB, §1).

    Raises:
        SubjectRefused: other characters, or a name from the space reserved for local accounts (LNK-06).
    """
    if not SUBJECT_PATTERN.fullmatch(text):
        raise SubjectRefused("characters")
    subject = text.lower()
    if local_names.fullmatch(subject):
        raise SubjectRefused("reserved for local accounts")
    return subject


def sign_in_with_assertion(
    session: Session, assertion: Assertion, *, trusted_domains: Sequence[str], now: datetime, origin: audit.Origin
) -> tuple[Account, SignInIdentity]:
    """The account of a person a CAS vouched for: created at the first sign-in, refreshed at later ones.

    `assertion.subject` is canonical. Its mail attribute is data; it counts as confirmed only where settings trust this
    issuer for the address's domain.

    Raises:
        UsernameTaken: the name belongs to an account with other identities; only a human can say who is who.
    """
    identity = session.scalar(
        select(SignInIdentity).where(
            SignInIdentity.issuer == assertion.issuer, SignInIdentity.subject == assertion.subject
        )
    )
    if identity is None:
        account, identity = _take_in(session, assertion, now=now, origin=origin)
    else:
        account = lock_account(session, identity.account_id)
    _refresh(account, identity, assertion, now)
    _refresh_address(session, account, assertion, trusted_domains=trusted_domains, now=now, origin=origin)
    account.last_sign_in_at = now
    session.flush()
    return account, identity


def take_in(
    session: Session, assertion: Assertion, *, trusted_domains: Sequence[str], now: datetime, origin: audit.Origin
) -> Account:
    """The account that a person gets at their first sign-in, without a sign-in.

    Raises:
        UsernameTaken: as `sign_in_with_assertion`.
    """
    account, identity = _take_in(session, assertion, now=now, origin=origin)
    _refresh(account, identity, assertion, now)
    _refresh_address(session, account, assertion, trusted_domains=trusted_domains, now=now, origin=origin)
    session.flush()
    return account


def _take_in(
    session: Session, assertion: Assertion, *, now: datetime, origin: audit.Origin
) -> tuple[Account, SignInIdentity]:
    account = create_account(
        session,
        username=assertion.subject,
        profile=assertion.profile,
        person=assertion.person,
        activated=True,
        now=now,
    )
    identity = _identity(assertion, now)
    account.identities.append(identity)
    audit.record(
        session,
        "account.created",
        outcome="ok",
        now=now,
        origin=origin,
        account_id=account.id,
        issuer=assertion.issuer,
    )
    return account, identity


def attach(session: Session, account: Account, assertion: Assertion, *, now: datetime, origin: audit.Origin) -> None:
    """Let what a CAS asserted be a way in to an account that is there. The caller knows whose both are (I5)."""
    account.identities.append(_identity(assertion, now))
    account.note_change()
    session.flush()
    audit.record(
        session,
        "identity.added",
        outcome="ok",
        now=now,
        origin=origin,
        account_id=account.id,
        issuer=assertion.issuer,
    )


def _identity(assertion: Assertion, now: datetime) -> SignInIdentity:
    return SignInIdentity(
        issuer=assertion.issuer,
        subject=assertion.subject,
        attributes=dict(assertion.attributes),
        created_at=now,
        refreshed_at=now,
    )


def _refresh(account: Account, identity: SignInIdentity, assertion: Assertion, now: datetime) -> None:
    identity.attributes, identity.refreshed_at = dict(assertion.attributes), now
    if assertion.profile_is_certain and account.profile != assertion.profile:
        account.profile = assertion.profile
        account.note_change()
    person = assertion.person
    if person.display_name and (account.given_name, account.family_name) != (person.given_name, person.family_name):
        account.given_name, account.family_name = person.given_name, person.family_name
        account.note_change()


def _refresh_address(
    session: Session,
    account: Account,
    assertion: Assertion,
    *,
    trusted_domains: Sequence[str],
    now: datetime,
    origin: audit.Origin,
) -> None:
    try:
        email: EmailAddress = parse_address(assertion.email)
    except InvalidAddress:
        return  # no usable address was released: what we have stays
    if _would_shut_out(account, assertion, email, trusted_domains):
        if all(one.email_key != email.key for one in account.addresses):
            account.addresses.append(
                Address(email=email.email, email_key=email.key, role="institutional", created_at=now, confirmed_by="")
            )
        return
    address = set_primary_address(session, account, email, role="institutional", now=now)
    confirm_by_issuer(
        session, address, issuer=assertion.issuer, trusted_domains=trusted_domains, now=now, origin=origin
    )
    for other in account.addresses:
        if other.confirmed_by == assertion.issuer and other is not address and other.confirmed_at is not None:
            # The issuer vouched for its own address of this person; it now names another one.
            lose_confirmation(session, other, reason="replaced by issuer", now=now, origin=origin)


def _would_shut_out(
    account: Account, assertion: Assertion, email: EmailAddress, trusted_domains: Sequence[str]
) -> bool:
    """Whether this person entered by another door with a confirmed address, and coming by the CAS would put one that
    nobody has confirmed in its place. It is noted beside it then, and can be confirmed."""
    primary = primary_address(account)
    if primary is None or primary.confirmed_at is None or primary.confirmed_by == assertion.issuer:
        return False
    known = next((one for one in account.addresses if one.email_key == email.key), None)
    certain = email.key.rpartition("@")[2] in trusted_domains or (known is not None and known.confirmed_at is not None)
    return not certain and any(identity.issuer == LOCAL for identity in account.identities)


@dataclass(frozen=True, slots=True)
class LocalCredential:
    """What the Extérieurs door needs to check a password, and nothing more."""

    account_id: int
    identity_id: int
    username: str
    hash: str


def canonical_identifier(typed: str) -> str:
    """The one form of what a person typed to say who they are: user name or e-mail address (D32, LNK-09).

    Whatever names the same account must come out the same, because guesses are counted on it: `ada@ｍail.example` with
    a full-width letter is `ada@mail.example`, and would otherwise be a fresh budget.
    """
    text = typed.strip().lower()
    if "@" in text:
        try:
            return parse_address(text).key
        except InvalidAddress:
            return text
    return text


def find_local_credential(session: Session, identifier: str) -> LocalCredential | None:
    """The one local account that this user name or e-mail address names, or None.

    An address shared by several local accounts names none of them: they sign in by user name (D37).
    """
    identifier = canonical_identifier(identifier)
    if not IDENTIFIER_PATTERN.fullmatch(identifier):
        return None  # nobody's: neither a user name nor the key of an address has other characters
    rows: Sequence[Any] = _BY_SUBJECT.within(session, {"username": identifier})
    # What the account is called in applications, where that is another name: joined accounts have one from the CAS.
    rows = rows or _BY_USERNAME.within(session, {"username": identifier})
    if not rows and "@" in identifier:
        # Who confirmed the address goes before who only wrote it down: that would be an easy way to shut them out.
        rows = _by_address(session, _CONFIRMED_HOLDERS, identifier) or _by_address(session, _HOLDERS, identifier)
    return LocalCredential(*rows[0]) if len(rows) == 1 else None


def _credentials() -> Any:
    return (
        select(Account.id, SignInIdentity.id, Account.username, LocalPassword.hash)
        .join(SignInIdentity, (SignInIdentity.account_id == Account.id) & (SignInIdentity.issuer == LOCAL))
        .join(LocalPassword, LocalPassword.account_id == Account.id)
        .where(Account.erased_at.is_(None), Account.merged_into_id.is_(None))
    )


def _by_address(session: Session, holders: Prepared, email_key: str) -> list[Any]:
    """At most two: who they are matters only when there is one."""
    found: list[Any] = []
    # One account after the other: asked for all at once, SQLite goes through every local identity there is.
    for (account_id,) in holders.within(session, {"email_key": email_key}):
        found += _BY_ACCOUNT.within(session, {"account_id": account_id})
        if len(found) > 1:
            break
    return found


_BY_SUBJECT = Prepared(lambda: _credentials().where(SignInIdentity.subject == bindparam("username")))
_BY_USERNAME = Prepared(lambda: _credentials().where(Account.username == bindparam("username")))
_BY_ACCOUNT = Prepared(lambda: _credentials().where(Account.id == bindparam("account_id")))
_HOLDERS = Prepared(lambda: select(Address.account_id).where(Address.email_key == bindparam("email_key")))
_CONFIRMED_HOLDERS = Prepared(
    lambda: select(Address.account_id).where(
        Address.email_key == bindparam("email_key"), Address.confirmed_at.is_not(None)
    )
)


def add_local_way_in(
    session: Session, account: Account, *, username: str, password_hash: str, now: datetime, origin: audit.Origin
) -> None:
    """Let the account be entered by the Extérieurs door as well, by a name of its own. What the account is called in
    applications stays.

    Raises:
        UsernameTaken: somebody has that name, or the account has such a way in already.
    """
    taken = select(Account.id).where(Account.username == username)
    own = select(SignInIdentity.id).where(SignInIdentity.account_id == account.id, SignInIdentity.issuer == LOCAL)
    for query in (taken, own, select(SignInIdentity.id).where(_signs_in_by(username))):
        if session.scalar(query.limit(1)) is not None:
            raise UsernameTaken(username)
    account.identities.append(
        SignInIdentity(issuer=LOCAL, subject=username, attributes={}, created_at=now, refreshed_at=now)
    )
    session.add(LocalPassword(account_id=account.id, hash=password_hash, set_at=now))
    account.note_change()
    session.flush()
    audit.record(session, "identity.added", outcome="ok", now=now, origin=origin, account_id=account.id, issuer=LOCAL)


def _signs_in_by(username: str) -> Any:
    return (SignInIdentity.issuer == LOCAL) & (SignInIdentity.subject == username)


def create_local_account(
    session: Session,
    *,
    username: str,
    profile: str,
    person: Person,
    email: EmailAddress,
    password_hash: str,
    now: datetime,
    origin: audit.Origin,
) -> Account:
    """Add an account that signs in by the Extérieurs door. Its address is not confirmed by this.

    Raises:
        UsernameRefused, UsernameTaken: see `create_account`; also when somebody signs in by that name, whatever their
            account is called.
    """
    if session.scalar(select(SignInIdentity.id).where(_signs_in_by(username))) is not None:
        raise UsernameTaken(username)
    account = create_account(session, username=username, profile=profile, person=person, activated=True, now=now)
    account.identities.append(
        SignInIdentity(issuer=LOCAL, subject=username, attributes={}, created_at=now, refreshed_at=now)
    )
    session.add(LocalPassword(account_id=account.id, hash=password_hash, set_at=now))
    set_primary_address(session, account, email, role="contact", now=now)
    audit.record(session, "account.created", outcome="ok", now=now, origin=origin, account_id=account.id, issuer=LOCAL)
    return account
