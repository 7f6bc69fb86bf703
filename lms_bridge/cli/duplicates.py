"""`lms-bridge duplicates …`"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click
from sqlalchemy.orm import Session

from external_accounts import likely_pairs, pair_listing
from external_accounts.likely_pairs import OPEN, STATES
from external_accounts.pair_listing import Listed
from lms_bridge.cli.operator import running
from lms_bridge.cli.progress import Progress
from lms_bridge.jobs.duplicates import terms
from lms_bridge.runtime import Runtime


@click.group()
def duplicates() -> None:
    """People who may have two accounts. Nothing is linked by it: only the person can, on their page."""


@duplicates.command()
@click.option("--all", "every", is_flag=True, help="Every account, not only those that changed: after a new setting.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def scan(context: click.Context, every: bool, as_json: bool) -> None:
    """Look now at the accounts that wait for it. The background work does the same by itself."""
    with running(context) as runtime:
        if every:
            with runtime.database.begin() as session:
                likely_pairs.check_all(session)
        found = _scan(runtime)
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo(
        f"{found['accounts']} accounts, {found['opened']} new pairs, {found['gone']} gone, {found['left']} left."
    )


def _scan(runtime: Runtime) -> dict[str, int]:
    with runtime.database.read() as session:
        total = likely_pairs.waiting(session)
    sums = {"accounts": 0, "opened": 0, "gone": 0}
    with Progress("duplicates") as progress:
        while True:
            found = likely_pairs.look(runtime.database, terms(runtime.settings), clock=runtime.clock)
            for name in sums:
                sums[name] += getattr(found, name)
            if not found.accounts:
                break
            progress.update("accounts", sums["accounts"], max(total, sums["accounts"]))
    with runtime.database.read() as session:
        return {**sums, "left": likely_pairs.waiting(session)}


@duplicates.command("list")
@click.option("--state", type=click.Choice(STATES), default=OPEN, show_default=True, help="Which pairs.")
@click.option("--points", type=int, default=0, help="With at least so many points.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def list_pairs(context: click.Context, state: str, points: int, as_json: bool) -> None:
    """Pairs of accounts that may be one person's, the likeliest first."""
    with running(context) as runtime, runtime.database.read() as session:
        rows = [_row(one) for one in _every(session, state, points)]
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    for row in rows:
        one, other = row["accounts"]
        facts = ", ".join(row["facts"])
        click.echo(f"{row['id']:>6}  {row['points']:>3}  {one['username']} / {other['username']}  {facts}")
    if not rows:
        click.echo(f"No pair is {state}.")


def _every(session: Session, state: str, points: int) -> Iterator[Listed]:
    after = None
    while page := pair_listing.page(session, state=state, points=points, after=after, limit=500):
        yield from page
        after = page[-1].pair_id


def _row(one: Listed) -> dict[str, Any]:
    return {
        "id": one.pair_id,
        "state": one.state,
        "points": one.points,
        "facts": list(one.facts),
        "new_facts": list(one.new_facts),
        "found_at": one.found_at.isoformat(),
        "accounts": [
            {"username": side.username, "name": side.name, "profile": side.profile} for side in (one.first, one.second)
        ],
    }
