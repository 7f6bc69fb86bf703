"""A walk through the whole product at debug level, with secrets one can recognise: none of them is written down."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import requests

from lms_bridge.demo.mail_sink import MailSink
from tests.bridge_under_test import APP, Browser, forms
from tests.lms_bridge.mailing import code_in, link_in

CLI = [sys.executable, "-c", "from lms_bridge.cli import main; main()"]
PASSWORD = "Recognisable-Passphrase-7391"
WRONG = "Distinctive-Wrong-Password-7391"
NEW = "Another-Unmistakable-Phrase-1937"
KEY = "distinctive-signing-key-" + "7" * 32
EMAIL = "distinctive.lovelace@mail.example"
SMTP_PASSWORD = "distinctive-smtp-password"
FORGED = 'ext.ada\r\n{"event": "forged line"}\r\n'

SETTINGS = """
public_url = "{url}"
secret_keys = ["{key}"]
database_url = "sqlite:///{folder}/bridge.db"
log_level = "debug"

[institution]
help_email = "aide@univ.example"

[mail]
host = "127.0.0.1"
port = {smtp}
security = "none"
sender = "noreply@univ.example"
password = "{smtp_password}"

[[services]]
name = "app"
label = {{ fr = "Appli" }}
url = "{app}"
"""


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port: int = probe.getsockname()[1]
        return port


def wait_for(what: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/readyz", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


@contextmanager
def served(folder: Path, smtp: int) -> Iterator[tuple[str, Path]]:
    """`lms-bridge serve` as people run it; yields its address and the file with everything it writes."""
    url = f"http://127.0.0.1:{free_port()}"
    config, log = folder / "bridge.toml", folder / "log"
    config.write_text(
        SETTINGS.format(url=url, key=KEY, folder=folder, smtp=smtp, smtp_password=SMTP_PASSWORD, app=APP), "utf-8"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LMS_BRIDGE_")}
    options = {"env": clean | {"LMS_BRIDGE_CONFIG": str(config)}}
    with log.open("wb") as output:
        subprocess.run([*CLI, "db", "upgrade"], check=True, stdout=output, stderr=output, timeout=60, **options)  # type: ignore[call-overload]
        subprocess.run(
            [*CLI, "accounts", "create", "ext.ada", "--email", EMAIL, "--given-name", "Ada", "--family-name", "L"],
            input=f"{PASSWORD}\n".encode(),
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=output,
            timeout=60,
            **options,
        )  # type: ignore[call-overload]
        server = subprocess.Popen(
            [*CLI, "serve", "--bind", url.removeprefix("http://"), "--workers", "1"],
            stdout=output,
            stderr=output,
            **options,  # type: ignore[call-overload]
        )
        try:
            wait_for(lambda: answers(url) or server.poll() is not None)
            yield url, log
        finally:
            server.terminate()
            server.wait(timeout=30)


def send_raw(url: str, request: bytes) -> None:
    """A request no client library would send."""
    where = urlsplit(url)
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=20) as connection:
        connection.sendall(request)
        connection.settimeout(5)
        try:
            while connection.recv(65536):
                pass
        except OSError:
            return


def test_no_password_ticket_code_link_address_or_cookie_is_ever_written(tmp_path: Path) -> None:
    """TOK-08, PRV-04, SES-06, SES-07: the log tells what happened, and nothing that opens a door."""
    sink = MailSink(lambda: datetime.now(UTC))
    sink.start()
    try:
        with served(tmp_path, sink.port) as (url, log):
            secrets = walk(url, sink)
        written = log.read_text("utf-8")
    finally:
        sink.stop()
    lines = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
    seen = {(line["event"], line.get("path")) for line in lines}
    # It was written at all, and each line is whole.
    assert ("request", "/signin/local") in seen
    for way in ("confirm", "forgot", "reset"):
        assert ("request", f"/account/{way}/…") in seen
    assert "mail.delivery" in {event for event, _ in seen}
    assert "forged line" not in {event for event, _ in seen}
    assert not [line for line in written.splitlines() if line.startswith('{"event": "forged')]
    for name, secret in secrets.items():
        assert secret
        assert secret not in written, name


def walk(url: str, sink: MailSink) -> dict[str, str]:
    """Through every page that handles a secret; returns the secrets by name."""
    browser = Browser(url)
    for identifier, password in ((FORGED, WRONG), ("ext.ada", WRONG), (EMAIL, WRONG)):
        browser.get("/signin/local")
        assert browser.submit(identifier=identifier, password=password, remember="1").status_code == 401
    browser.sign_in("ext.ada", PASSWORD, service=APP)
    waiting = browser.submit().url
    wait_for(lambda: bool(sink.mails()))
    mail = sink.mails()[0]
    code, link = code_in(mail), link_in(mail)
    browser.submit(code="WRNG-CODE")
    browser.get(link)
    browser.get(f"{link}?x=1")
    browser.get(f"{waiting}/state")
    browser.get(waiting)
    browser.submit(code=code)
    browser.get(link)
    form = forms(browser.get("/signin/local?renew=true"))[0][2]["csrf_token"]
    ticket, unused = browser.ticket(), browser.ticket()
    for path in ("/cas/p3/serviceValidate", "/cas/serviceValidate", "/cas/validate", "/cas/nowhere"):
        requests.get(url + path, params={"service": APP, "ticket": ticket}, timeout=20)
    requests.get(f"{url}/cas/p3/serviceValidate", params={"service": "https://x.example", "ticket": unused}, timeout=20)
    requests.post(f"{url}/cas/samlValidate?TARGET={APP}", data=f"<x>{ticket}</x>", timeout=20)
    requests.get(f"{url}/nowhere/{EMAIL}", timeout=20)
    requests.post(f"{url}/signin/local", data={"password": PASSWORD}, timeout=20)
    requests.post(f"{url}/signin/local", data={"password": PASSWORD * 5000}, timeout=20)
    cookies = {cookie.name.rsplit("-", 1)[0].removeprefix("lms-bridge-"): cookie for cookie in browser.session.cookies}
    for request in (
        f"GET /cas/validate?ticket={ticket} HTTP/9.9\r\n\r\n",
        f"GET /cas/validate?ticket={ticket}\r\n\r\n",
        f"G\x01T {urlsplit(link).path} HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nCookie {cookies['session'].value}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nX-\x7f{cookies['session'].value}: {ticket}\r\n\r\n",
        f"POST /signin/local HTTP/1.1\r\nHost: x\r\nContent-Length: {PASSWORD}\r\n\r\n",
    ):
        send_raw(url, request.encode())
    browser.get("/account/sign-out")
    browser.submit()
    found = recover(browser, sink)
    return found | {
        "password": PASSWORD,
        "wrong password": WRONG,
        "key": KEY,
        "SMTP password": SMTP_PASSWORD,
        "address": EMAIL,
        "link": urlsplit(link).path.rpartition("/")[2],
        "waiting page": urlsplit(waiting).path.rpartition("/")[2],
        "code": code,
        "ticket": ticket,
        "unused ticket": unused,
        "form token": form,
        **{f"{name} cookie": cookies[name].value or "" for name in ("session", "device", "form")},
    }


def recover(browser: Browser, sink: MailSink) -> dict[str, str]:
    """Forget the password, and choose another one; returns the secrets on that way."""
    browser.get("/account/forgot")
    waiting = browser.submit(1, email=EMAIL).url
    browser.submit(code="WRNG-CODE")
    wait_for(lambda: "/account/reset/" in sink.mails()[-1].text)
    mail = sink.mails()[-1]
    browser.get(link_in(mail))
    browser.submit(password=WRONG, password_again=NEW)
    browser.submit(password=NEW, password_again=NEW)
    return {
        "new password": NEW,
        "link to a new password": urlsplit(link_in(mail)).path.rpartition("/")[2],
        "its waiting page": urlsplit(waiting).path.rpartition("/")[2],
        "its code": code_in(mail),
    }
