"""Accounts that may be the person's who is to get one: shown before it is made (D27)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from external_accounts.accounts import Person
from external_accounts.addresses import EmailAddress
from external_accounts.name_index import Alike, alike
from external_accounts.schema import Registration
from lms_bridge.helpdesk.inviting import traits_of
from lms_bridge.helpdesk.members import Role, current_member
from lms_bridge.importing import fact_words
from lms_bridge.web.request import runtime


def alike_lines(found: Sequence[Alike]) -> list[dict[str, Any]]:
    return [
        {
            "name": one.display_name or one.username,
            "username": one.username,
            "unit": one.unit,
            "points": one.likeness.points,
            "facts": fact_words(one.likeness.facts),
            "url": f"/helpdesk/accounts/{one.account_id}",
        }
        for one in found
    ]


def for_request(session: Session, row: Registration) -> dict[str, Any]:
    """What to show beside a request: to the help desk who is like them, to a sponsor only that it should look.

    A sponsor never sees another one's data.
    """
    person = Person(row.given_name, row.family_name)
    found = alike(session, {"": traits_of(person, EmailAddress(row.email, row.email_key))})[""]
    found = [one for one in found if one.account_id != row.account_id]
    who = current_member()
    acting = who.with_role(Role.AGENT) if who is not None else None
    if acting is not None:
        found = [one for one in found if acting.may_see(one.unit)]
        return {"accounts": alike_lines(found), "ask_the_desk": False}
    threshold = runtime().settings.imports.homonym_threshold
    return {"accounts": [], "ask_the_desk": any(one.likeness.points >= threshold for one in found)}
