"""`python -m benchmarks`: measure the bridge beside django-cas-server and print a table.

Servers are measured in turn within each round, so that a busy moment of the machine hits all of them; figures are
medians over the rounds. Absolute rates swing with the machine: compare within one table only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import argon2
from nacl.pwhash import argon2id

from benchmarks import load, servers
from benchmarks.load import Figures
from benchmarks.servers import Running
from external_accounts.passwords import MEMORY_KIB, TIME_COST

CLIENTS = 4
SIGN_IN_CLIENTS = 8
HASHING_SIGN_INS = 8


@dataclass
class Results:
    """Samples by measurement and server."""

    samples: dict[tuple[str, str], list[dict[str, float]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, what: str, server: str, **values: float) -> None:
        self.samples[what, server].append(values)
        shown = " ".join(f"{name}={value:.2f}" for name, value in values.items())
        sys.stderr.write(f"{what:<28} {server:<28} {shown}\n")

    def median(self, what: str, server: str, value: str) -> float:
        return statistics.median(sample[value] for sample in self.samples[what, server])

    def table(self) -> str:
        lines = ["| what | server | median of rounds |", "|---|---|---|"]
        for (what, server), samples in self.samples.items():
            values = ", ".join(
                f"{name} {statistics.median(sample[name] for sample in samples):.2f}" for name in samples[0]
            )
            lines.append(f"| {what} | {server} | {values} |")
        return "\n".join(lines)


def measured(running: Running, run: Callable[[], Figures]) -> dict[str, float]:
    """Rate, latency, and the server's own CPU a request."""
    before = running.cpu_seconds()
    figures = run()
    done = max(1, len(figures.latencies))
    values = {
        "per_s": figures.rate,
        "p50_ms": figures.percentile(0.5),
        "p99_ms": figures.percentile(0.99),
        "cpu_ms": (running.cpu_seconds() - before) / done * 1000,
    }
    if figures.errors:
        sys.stderr.write(f"  errors: {figures.errors}\n")
        values["errors"] = float(sum(figures.errors.values()))
    return values


def protocol_round(results: Results, running: Running, seconds: float) -> None:
    target = running.target
    page = measured(running, lambda: asyncio.run(load.measure_page(target, seconds, CLIENTS)))
    results.add("sign-in form", target.name, **page)
    if target.sso != target.login:
        doors = load.replace_login(target, target.sso)
        page = measured(running, lambda: asyncio.run(load.measure_page(doors, seconds, CLIENTS)))
        results.add("sign-in page (doors)", target.name, **page)
    fresh = asyncio.run(load.tickets(target, int(seconds * 1000)))
    values = measured(running, lambda: asyncio.run(load.measure_validate(target, fresh, seconds, CLIENTS)))
    results.add("p3/serviceValidate", target.name, **values)
    values = measured(running, lambda: asyncio.run(load.measure_sso(target, seconds, CLIENTS)))
    results.add("ticket + validate", target.name, **values)


def argon2_cffi() -> Callable[[], object]:
    """One verification with the product's parameters by the library that most Python programs use."""
    hasher = argon2.PasswordHasher(time_cost=TIME_COST, memory_cost=MEMORY_KIB, parallelism=1)
    stored = hasher.hash("correct horse")
    return lambda: hasher.verify(stored, "correct horse")


def libsodium() -> Callable[[], object]:
    """One verification by the library that the product uses."""
    stored = argon2id.str(b"correct horse", opslimit=TIME_COST, memlimit=MEMORY_KIB * 1024)
    return lambda: argon2id.verify(stored, b"correct horse")


def raw_hash_rate(verify: Callable[[], object], seconds: float, threads: int) -> float:
    """Verifications a second and nothing else."""
    counts = [0] * threads
    end = time.perf_counter() + seconds

    def work(index: int) -> None:
        while time.perf_counter() < end:
            verify()
            counts[index] += 1

    started = time.perf_counter()
    running = [threading.Thread(target=work, args=(index,)) for index in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return sum(counts) / (time.perf_counter() - started)


def sign_in_round(results: Results, running: Running, seconds: float) -> None:
    cores = os.cpu_count() or 1
    ways = {"argon2-cffi": argon2_cffi(), "libsodium": libsodium()}
    before = {name: raw_hash_rate(verify, seconds / 2, cores) for name, verify in ways.items()}
    values = measured(running, lambda: asyncio.run(load.measure_sign_in(running.target, seconds, SIGN_IN_CLIENTS)))
    shares = {}
    for name, verify in ways.items():
        raw = (before[name] + raw_hash_rate(verify, seconds / 2, cores)) / 2
        results.add(f"{name} alone", f"{cores} threads", per_s=raw)
        shares[f"of_{name}"] = values["per_s"] / raw
    results.add("password sign-in", running.target.name, **values, **shares)


def validation_while_hashing(results: Results, running: Running, seconds: float) -> None:
    async def both() -> Figures:
        fresh = await load.tickets(running.target, int(seconds * 400))
        hashing = asyncio.create_task(load.measure_sign_in(running.target, seconds + 1, HASHING_SIGN_INS))
        await asyncio.sleep(0.5)
        figures = await load.measure_validate(running.target, fresh, seconds, 2)
        await hashing
        return figures

    values = measured(running, lambda: asyncio.run(both()))
    results.add(f"validate while {HASHING_SIGN_INS} sign in", running.target.name, **values)


def race(results: Results, running: Running, tickets: int) -> None:
    more, never = asyncio.run(load.measure_race(running.target, tickets, 8))
    results.add(
        "8 at once on one ticket", running.target.name, tickets=tickets, accepted_twice=more, accepted_never=never
    )


def memory(results: Results, running: Running, when: str) -> None:
    sizes = running.worker_mib()
    results.add(f"memory {when}", running.target.name, worker_mib=max(sizes))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4, help="length of one measurement")
    parser.add_argument("--tickets", type=int, default=300, help="tickets of the race")
    parser.add_argument("--postgresql", metavar="URL", help="postgresql+psycopg://user@127.0.0.1:port/name, empty")
    parser.add_argument("--postgresql-peer", metavar="URL", help="another empty database, for django-cas-server")
    parser.add_argument("--json", metavar="FILE", help="write all samples there")
    chosen = parser.parse_args()
    results = Results()
    suffix = " PostgreSQL" if chosen.postgresql else " SQLite"
    peer = servers.postgresql_settings(chosen.postgresql_peer) if chosen.postgresql_peer else servers.SQLITE_WAL
    with ExitStack() as stack:
        same = stack.enter_context(
            servers.bridge(
                "bridge, gthread 2x4" + suffix, chosen.postgresql, options=("--workers", "2", "--threads", "4")
            )
        )
        shipped = same
        if not chosen.postgresql:
            shipped = stack.enter_context(servers.bridge("bridge, as shipped" + suffix))
        django = stack.enter_context(servers.django_cas_server("django-cas-server, gthread 2x4" + suffix, peer))
        everyone = list(dict.fromkeys([id(same), id(shipped), id(django)]))
        running = {id(one): one for one in (same, shipped, django)}
        for one in running.values():
            results.add("start to first answer", one.target.name, seconds=one.start_seconds)
        time.sleep(5)
        for one in running.values():
            memory(results, one, "at rest")
        for _ in range(chosen.rounds):
            for key in everyone:
                protocol_round(results, running[key], chosen.seconds)
            sign_in_round(results, shipped, chosen.seconds)
            validation_while_hashing(results, shipped, chosen.seconds)
        for one in running.values():
            memory(results, one, "right after load")
        for one in (same, django):
            race(results, one, chosen.tickets)
        time.sleep(8)
        memory(results, shipped, "some seconds later")
    sys.stdout.write(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n\n")
    sys.stdout.write(results.table() + "\n\n" + ratios(results, same, shipped, django) + "\n")
    if chosen.json:
        with open(chosen.json, "w", encoding="utf-8") as file:  # noqa: PTH123
            json.dump({" / ".join(key): value for key, value in results.samples.items()}, file, indent=1)


def ratios(results: Results, same: Running, shipped: Running, django: Running) -> str:
    lines = ["| against django-cas-server in the same rounds | rate | server CPU |", "|---|---|---|"]
    for ours in dict.fromkeys([same.target.name, shipped.target.name]):
        for what in ("sign-in form", "sign-in page (doors)", "p3/serviceValidate", "ticket + validate"):
            theirs = "sign-in form" if "doors" in what else what
            rate = results.median(what, ours, "per_s") / results.median(theirs, django.target.name, "per_s")
            cpu = results.median(theirs, django.target.name, "cpu_ms") / results.median(what, ours, "cpu_ms")
            lines.append(f"| {what}, {ours} | {rate:.1f} x | {cpu:.1f} x less |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
