"""I2 over process borders: four servers, one database, one proof."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta

from external_accounts.accounts import account_facts
from external_accounts.addresses import primary_address
from external_accounts.database import Database
from external_accounts.keys import Keys
from external_accounts.proofs import CONFIRM_ADDRESS, about, request_proof
from external_accounts.schema import Account
from tests.external_accounts.conftest import NOW

PROCESSES, THREADS = 4, 13


def test_fifty_uses_from_four_processes_succeed_exactly_once_i2(
    database: Database, keys: Keys, add_person: Callable[..., int]
) -> None:
    account_id = add_person(database)
    with database.begin() as session:
        address = primary_address(session.get_one(Account, account_id))
        assert address is not None
        proof, _ = request_proof(
            session,
            keys,
            about(address),
            purpose=CONFIRM_ADDRESS,
            lifetime=timedelta(hours=1),
            service=None,
            locale="fr",
            now=NOW,
        )
    url = database.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "tests.external_accounts.claim_many"]
    servers = [
        subprocess.Popen(
            [*command, url, str(proof.id), str(THREADS), NOW.isoformat()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(PROCESSES)
    ]
    try:
        for server in servers:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
        for server in servers:
            assert server.stdin is not None
            server.stdin.write("\n")
            server.stdin.flush()
        counts = [int(server.communicate(timeout=60)[0]) for server in servers]
    finally:
        for server in servers:
            if server.poll() is None:
                server.kill()
                server.wait()
    assert sum(counts) == 1
    facts = account_facts(database, account_id)
    assert facts is not None
    assert facts.email_confirmed_at == NOW
