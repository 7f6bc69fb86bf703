"""Throw-away message brokers on free loopback ports, made of the installed programs: RabbitMQ and Redis.

Nothing of the machine's own brokers is touched: data and Erlang's cookie live in a temporary folder, no port is open
beyond loopback, and each program is stopped by its process id.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import kombu
import pytest

from tests.outside_programs import require, require_program
from tests.peers.programs import reserved_port

START_SECONDS = 60
STOP_SECONDS = 30
QUEUE = "lms-bridge"


class Broker:
    """A broker that tests stop and start; whatever it held is gone when it is started again."""

    def __init__(self, url: str, ports: dict[str, int]) -> None:
        self.url = url
        self._ports = ports
        self._running: list[subprocess.Popen[bytes]] = []
        self._folder: Path | None = None

    def start(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="lms-bridge-broker-"))
        self._running += self._launch(self._folder, self._ports)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            log = (self._folder / "log").read_text(errors="replace")[-3000:]
            assert self._running[-1].poll() is None, f"the broker ended:\n{log}"
            assert time.monotonic() < deadline, f"the broker does not answer:\n{log}"
            time.sleep(0.1)

    def stop(self) -> None:
        while self._running:  # Erlang's port mapper, started first, last
            process = self._running.pop()
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def waiting(self) -> int:
        """How many messages wait in the queue."""
        with self._connection() as connection:
            return int(self._queue(connection).message_count)

    def forget(self) -> None:
        """Drop every message that waits."""
        with self._connection() as connection:
            self._queue(connection)
            connection.default_channel.queue_purge(QUEUE)

    def _queue(self, connection: Any) -> Any:
        """Makes the queue if need be, exactly as Celery does: RabbitMQ refuses another form of it for ever."""
        return connection.default_channel.queue_declare(QUEUE, durable=True, auto_delete=False)

    def _connection(self) -> Any:
        return kombu.Connection(self.url, connect_timeout=5)

    def _answers(self) -> bool:
        try:
            with self._connection() as connection:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=5)
        except kombu.exceptions.OperationalError:
            return False
        return True

    def _launch(self, folder: Path, ports: dict[str, int]) -> list[subprocess.Popen[bytes]]:
        raise NotImplementedError


class RedisServer(Broker):
    def _launch(self, folder: Path, ports: dict[str, int]) -> list[subprocess.Popen[bytes]]:
        options = {"port": ports["broker"], "bind": "127.0.0.1", "dir": folder, "save": "", "appendonly": "no"}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        return [_run([shutil.which("redis-server") or "", *words], folder)]


class RabbitmqServer(Broker):
    # Not the script on PATH, which changes to the system's own data folder.
    PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")

    def _launch(self, folder: Path, ports: dict[str, int]) -> list[subprocess.Popen[bytes]]:
        config, plugins = folder / "rabbitmq.conf", folder / "enabled_plugins"
        config.write_text(f"listeners.tcp.1 = 127.0.0.1:{ports['broker']}\nlog.console = true\nlog.file = false\n")
        plugins.write_text("[].\n")
        mapper = {"ERL_EPMD_PORT": str(ports["mapper"]), "ERL_EPMD_ADDRESS": "127.0.0.1"}
        environment = mapper | {
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "RABBITMQ_ALLOW_INPUT": "1",  # the start script turns into the server, so that a signal reaches it
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_DIST_PORT": str(ports["nodes"]),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_LOG_BASE": str(folder / "logs"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_NODENAME": f"test{ports['broker']}@localhost",
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-noinput -kernel inet_dist_use_interface {127,0,0,1}",
        }
        user = None
        if os.geteuid() == 0:
            user = pwd.getpwnam("rabbitmq").pw_name
            for path in (folder, config, plugins):
                shutil.chown(path, user, user)
        names = [_run([shutil.which("epmd") or ""], folder, mapper, user)]
        return [*names, _run([self.PROGRAM], folder, environment, user)]


def _run(
    command: list[str | Path], folder: Path, environment: dict[str, str] | None = None, user: str | None = None
) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            env={"PATH": os.environ["PATH"], **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            user=user,
            group=user,
            extra_groups=[] if user else None,
        )


@contextmanager
def _running(kind: type[Broker], url: str) -> Iterator[Broker]:
    with ExitStack() as held:
        ports = {name: held.enter_context(reserved_port()) for name in ("broker", "mapper", "nodes")}
        broker = kind(url.format(port=ports["broker"]), ports)
        held.callback(broker.stop)
        broker.start()
        yield broker


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[Broker]:
    """RabbitMQ for this process's tests: skipped, or failed where it is demanded, when it is missing."""
    require("RabbitMQ (rabbitmq-server)", RabbitmqServer.PROGRAM)
    with _running(RabbitmqServer, "amqp://guest:guest@127.0.0.1:{port}//") as broker:
        yield broker


@pytest.fixture(scope="session")
def redis() -> Iterator[Broker]:
    """Redis, as above."""
    require_program("Redis (redis-server)", "redis-server")
    with _running(RedisServer, "redis://127.0.0.1:{port}/0") as broker:
        yield broker


@pytest.fixture(params=["rabbitmq", "redis"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each of the two, without messages."""
    found: Broker = request.getfixturevalue(request.param)
    found.forget()
    return found
