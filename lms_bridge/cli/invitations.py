"""`lms-bridge invitations …`"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import invitations as rules
from external_accounts.accounts import Person
from external_accounts.addresses import EmailAddress, InvalidAddress, parse_address
from external_accounts.invitation_files import Sheet, UnreadableFile, read_sheet, rejected_file
from external_accounts.invitations import AddressOfMember, AlreadyUnderWay
from external_accounts.registration_outcome import AddressHasAccount
from external_accounts.registration_steps import ACCEPTED, INVITED
from external_accounts.schema import Registration
from lms_bridge import i18n, importing
from lms_bridge.cli.operator import fail, last_day, operator, running
from lms_bridge.helpdesk import inviting
from lms_bridge.helpdesk.inviting import VERDICTS, Guest, Judged, NoSuchSponsor
from lms_bridge.registration_terms import terms
from lms_bridge.runtime import Runtime

CHANGES_PENDING = 2
"""Exit code of a preview that would invite somebody, as for `sync plan`."""
PARTIAL = 4
"""Exit code of an import that left lines to correct."""


@click.group()
def invitations() -> None:
    """Invite people without an account of the university."""


@invitations.command()
@click.argument("email")
@click.option("--given-name", required=True)
@click.option("--family-name", required=True)
@click.option("--until", help="Last day of the account: 2027-06-30. Else `registration.rights_months` counts.")
@click.option("--sponsor", default="", help="User name or address of who answers for them.")
@click.option("--homonym-checked", is_flag=True, help="You made sure that the accounts like theirs are other people’s.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def send(
    context: click.Context,
    email: str,
    given_name: str,
    family_name: str,
    until: str | None,
    sponsor: str,
    homonym_checked: bool,
    as_json: bool,
) -> None:
    """Invite one person: they receive a link, choose a password, and have an account."""
    with running(context) as runtime:
        _check_open(runtime)
        person = Person(given_name.strip()[:100], family_name.strip()[:100])
        guest = Guest(_address(email), person, last_day(runtime, until), sponsor)
        if not homonym_checked:
            _stop_if_alike(runtime, guest)
        try:
            with runtime.database.begin() as session:
                by = operator()
                number = inviting.invite(runtime, session, guest, by=by.actor, origin=by)
        except AlreadyUnderWay:
            fail(f"{email} is invited already, or waits for a decision. `invitations resend` sends the link again.")
        except AddressHasAccount as error:
            fail(f"{email} has an account: {error.username}.")
        except AddressOfMember:
            fail(f"{email} is an address of the university: its owner has an account there.")
        except NoSuchSponsor:
            fail(f"`{sponsor}` is nobody who may answer for people: see registration.sponsors.")
    _say(f"Invited {guest.email.email}.", {"id": number, "email": guest.email.email}, as_json=as_json)


def _stop_if_alike(runtime: Runtime, guest: Guest) -> None:
    with runtime.database.read() as session, i18n.use_locale(i18n.SOURCE_LOCALE):
        found = inviting.likely_accounts(session, guest.person, guest.email, runtime.settings)
        words = [f"like {importing.alike_words(one)}" for one in found]
    if words:
        fail("\n".join(["They may have an account already. Look, then add --homonym-checked.", *words]))


def _address(text: str) -> EmailAddress:
    try:
        return parse_address(text)
    except InvalidAddress as error:
        fail(f"`{text}` is not an address we could write to: {error}")


def _check_open(runtime: Runtime) -> None:
    if runtime.settings.registration_mode(None) == "closed":
        fail('No site takes registrations. Write `registration = "invitation"` at one of the [[sites]].')


@invitations.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--apply", "apply_it", is_flag=True, help="Send the invitations. Without it: only say what would happen.")
@click.option("--rejected", type=click.Path(dir_okay=False, path_type=Path), help="Write the lines to correct here.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def import_file(context: click.Context, file: Path, apply_it: bool, rejected: Path | None, as_json: bool) -> None:
    """Invite the people of a CSV FILE. Running it again invites nobody twice.

    The first line names the columns, in French or English: courriel/email, prénom/given name, nom/family name, and if
    you like fin/until and référent/sponsor. Exit codes: 0 nothing to do or all invited, 2 somebody would be invited
    (without --apply), 4 lines are left to correct.
    """
    with running(context) as runtime, i18n.use_locale(i18n.SOURCE_LOCALE):
        _check_open(runtime)
        sheet = _read(runtime, file)
        if apply_it:
            judged = _apply(runtime, sheet, quiet=as_json)
        else:
            with runtime.database.read() as session:
                judged = inviting.judge(runtime, session, sheet.rows)
        reasons = inviting.to_correct(sheet, judged)
    if rejected is not None:
        rejected.write_text(rejected_file(sheet, reasons, reason_header="reason"), encoding="utf-8", newline="")
    lines: list[dict[str, Any]] = [{"line": line.line, "reason": reason} for line, reason in reasons]
    counts = Counter(one.verdict for one in judged)
    if as_json:
        result = [_judgement(one) for one in judged]
        click.echo(json.dumps({"applied": apply_it, "rows": result, "rejected": lines}, ensure_ascii=False, indent=2))
    else:
        _tell(judged, lines, applied=apply_it)
    if lines:
        sys.exit(PARTIAL)
    sys.exit(CHANGES_PENDING if counts["invite"] and not apply_it else 0)


def _judgement(one: Judged) -> dict[str, Any]:
    return {
        "line": one.row.line,
        "email": one.row.email.email,
        "verdict": one.verdict,
        "alike": [importing.alike_document(alike) for alike in one.alike],
    }


def _read(runtime: Runtime, file: Path) -> Sheet:
    today = runtime.clock().astimezone(runtime.settings.zone).date()
    try:
        return read_sheet(file.read_bytes(), today=today)
    except UnreadableFile as error:
        if error.missing:
            fail(f"{file}: the first line names no column for {', '.join(error.missing)}.")
        fail(f"{file}: this is no CSV file.")


def _apply(runtime: Runtime, sheet: Sheet, *, quiet: bool) -> list[Judged]:
    by = operator()
    if quiet or not sys.stderr.isatty():
        return inviting.apply(runtime, sheet.rows, by=by.actor, origin=by)
    with click.progressbar(length=len(sheet.rows), label="Inviting", file=sys.stderr) as bar:
        return inviting.apply(runtime, sheet.rows, by=by.actor, origin=by, done=lambda: bar.update(1))


def _tell(judged: Sequence[Judged], rejected: Sequence[dict[str, Any]], *, applied: bool) -> None:
    for one in judged:
        if one.verdict not in inviting.REJECTING:
            words = "invited" if applied and one.verdict == "invite" else VERDICTS[one.verdict]
            click.echo(f"line {one.row.line}: {one.row.email.email} {words}")
        for alike in one.alike:
            click.echo(f"    like {importing.alike_words(alike)}")
    for line in rejected:
        click.echo(f"line {line['line']}: to correct: {line['reason']}", err=True)
    if not applied and any(one.verdict == "invite" for one in judged):
        click.echo("Nothing was sent. Add --apply to send the invitations.")


@invitations.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def list_invitations(context: click.Context, as_json: bool) -> None:
    """Invitations that were not used yet."""
    with running(context) as runtime, runtime.database.read() as session:
        now = runtime.clock()
        rows = [
            {
                "id": row.id,
                "email": row.email,
                "name": Person(row.given_name, row.family_name).display_name,
                "sent_by": row.created_by,
                "link_until": row.expires_at.isoformat(),
                "over": row.expires_at <= now,
                "rights_end_at": row.rights_end_at.isoformat() if row.rights_end_at else None,
            }
            for row in session.scalars(
                select(Registration)
                .where(Registration.mode == INVITED, Registration.state == ACCEPTED)
                .order_by(Registration.id)
            )
        ]
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    for row in rows:
        click.echo(f"{row['id']:>6}  {row['name']} <{row['email']}>{'  (link too old)' if row['over'] else ''}")
    if not rows:
        click.echo("No invitation is open.")


@invitations.command()
@click.argument("email")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def withdraw(context: click.Context, email: str, as_json: bool) -> None:
    """Withdraw the invitation of EMAIL: its link opens nothing any more."""
    with _open_invitation(context, email) as (runtime, session, row):
        rules.take_back(session, row, now=runtime.clock(), origin=operator())
        number = row.id
    _say(f"Withdrew the invitation of {email}.", {"id": number, "state": "withdrawn"}, as_json=as_json)


@invitations.command()
@click.argument("email")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def resend(context: click.Context, email: str, as_json: bool) -> None:
    """Send the invitation of EMAIL again: the same link, or a new one when it is over."""
    with _open_invitation(context, email) as (runtime, session, row):
        now = runtime.clock()
        rules.send_again(session, runtime.keys, row, terms(runtime.settings), now=now, origin=operator())
        number = row.id
    _say(f"Sent the invitation of {email} again.", {"id": number, "state": "sent"}, as_json=as_json)


@contextmanager
def _open_invitation(context: click.Context, email: str) -> Iterator[tuple[Runtime, Session, Registration]]:
    address = _address(email)
    with running(context) as runtime, runtime.database.begin() as session:
        row = rules.invitation_to(session, address)
        if row is None:
            fail(f"There is no open invitation to {email}.")
        yield runtime, session, row


def _say(text: str, values: dict[str, Any], *, as_json: bool) -> None:
    click.echo(json.dumps(values, ensure_ascii=False) if as_json else text)
