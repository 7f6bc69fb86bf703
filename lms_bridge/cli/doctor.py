"""`lms-bridge doctor`"""

from __future__ import annotations

import json
import logging
import sys
import textwrap
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from lms_bridge import i18n
from lms_bridge.cli import settings as cli_settings
from lms_bridge.i18n import N_
from lms_bridge.i18n import gettext as _
from lms_bridge.ops.doctor.examination import examine
from lms_bridge.ops.doctor.findings import Finding, Verdict, exit_code
from lms_bridge.runtime import utc_now

WIDTH = 110

VERDICTS = {
    Verdict.OK: (N_("ok"), "green"),
    Verdict.WARNING: (N_("warning"), "yellow"),
    Verdict.PROBLEM: (N_("problem"), "red"),
    Verdict.UNSEEN: (N_("look by hand"), "cyan"),
}

AREAS = {
    "settings": N_("Settings"),
    "services": N_("Services and sites"),
    "database": N_("Database"),
    "jobs": N_("Background work"),
    "mail": N_("Mail"),
    "public_url": N_("Public address"),
    "upstream": N_("The university's CAS: %(name)s"),
    "site": N_("Moodle: %(name)s"),
}


@click.command()
@click.option("--site", "site_name", metavar="NAME", help="Look at this Moodle site only, besides the bridge itself.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list: area, check, verdict, seen, where, fix.")
@click.option("--lang", type=click.Choice(i18n.LOCALES), help="Language of the texts. Default: default_language.")
@click.pass_context
def doctor(context: click.Context, site_name: str | None, as_json: bool, lang: str | None) -> None:
    """Look at everything that must be set up, here and in Moodle, and say what is wrong, where, and what to do.

    Reads only: nothing is written to Moodle, no mail is sent. Verdicts are ok, warning, problem, and unseen: what
    nobody can see from outside, and where to look by hand.

    Exit codes: 0 nothing worse than warnings, 4 at least one problem, 5 the settings cannot be used, 6 nothing is
    wrong but a Moodle that does not answer.
    """
    settings = cli_settings.read(context)
    sites = [site for site in settings.sites if site_name in (None, site.name)]
    if site_name is not None and not sites:
        raise click.BadParameter(f"There is no site called `{site_name}` in the settings.", param_hint="--site")
    file: Path | None = context.find_root().obj
    # What the client of Moodle would log has a line of its own here.
    logging.getLogger("moodle_ws").addHandler(logging.NullHandler())
    with i18n.use_locale(lang or settings.default_language):
        findings = examine(settings, file=file, sites=sites, clock=utc_now, progress=_progress)
        if as_json:
            click.echo(json.dumps([finding.public() for finding in findings], ensure_ascii=False, indent=2))
        else:
            click.echo("\n".join(_lines(findings)))
    sys.exit(exit_code(findings))


def _progress(done: int, everything: int) -> None:
    """One line that is written over, on a terminal; nothing elsewhere."""
    if sys.stderr.isatty():
        end = "\r\033[K" if done == everything else ""
        text = _("Looking… %(done)d of %(everything)d", done=done, everything=everything)
        click.echo(f"\r{text}{end}", nl=False, err=True)


def _lines(findings: list[Finding]) -> Iterable[str]:
    for area, group in groupby(findings, key=lambda finding: finding.area):
        kind, _colon, name = area.partition(":")
        yield click.style(_(AREAS[kind], name=name) if name else _(AREAS[kind]), bold=True)
        for finding in group:
            yield from _paragraph(finding)
        yield ""
    yield _summary(findings)


def _paragraph(finding: Finding) -> Iterable[str]:
    word, colour = VERDICTS[finding.verdict]
    yield from _wrapped(
        f"  {click.style(_(word), fg=colour)} · ", _("%(title)s: %(seen)s", title=finding.title, seen=finding.seen), 4
    )
    if finding.verdict is not Verdict.OK:
        yield from _wrapped("      ", _("where: %(place)s", place=finding.where), 8)
        yield from _wrapped("      ", _("do: %(fix)s", fix=finding.fix), 8)


def _wrapped(first: str, text: str, indent: int) -> Iterable[str]:
    visible = len(click.unstyle(first))
    lines = textwrap.wrap(text, WIDTH - visible, subsequent_indent="", break_long_words=False, break_on_hyphens=False)
    yield first + lines[0]
    yield from (" " * indent + line for line in lines[1:])


def _summary(findings: Iterable[Finding]) -> str:
    counts: dict[Verdict, Any] = dict.fromkeys(Verdict, 0)
    for finding in findings:
        counts[finding.verdict] += 1
    return ", ".join(f"{_(VERDICTS[verdict][0])} {count}" for verdict, count in counts.items())
