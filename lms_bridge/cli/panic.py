"""`lms-bridge panic`"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict

import click
from sqlalchemy import select

from external_accounts.identities import LOCAL
from external_accounts.revocations import Scope
from external_accounts.schema import Account
from lms_bridge.cli.operator import fail, moment, operator, running
from lms_bridge.cli.progress import Progress
from lms_bridge.runtime import Runtime
from lms_bridge.signin.panic import StillOpen, count, press

AGAIN = 4
"""Exit code: a transaction of somebody else is still open; run it again."""


@click.command()
@click.option("--before", help="Everything issued before this moment, 2026-09-01T08:00. Without it: before now.")
@click.option("--profile", help="Only accounts of this profile.")
@click.option("--issuer", help="Only those who came by this issuer: `local`, or the name of an upstream CAS.")
@click.option("--all", "everybody", is_flag=True, help="Everybody.")
@click.option("--dry-run", is_flag=True, help="Only say how much it would be.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def panic(
    context: click.Context,
    before: str | None,
    profile: str | None,
    issuer: str | None,
    everybody: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """End every session, ticket, proxy grant and pending link or code of before a moment, and Moodle's sessions too.

    People sign in again, and ask for a new link. It can be killed and run again with the same --before. Exit code 4:
    somebody else's transaction was still open; run it again.
    """
    if [profile is not None, issuer is not None, everybody].count(True) != 1:
        fail("Say whose: --all, --profile or --issuer, one of them.")
    scope = Scope(profile=profile or "", issuer=issuer or "")
    with running(context) as runtime:
        now = runtime.clock()
        until = moment(before, runtime.settings.zone) if before else now
        if until > now:
            fail("That moment has not come yet.")
        _check(runtime, scope)
        if dry_run:
            with runtime.database.read() as session:
                counts = count(session, until, scope, now)
        else:
            started = time.monotonic()
            try:
                with Progress("panic") as progress:
                    counts = press(runtime, until, scope, origin=operator(), progress=progress.update)
            except StillOpen:
                click.echo(
                    "Everything that could be seen has ended, but a transaction of before is still open in this "
                    f"PostgreSQL. Run it again: --before {until.isoformat()}",
                    err=True,
                )
                sys.exit(AGAIN)
            seconds = round(time.monotonic() - started, 2)
    if as_json:
        took = {} if dry_run else {"seconds": seconds}
        click.echo(json.dumps({"before": until.isoformat(), "dry_run": dry_run, **asdict(counts), **took}))
        return
    what = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in asdict(counts).items())
    click.echo(
        f"Would end: {what}." if dry_run else f"Ended in {seconds} s, all of before {until.isoformat()}: {what}."
    )


def _check(runtime: Runtime, scope: Scope) -> None:
    issuers = [LOCAL, *(upstream.issuer for upstream in runtime.settings.upstreams)]
    if scope.issuer and scope.issuer not in issuers:
        fail(f"There is no issuer `{scope.issuer}`; there are: {', '.join(issuers)}.")
    with runtime.database.read() as session:
        known = select(Account.id).where(Account.profile == scope.profile).limit(1)
        if scope.profile and session.scalar(known) is None:
            fail(f"There is no account of the profile `{scope.profile}`.")
