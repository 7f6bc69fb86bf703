"""A forecast as a table: on a terminal, as CSV, as JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from external_accounts.lifecycle import WARNINGS, Step
from external_accounts.lifecycle_forecast import Forecast

COUNTED: Mapping[str, tuple[Step, ...]] = {"warned": WARNINGS, "closed": (Step.CLOSE,), "erased": (Step.ERASE,)}
"""What a column counts. Warnings are counted, not the people: somebody may be warned twice in a month."""
EVERY = "all"
"""In the place of a profile: all of them together."""


@dataclass(frozen=True, slots=True)
class Line:
    """One month of one profile."""

    month: date
    profile: str
    numbers: Mapping[str, Mapping[str, int]]
    """By variant (`now`, `what if`), then by column."""


def lines(months: Sequence[date], forecasts: Mapping[str, Forecast]) -> list[Line]:
    """Every month with every profile to which anything happens, and with all of them together."""
    profiles = sorted({profile for found in forecasts.values() for _month, profile, _step in found})
    return [
        Line(
            month,
            profile,
            {
                name: {
                    column: sum(
                        found.get((month, one, step), 0)
                        for one in (profiles if profile == EVERY else [profile])
                        for step in steps
                    )
                    for column, steps in COUNTED.items()
                }
                for name, found in forecasts.items()
            },
        )
        for month in months
        for profile in [*profiles, EVERY]
    ]


def as_text(table: Sequence[Line], variants: Sequence[str]) -> str:
    heads = [column if len(variants) == 1 else f"{column} ({variant})" for column in COUNTED for variant in variants]
    widest = max((len(line.profile) for line in table), default=7)
    rows = [f"{'month':<8} {'profile':<{widest}} " + " ".join(f"{head:>{max(8, len(head))}}" for head in heads)]
    for line in table:
        cells = [line.numbers[variant][column] for column in COUNTED for variant in variants]
        if not any(cells) and line.profile != EVERY:
            continue
        numbers = " ".join(f"{cell:>{max(8, len(head))}}" for cell, head in zip(cells, heads, strict=True))
        rows.append(f"{line.month:%Y-%m}  {line.profile:<{widest}} {numbers}")
    return "\n".join(rows)


def as_csv(table: Sequence[Line], variants: Sequence[str]) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    heads = [column if variant == variants[0] else f"{column}_what_if" for column in COUNTED for variant in variants]
    writer.writerow(["month", "profile", *heads])
    for line in table:
        numbers = [line.numbers[variant][column] for column in COUNTED for variant in variants]
        writer.writerow([f"{line.month:%Y-%m}", line.profile, *numbers])
    return out.getvalue()


def as_document(table: Sequence[Line]) -> list[dict[str, object]]:
    return [{"month": f"{line.month:%Y-%m}", "profile": line.profile, **line.numbers} for line in table]
