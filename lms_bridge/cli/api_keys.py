"""`lms-bridge api-keys …`"""

from __future__ import annotations

import json
import re
from typing import Any

import click

from external_accounts import api_keys as keys
from external_accounts.local_calendar import end_of_day
from external_accounts.spreadsheets import read_date
from lms_bridge.cli.operator import fail, operator, running


@click.group("api-keys")
def api_keys() -> None:
    """Keys of programs that use the API (/api/v1)."""


@api_keys.command()
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, required=True, type=click.Choice(list(keys.SCOPES)), help="Repeatable."
)
@click.option("--until", help="Last day: 2027-06-30. Without it the key is good until it is revoked.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def create(context: click.Context, name: str, scopes: tuple[str, ...], until: str | None, as_json: bool) -> None:
    """Make a key called NAME, and print it: this is the only time it is shown."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,59}", name):
        fail("A key's name has 1 to 60 of the characters a-z 0-9 . _ - and begins with a letter or figure.")
    with running(context) as runtime:
        try:
            day = read_date(until or "")
        except ValueError:
            fail(f"`{until}` is no date: write it like 2027-06-30.")
        expires_at = end_of_day(day, runtime.settings.zone) if day else None
        try:
            with runtime.database.begin() as session:
                token = keys.make(
                    session, name, set(scopes), expires_at=expires_at, now=runtime.clock(), origin=operator()
                )
        except keys.NameTaken:
            fail(f"There is or was a key called `{name}`; choose another name.")
    click.echo(json.dumps({"name": name, "key": token}) if as_json else token)


@api_keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def list_keys(context: click.Context, as_json: bool) -> None:
    """All keys: what they may, since when, last used when. Never the keys themselves."""
    with running(context) as runtime, runtime.database.read() as session:
        now = runtime.clock()
        rows: list[dict[str, Any]] = [
            {
                "name": row.name,
                "prefix": row.prefix,
                "scopes": row.scopes,
                "created_at": row.created_at.isoformat(),
                "expires_at": row.expires_at.isoformat() if row.expires_at else None,
                "last_used_at": row.last_used_at.isoformat() if row.last_used_at else None,
                "state": "revoked"
                if row.revoked_at
                else "expired"
                if row.expires_at and row.expires_at <= now
                else "good",
            }
            for row in keys.all_keys(session)
        ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        used = row["last_used_at"] or "never"
        click.echo(f"{row['name']}  lmsb_{row['prefix']}_…  {row['state']}  {' '.join(row['scopes'])}  used: {used}")
    if not rows:
        click.echo("There is no key.")


@api_keys.command()
@click.argument("name")
@click.pass_context
def revoke(context: click.Context, name: str) -> None:
    """End the key called NAME at once."""
    with running(context) as runtime, runtime.database.begin() as session:
        if not keys.revoke(session, name, now=runtime.clock(), origin=operator()):
            fail(f"There is no key called `{name}`, or it is revoked already.")
    click.echo(f"Revoked {name}.")
