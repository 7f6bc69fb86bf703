"""The servers that are measured: started as subprocesses on free loopback ports, with their CPU and memory read."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import requests

from benchmarks.load import Target

SERVICE = "https://moodle.example.org/login/index.php?authCAS=CAS"
USER, PASSWORD = "ext.bench", "Passw0rd!perf"
BIN = Path(sys.executable).parent
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class Running:
    """A server with its processes."""

    target: Target
    process: subprocess.Popen[bytes]
    start_seconds: float
    """From exec to the first answer."""
    config: Path | None = None
    """The bridge's settings file."""

    def processes(self) -> list[int]:
        """The master and everything below it."""
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            with suppress(OSError):
                todo += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return found

    def cpu_seconds(self) -> float:
        total = 0
        for pid in self.processes():
            with suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
        return total / TICK

    def worker_mib(self) -> list[float]:
        """Resident memory of each worker."""
        sizes = []
        for pid in self.processes()[1:]:
            with suppress(OSError):
                sizes.append(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 2**20)
        return sorted(sizes)


@contextmanager
def _served(target: Target, command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[Running]:
    started = time.perf_counter()
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait(target, process, folder)
        yield Running(target, process, time.perf_counter() - started)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(target: Target, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(OSError, requests.RequestException):
            requests.get(target.base + target.login, timeout=5)
            return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise RuntimeError((folder / "server.log").read_text()[-3000:])


@contextmanager
def bridge(
    name: str,
    database_url: str | None = None,
    *,
    options: tuple[str, ...] = (),
    throttle: str = 'campus_prefixes = ["127.0.0.0/8"]',
    more: str = "",
) -> Iterator[Running]:
    """The bridge as `lms-bridge serve` runs it; `options` are the command's, `throttle` and `more` go into its file."""
    folder = Path(tempfile.mkdtemp(prefix="bench-bridge-"))
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    config = folder / "lms-bridge.toml"
    config.write_text(
        f"""
public_url = "{base}"
secret_keys = ["{secrets.token_hex(32)}"]
database_url = "{database_url or f"sqlite:///{folder}/bridge.db"}"
log_level = "warning"
ticket_seconds = 300
[institution]
help_email = "help@univ.example"
[mail]
host = "127.0.0.1"
sender = "noreply@univ.example"
[throttle]
{throttle}
[[upstreams]]
issuer = "sel"
cas_url = "https://cas.univ.example/cas"
[[services]]
name = "moodle"
label = {{ fr = "Moodle", en = "Moodle" }}
url = "https://moodle.example.org/login/index.php"
gated = false
attributes = {{ displayName = "displayName" }}
{more}
"""
    )
    command = [str(BIN / "lms-bridge"), "--config", str(config)]
    subprocess.run([*command, "db", "upgrade"], check=True, capture_output=True)
    subprocess.run(
        [
            *command,
            *["accounts", "create", USER, "--email", "bench@mail.example", "--given-name", "B", "--family-name", "N"],
        ],
        check=True,
        capture_output=True,
        input=PASSWORD.encode(),
    )
    target = Target(
        name=name,
        base=base,
        login="/signin/local",
        sso="/cas/login",
        validate="/cas/p3/serviceValidate",
        service=SERVICE,
        user=USER,
        password=PASSWORD,
        user_field="identifier",
        password_field="password",
    )
    try:
        with _served(target, [*command, "serve", "--bind", f"127.0.0.1:{port}", *options], folder, {}) as running:
            running.config = config
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


DJANGO_SETTINGS = """
import os
SECRET_KEY = "benchmark-only-" + "x" * 40
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = [
    "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "django.contrib.messages", "django.contrib.staticfiles", "cas_server",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware", "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware", "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware", "django.middleware.locale.LocaleMiddleware",
]
ROOT_URLCONF = "urls"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {
    "context_processors": ["django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
                           "django.contrib.messages.context_processors.messages"]}}]
DATABASES = {"default": __DATABASE__}
STATIC_URL = "/static/"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
CAS_NEW_VERSION_HTML_WARNING = False
CAS_NEW_VERSION_EMAIL_WARNING = False
CAS_TICKET_VALIDITY = 300
"""

SQLITE_WAL = """{
    "ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DCS_FOLDER"] + "/db.sqlite3", "CONN_MAX_AGE": None,
    "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"}}"""


def postgresql_settings(url: str) -> str:
    """Django's form of an SQLAlchemy PostgreSQL URL (host, port, user, database; no password on loopback)."""
    match = re.fullmatch(r"postgresql\+psycopg://(\w+)@([\d.]+):(\d+)/(\w+)", url)
    if match is None:
        raise ValueError(url)
    user, host, port, name = match.groups()
    return (
        f'{{"ENGINE": "django.db.backends.postgresql", "NAME": "{name}", "USER": "{user}", "HOST": "{host}", '
        f'"PORT": {port}, "CONN_MAX_AGE": None}}'
    )


@contextmanager
def django_cas_server(name: str, database: str = SQLITE_WAL, *, threads: int = 4) -> Iterator[Running]:
    """django-cas-server on gunicorn gthread, two workers, tuned as far as settings go."""
    folder = Path(tempfile.mkdtemp(prefix="bench-dcs-"))
    port = free_port()
    (folder / "bench_settings.py").write_text(DJANGO_SETTINGS.replace("__DATABASE__", database))
    (folder / "urls.py").write_text(
        "from django.urls import include, path\n"
        'urlpatterns = [path("cas/", include("cas_server.urls", namespace="cas_server"))]\n'
    )
    (folder / "wsgi.py").write_text(
        "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n"
    )
    (folder / "fill.py").write_text(
        "import django; django.setup()\n"
        "from django.core.management import call_command; call_command('migrate', verbosity=0)\n"
        "from django.contrib.auth.models import User\n"
        "from cas_server.models import ServicePattern\n"
        f"User.objects.create_user({USER!r}, 'bench@mail.example', {PASSWORD!r})\n"
        "ServicePattern.objects.create(pos=1, name='moodle', pattern='^https://moodle\\\\.example\\\\.org/.*$')\n"
    )
    environment = {"DJANGO_SETTINGS_MODULE": "bench_settings", "DCS_FOLDER": str(folder), "PYTHONPATH": str(folder)}
    subprocess.run(
        [sys.executable, "fill.py"], cwd=folder, env=os.environ | environment, check=True, capture_output=True
    )
    target = Target(
        name=name,
        base=f"http://127.0.0.1:{port}",
        login="/cas/login",
        sso="/cas/login",
        validate="/cas/p3/serviceValidate",
        service=SERVICE,
        user=USER,
        password=PASSWORD,
        user_field="username",
        password_field="password",
    )
    command = [str(BIN / "gunicorn"), "--bind", f"127.0.0.1:{port}", "--workers", "2", "--worker-class", "gthread"]
    command += ["--threads", str(threads), "--log-level", "error", "wsgi:application"]
    try:
        with _served(target, command, folder, environment) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)
