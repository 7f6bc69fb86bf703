"""The worker's beat: it asks others for the sweeps, and sweeps itself while messages do not get through."""

from __future__ import annotations

from collections.abc import Collection
from types import SimpleNamespace

import pytest

from lms_bridge.jobs import worker
from lms_bridge.jobs.distributed import celery_app
from lms_bridge.jobs.worker import DEAF_SECONDS, Ears, Sweeps
from lms_bridge.settings.sections import Jobs

JOBS = Jobs(broker_url="redis://127.0.0.1:1/0")
ENTRY = SimpleNamespace(task="lms_bridge.deliver_mails")


class Post:
    """A broker's end of the line: `taken` says whether it is there."""

    def __init__(self, *, taken: bool) -> None:
        self.taken = taken
        self.asked: list[str] = []

    def send(self, names: Collection[str]) -> bool:
        self.asked += names
        return self.taken


class Monotonic:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> Monotonic:
    found = Monotonic()
    monkeypatch.setattr(worker, "time", found)
    return found


def sweeps(post: Post, ears: Ears, here: list[str]) -> Sweeps:
    return Sweeps(app=celery_app(JOBS), lazy=True, sender=post, ears=ears, here=here.append)


@pytest.mark.parametrize(
    ("taken", "heard_ago", "itself"),
    [
        (True, 1, False),
        (True, DEAF_SECONDS + 1, True),  # the broker is back, and Celery does not listen yet
        (True, None, True),  # just started
        (False, 1, True),
        (False, None, True),
    ],
)
def test_a_worker_sweeps_itself_while_messages_do_not_get_through(
    passing: Monotonic, taken: bool, heard_ago: float | None, itself: bool
) -> None:
    post, ears, here = Post(taken=taken), Ears(), list[str]()
    if heard_ago is not None:
        ears.hear()
        passing.now += heard_ago
    sweeps(post, ears, here).apply_entry(ENTRY)
    assert post.asked == [ENTRY.task]
    assert here == ([ENTRY.task] if itself else [])


def test_a_message_is_heard_before_its_round_begins(passing: Monotonic) -> None:
    ears = Ears()
    deaf: list[bool] = []
    turn = SimpleNamespace(take=lambda: deaf.append(ears.deaf))
    assert ears.deaf
    ears.on_message(turn)()  # type: ignore[arg-type]
    assert deaf == [False]
