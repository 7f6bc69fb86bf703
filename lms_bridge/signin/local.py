"""The Extérieurs door: user name or e-mail address, and a password.

The order is the protection (I3, D13): the throttle before the look-up, the same hash work for nobody as for somebody,
one answer for unknown, wrong, and not allowed.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import update
from sqlalchemy.orm import Session

from external_accounts import audit, throttle
from external_accounts.identities import LOCAL, LocalCredential, find_local_credential
from external_accounts.schema import Account, LocalPassword
from lms_bridge.runtime import Runtime
from lms_bridge.schema import SsoSession
from lms_bridge.signin import sessions


class BadCredentials(Exception):
    """Unknown, or wrong. The two are not told apart."""


def device_token(runtime: Runtime, account_id: int) -> str:
    """A value for a long-lived cookie that says: this device signed in to that account before (D38)."""
    return runtime.keys.sign("known device", str(account_id))


def sign_in(
    runtime: Runtime,
    identifier: str,
    password: str,
    *,
    device: str,
    origin: audit.Origin,
    user_agent: str,
    now: datetime,
) -> tuple[SsoSession, str]:
    """Check the password and open a session; returns the session and the cookie's secret.

    `device` is the value of the known-device cookie, or empty.

    Raises:
        Throttled: too many tries; nothing was looked up.
        BadCredentials: unknown or wrong.
        HashingBusy: too many people sign in at this moment.
    """
    uses = _budgets(runtime, identifier, device, origin)
    with runtime.database.begin() as session:
        throttle.reserve(session, uses, now)
    with runtime.database.read() as session:
        found = find_local_credential(session, identifier)
    verdict = runtime.hashing.verify(found.hash if found else None, password)
    with runtime.database.begin() as session:
        if found is None or not verdict.correct:
            audit.record(
                session,
                "signin.local",
                outcome="refused",
                now=now,
                origin=origin,
                account_id=found.account_id if found else None,
            )
            failed = True
        else:
            failed = False
            throttle.give_back(session, uses)
            _keep_fresh(session, found, verdict.new_hash, now)
            audit.record(session, "signin.local", outcome="ok", now=now, origin=origin, account_id=found.account_id)
            opened = sessions.start(
                session,
                account_id=found.account_id,
                identity_id=found.identity_id,
                issuer=LOCAL,
                limits=runtime.settings.sessions,
                now=now,
                origin=origin,
                user_agent=user_agent,
            )
    if failed:
        raise BadCredentials
    return opened


def _budgets(runtime: Runtime, identifier: str, device: str, origin: audit.Origin) -> list[throttle.Use]:
    known = runtime.keys.unsign("known device", device) if device else None
    key = identifier.strip().lower()[:254]
    by_whom = (
        throttle.Use(throttle.SIGN_IN_DEVICE, f"{known}\0{key}")
        if known is not None
        else throttle.Use(throttle.SIGN_IN_IDENTIFIER, key)
    )
    by_network = throttle.network_use(
        origin.network,
        runtime.settings.throttle.campus_prefixes,
        ordinary=throttle.SIGN_IN_NETWORK,
        campus_limit=throttle.SIGN_IN_CAMPUS,
    )
    return [by_whom, by_network]


def _keep_fresh(session: Session, found: LocalCredential, new_hash: str | None, now: datetime) -> None:
    session.execute(update(Account).where(Account.id == found.account_id).values(last_sign_in_at=now))
    if new_hash is not None:
        session.execute(update(LocalPassword).where(LocalPassword.account_id == found.account_id).values(hash=new_hash))
