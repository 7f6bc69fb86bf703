"""The demo: bridge, simulated UPdago, university CAS and mailbox, in one process on loopback."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lms_bridge import migrations
from lms_bridge.app import create_app
from lms_bridge.demo.accounts import (
    ACCOUNTS,
    CANARY,
    DOMAIN,
    described,
    fill_bridge,
    fill_directory,
    fill_embedded_directory,
    former_hashes,
)
from lms_bridge.demo.mailbox import Mailbox
from lms_bridge.demo.sel import SelDirectory, SimulatedSel
from lms_bridge.demo.server import LoopbackServer
from lms_bridge.demo.settings_file import settings_text
from lms_bridge.jobs.embedded import Runner
from lms_bridge.ops import logs
from lms_bridge.ops.stop_signals import StopSignals
from lms_bridge.runtime import build_runtime
from lms_bridge.settings import load
from moodle_ws.simulator import SimulatedMoodle, SimulatorOptions

HOST = "127.0.0.1"
DEFAULT_PORT = 8400


class PortsTaken(Exception):
    """One of the four ports is in use."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The four neighbouring ports."""

    bridge: int

    @property
    def urls(self) -> dict[str, str]:
        names = ("bridge", "moodle", "sel", "mailbox")
        return {name: f"http://{HOST}:{self.bridge + offset}" for offset, name in enumerate(names)}


class Demo:
    """The running demo. `start` and `stop`; nothing is left behind."""

    def __init__(self, port: int = DEFAULT_PORT, data: Path | None = None) -> None:
        """`data` keeps the demo's files; without it they live in a fresh folder that is removed at the end."""
        self.ports = Ports(port)
        self.urls = self.ports.urls
        self.token = secrets.token_hex(16)
        self._stack = ExitStack()
        self._data = data
        self._former_hashes: dict[str, str] = {}
        self.folder = Path()
        self.sel: SimulatedSel
        self.moodle: SimulatedMoodle
        self.mailbox: Mailbox

    def start(self) -> None:
        """Start everything, in the order of who needs whom.

        Raises:
            PortsTaken: with the port, before anything was started.
        """
        _check_ports(self.ports)
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()

    def _start(self, stack: ExitStack) -> None:
        self.folder = self._folder(stack)
        self.mailbox = Mailbox(self.document)
        self._run(stack, self.mailbox.start, self.mailbox.stop)
        self._serve(stack, self.mailbox.wsgi_app, 3)
        directory = SelDirectory()
        fill_directory(directory)
        self.sel = SimulatedSel(directory, self.urls["sel"])
        self._serve(stack, self.sel.wsgi_app, 2)
        (self.folder / "returned").mkdir(exist_ok=True)
        config = self.folder / "lms-bridge.toml"
        config.write_text(
            settings_text(self.urls, self.folder, smtp_port=self.mailbox.smtp_port, moodle_token=self.token),
            encoding="utf-8",
        )
        config.chmod(0o600)
        options = SimulatorOptions(
            url=self.urls["moodle"], token=self.token, cas_url=f"{self.urls['bridge']}/cas", multiauth=False
        )
        self.moodle = SimulatedMoodle(options)
        self.moodle.site.add_user(CANARY, firstname="Canari", lastname="Témoin", email=f"canari@{DOMAIN}")
        self._serve(stack, self.moodle.wsgi_app, 1)
        settings = load(config)
        logs.configure(settings.log_level, settings.log_format)
        runtime = build_runtime(settings)
        stack.callback(runtime.close)
        migrations.upgrade(runtime.database)
        fill_bridge(runtime)
        fill_embedded_directory(runtime, self._former_hashes)
        directory.put_behind(runtime.directories["sel"], described)
        app = create_app(runtime)
        runner = Runner(runtime)
        self._run(stack, runner.start, runner.stop)
        self._serve(stack, app.wsgi_app, 0)

    def stop(self) -> None:
        self._stack.close()

    def document(self) -> dict[str, Any]:
        """What `/api/demo` answers."""
        return {
            "urls": self.urls,
            "moodle_token": self.token,
            "accounts": [person.public() for person in ACCOUNTS],
        }

    def _folder(self, stack: ExitStack) -> Path:
        if self._data is not None:
            self._data.mkdir(parents=True, exist_ok=True)
            # The simulated Moodle begins anew, so the bridge does too; only passwords that people chose are kept.
            self._former_hashes = former_hashes(self._data / "lms-bridge.db")
            for name in ("lms-bridge.db", "lms-bridge.db-wal", "lms-bridge.db-shm"):
                (self._data / name).unlink(missing_ok=True)
            return self._data.resolve()
        folder = Path(tempfile.mkdtemp(prefix="lms-bridge-demo-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        return folder

    def _serve(self, stack: ExitStack, app: Any, offset: int) -> None:
        server = LoopbackServer(app, self.ports.bridge + offset)
        self._run(stack, server.start, server.stop)

    @staticmethod
    def _run(stack: ExitStack, start: Callable[[], None], stop: Callable[[], None]) -> None:
        stack.callback(stop)
        start()


def _check_ports(ports: Ports) -> None:
    for port in range(ports.bridge, ports.bridge + 4):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                raise PortsTaken(
                    f"Port {port} is in use. Stop what uses it, or choose other ports: LMS_BRIDGE_DEMO_PORT=8500"
                ) from None


def run(port: int | None, data: Path | None, *, as_json: bool = False) -> None:
    """`lms-bridge demo`: start, say where everything is, wait for Ctrl-C."""
    demo = Demo(port or int(os.environ.get("LMS_BRIDGE_DEMO_PORT", DEFAULT_PORT)), data)
    told = StopSignals()
    demo.start()
    try:
        sys.stdout.write(json.dumps(demo.document()) + "\n" if as_json else _welcome(demo))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        told.wait()
    finally:
        demo.stop()


def _welcome(demo: Demo) -> str:
    names = {
        "bridge": "LMS Bridge",
        "moodle": "UPdago (simulé)",
        "sel": "SEL, le CAS de l’université (simulé)",
        "mailbox": "Boîte aux lettres",
    }
    lines = ["", *(f"  {demo.urls[key]}  {label}" for key, label in names.items()), ""]
    width = max(len(person.identifier) for person in ACCOUNTS)
    for person in ACCOUNTS:
        password = person.password or "(pas encore choisi)"
        lines.append(f"  {person.case:<20} {person.door:<6} {person.identifier:<{width}}  {password}")
    config = shlex.quote(f"{demo.folder}/lms-bridge.toml")  # people paste it
    return "\n".join([*lines, "", f"  lms-bridge --config {config} …", "  Ctrl-C arrête tout.", "", ""])
