"""A run over a whole site that finds nothing to do: the command itself, in a fresh process for each size."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from benchmarks.sync.bridge import Bridge, filled_bridge
from benchmarks.sync.moodle import Moodle
from benchmarks.sync.table import Table


def measure(moodle: Moodle, what: str, table: Table, *, sizes: list[int], postgresql: str | None) -> None:
    """`sync plan`, then `sync apply`, which also notes in the database whom it saw."""
    for size in sizes:
        with filled_bridge(moodle, size, mirrored=True, postgresql=postgresql) as bridge:
            for verb in ("plan", "apply"):
                spent = _command(bridge, "sync", verb, "--out", str(bridge.folder), "--json")
                table.add(
                    f"sync {verb}, {size} accounts, {what}",
                    seconds=spent["seconds"],
                    requests=bridge.moodle.calls().total(),
                    cpu_us_an_account=spent["cpu"] / size * 1e6,
                    peak_mib=spent["peak_mib"],
                )


def _command(bridge: Bridge, *arguments: str) -> dict[str, Any]:
    noted = bridge.folder / "spent.json"
    command = [sys.executable, "-m", "benchmarks.sync.command", str(noted), "--config", str(bridge.config), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    spent: dict[str, Any] = json.loads(noted.read_text())
    return spent
