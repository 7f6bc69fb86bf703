"""`python -m benchmarks.self_service`: registrations and resets a second, and what their pages weigh.

The bridge is served as shipped, without its background work, which is measured apart. Asking needs no hash; setting a
password does, so those are given beside what the machine hashes with nothing else to do.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import os
import re
import secrets
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import select

from benchmarks import crowds, load, servers
from benchmarks.__main__ import libsodium, measured, raw_hash_rate
from benchmarks.load import Connection, Figures, hidden_fields
from external_accounts import audit, invitations
from external_accounts.accounts import Person
from external_accounts.addresses import parse_address
from external_accounts.proof_keys import proof_keys
from external_accounts.recovery import RESET_PASSWORD
from external_accounts.registration_steps import CHOOSE_PASSWORD
from external_accounts.schema import Proof
from lms_bridge.jobs import functions
from lms_bridge.ops import logs
from lms_bridge.registration_terms import terms
from lms_bridge.runtime import Runtime, build_runtime
from lms_bridge.settings import load as load_settings

CLIENTS = 8
PEOPLE = 2000
SITE = """
[[sites]]
name = "moodle"
url = "http://127.0.0.1:9"
token = "0123456789abcdef0123456789abcdef"
registration = "moderated"
"""
PAGES = ("/signin/local", "/account/forgot", "/account/register", "/cas/login")
_ASSET = re.compile(r'(?:href|src)="(/(?:static|theme)[^"]+)"')


@contextmanager
def served(postgresql: str | None) -> Iterator[tuple[servers.Running, Runtime]]:
    """A bridge with people, and its runtime in this process to arrange things with."""
    with servers.bridge(
        "bridge", postgresql, options=("--no-jobs",), throttle="trusted_proxies = 1", more=SITE
    ) as running:
        assert running.config is not None
        runtime = build_runtime(load_settings(running.config))
        try:
            crowds.fill(runtime, PEOPLE)
            yield running, runtime
        finally:
            runtime.close()


class Strangers:
    """Clients that ask for things, each request from a network of its own."""

    def __init__(self, base: str) -> None:
        self._connections = [Connection(base) for _ in range(CLIENTS)]

    async def fill_in(self, number: int, path: str, **fields: str) -> float:
        """Open a form and send it; seconds of the sending."""
        connection = self._connections[number]
        connection.cookies.clear()
        connection.forwarded_for = ".".join(["10", *(str(secrets.randbelow(250)) for _ in range(3))])
        status, _, page = await connection.request("GET", path)
        if status != 200:
            raise RuntimeError(f"form {status}")
        begun = time.perf_counter()
        status, _, answer = await connection.request("POST", path, hidden_fields(page) | fields)
        if status not in (200, 303) or b"is-invalid" in answer:
            raise RuntimeError(f"post {status}")
        return time.perf_counter() - begun


def rate(
    running: servers.Running, seconds: float, act: Callable[[Strangers, int], Awaitable[float | None]]
) -> dict[str, float]:
    async def run() -> Figures:
        strangers = Strangers(running.target.base)
        return await load.drive(lambda number: act(strangers, number), seconds=seconds, clients=CLIENTS)

    return measured(running, lambda: asyncio.run(run()))


def links(runtime: Runtime, purpose: str) -> list[str]:
    with runtime.database.read() as session:
        found = session.scalars(select(Proof).where(Proof.purpose == purpose, Proof.claimed_at.is_(None)))
        return [proof_keys(runtime.keys, proof).link_token for proof in found]


def invite(runtime: Runtime, count: int) -> float:
    """Invitations without a password, a second."""
    begun = time.perf_counter()
    asked = terms(runtime.settings)
    for number in range(count):
        with runtime.database.begin() as session:
            invitations.invite(
                session,
                runtime.keys,
                invitations.Invitation(
                    email=parse_address(f"guest{number}@mail.example"),
                    person=Person("Camille", f"Durand{number}"),
                    profile="learner",
                    language="fr",
                    rights_end_at=None,
                    sponsor_id=None,
                ),
                asked,
                by="benchmark",
                now=runtime.clock(),
                origin=audit.SYSTEM,
            )
    return count / (time.perf_counter() - begun)


def weigh(running: servers.Running) -> Iterator[str]:
    async def fetch() -> list[tuple[str, int, int, int]]:
        connection = Connection(running.target.base)
        found = []
        for path in PAGES:
            _, _, page = await connection.request("GET", path)
            assets = 0
            for address in sorted(set(_ASSET.findall(page.decode()))):
                _, _, content = await connection.request("GET", address)
                assets += len(content)
            found.append((path, len(page), len(gzip.compress(page)), assets))
        return found

    for path, plain, small, assets in asyncio.run(fetch()):
        yield f"| `{path}` | {plain / 1024:.1f} KiB ({small / 1024:.1f} compressed) | {assets / 1024:.1f} KiB |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.self_service", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--postgresql", metavar="URL", help="postgresql+psycopg://user@127.0.0.1:port/name, emptied")
    chosen = parser.parse_args()
    logs.configure("error", "json")
    cores = os.cpu_count() or 1
    with served(chosen.postgresql) as (running, runtime):
        numbers = iter(range(10**9))
        raw, samples = [], {}

        async def ask(strangers: Strangers, number: int) -> float:
            return await strangers.fill_in(
                number,
                "/account/register",
                given_name="Camille",
                family_name="Durand",
                email=f"new{next(numbers)}@mail.example",
            )

        async def forget(strangers: Strangers, number: int) -> float:
            return await strangers.fill_in(number, "/account/forgot", username=f"ext.p{next(numbers) % PEOPLE + 1:07d}")

        for _ in range(chosen.rounds):
            samples.setdefault("ask for an account", []).append(rate(running, chosen.seconds, ask))
            samples.setdefault("say a name was forgotten", []).append(rate(running, chosen.seconds, forget))
        for name, job in (
            ("answer requests", functions.answer_registrations),
            ("answer searches", functions.answer_searches),
        ):
            begun, before = time.perf_counter(), time.process_time()
            done = 0
            while found := job(runtime):
                done += found
            took, cpu = time.perf_counter() - begun, time.process_time() - before
            samples[name] = [{"per_s": done / took, "cpu_ms": cpu / max(1, done) * 1000}]
        samples["invite"] = [{"per_s": invite(runtime, 1000)}]
        supplies = {
            "set a new password": iter(links(runtime, RESET_PASSWORD)),
            "make the account": iter(links(runtime, CHOOSE_PASSWORD)),
        }
        paths = {"set a new password": "/account/reset", "make the account": "/account/register"}
        for _ in range(chosen.rounds):
            raw.append(raw_hash_rate(libsodium(), 1, cores))
            for what, supply in supplies.items():

                async def finish(
                    strangers: Strangers, number: int, what: str = what, supply: Iterator[str] = supply
                ) -> float | None:
                    token = next(supply, None)
                    if token is None:
                        return None
                    password = f"{secrets.token_hex(8)} lampe"
                    fields = {"password": password, "password_again": password}
                    if "account" in what:
                        one = next(numbers)
                        fields |= {"given_name": "Camille", "family_name": "Durand", "username": f"ext.guest{one}"}
                    return await strangers.fill_in(number, f"{paths[what]}/{token}", **fields)

                samples.setdefault(what, []).append(rate(running, chosen.seconds, finish))
        sys.stdout.write("| what | per second | server CPU ms | p99 ms |\n|---|---|---|---|\n")
        for what, values in samples.items():
            shown = [
                f"{statistics.median(one.get(key, float('nan')) for one in values):.2f}"
                for key in ("per_s", "cpu_ms", "p99_ms")
            ]
            sys.stdout.write(f"| {what} | " + " | ".join(shown) + " |\n")
        sys.stdout.write(f"| hash alone, {cores} threads | {statistics.median(raw):.1f} | | |\n\n")
        sys.stdout.write("| page | itself | with what it loads, uncompressed |\n|---|---|---|\n")
        sys.stdout.write("\n".join(weigh(running)) + "\n")


if __name__ == "__main__":
    main()
