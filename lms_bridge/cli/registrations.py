"""`lms-bridge registrations …`"""

from __future__ import annotations

import json
from typing import Any

import click
from sqlalchemy import select

from external_accounts.accounts import Person
from external_accounts.local_calendar import end_of_day
from external_accounts.registration_outcome import AlreadyDecided, decide
from external_accounts.registration_steps import ASKED, WAITING
from external_accounts.schema import Account, Registration
from lms_bridge.cli.operator import fail, last_day, operator, running
from lms_bridge.registration_terms import terms
from lms_bridge.runtime import Runtime


@click.group()
def registrations() -> None:
    """Requests for an account, by people without one."""


@registrations.command("list")
@click.option("--all", "every", is_flag=True, help="Also those decided, and those whose address is not proved yet.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def list_registrations(context: click.Context, every: bool, as_json: bool) -> None:
    """Requests that wait for a decision, the oldest first."""
    with running(context) as runtime, runtime.database.read() as session:
        query = select(Registration, Account.username).outerjoin(Account, Account.id == Registration.sponsor_id)
        query = query.where(Registration.mode == ASKED).order_by(Registration.id)
        if not every:
            query = query.where(Registration.state == WAITING)
        rows = [_row(registration, sponsor) for registration, sponsor in session.execute(query)]
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    for row in rows:
        sponsor = f", names {row['sponsor']}" if row["sponsor"] else ""
        click.echo(f"{row['id']:>6}  {row['state']:<9}  {row['name']} <{row['email']}>{sponsor}")
    if not rows:
        click.echo("No request is waiting." if not every else "There are no requests.")


def _row(registration: Registration, sponsor: str | None) -> dict[str, Any]:
    return {
        "id": registration.id,
        "state": registration.state,
        "name": Person(registration.given_name, registration.family_name).display_name,
        "email": registration.email,
        "reason": registration.reason,
        "sponsor": sponsor,
        "asked_at": registration.created_at.isoformat(),
        "decided_by": registration.decided_by or None,
    }


@registrations.command()
@click.argument("number", type=int)
@click.option("--until", help="Last day of the account: 2027-06-30. Else `registration.rights_months` counts.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def accept(context: click.Context, number: int, until: str | None, as_json: bool) -> None:
    """Accept the request with this NUMBER (see `registrations list`). The person receives a link."""
    with running(context) as runtime:
        last = last_day(runtime, until)
        ends = end_of_day(last, runtime.settings.zone) if last else None
        _decide(runtime, number, as_json=as_json, accept=True, reason="", rights_end_at=ends)


@registrations.command()
@click.argument("number", type=int)
@click.option("--reason", default="", help="The person reads it in the message they receive.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def refuse(context: click.Context, number: int, reason: str, as_json: bool) -> None:
    """Refuse the request with this NUMBER. The person is told by mail."""
    with running(context) as runtime:
        _decide(runtime, number, as_json=as_json, accept=False, reason=reason[:500], rights_end_at=None)


def _decide(runtime: Runtime, number: int, *, as_json: bool, **decision: Any) -> None:
    try:
        with runtime.database.begin() as session:
            found = session.get(Registration, number)
            if found is None or found.mode != ASKED:
                fail(f"There is no request with the number {number}.")
            registration = decide(
                session,
                runtime.keys,
                number,
                terms=terms(runtime.settings),
                by=operator().actor,
                now=runtime.clock(),
                origin=operator(),
                **decision,
            )
            row = _row(registration, None)
    except AlreadyDecided as error:
        who = f" by {error.registration.decided_by}" if error.registration.decided_by else ""
        fail(f"Request {number} waits for no decision: it is {error.registration.state}{who}.")
    click.echo(json.dumps(row, ensure_ascii=False) if as_json else f"{row['state'].capitalize()}: {row['name']}.")
