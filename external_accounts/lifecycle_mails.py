"""What settings say about the life cycle, and how the people concerned are written to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from external_accounts import outbox
from external_accounts.address_changes import INSTITUTIONAL, RECOVERY
from external_accounts.keys import Keys
from external_accounts.profiles import ProfilePolicy
from external_accounts.schema import Account, Address


@dataclass(frozen=True, slots=True)
class Terms:
    """What settings say about the life cycle, as far as the rules need it."""

    zone: ZoneInfo
    keys: Keys
    mail_domain: str
    locale: str
    """The language of those who chose none."""
    policies: Mapping[str, ProfilePolicy] = field(default_factory=dict)
    """By profile."""
    deciders: Sequence[str] = ()
    """Addresses that are told of a request for an extension for which nobody answers."""

    def policy(self, profile: str) -> ProfilePolicy:
        """One that nobody configured has the plain policy: its accounts are closed, and kept."""
        return self.policies.get(profile) or ProfilePolicy(profile)


def reached_at(account: Account) -> list[Address]:
    """Where news of the account's end goes: its institutional mailbox, which may end with it, and the recovery address.

    The main address too, whatever its role; only confirmed ones: nobody else is told about the account.
    """
    return [
        address
        for address in account.addresses
        if address.confirmed_at is not None and (address.is_primary or address.role in (INSTITUTIONAL, RECOVERY))
    ]


def write_to(
    session: Session, account: Account, template: str, terms: Terms, now: datetime, *, context: Mapping[str, Any]
) -> int:
    """Write one mail to each of the account's addresses; returns how many those are.

    Where it has none (a technical account), whoever answers for it is told in its place.
    """
    reader, addresses, told = account, reached_at(account), dict(context)
    if not addresses and account.sponsor_id is not None:
        reader = session.get_one(Account, account.sponsor_id)
        addresses = [address for address in reached_at(reader) if address.is_primary]
        told["answers_for"] = account.username
    for address in addresses:
        outbox.enqueue(
            session,
            template,
            address.email,
            locale=reader.language or terms.locale,
            now=now,
            mail_domain=terms.mail_domain,
            account_id=reader.id,
            context=told,
        )
    return len(addresses)
