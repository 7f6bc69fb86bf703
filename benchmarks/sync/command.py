"""The command `lms-bridge` in this process, and what it took: `python -m benchmarks.sync.command FILE ARGUMENT…`.

Imports nothing that the command itself would not, because its memory is measured.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path


def main(noted: Path, arguments: list[str]) -> None:
    began = time.perf_counter()
    from lms_bridge.cli import main as command  # noqa: PLC0415 (importing it is part of what is measured)

    try:
        command(arguments)
    finally:
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu = used.ru_utime + used.ru_stime
        noted.write_text(json.dumps({"seconds": time.perf_counter() - began, "cpu": cpu, "peak_mib": peak_mib()}))


def peak_mib() -> float:
    """The most that was resident. `ru_maxrss` would count the process this one was forked from."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
