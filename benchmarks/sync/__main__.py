"""`python -m benchmarks.sync`: what keeping a Moodle in step costs. Loopback only.

The simulator runs in a process of its own: paced, as fast as the Moodle that was measured, to see whether the bridge
keeps up; or unpaced, to see what the bridge itself costs. Rates swing with other work on the machine: compare within a
table.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys

from benchmarks.sync import confirming, one_account, throughput, whole_site
from benchmarks.sync.moodle import running_moodle
from benchmarks.sync.table import Table
from lms_bridge.ops import logs

PARTS = ("throughput", "whole-site", "one-account", "confirming")


def sizes(text: str) -> list[int]:
    return [int(size) for size in text.split(",") if size]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sync", description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="only this; may be repeated")
    parser.add_argument("--pace", choices=("paced", "unpaced"), help="only with this Moodle")
    parser.add_argument("--people", type=int, default=2000, help="users created and updated by a run")
    parser.add_argument("--rounds", type=int, default=2, help="of the throughput")
    parser.add_argument("--sizes", type=sizes, default=[1_000, 10_000, 100_000], help="accounts of whole runs")
    parser.add_argument("--paced-sizes", type=sizes, default=[1_000, 10_000], help="the same, on the paced Moodle")
    parser.add_argument("--among", type=int, default=100_000, help="accounts around the one that changes")
    parser.add_argument("--changes", type=int, default=60, help="changes, and clicks, one after the other")
    parser.add_argument("--postgresql", metavar="URL", help="postgresql+psycopg://user@127.0.0.1:port/name; is emptied")
    chosen = parser.parse_args()
    logs.configure("error", "json")
    parts = chosen.part or PARTS
    where: str | None = chosen.postgresql
    tables: list[Table] = []

    def table(title: str) -> Table:
        tables.append(Table(title))
        return tables[-1]

    for pace in [chosen.pace] if chosen.pace else ["paced", "unpaced"]:
        with running_moodle(paced=pace == "paced") as moodle:
            if "throughput" in parts:
                throughput.measure(
                    moodle, pace, table("Throughput"), count=chosen.people, rounds=chosen.rounds, postgresql=where
                )
            if "whole-site" in parts:
                some = chosen.paced_sizes if pace == "paced" else chosen.sizes
                whole_site.measure(moodle, pace, table("Whole runs without a difference"), sizes=some, postgresql=where)
            if "one-account" in parts:
                changed, idle = table("One account"), table("A round of jobs without work")
                one_account.measure(
                    moodle, pace, changed, idle, size=chosen.among, changes=chosen.changes, postgresql=where
                )
            if "confirming" in parts:
                confirming.measure(
                    moodle, pace, table("Confirming"), size=chosen.among, clicks=chosen.changes, postgresql=where
                )
    sys.stdout.write(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n\n")
    sys.stdout.write("\n\n".join(one.markdown() for one in tables) + "\n")


if __name__ == "__main__":
    main()
