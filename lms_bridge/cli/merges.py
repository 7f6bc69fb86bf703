"""`lms-bridge merges …`"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from lms_bridge.cli.operator import fail, operator, running
from lms_bridge.runtime import Runtime
from lms_bridge.sync.merge_list import HINTS, Hint, MergeLine, NotOpen, as_csv, as_pairs, listed, mark_done
from lms_bridge.sync.merges import DONE

SITE = click.option("--site", help="One site. Without it all.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="For programs.")


@click.group()
def merges() -> None:
    """Course work of people who joined two accounts: what to move in Moodle, from which user to which."""


@merges.command("list")
@SITE
@click.option("--all", "every", is_flag=True, help="Also what was done.")
@AS_JSON
@click.pass_context
def list_merges(context: click.Context, site: str | None, every: bool, as_json: bool) -> None:
    """The merges that wait, the oldest first, with what to know before each."""
    with running(context) as runtime:
        found = _listed(runtime, site, every=every)
    if as_json:
        rows = [{**asdict(line), "hint": line.hint.value} for line in found]
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2, default=str))
        return
    for line in found:
        users = f"{line.from_id} ({line.from_username}) -> {line.to_id} ({line.to_username})"
        words = f"done by {line.done_by}" if line.state == DONE else HINTS[line.hint]
        click.echo(f"{line.id:>6}  {line.site:<12}  {users}  since {line.made_at:%Y-%m-%d}: {words}")
    if not found:
        click.echo("No merge waits.")


@merges.command()
@SITE
@click.option("--pairs", is_flag=True, help="Not CSV but the answers that `climerger.php` asks for. One site.")
@click.option("--early", is_flag=True, help="Also those to wait for: see the hints of `merges list`.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="A file. Without it the terminal.")
@click.pass_context
def export(context: click.Context, site: str | None, pairs: bool, early: bool, out: Path | None) -> None:
    """Write the merges that can be made, as Moodle's merge-users plugin takes them: `fromid`, `toid`."""
    with running(context) as runtime:
        if pairs and site is None and len(runtime.sites.names) > 1:
            fail("Ids are of one Moodle: name it with --site.")
        found = _listed(runtime, site)
    chosen = found if early else [line for line in found if line.hint in (Hint.READY, Hint.NOT_OURS)]
    text = as_pairs(chosen) if pairs else as_csv(chosen)
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
    if len(chosen) < len(found):
        click.echo(f"{len(found) - len(chosen)} left out for now: see `lms-bridge merges list`.", err=True)


@merges.command()
@click.argument("numbers", type=int, nargs=-1, required=True)
@click.pass_context
def done(context: click.Context, numbers: tuple[int, ...]) -> None:
    """Note that the course work of the merges with these NUMBERS (see `merges list`) was moved."""
    who = operator()
    with running(context) as runtime:
        for number in numbers:
            try:
                with runtime.database.begin() as session:
                    mark_done(session, number, by=who.actor, now=runtime.clock(), origin=who)
            except NotOpen:
                fail(f"Merge {number} does not wait: done already, undone, or no such number.")
            click.echo(f"{number} is done.")


def _listed(runtime: Runtime, site: str | None, *, every: bool = False) -> list[MergeLine]:
    if site is not None and site not in runtime.sites.names:
        fail(f"There is no site `{site}`: {', '.join(runtime.sites.names) or 'settings name none'}.")
    with runtime.database.read() as session:
        return list(listed(session, runtime.clock(), site=site, every=every))
