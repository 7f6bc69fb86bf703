"""`lms-bridge lifecycle …`"""

from __future__ import annotations

import getpass
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from external_accounts.lifecycle import Due, Step
from external_accounts.lifecycle_candidates import Candidate
from lms_bridge.cli import settings as cli_settings
from lms_bridge.cli.progress import Progress
from lms_bridge.cli.simulation import simulate
from lms_bridge.lifecycle import guard, runs
from lms_bridge.lifecycle.runs import Listed, Plan, Report
from lms_bridge.ops import logs
from lms_bridge.runtime import Runtime, build_runtime

NOTHING, PENDING, STOPPED, PARTIAL = 0, 2, 3, 4

WORDS = {
    Step.WARN_RIGHTS_FIRST: "warned, 30 days before the end of rights",
    Step.WARN_RIGHTS_LAST: "warned, 10 days before the end of rights",
    Step.CLOSE: "closed",
    Step.WARN_ERASURE_FIRST: "warned, 30 days before the erasure",
    Step.WARN_ERASURE_LAST: "warned, 10 days before the erasure",
    Step.ERASE: "erased",
}
HELD = {
    "extension": "not erased: a request for an extension waits",
    "suspended": "not erased: suspended, so somebody has to decide first",
}

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
list_option = click.option(
    "--list",
    "list_path",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write every step of the plan to this file, a line of JSON each.",
)


@click.group()
def lifecycle() -> None:
    """Warn, close and erase accounts when their time comes: plan, apply, simulate.

    Exit codes: 0 nothing to do or applied, 2 steps are due (dry run), 3 the guard stopped it, 4 partial failure,
    5 configuration.
    """


lifecycle.add_command(simulate)


@lifecycle.command()
@list_option
@json_option
@click.pass_context
def plan(context: click.Context, list_path: Path | None, as_json: bool) -> None:
    """Show what a run would do now. Writes nothing to the database."""
    with _runtime(context) as runtime, Progress("lifecycle") as progress, _listing(list_path) as listed:
        found = runs.make_plan(runtime, runtime.clock(), progress=progress.update, listed=listed)
        stops = guard.check(found.steps, found.living, runtime.settings.lifecycle)
    # A dry run is not stopped by its size: the operator is about to look at it.
    _finish(Report(found, tuple(stops)), PENDING if found.size else NOTHING, as_json=as_json)


@lifecycle.command()
@click.option("--checksum", default="", help="Of the plan you have looked at: lifts the thresholds.")
@list_option
@json_option
@click.pass_context
def apply(context: click.Context, checksum: str, list_path: Path | None, as_json: bool) -> None:
    """Do what is due. Plans again first; the guard may ask for the checksum of the plan."""
    with _runtime(context) as runtime, Progress("lifecycle") as progress, _listing(list_path) as listed:
        report = runs.run(
            runtime, actor=f"cli:{getpass.getuser()}", checksum=checksum, progress=progress.update, listed=listed
        )
    codes = {"stopped": STOPPED, "partial": PARTIAL}
    _finish(report, codes.get(report.outcome, NOTHING), as_json=as_json)


@contextmanager
def _runtime(context: click.Context) -> Iterator[Runtime]:
    settings = cli_settings.read(context)
    logs.configure("error" if settings.log_level != "debug" else "debug", settings.log_format)
    runtime = build_runtime(settings)
    try:
        yield runtime
    finally:
        runtime.close()


@contextmanager
def _listing(path: Path | None) -> Iterator[Listed]:
    """Where the steps of the plan are written to, one by one: there may be more than fit into memory."""
    with ExitStack() as stack:
        file = stack.enter_context(path.open("w", encoding="utf-8")) if path else None

        def write(candidate: Candidate, due: Due) -> None:
            if file is None:
                return
            row = {
                "username": candidate.username,
                "profile": candidate.profile,
                "step": due.step.value,
                "due_at": due.at.isoformat(),
                "about": due.about.isoformat(),
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")

        yield write


def _finish(report: Report, code: int, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(_document(report, code), ensure_ascii=False, indent=1))
    else:
        click.echo("\n".join(_lines(report)))
    sys.exit(code)


def _lines(report: Report) -> Sequence[str]:
    plan = report.plan
    lines = [f"{plan.living} accounts, {plan.read} looked at, {plan.size} steps due."]
    profiles = sorted({profile for profile, _ in plan.counts})
    for step in Step:
        if count := plan.steps.get(step, 0):
            by_profile = ", ".join(
                f"{profile} {plan.counts[profile, step]}" for profile in profiles if (profile, step) in plan.counts
            )
            lines.append(f"  {count:>8}  {WORDS[step]}  ({by_profile})")
    lines += [f"  {count:>8}  {HELD[why]}" for why, count in sorted(plan.held.items())]
    for stop in report.stops:
        lines += [f"  STOP {stop.name}: {stop.text}", f"       {stop.answer}"]
    if plan.size:
        lines.append(f"  checksum {plan.checksum}")
    if report.outcome in ("done", "partial"):
        lines.append(f"  {sum(report.done.values())} of {plan.size} steps taken.")
    if report.failed:
        lines.append(f"  {report.failed} accounts failed: see the log, then run again.")
    return lines


def _document(report: Report, code: int) -> dict[str, Any]:
    plan: Plan = report.plan
    profiles: dict[str, Counter[str]] = {}
    for (profile, step), count in plan.counts.items():
        profiles.setdefault(profile, Counter())[step.value] += count
    return {
        "outcome": report.outcome,
        "exit_code": code,
        "checksum": plan.checksum,
        "accounts": plan.living,
        "read": plan.read,
        "steps": {step.value: plan.steps.get(step, 0) for step in Step},
        "profiles": profiles,
        "held": dict(plan.held),
        "stops": [{"name": stop.name, "text": stop.text, "answer": stop.answer} for stop in report.stops],
        "done": {step.value: count for step, count in report.done.items()},
        "failed": report.failed,
    }
