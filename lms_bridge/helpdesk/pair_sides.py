"""What an agent sees of the two accounts of a likely pair, side by side."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts.accounts import Person
from external_accounts.identities import LOCAL
from external_accounts.linking_schema import LikelyPair
from external_accounts.schema import Account, Address
from lms_bridge.i18n import current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.runtime import Runtime
from lms_bridge.schema import Mirror
from lms_bridge.selfservice.home import profile_label
from lms_bridge.selfservice.proof_pages import deadline
from lms_bridge.settings.sections import text_in
from lms_bridge.web.request import runtime


def of_pair(session: Session, pair: LikelyPair) -> list[dict[str, Any]]:
    """The two accounts in words. Addresses in full: whoever decides has to see whether they are the same."""
    accounts = [session.get_one(Account, number) for number in (pair.first_id, pair.second_id)]
    keys = [{address.email_key for address in account.addresses} for account in accounts]
    return [_side(session, account, common=keys[0] & keys[1]) for account in accounts]


def _side(session: Session, account: Account, *, common: Collection[str]) -> dict[str, Any]:
    bridge = runtime()
    return {
        "id": account.id,
        "url": f"/helpdesk/accounts/{account.id}",
        "username": account.username,
        "name": Person(account.given_name, account.family_name).display_name or account.username,
        "birth_name": account.birth_name,
        "profile": profile_label(bridge, account.profile, current_locale()) or account.profile,
        "unit": account.unit,
        "external_key": account.external_key or "",
        "doors": [_door(bridge, one.issuer, one.subject) for one in account.identities],
        "addresses": [_address(one, common) for one in account.addresses],
        "confirmed": any(one.confirmed_at is not None for one in account.addresses),
        "created": deadline(account.created_at),
        "last_sign_in": deadline(account.last_sign_in_at) if account.last_sign_in_at else "",
        "state": _state(bridge, account),
        "moodle": [_user(mirror) for mirror in _mirrors(session, account.id)],
    }


def _door(bridge: Runtime, issuer: str, subject: str) -> str:
    door = bridge.settings.upstream(issuer)
    title = door.title if door else bridge.settings.local.title if issuer == LOCAL else {}
    return f"{text_in(title, current_locale()) if title else issuer} – {subject}"


def _address(address: Address, common: Collection[str]) -> dict[str, Any]:
    return {
        "email": address.email,
        "confirmed": address.confirmed_at is not None,
        "bounced": address.lost_reason == "bounce",
        "common": address.email_key in common,
    }


def _state(bridge: Runtime, account: Account) -> str:
    now = bridge.clock()
    if account.merged_into_id is not None:
        return _("joined to another account")
    if account.suspended_at is not None and (account.suspended_until is None or now < account.suspended_until):
        return _("suspended")
    if account.rights_end_at is not None and account.rights_end_at <= now:
        return _("rights ended")
    return _("active") if account.activated_at else _("not activated yet")


def _mirrors(session: Session, account_id: int) -> Collection[Mirror]:
    there = select(Mirror).where(Mirror.account_id == account_id, Mirror.moodle_id.is_not(None))
    return session.scalars(there.order_by(Mirror.site)).all()


def _user(mirror: Mirror) -> str:
    username = str(mirror.written.get("username", ""))
    return _("%(site)s: user %(number)d", site=mirror.site, number=mirror.moodle_id) + (
        f" ({username})" if username else ""
    )


def who(session: Session, username: str) -> str:
    """Who decided, by name where there is one."""
    account = session.scalar(select(Account).where(Account.username == username)) if username else None
    name = Person(account.given_name, account.family_name).display_name if account else ""
    return name or username
