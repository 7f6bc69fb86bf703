"""The Extérieurs door: user name or e-mail address, and a password.

The order is the protection (I3, D13): the throttle before the look-up, the same hash work for nobody as for somebody,
one answer for unknown, wrong, and not allowed.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import datetime

import structlog
from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from external_accounts import audit, throttle
from external_accounts.database import Prepared
from external_accounts.directory import Directory, DirectoryUnavailable
from external_accounts.identities import LOCAL, LocalCredential, canonical_identifier, find_local_credential
from external_accounts.passwords import HashingBusy, Verdict
from external_accounts.schema import Account, AccountId, LocalPassword
from lms_bridge.runtime import Runtime
from lms_bridge.signin import new_device, sessions

log = structlog.get_logger(__name__)

_DEVICE = "known device"
MOST_NAMES = 4


class BadCredentials(Exception):
    """Unknown, or wrong. The two are not told apart."""


def device_token(runtime: Runtime, account_id: int, identifier: str, *, before: str) -> str:
    """A value for a long-lived cookie that says: this device signed in to that account, by that name (D38).

    `before` is the cookie's value until now: the other names of the same account stay good. The names are part of it
    because whoever has an account of their own must not get a further budget for guessing at somebody else's.
    """
    known_account, names = _read_device(runtime, before)
    kept = names if known_account == str(account_id) else []
    name = _fingerprint(identifier)
    names = [name, *(other for other in kept if other != name)][:MOST_NAMES]
    return runtime.keys.sign(_DEVICE, ":".join([str(account_id), *names]))


def _read_device(runtime: Runtime, device: str) -> tuple[str, list[str]]:
    account, *names = ((runtime.keys.unsign(_DEVICE, device) if device else None) or "").split(":")
    return account, names


def _fingerprint(identifier: str) -> str:
    return hashlib.sha256(canonical_identifier(identifier).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def sign_in(
    runtime: Runtime,
    identifier: str,
    password: str,
    *,
    device: str,
    origin: audit.Origin,
    user_agent: str,
    now: datetime,
) -> tuple[AccountId, str]:
    """Check the password and open a session; returns whose, and the secret for the cookie.

    `device` is the value of the known-device cookie, or empty.

    Raises:
        Throttled: too many tries; nothing was looked up.
        BadCredentials: unknown or wrong.
        HashingBusy: too many people sign in at this moment.
    """
    uses = _budgets(runtime, identifier, device, origin)
    try:
        with runtime.database.begin() as session:
            throttle.reserve(session, uses, now)
            found = find_local_credential(session, identifier)
    except throttle.Throttled as throttled:
        log.warning("signin.local", outcome="throttled", network=origin.network, retry_after=throttled.retry_after)
        _note_throttled(runtime, origin, now)
        raise
    verdict = _verify(runtime, found.hash if found else None, password, uses)
    secret = ""
    with runtime.database.begin() as session:
        if found is None or not verdict.correct or not _still_stands(session, found):
            audit.record(
                session,
                "signin.local",
                outcome="refused",
                now=now,
                origin=origin,
                account_id=found.account_id if found else None,
            )
        else:
            throttle.give_back(session, uses)
            if _read_device(runtime, device)[0] != str(found.account_id):
                new_device.tell(session, runtime, found.account_id, user_agent=user_agent, now=now)
            _keep_fresh(session, found, verdict.new_hash, now)
            audit.record(session, "signin.local", outcome="ok", now=now, origin=origin, account_id=found.account_id)
            secret = sessions.start(
                session,
                account_id=found.account_id,
                identity_id=found.identity_id,
                issuer=LOCAL,
                limits=runtime.settings.sessions,
                now=now,
                origin=origin,
                user_agent=user_agent,
            )
    if found is None or not secret:
        raise BadCredentials
    return found.account_id, secret


def recognise(
    runtime: Runtime, identifier: str, password: str, *, device: str, origin: audit.Origin, now: datetime
) -> LocalCredential:
    """Check user name and password of an account that nobody is signed in to by it: the same budgets, the same work
    and the same answers as `sign_in`.

    Raises:
        Throttled, BadCredentials, HashingBusy: as `sign_in`.
    """
    uses = _budgets(runtime, identifier, device, origin)
    try:
        with runtime.database.begin() as session:
            throttle.reserve(session, uses, now)
            found = find_local_credential(session, identifier)
    except throttle.Throttled:
        _note_throttled(runtime, origin, now)
        raise
    verdict = _verify(runtime, found.hash if found else None, password, uses)
    with runtime.database.begin() as session:
        right = found is not None and verdict.correct and _still_stands(session, found)
        if right:
            throttle.give_back(session, uses)
        audit.record(
            session,
            "link.password",
            outcome="ok" if right else "refused",
            now=now,
            origin=origin,
            account_id=found.account_id if found else None,
        )
    if found is None or not right:
        raise BadCredentials
    return found


def check_password(
    runtime: Runtime, account_id: AccountId, password: str, *, origin: audit.Origin, now: datetime
) -> str:
    """Check the password of somebody who is signed in, within the budget of a known device. Returns the hash it fits.

    Raises:
        Throttled, BadCredentials, HashingBusy: as `sign_in`.
    """
    uses = _reserve_again(runtime, account_id, origin, now)
    with runtime.database.read() as session:
        stored = session.scalar(select(LocalPassword.hash).where(LocalPassword.account_id == account_id))
    correct = _verify(runtime, stored, password, uses).correct
    _checked_again(runtime, account_id, uses, correct=correct, origin=origin, now=now)
    if stored is None or not correct:
        raise BadCredentials
    return stored


def check_in_directory(
    runtime: Runtime,
    directory: Directory,
    account_id: AccountId,
    username: str,
    password: str,
    *,
    origin: audit.Origin,
    now: datetime,
) -> None:
    """The same for a password that a directory holds.

    Raises:
        Throttled, BadCredentials: as `sign_in`. DirectoryUnavailable: nothing was tried, and nothing is counted.
    """
    uses = _reserve_again(runtime, account_id, origin, now)
    try:
        correct = directory.verify(username, password)
    except DirectoryUnavailable:
        with runtime.database.begin() as session:
            throttle.give_back(session, uses)
        raise
    _checked_again(runtime, account_id, uses, correct=correct, origin=origin, now=now)
    if not correct:
        raise BadCredentials


def _reserve_again(runtime: Runtime, account_id: AccountId, origin: audit.Origin, now: datetime) -> list[throttle.Use]:
    uses = [throttle.Use(throttle.SIGN_IN_DEVICE, str(account_id)), _by_network(runtime, origin)]
    with runtime.database.begin() as session:
        throttle.reserve(session, uses, now)
    return uses


def _checked_again(
    runtime: Runtime,
    account_id: AccountId,
    uses: list[throttle.Use],
    *,
    correct: bool,
    origin: audit.Origin,
    now: datetime,
) -> None:
    with runtime.database.begin() as session:
        if correct:
            throttle.give_back(session, uses)
        outcome = "ok" if correct else "refused"
        audit.record(session, "signin.again", outcome=outcome, now=now, origin=origin, account_id=account_id)


def _budgets(runtime: Runtime, identifier: str, device: str, origin: audit.Origin) -> list[throttle.Use]:
    account, names = _read_device(runtime, device)
    by_whom = (
        throttle.Use(throttle.SIGN_IN_DEVICE, account)
        if _fingerprint(identifier) in names
        else throttle.Use(throttle.SIGN_IN_IDENTIFIER, canonical_identifier(identifier))
    )
    return [by_whom, _by_network(runtime, origin)]


def _note_throttled(runtime: Runtime, origin: audit.Origin, now: datetime) -> None:
    """One event for a network and minute: the trail must not grow as fast as somebody can knock."""
    noted = throttle.network_use(
        origin.network,
        runtime.settings.throttle.campus_prefixes,
        ordinary=throttle.THROTTLED_NOTE,
        campus_limit=throttle.THROTTLED_NOTE,
    )
    with suppress(throttle.Throttled), runtime.database.begin() as session:
        throttle.reserve(session, [noted], now)
        audit.record(session, "signin.local", outcome="throttled", now=now, origin=origin)


def _by_network(runtime: Runtime, origin: audit.Origin) -> throttle.Use:
    return throttle.network_use(
        origin.network,
        runtime.settings.throttle.campus_prefixes,
        ordinary=throttle.SIGN_IN_NETWORK,
        campus_limit=throttle.SIGN_IN_CAMPUS,
    )


def every_budget_of(account: Account) -> list[throttle.Use]:
    """What tries at this account were counted on, whatever it was called: cleared after a reset (D39)."""
    subjects = [identity.subject for identity in account.identities if identity.issuer == LOCAL]
    names = [account.username, *subjects, *(address.email_key for address in account.addresses)]
    strangers = [throttle.Use(throttle.SIGN_IN_IDENTIFIER, name) for name in names]
    return [*strangers, throttle.Use(throttle.SIGN_IN_DEVICE, str(account.id))]


def _verify(runtime: Runtime, stored: str | None, password: str, uses: list[throttle.Use]) -> Verdict:
    try:
        return runtime.hashing.verify(stored, password)
    except HashingBusy:
        # Nothing was tried, so nothing is counted: a crowd at the door must not be taken for an attack.
        with runtime.database.begin() as session:
            throttle.give_back(session, uses)
        raise


def _still_stands(session: Session, found: LocalCredential) -> bool:
    """Whether the password that was just checked is still the account's: it may have been changed meanwhile (I10).

    The account is held first, as by whoever changes or drops a password: in another order the two wait for each other.
    Then the look is a statement of its own, which sees what was committed while the hold was waited for.
    """
    _HOLD.within(session, {"account_id": found.account_id})
    return bool(_STANDS.within(session, {"account_id": found.account_id, "hash": found.hash}))


_HOLD = Prepared(lambda: select(Account.id).where(Account.id == bindparam("account_id")).with_for_update())
_STANDS = Prepared(
    lambda: (
        select(LocalPassword.account_id)
        .join(Account, Account.id == LocalPassword.account_id)
        .where(
            LocalPassword.account_id == bindparam("account_id"),
            LocalPassword.hash == bindparam("hash"),
            Account.erased_at.is_(None),
            Account.merged_into_id.is_(None),
        )
    )
)
_SIGNED_IN = Prepared(
    lambda: update(Account).where(Account.id == bindparam("account_id")).values(last_sign_in_at=bindparam("now"))
)


def _keep_fresh(session: Session, found: LocalCredential, new_hash: str | None, now: datetime) -> None:
    _SIGNED_IN.within(session, {"account_id": found.account_id, "now": now})
    if new_hash is not None:
        session.execute(update(LocalPassword).where(LocalPassword.account_id == found.account_id).values(hash=new_hash))
