"""`lms-bridge import`"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from external_accounts.directory import DirectoryUnavailable
from external_accounts.import_rows import ColumnTwice, MissingColumns, Sheet, read_sheet
from external_accounts.import_runs import Outcome, Plan, Run, apply, plan
from external_accounts.imports import CHANGING, Decision, Stop
from external_accounts.spreadsheets import Table, Unreadable, XlsxMissing, read_table, written
from lms_bridge import i18n, importing
from lms_bridge.cli.operator import fail, operator, running
from lms_bridge.cli.progress import Progress
from lms_bridge.demo.example_file import EXAMPLE
from lms_bridge.runtime import Runtime

NOTHING, PENDING, STOPPED, PARTIAL = 0, 2, 3, 4
XLSX_MISSING = "XLSX files need `pip install 'lms-bridge[xlsx]'`. Or save the file as CSV."
MOST_SHOWN = 50
"""Lines of each kind on a terminal; `--json` has them all."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the file, or somebody absent from it, and what became of them."""

    line: int | None
    decision: Decision


@click.command("import")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--profile", help="The profile of lines that name none.")
@click.option("--apply", "apply_it", is_flag=True, help="Do it. Without it: only say what would be done.")
@click.option("--yes", is_flag=True, help="Do not ask before doing it.")
@click.option(
    "--end-missing", is_flag=True, help="FILE has everybody of --profile: end the accounts of those who are not in it."
)
@click.option(
    "--accept-duplicates",
    "accepted",
    multiple=True,
    metavar="KEY",
    help="KEY is nobody who has an account. Repeatable.",
)
@click.option("--checksum", default="", help="Of the plan you have looked at: lifts the limits of [imports].")
@click.option(
    "--rejected",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the lines to correct. Default: FILE.rejected.csv or .xlsx, beside FILE.",
)
@click.option("--example", is_flag=True, help="Print an example of a file, and end.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def imports(
    context: click.Context,
    file: Path | None,
    profile: str | None,
    apply_it: bool,
    yes: bool,
    end_missing: bool,
    accepted: tuple[str, ...],
    checksum: str,
    rejected: Path | None,
    example: bool,
    as_json: bool,
) -> None:
    """Create, update and end accounts from a FILE of the staff office, CSV or XLSX.

    Lines are known again by their key (matricule), so a file can be imported again and again. Lines that cannot be used
    are written to a file with the reason, to correct and import.

    Exit codes: 0 nothing to do or all done, 2 changes pending (without --apply), 3 a limit stopped it before its first
    write, 4 lines are left to correct, 5 configuration.
    """
    if example:
        click.echo(EXAMPLE, nl=False)
        return
    if file is None:
        raise click.UsageError("Name a FILE, or ask for --example.")
    with running(context) as runtime, i18n.use_locale(i18n.SOURCE_LOCALE):
        _check(runtime, profile, end_missing)
        sheet = _read(file)
        if unknown := set(accepted) - {line.external_key for line in sheet.lines}:
            fail(f"--accept-duplicates: {', '.join(sorted(unknown))} is no key of a line of {file}.")
        rules = importing.rules(runtime, default_profile=profile, accepted=accepted)
        with Progress(file.name) as progress:
            planned = plan(
                runtime.database,
                sheet,
                rules,
                importing.limits(runtime),
                complete=end_missing,
                progress=partial(progress.update, "looking"),
            )
        stopped = [stop for stop in planned.stops if not (stop.answerable and checksum == planned.checksum)]
        outcome = None
        if apply_it and not stopped:
            if planned.pending and not (yes or as_json or not sys.stdin.isatty()):
                _tell(planned, sheet, None, stopped)
                click.confirm("Do it?", abort=True, err=True)
            outcome = _apply(file, importing.run(runtime, rules, operator()), planned)
        left = _write_rejected(runtime, file, rejected, sheet, planned, outcome)
        if as_json:
            click.echo(json.dumps(_document(planned, sheet, outcome, stopped, left), ensure_ascii=False, indent=2))
        else:
            _tell(planned, sheet, outcome, stopped)
            if left is not None:
                click.echo(f"Lines to correct: {left}", err=True)
    sys.exit(_code(planned, outcome, applied=apply_it, stopped=bool(stopped), left=left is not None))


def _check(runtime: Runtime, profile: str | None, end_missing: bool) -> None:
    names = [one.name for one in runtime.settings.profiles]
    if profile is not None and profile not in names:
        fail(f"There is no [[profiles]] entry called `{profile}`; there are: {', '.join(names) or 'none'}.")
    if end_missing and profile is None:
        fail("--end-missing needs --profile: whose complete list is it?")


def _read(file: Path) -> Sheet:
    try:
        return read_sheet(_table(file))
    except MissingColumns as error:
        names = ", ".join(importing.COLUMNS[name] for name in error.names)
        fail(f"{file}: the first line names no column for: {names} (matricule). See `lms-bridge import --example`.")
    except ColumnTwice as error:
        fail(f"{file}: two columns mean the same: {', '.join(error.headers)}.")


def _table(file: Path) -> Table:
    try:
        return read_table(file.read_bytes())
    except XlsxMissing:
        fail(f"{file}: {XLSX_MISSING}")
    except Unreadable as error:
        where = f" (line {error.line})" if error.line else ""
        fail(f"{file}: this is neither CSV nor XLSX, or it is damaged{where}.")


def _apply(file: Path, run: Run, planned: Plan) -> Outcome:
    try:
        with Progress(file.name) as progress:
            return apply(run, planned, progress=partial(progress.update, "importing"))
    except DirectoryUnavailable:
        fail("A directory does not answer, so nobody can say which user names are free. Run again when it does.")


def _rows(planned: Plan, sheet: Sheet, outcome: Outcome | None) -> list[Row]:
    """Every line in the order of the file, then who is absent from it."""
    decisions = {decision.external_key: decision for decision in planned.decisions}
    if outcome is not None:
        decisions |= {decision.external_key: decision for decision in outcome.set_aside}
    rows = []
    for line in sheet.lines:
        refused = Decision("refuse", line.external_key, problems=line.problems)
        rows.append(Row(line.number, refused if line.wish is None else decisions.pop(line.external_key)))
    named = {row.decision.external_key for row in rows}
    return rows + [Row(None, decision) for key, decision in decisions.items() if key not in named]


def _write_rejected(
    runtime: Runtime, file: Path, path: Path | None, sheet: Sheet, planned: Plan, outcome: Outcome | None
) -> Path | None:
    """The refused lines as they were, and why, in the form of FILE and in the language of the university."""
    lines = {line.number: line for line in sheet.lines}
    refused = [row for row in _rows(planned, sheet, outcome) if row.decision.kind == "refuse" and row.line]
    if not refused:
        return None
    path = path or file.with_name(f"{file.stem}.rejected.{sheet.kind}")
    kept = [number for number, header in enumerate(sheet.header) if not importing.is_reason(header)]
    with i18n.use_locale(runtime.settings.default_language):
        rows = [[*(sheet.header[number] for number in kept), importing.reason_header()]]
        for row in refused:
            cells = lines[row.line or 0].cells
            reason = importing.reason_words(row.decision.problems)
            rows.append([*(cells[number] if number < len(cells) else "" for number in kept), reason])
    try:
        path.write_bytes(written(sheet.kind, rows))
    except XlsxMissing:
        fail(XLSX_MISSING)
    except OSError as error:
        fail(f"{path}: the lines to correct cannot be written there: {error.strerror}. Name a file with --rejected.")
    return path


def _code(planned: Plan, outcome: Outcome | None, *, applied: bool, stopped: bool, left: bool) -> int:
    if stopped:
        return STOPPED
    if left or (outcome is not None and outcome.set_aside):
        return PARTIAL
    return PENDING if planned.pending and not applied else NOTHING


def _tell(planned: Plan, sheet: Sheet, outcome: Outcome | None, stopped: Sequence[Stop]) -> None:
    counts = planned.counts if outcome is None else outcome.done
    rows = _rows(planned, sheet, outcome)
    shown = 0
    for row in rows:
        if row.decision.kind != "leave" or row.decision.notes:
            shown += 1
            if shown <= MOST_SHOWN:
                click.echo("\n".join(_lines(row)))
    if shown > MOST_SHOWN:
        click.echo(f"… and {shown - MOST_SHOWN} more; --json shows them all.")
    if sheet.ignored:
        click.echo(f"Columns that are not read: {', '.join(sheet.ignored)}.")
    refused = sum(row.decision.kind == "refuse" for row in rows)
    done = {"create": "created", "update": "updated", "end": "ended", "revive": "opened again"}
    changed = ", ".join(f"{counts[kind]} {done[kind]}" for kind in CHANGING)
    left = sum(row.decision.kind == "leave" for row in rows)
    click.echo(f"{'Would be' if outcome is None else 'Done'}: {changed}; {left} as they should be, {refused} refused.")
    for stop in stopped:
        click.echo(f"STOP: {importing.stop_words(stop)}.", err=True)
        if stop.answerable:
            click.echo(f"      If that is right: --apply --checksum {planned.checksum}", err=True)
    if outcome is None and planned.pending and not stopped:
        click.echo(f"Nothing was written. Add --apply to do it. Checksum of this plan: {planned.checksum}")


def _lines(row: Row) -> Iterator[str]:
    decision = row.decision
    where = "not in the file" if row.line is None else f"line {row.line}"
    what = importing.reason_words(decision.problems) if decision.kind == "refuse" else ", ".join(decision.changes)
    yield f"{where}: {decision.kind} {decision.external_key}{f': {what}' if what else ''}"
    for note in importing.note_words(decision):
        yield f"    {note}"
    for alike in decision.alike:
        yield f"    like {importing.alike_words(alike)}"


def _document(
    planned: Plan, sheet: Sheet, outcome: Outcome | None, stopped: Sequence[Stop], left: Path | None
) -> dict[str, Any]:
    rows = _rows(planned, sheet, outcome)
    return {
        "applied": outcome is not None,
        "checksum": planned.checksum,
        "counts": {kind: planned.counts[kind] for kind in CHANGING}
        | {kind: sum(row.decision.kind == kind for row in rows) for kind in ("leave", "refuse")},
        "done": dict(outcome.done) if outcome is not None else {},
        "stops": [{"name": stop.name, "text": importing.stop_words(stop)} for stop in stopped],
        "ignored_columns": sheet.ignored,
        "rejected_file": str(left) if left is not None else None,
        "rows": [_row_document(row, outcome) for row in rows],
    }


def _row_document(row: Row, outcome: Outcome | None) -> dict[str, Any]:
    decision = row.decision
    return {
        "line": row.line,
        "external_key": decision.external_key,
        "verdict": decision.kind,
        "username": outcome.usernames.get(decision.external_key) if outcome is not None else None,
        "changes": {name: str(value) if value is not None else None for name, value in decision.changes.items()},
        "problems": [
            {"column": one.column, "reason": one.reason, "value": one.value, "text": importing.problem_words(one)}
            for one in decision.problems
        ],
        "notes": list(decision.notes),
        "alike": [importing.alike_document(one) for one in decision.alike],
    }
