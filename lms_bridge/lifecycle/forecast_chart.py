"""A forecast as a chart: bars on a terminal, and an SVG that stands by itself in a report.

Colour is never alone: every bar has its number, every series its name; the colours are told apart by people who see
few of them (Okabe and Ito's set).
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from lms_bridge.lifecycle.forecast_table import COUNTED, EVERY, Line

COLOURS = {"warned": "#e69f00", "closed": "#0072b2", "erased": "#d55e00"}
FAINT = 0.55
"""Opacity of what is only supposed."""
BAR = 40
"""Widest bar on a terminal, in characters."""

WIDTH, LEFT, RIGHT, TOP, ROW, BAR_HEIGHT, GAP = 900, 110, 90, 76, 16, 12, 14


def _totals(table: Sequence[Line]) -> list[Line]:
    return [line for line in table if line.profile == EVERY]


def _highest(table: Sequence[Line], variants: Sequence[str]) -> int:
    numbers = (line.numbers[variant][column] for line in _totals(table) for variant in variants for column in COUNTED)
    return max(numbers, default=0)


def bars(table: Sequence[Line], variants: Sequence[str]) -> str:
    """All profiles together, a block a month."""
    highest = _highest(table, variants) or 1
    rows = []
    for line in _totals(table):
        for position, (column, variant) in enumerate((column, variant) for column in COUNTED for variant in variants):
            number = line.numbers[variant][column]
            length = -(-BAR * number // highest)
            name = column if len(variants) == 1 else f"{column} ({variant})"
            month = f"{line.month:%Y-%m}" if position == 0 else ""
            rows.append(f"{month:<8} {name:<18} {('#' if variant == variants[0] else '=') * length:<{BAR}} {number}")
    return "\n".join(rows)


def svg(table: Sequence[Line], variants: Sequence[str], *, title: str) -> str:
    """The same as a picture."""
    totals = _totals(table)
    series = [(column, variant) for column in COUNTED for variant in variants]
    group = len(series) * ROW + GAP
    height = TOP + group * len(totals)
    highest = _highest(table, variants) or 1
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    font = 'font-family="system-ui, sans-serif" font-size="12"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title" {font}>',
        f'<title id="title">{escape(title)}</title>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="24" font-size="16" font-weight="bold" fill="#1c2430">{escape(title)}</text>',
    ]
    for number, (column, variant) in enumerate(series):
        x = LEFT + number * 125
        name = column if len(variants) == 1 else f"{column} ({variant})"
        parts += [
            f'<rect x="{x}" y="42" width="12" height="12" {_fill(column, variant, variants)}/>',
            f'<text x="{x + 18}" y="52" fill="#1c2430">{escape(name)}</text>',
        ]
    for position, line in enumerate(totals):
        y = TOP + position * group
        middle = y + len(series) * ROW / 2 + 4
        parts.append(f'<text x="{LEFT - 12}" y="{middle:g}" text-anchor="end" fill="#1c2430">{line.month:%Y-%m}</text>')
        for number, (column, variant) in enumerate(series):
            value = line.numbers[variant][column]
            length = (WIDTH - LEFT - RIGHT) * value / highest
            top, box = y + number * ROW, f'width="{length:.1f}" height="{BAR_HEIGHT}"'
            parts += [
                f'<rect x="{LEFT}" y="{top}" {box} {_fill(column, variant, variants)}/>',
                f'<text x="{LEFT + length + 6:.1f}" y="{top + 10}" fill="#1c2430">{value}</text>',
            ]
    return "\n".join([*parts, "</svg>\n"])


def _fill(column: str, variant: str, variants: Sequence[str]) -> str:
    faint = "" if variant == variants[0] else f' fill-opacity="{FAINT}" stroke="{COLOURS[column]}"'
    return f'fill="{COLOURS[column]}"{faint}'
