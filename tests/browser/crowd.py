"""A help desk on whose every list a given number of entries waits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from external_accounts import search_index
from external_accounts.database import Base
from external_accounts.institution_schema import AssistanceRequest, Extension
from external_accounts.linking_schema import AccountLink, AddressCorrection, LikelyPair, SearchWord
from external_accounts.schema import Account, Address, AuditEvent, OutboxMail, Registration
from lms_bridge.schema import Mirror, MoodleMerge, StrayUser
from tests.bridge_under_test import BridgeUnderTest

AT_ONCE = 5000


def fill(bridge: BridgeUnderTest, count: int) -> int:
    """Everything `count` times. Returns the account that has `count` events in its timeline."""
    site = bridge.runtime.settings.sites[0].name
    someone = bridge.add_account("ext.someone")
    with bridge.runtime.database.begin() as session:
        first = session.scalars(select(func.max(Account.id))).one() + 1
        for start in range(0, count, AT_ONCE):
            numbers = range(start, min(count, start + AT_ONCE))
            _people(session, bridge, first, numbers)
            for kind, rows in _waiting(bridge, site, first, someone, numbers):
                session.execute(insert(kind), rows)
    return someone


def _people(session: Session, bridge: BridgeUnderTest, first: int, numbers: range) -> None:
    now = bridge.clock()
    accounts, addresses, words = [], [], []
    for number in numbers:
        names = {
            "username": f"ext.p{number}",
            "given_name": "Camille",
            "family_name": f"Martin-Delacroix {number}",
            "birth_name": "",
            "unit": "UFR Lettres" if number % 2 else "",
        }
        email = f"camille.martin-delacroix.{number}@courriel.example"
        accounts.append(
            {"id": first + number, "key": f"k{number:019}", "profile": "learner", "created_at": now}
            | {"activated_at": now, "version": 1}
            | names
        )
        addresses.append(
            {"id": first + number, "account_id": first + number, "email": email, "email_key": email, "role": "contact"}
            | {"is_primary": True, "created_at": now, "lost_at": now, "lost_reason": "bounce"}
        )
        words += search_index.rows(first + number, **names, emails=[email], subjects=[])
    for kind, rows in ((Account, accounts), (Address, addresses), (SearchWord, words)):
        session.execute(insert(kind), rows)


def _waiting(
    bridge: BridgeUnderTest, site: str, first: int, someone: int, numbers: range
) -> Iterator[tuple[type[Base], list[dict[str, Any]]]]:
    now = bridge.clock()
    later = now + timedelta(days=30)
    ids = {number: first + number for number in numbers}
    asked = {"given_name": "Zoé", "profile": "learner", "created_at": now, "proved_at": now, "expires_at": later}
    yield (
        Registration,
        [
            {"mode": "asked", "state": "waiting", "email": f"zoe{n}@mail.example", "email_key": f"zoe{n}@mail.example"}
            | {"family_name": f"Lemaître {n}", "reason": "Je suis inscrite au DU"}
            | asked
            for n in numbers
        ],
    )
    yield (
        Extension,
        [
            {"account_id": ids[n], "state": "waiting", "reason": "Mon cours continue", "asked_at": now}
            | {"asked_until": later}
            for n in numbers
        ],
    )
    yield (
        AssistanceRequest,
        [
            {"asked_at": now, "state": "waiting", "reference": f"R{n:011}", "subject": "sign_in", "given_name": "Ali"}
            | {"family_name": f"Benali {n}", "identifier": "", "contact": "ali@mail.example", "profile": ""}
            | {"message": "Je n'entre pas", "locale": "fr"}
            for n in numbers
        ],
    )
    yield (
        AddressCorrection,
        [
            {"account_id": ids[n], "address_id": ids[n], "old_email": f"camille.martin-delacroix.{n}@courriel.example"}
            | {"new_email": f"c.martin{n}@mail.example", "reason": "au téléphone", "state": "waiting"}
            | {"asked_at": now, "asked_by": "ext.someone", "asked_by_id": someone}
            | {"decided_by": "", "decision_reason": ""}
            for n in numbers
        ],
    )
    yield (
        LikelyPair,
        [
            {"first_id": someone, "second_id": ids[n], "points": 60 + n % 90, "state": "open", "found_at": now}
            | {"facts": ["same_names", "same_confirmed_address"]}
            for n in numbers
        ],
    )
    yield (
        Mirror,
        [
            {"account_id": ids[n], "site": site, "moodle_id": 1000 + n, "state": "conflict", "written": {}}
            | {"problem": "the user was renamed in Moodle"}
            for n in numbers
        ],
    )
    yield (
        StrayUser,
        [
            {"account_id": ids[n], "site": site, "moodle_id": 9_000_000 + n, "username": f"cmartin{n}"}
            | {"fullname": f"Camille Martin {n}", "facts": ["email"], "state": "open", "found_at": now}
            for n in numbers
        ],
    )
    yield (
        AccountLink,
        [
            {"id": n + 1, "kept_id": someone, "other_id": ids[n], "linked_at": now, "undo_until": later, "before": {}}
            for n in numbers
        ],
    )
    yield (
        MoodleMerge,
        [
            {"link_id": n + 1, "site": site, "kept_moodle_id": 1, "other_moodle_id": 1000 + n, "state": "open"}
            | {"kept_username": "cmartin", "other_username": f"lmsb-merged-{n}", "made_at": now}
            for n in numbers
        ],
    )
    yield (
        OutboxMail,
        [
            {"template": "confirm_address", "recipient": f"zoe{n}@mail.example", "locale": "fr", "context": {}}
            | {"message_id": f"<{n}@univ.example>", "created_at": now, "state": "failed", "due_at": now}
            for n in numbers
        ],
    )
    yield (
        AuditEvent,
        [
            {"at": now, "event": "signin.local", "outcome": "ok", "account_id": someone, "actor": "", "details": {}}
            | {"network": "192.0.2.7"}
            for _n in numbers
        ],
    )
