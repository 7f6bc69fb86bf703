"""The simulated Moodle of the measurements: a process of its own, so that its work is not taken for the bridge's."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from benchmarks.sync.people import CANARY, FIRST_USER_ID, Figure
from moodle_ws.simulator import Pace, SimulatedMoodle, SimulatorOptions

TOKEN = "simulated-token"


class Moodle:
    """A running simulator as the measuring process sees it: its address, and questions that are no calls."""

    def __init__(self, process: BaseProcess, pipe: Connection) -> None:
        self._process = process
        self._pipe = pipe
        self.url: str = pipe.recv()

    def ask(self, question: str, *values: Any) -> Any:
        """Have the method `question` of the other side's `_Desk` answer."""
        self._pipe.send((question, values))
        return self._pipe.recv()

    def fill(self, count: int) -> None:
        """Everybody of `people.figures(count)`, as the bridge would have written them."""
        self.ask("fill", count)

    def empty(self) -> None:
        """Nobody but the ones every Moodle has, and the canary."""
        self.ask("empty")

    def calls(self) -> Counter[str]:
        """The web service calls since the last time this was asked."""
        return Counter(self.ask("calls"))

    def wait_for(self, username: str, field: str, value: object, seconds: float = 20) -> float:
        """When (`time.perf_counter()`) Moodle was first seen to hold `value`. Looks every millisecond or so.

        The paced Moodle changes its rows at the beginning of the time that a call takes.
        """
        deadline = time.perf_counter() + seconds
        while self.ask("field", username, field) != value:
            if time.perf_counter() > deadline:
                raise TimeoutError(f"{username} has no {field} {value!r}")
            time.sleep(0.001)
        return time.perf_counter()


@contextmanager
def running_moodle(*, paced: bool) -> Iterator[Moodle]:
    """A Moodle as fast as the one that was measured (ground truth §9), or as fast as this machine."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, paced), daemon=True)
    process.start()
    try:
        yield Moodle(process, ours)
    finally:
        ours.send(("stop", ()))
        process.join(20)


class _Desk:
    """Answers the measuring process, on the other side of the pipe."""

    def __init__(self, moodle: SimulatedMoodle) -> None:
        self._moodle = moodle
        self.empty()

    def empty(self) -> None:
        site = self._moodle.site
        with site.lock:
            for number in [number for number in site.users if number > 3]:
                del site.users[number]
            site.add_user(CANARY, id=FIRST_USER_ID - 1, firstname="Ca", lastname="Nary", email="canary@univ.example")
            site.next_user_id(FIRST_USER_ID)

    def fill(self, count: int) -> None:
        for index in range(count):
            figure = Figure(index)
            self._moodle.site.add_user(
                figure.username,
                id=figure.moodle_id,
                auth="cas",
                firstname=figure.given_name,
                lastname=figure.family_name,
                email=figure.email,
                idnumber=figure.idnumber,
            )

    def calls(self) -> list[str]:
        made, self._moodle.calls[:] = list(self._moodle.calls), []
        return made

    def field(self, username: str, name: str) -> object:
        user = self._moodle.site.user(username)
        return getattr(user, name, None)


def _serve(pipe: Connection, paced: bool) -> None:
    moodle = SimulatedMoodle(SimulatorOptions(token=TOKEN, pace=Pace() if paced else None))
    with moodle.serve() as handle:
        desk = _Desk(moodle)
        pipe.send(handle.url)
        while True:
            question, values = pipe.recv()
            if question == "stop":
                return
            pipe.send(getattr(desk, question)(*values))
