"""What a Moodle user should look like: a pure function of the account and the gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from external_accounts.accounts import AccountFacts

NAME_LENGTH = 100
"""Moodle's first and last name columns (ground truth §3)."""


@dataclass(frozen=True, slots=True)
class DesiredUser:
    """The fields the bridge writes, by Moodle's names. Never a password, never a preference."""

    username: str
    auth: str
    firstname: str
    lastname: str
    email: str
    suspended: bool

    def fields(self) -> dict[str, Any]:
        """The profile fields, without the ones that decide about entering."""
        return {
            "username": self.username,
            "firstname": self.firstname,
            "lastname": self.lastname,
            "email": self.email,
        }


def desired_user(facts: AccountFacts, *, auth: str, admitted: bool) -> DesiredUser:
    """The Moodle user of an account. `admitted` is the gate's word, Moodle itself left aside (I6).

    Moodle refuses blank names, so a missing one is filled with what is known of the person.
    """
    given = facts.given_name.strip()
    family = facts.family_name.strip()
    return DesiredUser(
        username=facts.username,
        auth=auth,
        firstname=(given or family or facts.username)[:NAME_LENGTH],
        lastname=(family or given or facts.username)[:NAME_LENGTH],
        email=facts.email if facts.email and facts.email_confirmed_at else "",
        suspended=not admitted,
    )
