"""`lms-bridge sync …`"""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from lms_bridge.cli import settings as cli_settings
from lms_bridge.cli.progress import Progress
from lms_bridge.ops import logs
from lms_bridge.runtime import Runtime, build_runtime
from lms_bridge.sync import guard, report, status
from lms_bridge.sync.lease import AlreadyRunning
from lms_bridge.sync.runs import Orders, Report, run_site, tools_of
from lms_bridge.sync.sites import NoServiceBehind
from moodle_ws.errors import AccessDenied, MoodleError, TokenInvalid

NOTHING, PENDING, STOPPED, PARTIAL, CONFIGURATION, UNREACHABLE = 0, 2, 3, 4, 5, 6
WORST_FIRST = (CONFIGURATION, UNREACHABLE, STOPPED, PARTIAL, PENDING, NOTHING)

site_option = click.option("--site", "site_name", help="Only this site of the settings. Default: all of them.")
out_option = click.option(
    "--out",
    type=click.Path(file_okay=False, writable=True, path_type=Path),
    default=Path(),
    help="Folder for the plan (JSON lines) and its report (HTML). Default: here.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
checksum_option = click.option("--checksum", default="", help="Of the plan you have looked at: lifts the thresholds.")
release_option = click.option("--accept-release", is_flag=True, help="Moodle's new release is expected.")
lang_option = click.option("--lang", type=click.Choice(["fr", "en"]), help="Language of the HTML report.")


@click.group()
def sync() -> None:
    """Keep Moodle in step: plan, apply, adopt, status.

    Exit codes: 0 nothing to do or applied, 2 changes pending (dry run), 3 a guard stopped it, 4 partial failure,
    5 configuration, 6 Moodle unreachable.
    """


@sync.command()
@site_option
@out_option
@json_option
@lang_option
@click.pass_context
def plan(context: click.Context, site_name: str | None, out: Path, as_json: bool, lang: str | None) -> None:
    """Show what a run would change. Writes nothing to Moodle, nothing to the database."""
    _run_all(context, site_name, Orders(write=False, actor=_operator()), out, as_json=as_json, lang=lang)


@sync.command()
@site_option
@checksum_option
@release_option
@out_option
@json_option
@lang_option
@click.pass_context
def apply(
    context: click.Context,
    site_name: str | None,
    checksum: str,
    accept_release: bool,
    out: Path,
    as_json: bool,
    lang: str | None,
) -> None:
    """Bring a whole site into step. Plans again first; the guard may ask for the checksum of the plan."""
    orders = Orders(write=True, checksum=checksum, accept_release=accept_release, actor=_operator())
    _run_all(context, site_name, orders, out, as_json=as_json, lang=lang)


@sync.command()
@site_option
@click.option("--apply", "write", is_flag=True, help="Take the users over; needs --checksum. Default: only plan it.")
@checksum_option
@release_option
@out_option
@json_option
@lang_option
@click.pass_context
def adopt(
    context: click.Context,
    site_name: str | None,
    write: bool,
    checksum: str,
    accept_release: bool,
    out: Path,
    as_json: bool,
    lang: str | None,
) -> None:
    """Take over users that were in Moodle before the bridge.

    Matches by Moodle id, bridge key, ID number, user name, confirmed address; whatever is not certain is a conflict,
    listed and left alone.
    """
    orders = Orders(
        write=write, adopt=True, checksum=checksum, accept_release=accept_release, actor=_operator(), kind="adopt"
    )
    _run_all(context, site_name, orders, out, as_json=as_json, lang=lang)


@sync.command("status")
@site_option
@json_option
@click.pass_context
def show_status(context: click.Context, site_name: str | None, as_json: bool) -> None:
    """Where each site stands: accounts by state, what waits and why, the last runs. Asks Moodle nothing."""
    runtime = _runtime(context)
    try:
        found = [status.of_site(runtime.database, name, now=runtime.clock()) for name in _names(runtime, site_name)]
    finally:
        runtime.close()
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], default=str, ensure_ascii=False, indent=1))
        return
    for one in found:
        click.echo("\n".join(status.lines(one)))


def _run_all(
    context: click.Context, site_name: str | None, orders: Orders, out: Path, *, as_json: bool, lang: str | None
) -> None:
    runtime = _runtime(context)
    try:
        names = _names(runtime, site_name)
        if orders.checksum and len(names) > 1:
            _fail("A checksum belongs to one plan: name its site with --site.")
        out.mkdir(parents=True, exist_ok=True)
        results = [_run_one(runtime, name, orders, out, as_json=as_json, lang=lang) for name in names]
    finally:
        runtime.close()
    if as_json:
        click.echo(json.dumps([found for _, found in results], ensure_ascii=False, default=str, indent=1))
    sys.exit(next(code for code in WORST_FIRST if code in {code for code, _ in results}))


def _run_one(
    runtime: Runtime, name: str, orders: Orders, out: Path, *, as_json: bool, lang: str | None
) -> tuple[int, dict[str, Any]]:
    with Progress(name) as progress:
        try:
            tools = tools_of(runtime, name)
            result = run_site(tools, name, orders, out, progress=progress.update)
        except MoodleError as error:
            text = f"Moodle could not be read, and nothing was written: {error}. {_advice(error)}"
            return _failed(_code_of(error), name, text, as_json)
        except AlreadyRunning as error:
            return _failed(STOPPED, name, str(error), as_json)
        except NoServiceBehind as error:
            return _failed(CONFIGURATION, name, str(error), as_json)
    page = report.write_html(
        result, runtime.settings, runtime.clock(), locale=lang or runtime.settings.default_language
    )
    code = exit_code(result, dry=not orders.write)
    if not as_json:
        click.echo("\n".join([*_summary(result, dry=not orders.write), f"  {result.plan.path}", f"  {page}"]))
    return code, _document(result, page, code)


def exit_code(result: Report, *, dry: bool) -> int:
    """The contract's exit code. A dry run is not stopped by its size: the operator is about to look at it."""
    stops = [stop for stop in result.stops if not (dry and isinstance(stop, guard.TooManyChanges))]
    if stops:
        return STOPPED
    if result.failure is not None:
        return _code_of(result.failure)
    if result.outcome == "partial":
        return PARTIAL
    return PENDING if dry and result.plan.size else NOTHING


def _code_of(error: MoodleError) -> int:
    """A Moodle that answers and refuses us is a matter of settings; waiting for it would help nobody."""
    return CONFIGURATION if isinstance(error, TokenInvalid | AccessDenied) else UNREACHABLE


def _advice(error: MoodleError) -> str:
    return (
        "Run `lms-bridge doctor`."
        if _code_of(error) == CONFIGURATION
        else "Run again when it answers: it goes on where it was."
    )


def _summary(result: Report, *, dry: bool) -> Sequence[str]:
    plan = result.plan
    elsewhere = f"{plan.suspended_elsewhere} suspended in Moodle"
    numbers = f"{plan.in_step} in step, {plan.size} changes, {plan.conflicts} for a human, {elsewhere}"
    lines = [f"{plan.site}: {plan.read} accounts read, {numbers}."]
    lines += [f"  {kind.value:<8} {count:>8}" for kind, count in sorted(plan.counts.items(), key=lambda item: item[0])]
    lines += [f"  cohort to make: {idnumber}" for idnumber in plan.new_cohorts]
    if plan.absent:
        lines.append(f"  {len(plan.absent)} users were not found for the first time; a second complete run decides.")
    for stop in result.stops:
        lines += [f"  STOP {stop.name}: {stop.text}", f"       {stop.answer}"]
    if plan.size:
        lines.append(f"  checksum {plan.checksum}")
    if not dry and not result.stops:
        done = sum(result.done.values())
        lines.append(f"  {done} of {plan.size} changes made, {result.refused} refused by Moodle.")
        if result.failure is not None:
            lines.append(f"  Moodle went no further: {result.failure}. {_advice(result.failure)}")
    return lines


def _document(result: Report, page: Path, code: int) -> dict[str, Any]:
    plan = result.plan
    return {
        "site": plan.site,
        "outcome": result.outcome,
        "exit_code": code,
        "checksum": plan.checksum,
        "read": plan.read,
        "in_step": plan.in_step,
        "changes": {kind.value: count for kind, count in plan.counts.items()},
        "new_cohorts": list(plan.new_cohorts),
        "conflicts": plan.conflicts,
        "absent": list(plan.absent),
        "suspended_in_moodle": plan.suspended_elsewhere,
        "stops": [{"name": stop.name, "text": stop.text, "answer": stop.answer} for stop in result.stops],
        "done": {kind.value: count for kind, count in result.done.items()},
        "refused": result.refused,
        "failure": str(result.failure or ""),
        "plan": str(plan.path),
        "report": str(page),
    }


def _failed(code: int, name: str, text: str, as_json: bool) -> tuple[int, dict[str, Any]]:
    if not as_json:
        click.echo(f"{name}: {text}", err=True)
    return code, {"site": name, "outcome": "failed", "exit_code": code, "failure": text}


def _runtime(context: click.Context) -> Runtime:
    settings = cli_settings.read(context)
    logs.configure("error" if settings.log_level != "debug" else "debug", settings.log_format)
    return build_runtime(settings)


def _names(runtime: Runtime, site_name: str | None) -> Sequence[str]:
    known = runtime.sites.names
    if site_name is None:
        if not known:
            _fail("The settings name no Moodle: add a [[sites]] section.")
        return known
    if site_name not in known:
        _fail(f"There is no site called `{site_name}` in the settings; there are: {', '.join(known) or 'none'}.")
    return [site_name]


def _operator() -> str:
    return f"cli:{getpass.getuser()}"


def _fail(text: str) -> None:
    click.echo(text, err=True)
    sys.exit(CONFIGURATION)
