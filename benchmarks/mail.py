"""`python -m benchmarks.mail`: mails a second through delivery, and what one costs.

Confirmation mails with a proof each, from the outbox of a fresh SQLite database to an SMTP server in a process of its
own on loopback. What is measured is one runner, as it is in each process of `serve`: lease, deadline, composing in
text and HTML, SMTP, and the note that it was taken.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Event
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope

from external_accounts import audit, outbox, proofs
from external_accounts.accounts import Person
from external_accounts.addresses import parse_address, primary_address
from external_accounts.identities import create_local_account
from lms_bridge import migrations
from lms_bridge.mail.delivery import deliver_due
from lms_bridge.runtime import Runtime, build_runtime
from lms_bridge.settings import build
from tests.bridge_under_test import settings_values
from tests.peers.programs import reserved_port

DAY = timedelta(hours=24)


class Sink:
    """Takes every mail and keeps none."""

    # aiosmtpd calls it by this name.
    async def handle_DATA(self, _server: object, _session: object, _envelope: Envelope) -> str:  # noqa: N802
        return "250 OK"


def _serve(port: int, ready: Event, over: Event) -> None:
    controller = Controller(Sink(), hostname="127.0.0.1", port=port)
    controller.start()
    ready.set()
    over.wait()
    controller.stop()


def fill(runtime: Runtime, count: int) -> None:
    """`count` people, each with a proof and its mail in the outbox."""
    now = runtime.clock()
    with runtime.database.begin() as session:
        for number in range(count):
            account = create_local_account(
                session,
                username=f"ext.p{number}",
                profile="learner",
                person=Person("Ada", "Lovelace"),
                email=parse_address(f"p{number}@mail.example"),
                password_hash="$argon2id$none",
                now=now,
                origin=audit.SYSTEM,
            )
            address = primary_address(account)
            assert address is not None
            proof, _ = proofs.request_proof(
                session, runtime.keys, proofs.about(address), purpose=proofs.CONFIRM_ADDRESS, lifetime=DAY,
                service=None, locale="fr", now=now,
            )  # fmt: skip
            outbox.enqueue(
                session, "confirm_address", address.email, locale="fr", now=now, mail_domain="univ.example",
                account_id=account.id, proof_id=proof.id,
            )  # fmt: skip


def deliver(runtime: Runtime) -> tuple[int, float, float]:
    """Deliver all there is. Returns mails, seconds, and this process's CPU seconds."""
    sent, began, cpu = 0, time.perf_counter(), time.process_time()
    while taken := deliver_due(runtime, now=datetime.now(UTC)):
        sent += taken
    return sent, time.perf_counter() - began, time.process_time() - cpu


def measure(port: int, count: int) -> tuple[float, float]:
    """Mails a second, and CPU milliseconds a mail."""
    with tempfile.TemporaryDirectory(prefix="bench-mail-") as folder:
        mail = {"host": "127.0.0.1", "port": port, "security": "none", "sender": "noreply@univ.example"}
        runtime = build_runtime(build(settings_values(Path(folder), mail=mail)))
        migrations.upgrade(runtime.database)
        fill(runtime, count)
        sent, seconds, cpu = deliver(runtime)
        runtime.close()
    assert sent == count
    return count / seconds, cpu / count * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mails", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    ready, over = multiprocessing.Event(), multiprocessing.Event()
    with reserved_port() as port:
        sink = multiprocessing.Process(target=_serve, args=(port, ready, over), daemon=True)
        sink.start()
        ready.wait(20)
        figures = []
        for number in range(options.rounds):
            figures.append(measure(port, options.mails))
            sys.stderr.write(f"round {number + 1}: {figures[-1][0]:.0f} mails/s, {figures[-1][1]:.2f} ms CPU each\n")
        over.set()
        sink.join(20)
    rates, costs = zip(*figures, strict=True)
    print(f"{statistics.median(rates):.0f} mails/s, {statistics.median(costs):.2f} ms CPU a mail (medians)")


if __name__ == "__main__":
    main()
