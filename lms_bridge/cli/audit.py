"""`lms-bridge audit …`"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click
from sqlalchemy import func, select

from external_accounts import audit_files, audit_verification
from external_accounts.audit_verification import Report
from external_accounts.keys import Keys
from external_accounts.schema import Account, AuditEvent
from lms_bridge import settings
from lms_bridge.cli import settings as cli_settings
from lms_bridge.cli.operator import fail, moment, running
from lms_bridge.cli.progress import Progress
from lms_bridge.ops.audit_formats import LINES
from lms_bridge.settings import SettingsError

BROKEN = 1
"""Exit code: something was changed, removed, added or put elsewhere."""


@click.group()
def audit() -> None:
    """The audit trail: verify it, hand it on."""


@audit.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def verify(context: click.Context, file: Path | None, as_json: bool) -> None:
    """Look for any change to the trail: in the database, or in a FILE of `audit export --format jsonl`.

    Exit code 0: it is whole. 1: it is not; every place is named. 2: the file cannot be read. A file can be verified
    anywhere; without the settings its signatures cannot.
    """
    if file is None:
        with running(context) as runtime, Progress("audit") as progress:
            report = audit_verification.verify(
                runtime.database, runtime.keys, progress=lambda done, total: progress.update("verified", done, total)
            )
    else:
        try:
            with file.open("rb") as lines:
                report = audit_files.verify(lines, _keys(context))
        except OSError as error:
            fail(f"{file} cannot be read: {error.strerror}")
    if as_json:
        click.echo(json.dumps(asdict(report) | {"whole": report.whole}, ensure_ascii=False, indent=2))
    else:
        _say(report)
    sys.exit(0 if report.whole else BROKEN)


def _keys(context: click.Context) -> Keys | None:
    """The server's keys, where there are settings: a file is often verified elsewhere."""
    path: Path | None = context.find_root().obj
    if path is not None:
        found = cli_settings.read(context)
    else:
        try:
            found = settings.load(None)
        except SettingsError:
            return None
    return Keys([key.get_secret_value() for key in found.secret_keys])


def _say(report: Report) -> None:
    for finding in report.findings:
        click.echo(f"{finding.kind:<14} position {finding.position}: {finding.text}")
    if report.found > len(report.findings):
        click.echo(f"… and {report.found - len(report.findings)} more.")
    click.echo(f"{report.events} events in the chain, {report.pseudonymous} of them without their personal part.")
    click.echo(f"{report.checkpoints} signatures are right, {report.unchecked} could not be checked.")
    if report.waiting:
        click.echo(f"{report.waiting} events wait to be sealed: nothing is proved about them yet.")
    if report.whole and report.unchecked and not report.checkpoints:
        click.echo("Nothing contradicts itself, but no signature was checked: verify it where the server's keys are.")
    elif report.whole:
        click.echo(f"The trail is whole. It ends at position {report.position}, hash {report.hash}.")
    else:
        click.echo(f"The trail is NOT whole: {report.found} findings.")


@audit.command()
@click.option("--format", "form", type=click.Choice(["jsonl", *LINES]), default="jsonl", show_default=True)
@click.option("--since", help="From this moment: 2026-09-01, or 2026-09-01T08:00 in the university’s time zone.")
@click.option("--until", help="Before this moment, written likewise.")
@click.option("--account", "username", help="Only what concerns the account of this user name.")
@click.pass_context
def export(context: click.Context, form: str, since: str | None, until: str | None, username: str | None) -> None:
    """Write the trail to standard output, oldest first.

    jsonl: JSON lines that `audit verify FILE` can check. cef, syslog (RFC 5424): for a SIEM.
    """
    with running(context) as runtime, runtime.database.read() as session:
        zone = runtime.settings.zone
        account_id = None
        if username is not None:
            account_id = session.scalar(select(Account.id).where(Account.username == username))
            if account_id is None:
                fail(f"There is no account called `{username}`.")
        part = audit_files.stretch(
            session,
            since=moment(since, zone) if since else None,
            until=moment(until, zone) if until else None,
            account_id=account_id,
        )
        if form == "jsonl":
            for text in audit_files.write(session, runtime.keys, part):
                sys.stdout.write(text + "\n")
        else:
            for link in part.links(session):
                sys.stdout.write(LINES[form](link, runtime.settings.public_host) + "\n")
        waiting = session.scalar(select(func.count()).where(AuditEvent.position.is_(None)))
    if waiting:
        click.echo(f"{waiting} events wait to be sealed and are not in this export.", err=True)
