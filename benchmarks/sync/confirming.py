"""From the click that confirms an address to the person's being open in Moodle, over HTTP."""

from __future__ import annotations

import html
import re
import statistics
import subprocess
import time
from contextlib import suppress
from datetime import timedelta

import requests

from benchmarks.servers import free_port
from benchmarks.sync.bridge import Bridge, command, filled_bridge
from benchmarks.sync.moodle import Moodle
from benchmarks.sync.one_account import percentile
from benchmarks.sync.table import Table
from external_accounts import audit, proofs
from external_accounts.accounts import Person
from external_accounts.addresses import parse_address, primary_address
from external_accounts.identities import create_local_account
from external_accounts.proof_keys import proof_keys

_CSRF = re.compile(r'name="csrf_token" value="([^"]+)"')


def measure(moodle: Moodle, what: str, table: Table, *, size: int, clicks: int, postgresql: str | None) -> None:
    """One person after the other; the bridge as `lms-bridge serve` runs it without options."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with filled_bridge(moodle, size, mirrored=True, public_url=address, postgresql=postgresql) as bridge:
        links = [_unconfirmed(bridge, f"ext.new{number}") for number in range(clicks)]
        with command(bridge, "serve", "--bind", f"127.0.0.1:{port}") as process:
            _wait(address, process)
            moodle.calls()
            answered: list[float] = []
            opened: list[float] = []
            for number, link in enumerate(links):
                browser = requests.Session()
                page = browser.get(f"{address}/account/confirm/{link}", timeout=20)
                [token] = _CSRF.findall(page.text)
                time.sleep(number / clicks)  # the jobs go round once a second: meet them at every moment
                clicked = time.perf_counter()
                answer = browser.post(page.url, data={"csrf_token": html.unescape(token)}, timeout=20)
                answered.append(time.perf_counter() - clicked)
                assert answer.status_code == 200, answer.text
                opened.append(moodle.wait_for(f"ext.new{number}", "suspended", False) - clicked)
                browser.close()
            asked = moodle.calls().total()
    for name, seconds in (("answer to the click", answered), ("click to Moodle open", opened)):
        table.add(
            f"{name}, {size} accounts, {what}",
            requests=asked / clicks,
            p50_ms=statistics.median(seconds) * 1000,
            p95_ms=percentile(seconds, 0.95) * 1000,
        )


def _unconfirmed(bridge: Bridge, username: str) -> str:
    """A person whose address waits to be confirmed; returns the token of the link in the mail."""
    runtime = bridge.runtime
    now = runtime.clock()
    with runtime.database.begin() as session:
        account = create_local_account(
            session,
            username=username,
            profile="learner",
            person=Person("Noé", "Veau"),
            email=parse_address(f"{username}@mail.example"),
            password_hash="nobody signs in with it",
            now=now,
            origin=audit.SYSTEM,
        )
        address = primary_address(account)
        assert address is not None
        proof, _ = proofs.request_proof(
            session,
            runtime.keys,
            proofs.about(address),
            purpose=proofs.CONFIRM_ADDRESS,
            lifetime=timedelta(hours=1),
            service=None,
            locale="fr",
            now=now,
        )
        return proof_keys(runtime.keys, proof).link_token


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(requests.RequestException):
            if requests.get(f"{address}/readyz", timeout=5).ok:
                return
        time.sleep(0.05)
    raise RuntimeError("the bridge does not answer")
