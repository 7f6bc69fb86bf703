"""A process that dies at a numbered point: before or after a transaction, before or after a call that writes to Moodle.

From the point on the process is dead: nothing it still tries reaches database or Moodle, as after kill -9.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy.orm import Session

from external_accounts.database import Database
from moodle_ws.client import MoodleClient


class Killed(BaseException):
    """The process is no more."""


class Mortality:
    """Kills the process at a numbered point."""

    def __init__(self, at: int) -> None:
        self._at = at
        self.points = 0
        self.dead = False

    def point(self) -> None:
        self.points += 1
        self.dead = self.dead or self.points == self._at
        if self.dead:
            raise Killed


@contextmanager
def dying(monkeypatch: pytest.MonkeyPatch, at: int) -> Iterator[Mortality]:
    """Within, database and Moodle are used by a process that dies at point number `at`."""
    fate = Mortality(at)
    begin, call = Database.begin, MoodleClient.call

    @contextmanager
    def mortal_begin(self: Database) -> Iterator[Session]:
        fate.point()
        with begin(self) as session:
            yield session
        fate.point()

    def mortal_call(self: MoodleClient, function: str, parameters: Any = None, *, read: bool) -> Any:
        if read:
            if fate.dead:
                raise Killed
            return call(self, function, parameters, read=read)
        fate.point()
        answer = call(self, function, parameters, read=read)
        fate.point()
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(Database, "begin", mortal_begin)
        patch.setattr(MoodleClient, "call", mortal_call)
        yield fate


Mortally = Callable[[Callable[[], Any]], bool]


def until_survived(monkeypatch: pytest.MonkeyPatch, trial: Callable[[Mortally], None]) -> int:
    """Run `trial` with death at point 1, 2, 3 …, until there is no such point any more. Returns how many there were.

    The trial is given a function that runs its argument mortally, and says whether it died.
    """
    for at in itertools.count(1):
        died = False

        def mortally(work: Callable[[], Any], at: int = at) -> bool:
            nonlocal died
            with dying(monkeypatch, at) as fate:
                try:
                    work()
                except Killed:
                    died = True
            assert died == fate.dead
            return died

        trial(mortally)
        if not died:
            return at - 1
    raise AssertionError
