"""`lms-bridge accounts …`"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import NoReturn

import click
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.accounts import Person, UsernameRefused, UsernameTaken, account_by_username, readmit, suspend
from external_accounts.addresses import InvalidAddress, parse_address
from external_accounts.identities import create_local_account
from external_accounts.local_calendar import end_of_day
from external_accounts.rights import move_end
from external_accounts.schema import Account
from external_accounts.spreadsheets import read_date
from lms_bridge.cli import settings as cli_settings
from lms_bridge.i18n import use_locale
from lms_bridge.runtime import build_runtime
from lms_bridge.selfservice.new_password import reasons_against, words_about
from lms_bridge.signin import sessions
from lms_bridge.sync.mirrors import forget_mirror


@click.group()
def accounts() -> None:
    """Accounts of the Extérieurs door."""


@accounts.command()
@click.argument("username")
@click.option("--email", required=True, help="Their address; they confirm it themselves.")
@click.option("--given-name", required=True)
@click.option("--family-name", required=True)
@click.option("--profile", default="learner", show_default=True)
@click.pass_context
def create(context: click.Context, username: str, email: str, given_name: str, family_name: str, profile: str) -> None:
    """Create an account. Its first password is read from standard input, never from the command line."""
    settings = cli_settings.read(context)
    runtime = build_runtime(settings)
    if not runtime.local_names.fullmatch(username):
        _fail(f"`{username}` is not in the name space of local accounts: {settings.local.username_pattern}")
    password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    with use_locale("en"):
        if reasons := reasons_against(password, settings, about=words_about(username, email, given_name, family_name)):
            _fail("\n".join(reasons))
    try:
        with runtime.database.begin() as session:
            create_local_account(
                session,
                username=username,
                profile=profile,
                person=Person(given_name, family_name),
                email=parse_address(email),
                password_hash=runtime.hashing.hash(password),
                now=runtime.clock(),
                origin=_operator(),
            )
    except UsernameRefused:
        _fail("A user name has 1 to 100 of the characters a-z 0-9 . _ @ -")
    except UsernameTaken:
        _fail(f"`{username}` is or was somebody else's.")
    except InvalidAddress as error:
        _fail(f"`{email}` is not an address we could write to: {error}")
    finally:
        runtime.close()
    click.echo(f"Created {username}. They confirm {email} at their first sign-in.")


@accounts.command("suspend")
@click.argument("username")
@click.option("--reason", required=True, help="Kept in the audit trail.")
@click.pass_context
def suspend_account(context: click.Context, username: str, reason: str) -> None:
    """Suspend an account: its sessions end, and Moodle is closed to it."""
    with _account(context, username) as (session, account, now):
        suspend(session, account, reason=reason, until=None, now=now, origin=_operator())
        sessions.end_all_of(session, account.id, reason="suspended", now=now, origin=_operator())
    click.echo(f"Suspended {username}.")


@accounts.command("readmit")
@click.argument("username")
@click.pass_context
def readmit_account(context: click.Context, username: str) -> None:
    """Lift a suspension. What else stands in the way (an unconfirmed address …) still does."""
    with _account(context, username) as (session, account, now):
        if account.suspended_at is None:
            _fail(f"`{username}` is not suspended.")
        readmit(session, account, now=now, origin=_operator())
    click.echo(f"Readmitted {username}.")


@accounts.command("extend")
@click.argument("username")
@click.option("--until", help="Last day, like 2027-06-30.")
@click.option("--without-end", is_flag=True, help="The rights do not end by themselves.")
@click.pass_context
def extend(context: click.Context, username: str, until: str | None, without_end: bool) -> None:
    """Move the end of an account's rights. Within its retention a closed account comes back as it was."""
    if bool(until) == without_end:
        _fail("Say --until DAY, or --without-end.")
    settings = cli_settings.read(context)
    try:
        day = read_date(until or "")
    except ValueError:
        _fail(f"`{until}` is no date: write it like 2027-06-30.")
    with _account(context, username) as (session, account, now):
        end = end_of_day(day, settings.zone) if day else None
        if end is not None and end <= now:
            _fail(f"{day} is over.")
        move_end(session, account.id, end, now=now, origin=_operator())
    click.echo(f"The rights of {username} end with {day}." if day else f"The rights of {username} do not end.")


@accounts.command("look-again")
@click.argument("username")
@click.option("--site", required=True, help="Name of the Moodle site in the settings.")
@click.pass_context
def look_again(context: click.Context, username: str, site: str) -> None:
    """Forget what is known of the account's user in a Moodle: the next sign-in looks for it by name, as at the first.

    For a conflict that was settled in Moodle itself: a user renamed, deleted, or given the right sign-in method.
    """
    if site not in {known.name for known in cli_settings.read(context).sites}:
        _fail(f"There is no site called `{site}` in the settings.")
    with _account(context, username) as (session, account, now):
        forget_mirror(session, account.id, site, now=now, origin=_operator())
    click.echo(f"Forgot the user of {username} at {site}.")


@contextmanager
def _account(context: click.Context, username: str) -> Iterator[tuple[Session, Account, datetime]]:
    """A transaction on the account of this name, and the time; ends the command when there is none."""
    runtime = build_runtime(cli_settings.read(context))
    try:
        with runtime.database.begin() as session:
            account = account_by_username(session, username)
            if account is None:
                _fail(f"There is no account called `{username}`.")
            yield session, account, runtime.clock()
    finally:
        runtime.close()


def _operator() -> audit.Origin:
    return audit.Origin(actor=f"cli:{getpass.getuser()}")


def _fail(text: str) -> NoReturn:
    click.echo(text, err=True)
    sys.exit(2)
