"""Samples of the measurements, and their medians as a table."""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict


class Table:
    """Named samples of named values."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._samples: dict[str, list[dict[str, float]]] = defaultdict(list)

    def add(self, what: str, **values: float) -> None:
        self._samples[what].append(values)
        shown = " ".join(f"{name}={_text(value)}" for name, value in values.items())
        sys.stderr.write(f"{what:<60} {shown}\n")

    def markdown(self) -> str:
        columns = list(dict.fromkeys(name for rounds in self._samples.values() for name in rounds[0]))
        lines = [f"**{self._title}**", "", "| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
        for what, rounds in self._samples.items():
            cells = [
                _text(statistics.median(values[name] for values in rounds)) if name in rounds[0] else ""
                for name in columns
            ]
            lines.append("| " + " | ".join([what, *cells]) + " |")
        return "\n".join(lines)


def _text(value: float) -> str:
    return f"{value:.0f}" if value == int(value) or value >= 100 else f"{value:.2f}"
