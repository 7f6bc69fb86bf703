"""The jobs on several machines: the messages between them, by Celery on RabbitMQ or Redis.

A message holds the name of a job and nothing else. The rows are the truth: a message that is lost, repeated or late
costs the wait for a sweep or a look at nothing. So there is no result back end, and the broker writes nothing to disk.

Nobody waits for a broker: wake-ups leave by a thread of their own, and what cannot be sent is dropped.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any

import structlog
from celery import Celery

from external_accounts.database import Waiting
from lms_bridge.jobs.schedule import Job, woken
from lms_bridge.settings.sections import Jobs

log = structlog.get_logger(__name__)

QUEUE = "lms-bridge"
BROKER_SECONDS = 3
"""To connect, and for each answer."""
CLOSE_SECONDS = 5
REDELIVER_SECONDS = 300
"""Redis: a message not acknowledged for so long goes to another worker too. RabbitMQ sees the connection end."""


def task_name(job: Job) -> str:
    return f"lms_bridge.{job.name}"


def celery_app(jobs: Jobs) -> Celery:
    """Celery as we use it, for senders and workers. `jobs` are the settings."""
    app = Celery("lms_bridge", broker=jobs.broker_url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        broker_connection_max_retries=None,
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=BROKER_SECONDS,
        broker_transport_options={"visibility_timeout": REDELIVER_SECONDS},
        # A message is acknowledged when its round is over: what a killed worker had in hand goes to another one.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_default_delivery_mode="transient",
        task_default_queue=QUEUE,
        task_ignore_result=True,
        task_serializer="json",
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_prefetch_multiplier=2,
        worker_redirect_stdouts=False,
    )
    return app


class Sender:
    """Sends messages over one connection, for one thread. Each call comes to its end within seconds."""

    def __init__(self, jobs: Jobs) -> None:
        self._app = celery_app(jobs)
        self._app.conf.broker_transport_options |= {
            "confirm_publish": True,  # RabbitMQ: a broker that is gone would swallow the first message unnoticed
            "read_timeout": BROKER_SECONDS,
            "write_timeout": BROKER_SECONDS,
            "socket_timeout": BROKER_SECONDS,
            "socket_connect_timeout": BROKER_SECONDS,
        }
        self._connection: Any = None

    def send(self, names: Collection[str]) -> bool:
        """Ask for the tasks of these names; says whether the broker has taken them."""
        # The connection may have died since the last message: then a new one, once.
        for fresh in (False, True) if self._connection else (True,):
            try:
                if fresh:
                    self._connection = self._app.connection_for_write()
                    self._connection.ensure_connection(max_retries=1, interval_start=0, timeout=BROKER_SECONDS)
                for name in names:
                    self._app.send_task(name, connection=self._connection, retry=False)
            except Exception as error:  # noqa: BLE001 (whatever two libraries and the system raise, it is one answer)
                self.close()
                reason = type(error).__name__
            else:
                return True
        log.debug("jobs.message", outcome="dropped", error=reason)
        return False

    def close(self) -> None:
        if self._connection is not None:
            self._connection.collect(socket_timeout=1)
            self._connection = None


class Wakeups:
    """The wake-ups of one process. Its thread begins with the first one: after the server has forked."""

    def __init__(self, jobs: Jobs) -> None:
        self._sender = Sender(jobs)
        self._away = False
        self._wanted: set[str] = set()
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def wake(self, kinds: Waiting) -> None:
        """Rows of these kinds were just committed. Returns at once."""
        with self._changed:
            self._wanted.update(task_name(job) for job in woken(kinds))
            if self._thread is None and self._wanted:
                self._thread = threading.Thread(target=self._loop, name="wakeups", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Send what is left, within `CLOSE_SECONDS`, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def _loop(self) -> None:
        while names := self._next():
            taken = self._sender.send(sorted(names))
            if taken is self._away:  # one line when it goes and one when it comes back, not one for each commit
                self._away = not taken
                log.log(20 if taken else 30, "jobs.broker", outcome="back" if taken else "away: wake-ups are dropped")
        self._sender.close()

    def _next(self) -> set[str]:
        """The tasks to ask for now, as soon as there are some; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._wanted or self._closing)
            names, self._wanted = self._wanted, set()
            return names
