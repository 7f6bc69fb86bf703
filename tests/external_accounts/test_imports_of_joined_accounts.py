"""The staff office's file after somebody joined their two accounts: the closed one is not written to (D27)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from external_accounts import audit, import_facts, joining
from external_accounts.addresses import parse_address, set_primary_address
from external_accounts.database import Database
from external_accounts.schema import Account
from tests.external_accounts.conftest import NOW
from tests.external_accounts.importing import accounts, imported, planned, rules, sheet

HEAD = ("matricule", "nom", "prénom", "homonyme vérifié")
ONE, TWO = ("1", "Lovelace", "Ada", "oui"), ("2", "Lovelace", "Ada", "oui")


@pytest.fixture
def joined(database: Database) -> Database:
    """Two lines of one person, both activated; the first one was kept."""
    imported(database, sheet([ONE, TWO], HEAD))
    with database.begin() as session:
        one, two = session.query(Account).order_by(Account.id).all()
        for account in (one, two):
            account.activated_at = NOW
            address = set_primary_address(
                session, account, parse_address(f"{account.username}@mail.example"), role="contact", now=NOW
            )
            address.confirmed_at, address.confirmed_by = NOW, "proof"
        joining.join(session, one.id, two.id, now=NOW + timedelta(days=1), origin=audit.SYSTEM)
    return database


def test_a_line_with_the_closed_account_s_key_waits_and_names_the_kept_one(joined: Database) -> None:
    before = accounts(joined)
    plan = planned(joined, sheet([ONE, ("2", "Lovelace", "Augusta Ada", "oui")], HEAD))
    refused = [decision for decision in plan.decisions if decision.kind == "refuse"]
    [[problem]] = [decision.problems for decision in refused]
    with joined.read() as session:
        kept = session.get_one(Account, 1)
        assert (problem.reason, problem.column, problem.value) == ("joined", "external_key", kept.username)
    assert accounts(joined) == before


def test_a_complete_file_does_not_end_it_and_it_counts_for_nothing(joined: Database) -> None:
    with joined.read() as session:
        assert import_facts.living_from_files(session, None) == 1
        gone = list(import_facts.absent(session, "vacataire", {"1"}, rules().now))
    assert gone == []
