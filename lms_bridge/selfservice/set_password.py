"""Setting a password, and what follows from it: kept here (`set_password`), or in a directory (`set_in_directory`)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy.orm import Session

from external_accounts import audit, directory_passwords, outbox, recovery, throttle
from external_accounts.directory import Directory
from external_accounts.proofs import cancel_pending
from external_accounts.schema import Account, LocalPassword, Proof
from lms_bridge.i18n import current_locale, format_deadline, use_locale
from lms_bridge.runtime import Runtime
from lms_bridge.signin import sessions
from lms_bridge.signin.local import every_budget_of
from lms_bridge.sync.mirrors import ask_for_sign_out

JOB = audit.Origin(actor="job:settle_passwords")


def set_password(
    session: Session,
    runtime: Runtime,
    account: Account,
    password_hash: str,
    *,
    event: str,
    now: datetime,
    origin: audit.Origin,
    keep: int | None = None,
) -> None:
    """Set the password that is kept here, in the caller's transaction; then see `follow`."""
    stored = session.get_one(LocalPassword, account.id)
    stored.hash, stored.set_at = password_hash, now
    follow(session, runtime, account, event=event, now=now, origin=origin, keep=keep)


def set_in_directory(
    runtime: Runtime,
    directory: Directory,
    password: str,
    *,
    claim: Callable[[Session, datetime], Account],
    proof: Proof | None,
    event: str,
    origin: audit.Origin,
    also: Callable[[Session, Account, datetime], None] | None = None,
    keep: int | None = None,
) -> None:
    """Set the password of the account that `claim` returns where the directory holds it; then see `follow`.

    `also` belongs to the transaction that says that it is set (an activation is complete then). No transaction may be
    open. Arguments and errors are those of `directory_passwords.set_password`.
    """

    def finish(session: Session, account: Account, now: datetime) -> None:
        follow(session, runtime, account, event=event, now=now, origin=origin, keep=keep)
        if also is not None:
            also(session, account, now)

    directory_passwords.set_password(
        runtime.database,
        directory,
        password,
        event=event,
        claim=claim,
        proof=proof,
        finish=finish,
        clock=runtime.clock,
        origin=origin,
    )


def settle_unfinished(runtime: Runtime) -> int:
    """Do what follows for one account whose password was perhaps set in its directory by somebody who was cut off."""
    now = runtime.clock()
    with runtime.database.begin() as session:
        account = directory_passwords.next_unfinished(session, now)
        if account is None:
            return 0
        directory_passwords.settle(session, account, now=now)
        with use_locale(runtime.settings.default_language):
            follow(session, runtime, account, event="password.settled", now=now, origin=JOB, notice="password_unsure")
    return 1


def follow(
    session: Session,
    runtime: Runtime,
    account: Account,
    *,
    event: str,
    now: datetime,
    origin: audit.Origin,
    keep: int | None = None,
    notice: str = "password_changed",
) -> None:
    """What a new password brings: the account's sessions but for `keep` end, in Moodle too, and its pending proofs
    (I10, TOK-12, LNK-02); its counters are cleared (D39); its mailboxes are told (TOK-10). Confirms nothing (I4).

    The account is held by the caller. `event` is what the audit trail calls it, `notice` the template of the mails.
    """
    sessions.end_all_of(session, account.id, reason=event, now=now, origin=origin, keep=keep)
    if keep is None:
        # Moodle cannot tell one session from another: whoever stays signed in here stays there too.
        ask_for_sign_out(session, account.id)
    cancel_pending(session, account.id, now)
    throttle.clear(session, every_budget_of(account))
    audit.record(session, event, outcome="ok", now=now, origin=origin, account_id=account.id)
    locale = account.language or current_locale()
    for address in recovery.mailboxes(account):
        outbox.enqueue(
            session,
            notice,
            address.email,
            locale=locale,
            now=now,
            mail_domain=runtime.settings.public_host,
            account_id=account.id,
            context={"username": account.username, "when": format_deadline(now, runtime.settings.zone, locale)},
        )
