"""`lms-bridge lifecycle simulate`"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click

from external_accounts.lifecycle_forecast import Forecast, cohorts, first_days, forecast, horizon
from external_accounts.profiles import ProfilePolicy
from lms_bridge.cli.operator import running
from lms_bridge.lifecycle.forecast_chart import bars, svg
from lms_bridge.lifecycle.forecast_table import Line, as_csv, as_document, as_text, lines
from lms_bridge.lifecycle.terms import terms
from lms_bridge.runtime import Runtime

NOW, WHAT_IF = "now", "what if"
NEVER = "never"

Policies = Mapping[str, ProfilePolicy]


@click.command()
@click.option("--months", default=12, show_default=True, type=click.IntRange(1, 60), help="How far to look ahead.")
@click.option(
    "--what-if",
    "supposed",
    multiple=True,
    metavar="PROFILE=MONTHS",
    help="Another retention, compared with the settings side by side, e.g. `vacataire=6` or `learner=never`. "
    "Can be given for several profiles.",
)
@click.option(
    "--as",
    "form",
    type=click.Choice(["table", "chart", "csv", "json"]),
    default="table",
    show_default=True,
    help="What to print.",
)
@click.option(
    "--svg",
    "svg_path",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write the chart to this file too.",
)
@click.pass_context
def simulate(context: click.Context, months: int, supposed: tuple[str, ...], form: str, svg_path: Path | None) -> None:
    """Who will be warned, closed and erased in the months to come, by profile. Writes nothing to the database.

    As if nobody came or left early and no extension was granted, and as if a run took place every day.
    """
    with running(context) as runtime:
        policies = terms(runtime).policies
        variants: dict[str, Policies] = {NOW: policies}
        if supposed:
            variants[WHAT_IF] = _supposed(supposed, policies)
        table = _table(runtime, months, variants)
    names = list(variants)
    if svg_path is not None:
        title = f"Accounts warned, closed and erased, {months} months from {table[0].month:%Y-%m}"
        svg_path.write_text(svg(table, names, title=title), encoding="utf-8")
    match form:
        case "csv":
            click.echo(as_csv(table, names), nl=False)
        case "json":
            click.echo(json.dumps(as_document(table), ensure_ascii=False, indent=1))
        case "chart":
            click.echo(bars(table, names))
        case _:
            click.echo(as_text(table, names))


def _table(runtime: Runtime, months: int, variants: Mapping[str, Policies]) -> Sequence[Line]:
    now, zone = runtime.clock(), runtime.settings.zone
    until = horizon(now, months, zone)
    with runtime.database.read() as session:
        found: Mapping[str, Forecast] = forecast(cohorts(session, now, until), variants, now, until, zone)
    return lines(first_days(now, months, zone), found)


def _supposed(texts: Sequence[str], policies: Policies) -> Policies:
    changed = dict(policies)
    for text in texts:
        profile, _, typed = text.partition("=")
        if typed != NEVER and not (typed.isascii() and typed.isdecimal() and int(typed) <= 120):
            raise click.BadParameter(f"`{text}`: write it like vacataire=6, or vacataire=never", param_hint="--what-if")
        if profile not in policies:
            known = ", ".join(sorted(policies)) or "none"
            raise click.BadParameter(f"there is no profile `{profile}`; there are: {known}", param_hint="--what-if")
        changed[profile] = replace(policies[profile], retention_months=None if typed == NEVER else int(typed))
    return changed
