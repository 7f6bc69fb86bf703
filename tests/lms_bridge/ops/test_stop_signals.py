"""Being told to stop, by several at once: `timeout` and `make` both pass the signal on to whoever they started."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

PROGRAM = """
import sys
from lms_bridge.ops.stop_signals import StopSignals
told = StopSignals()
print("ready", flush=True)
told.wait()
print("told", flush=True)
sys.stdin.read()
"""
SECONDS = 30
ROUNDS = 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_that_come_close_together_are_one_wish_to_stop(number: int) -> None:
    for _ in range(ROUNDS):
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            # What hangs is killed, so that reading from it ends.
            watchdog = threading.Timer(SECONDS, process.kill)
            watchdog.start()
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            for _ in range(500):
                process.send_signal(number)
            assert process.stdout.readline() == "told\n"
            process.communicate("", timeout=SECONDS)
            watchdog.cancel()
        assert process.returncode == 0
