"""The bridge as it is shipped: `lms-bridge serve` in processes of its own, with a settings file."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from lms_bridge.settings import Settings

START_SECONDS = 60


@contextmanager
def served_bridge(folder: Path, values: Mapping[str, Any], *, workers: int = 2) -> Iterator[str]:
    """`served_process`, when only its address matters."""
    with served_process(folder, values, workers=workers) as (url, _):
        yield url


@contextmanager
def served_process(
    folder: Path, values: Mapping[str, Any], *, workers: int = 2
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Serve a bridge with the settings `values` (whose `public_url` is set here); yield its address and its process.

    Background work is left out, so that tests decide what happens when.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    config, log = folder / "lms-bridge.toml", folder / "serve.log"
    config.write_text(to_toml({**values, "public_url": url}), encoding="utf-8")
    command = [sys.executable, "-c", "from lms_bridge.cli import main; main()", "--config", str(config)]
    command += ["serve", "--bind", f"127.0.0.1:{port}", "--workers", str(workers), "--no-jobs"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LMS_BRIDGE_")}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        _wait_until_it_answers(url, process, log)
        yield url, process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=30)


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            requests.get(f"{url}/healthz", timeout=5)
        except requests.ConnectionError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"the bridge did not start:\n{log.read_text(errors='replace')[-3000:]}")


def operator_file(settings: Settings, folder: Path, **more: Any) -> Path:
    """The settings of a running bridge on SQLite as an operator's commands read them; `more` replaces entries."""
    values = {
        "public_url": settings.public_url,
        "secret_keys": [key.get_secret_value() for key in settings.secret_keys],
        "database_url": settings.database_url,
        "institution": {"help_email": "aide@univ.example"},
        "mail": {"host": "127.0.0.1", "sender": "noreply@univ.example"},
    }
    path = folder / "operator.toml"
    path.write_text(to_toml(values | more), encoding="utf-8")
    return path


def to_toml(values: Mapping[str, Any]) -> str:
    """TOML of settings: tables and lists of tables one level deep, everything below inline."""
    plain = {name: value for name, value in values.items() if not isinstance(value, dict) and not _is_tables(value)}
    lines = [f"{name} = {_inline(value)}" for name, value in plain.items()]
    for name, value in values.items():
        if name in plain:
            continue
        for table in value if isinstance(value, list) else [value]:
            lines.append(f"[[{name}]]" if isinstance(value, list) else f"[{name}]")
            lines += [f"{key} = {_inline(item)}" for key, item in table.items()]
    return "\n".join(lines) + "\n"


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
