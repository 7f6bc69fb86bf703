"""`lms-bridge letters`: account letters as one PDF."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import NoReturn

import click

from external_accounts import audit
from lms_bridge.cli import settings as cli_settings
from lms_bridge.i18n import use_locale
from lms_bridge.letters import pdf
from lms_bridge.letters.printing import Candidate, look_at, print_letters, read_list, refusals
from lms_bridge.runtime import Runtime, build_runtime

SOME_REFUSED = 4


@click.command()
@click.argument("identifiers", nargs=-1)
@click.option(
    "--file",
    "source",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="A list of identifiers, one a line, or a CSV file with a column `identifiant`; `-`: standard input.",
)
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The PDF to write."
)
@click.option("--dry-run", is_flag=True, help="Say who would get a letter, and print none.")
@click.pass_context
def letters(
    context: click.Context, identifiers: tuple[str, ...], source: Path | None, output: Path, dry_run: bool
) -> None:
    """Print account letters for accounts that are not active yet: one PDF, a page each.

    Each letter bears a code that opens the activation; it makes the code of an earlier letter void. The PDF is written
    for the owner's eyes alone (mode 600): whoever has a letter can open the account.

    Exit codes: 0 every identifier has its letter, 2 nothing was printed, 4 some have none.
    """
    settings = cli_settings.read(context)
    text = "\n".join(identifiers)
    if source is not None:
        raw = sys.stdin.buffer.read() if str(source) == "-" else source.read_bytes()
        text = f"{_decoded(raw)}\n{text}"
    wanted = read_list(text)
    if not wanted:
        _fail("Name identifiers, or a file of them.")
    if len(wanted) > settings.letters.most:
        _fail(f"{len(wanted)} are more than one PDF takes: at most {settings.letters.most} (`letters.most`).")
    runtime = build_runtime(settings)
    try:
        refused = _print(runtime, wanted, output, dry_run=dry_run)
    finally:
        runtime.close()
    sys.exit(SOME_REFUSED if refused else 0)


def _print(runtime: Runtime, wanted: list[str], output: Path, *, dry_run: bool) -> int:
    """Returns how many identifiers have no letter."""
    with runtime.database.read() as session:
        found = look_at(session, wanted, runtime.clock())
    good = [one.identifier for one in found if not one.refusal]
    _say_refused(found)
    if dry_run or not good:
        click.echo(f"{len(good)} letters would be printed.")
        if not good:
            sys.exit(2)
        return len(found) - len(good)
    origin = audit.Origin(actor=f"cli:{getpass.getuser()}")
    try:
        with click.progressbar(length=len(good), label="Codes", file=sys.stderr) as bar:
            content, count = print_letters(
                runtime, good, by=origin.actor, origin=origin, progress=lambda _done: bar.update(1)
            )
    except pdf.NoPdf as reason:
        _fail(str(reason))
    output.touch(mode=0o600)
    output.chmod(0o600)
    output.write_bytes(content)
    click.echo(f"{count} letters in {output}")
    return len(found) - count


def _say_refused(found: list[Candidate]) -> None:
    with use_locale("en"):
        words = refusals()
    for one in found:
        if one.refusal:
            click.echo(f"{one.identifier}: {words[one.refusal]}", err=True)


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def _fail(text: str) -> NoReturn:
    click.echo(text, err=True)
    sys.exit(2)
