"""Account letters, on every database: one code is good at a time, and typing it in parallel opens one activation."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from external_accounts import letters
from external_accounts.activation import NotOpen
from external_accounts.audit import SYSTEM
from external_accounts.database import Database
from external_accounts.keys import Keys
from external_accounts.letters import LetterRefused, NewLetter
from external_accounts.profiles import ProfilePolicy
from external_accounts.schema import Account
from tests.external_accounts.conftest import NOW

PARIS = ZoneInfo("Europe/Paris")


def announce(database: Database, account_id: int) -> None:
    with database.begin() as session:
        session.get_one(Account, account_id).activated_at = None


def printed(database: Database, account_id: int) -> NewLetter:
    letter = letters.new_letter("ext.ada")
    with database.begin() as session:
        account, until = session.get_one(Account, account_id), NOW + timedelta(days=30)
        letters.printed(session, account, letter, expires_at=until, by="desk", now=NOW, origin=SYSTEM)
    return letter


def enter(database: Database, keys: Keys, letter: NewLetter) -> str:
    with database.begin() as session:
        found = letters.open_by_code(
            session,
            keys,
            letter.code_hash,
            policy_of=lambda account: ProfilePolicy(account.profile),
            zone=PARIS,
            service=None,
            locale="fr",
            now=NOW,
            origin=SYSTEM,
        )
        return found.link_token


def test_typed_many_times_at_once_it_opens_one_activation(
    database: Database, keys: Keys, add_person: Callable[..., int]
) -> None:
    account_id = add_person(database)
    announce(database, account_id)
    letter = printed(database, account_id)
    with ThreadPoolExecutor(8) as pool:
        links = set(pool.map(lambda _number: enter(database, keys, letter), range(32)))
    assert len(links) == 1


def test_of_two_letters_printed_the_last_one_is_good(
    database: Database, keys: Keys, add_person: Callable[..., int]
) -> None:
    account_id = add_person(database)
    announce(database, account_id)
    first, second = printed(database, account_id), printed(database, account_id)
    with pytest.raises(LetterRefused):
        enter(database, keys, first)
    assert enter(database, keys, second)


def test_an_active_account_has_no_use_for_a_letter(
    database: Database, keys: Keys, add_person: Callable[..., int]
) -> None:
    account_id = add_person(database)
    announce(database, account_id)
    letter = printed(database, account_id)
    with database.begin() as session:
        session.get_one(Account, account_id).activated_at = NOW
    with pytest.raises(NotOpen):
        enter(database, keys, letter)
    with pytest.raises(NotOpen):
        printed(database, account_id)


def test_the_form_of_what_is_typed_does_not_matter_and_the_identifier_does() -> None:
    letter = letters.new_letter("nlopez")
    typed = f" {letters.format_code(letter.code).lower()} "
    assert letters.code_hash(" NLopez", typed) == letter.code_hash
    assert letters.code_hash("mlopez", letter.code) != letter.code_hash
    assert len(letter.code) == letters.CODE_LENGTH
