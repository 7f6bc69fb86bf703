"""`lms-bridge hooks`: what other systems were told of accounts, and telling them once more."""

from __future__ import annotations

import getpass
import json
import secrets
import sys
from datetime import datetime
from typing import Any, NoReturn

import click

from external_accounts import audit, handover_deliveries
from external_accounts.handover_deliveries import Figures
from external_accounts.institution_schema import Handover
from lms_bridge.cli import settings as cli_settings
from lms_bridge.hooks.delivery import HOOK, known_targets, post
from lms_bridge.hooks.message import body_of, headers_of
from lms_bridge.runtime import Runtime, build_runtime

LISTED = 20
REFUSED = 4


@click.group()
def hooks() -> None:
    """See what other systems were told of accounts, tell them once more, try a hook."""


@hooks.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
@click.pass_context
def status(context: click.Context, as_json: bool) -> None:
    """Show for each hook and directory what waits, was taken, and was given up.

    Exit codes: 0 all is well, 4 something was given up, or waits for more than an hour.
    """
    runtime = build_runtime(cli_settings.read(context))
    try:
        now = runtime.clock()
        with runtime.database.read() as session:
            known = {one.target: one for one in handover_deliveries.figures(session)}
            given_up = [
                {"id": row.handover_id, "target": row.target, "error": row.last_error}
                for row in handover_deliveries.failed(session, limit=LISTED)
            ]
        targets = known_targets(runtime)
    finally:
        runtime.close()
    nothing = {name: Figures(name, 0, 0, None, 0, 0, "") for name in targets}
    shown = list((nothing | known).values())
    if as_json:
        click.echo(json.dumps({"targets": [_public(one, targets, now) for one in shown], "failed": given_up}, indent=2))
    else:
        _print(shown, targets, given_up, now)
    if any(one.failed or one.is_stuck(now) for one in shown):
        sys.exit(REFUSED)


def _public(one: Figures, targets: list[str], now: datetime) -> dict[str, Any]:
    return {
        "target": one.target,
        "in_settings": one.target in targets,
        "waiting": one.waiting,
        "deferred": one.deferred,
        "oldest_waiting": one.oldest.isoformat() if one.oldest else None,
        "stuck": one.is_stuck(now),
        "done": one.done,
        "failed": one.failed,
        "last_error": one.last_error,
    }


def _print(shown: list[Figures], targets: list[str], given_up: list[dict[str, Any]], now: datetime) -> None:
    if not shown:
        click.echo("The settings name no hook and no directory: nobody is told.")
        return
    width = max(len(one.target) for one in shown)
    click.echo(f"{'':<{width}}  waiting  deferred     done   failed")
    for one in shown:
        marks = ["stuck"] if one.is_stuck(now) else []
        marks += [] if one.target in targets else ["not in the settings"]
        numbers = "".join(f"{number:>9}" for number in (one.waiting, one.deferred, one.done, one.failed))
        click.echo(f"{one.target:<{width}}{numbers}  {', '.join(marks)}".rstrip())
        if one.last_error:
            click.echo(f"{'':<{width}}    {one.last_error}")
    if given_up:
        click.echo("\nGiven up, the newest first (`hooks retry ID`, when the cause is mended):")
        for row in given_up:
            click.echo(f"  {row['id']}  {row['target']}  {row['error']}")


@hooks.command()
@click.argument("handover_id", metavar="[ID]", type=int, required=False)
@click.option("--to", "target", help="Everything for this one, as `status` names it: `hook:NAME`, `directory:NAME`.")
@click.pass_context
def retry(context: click.Context, handover_id: int | None, target: str | None) -> None:
    """Tell now what was given up or waits for its next try, when the cause is mended.

    Either what has this ID, or all for one hook or directory. What is sent is the state of the account as it is then.
    """
    if handover_id is None and target is None:
        _fail("Name an ID, or --to.")
    runtime = build_runtime(cli_settings.read(context))
    try:
        now = runtime.clock()
        with runtime.database.begin() as session:
            count = handover_deliveries.retry(session, handover_id=handover_id, target=target, now=now)
            if count:
                audit.record(
                    session,
                    "handover.retried",
                    outcome="ok",
                    now=now,
                    origin=audit.Origin(actor=f"cli:{getpass.getuser()}"),
                    handover=handover_id,
                    target=target,
                    count=count,
                )
    finally:
        runtime.close()
    if not count:
        _fail("There is nothing of that kind that waits or was given up.")
    click.echo(f"{count} to be sent again, by the next round of the background work.")


@hooks.command()
@click.argument("name")
@click.pass_context
def test(context: click.Context, name: str) -> None:
    """Send a signed test message to the hook NAME, now, and say what it answered. It tells of no account.

    Exit codes: 0 it was taken, 4 it was not.
    """
    runtime = build_runtime(cli_settings.read(context))
    try:
        answer = _test(runtime, name)
    finally:
        runtime.close()
    if answer:
        click.echo(f"{name}: {answer}", err=True)
        sys.exit(REFUSED)
    click.echo(f"{name}: took the message")


def _test(runtime: Runtime, name: str) -> str:
    hook = next((one for one in runtime.settings.hooks if one.name == name), None)
    if hook is None:
        names = ", ".join(target.removeprefix(HOOK) for target in known_targets(runtime) if target.startswith(HOOK))
        _fail(f"There is no hook `{name}` in the settings. There are: {names or 'none'}.")
    now = runtime.clock()
    handover = Handover(event="test", key=secrets.token_hex(16), created_at=now)
    body = body_of(handover, {}, now)
    keys = [secret.get_secret_value() for secret in hook.secrets]
    return post(runtime.http, hook, body, headers_of(handover, body, keys, now), now=now).error


def _fail(text: str) -> NoReturn:
    click.echo(text, err=True)
    sys.exit(2)
