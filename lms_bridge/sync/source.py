"""The accounts as a run reads them: everything a comparison needs, page by page, so that memory stays flat."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, exists, func, or_, select

from external_accounts.accounts import FACT_COLUMNS, facts_from_row
from external_accounts.database import Database, Prepared, read_time
from external_accounts.identities import LOCAL
from external_accounts.linking_schema import AccountLink
from external_accounts.schema import Account, AccountId, Address, SignInIdentity
from lms_bridge.cas.tickets import read_json
from lms_bridge.gate import MirrorState
from lms_bridge.schema import Mirror
from lms_bridge.sync.desired import Subject
from lms_bridge.sync.mirrors import MirrorView

PAGE = 500

_COLUMNS = (
    *FACT_COLUMNS,
    Account.key,
    # What the CAS that was used last released; of several, the person is who that one says.
    select(SignInIdentity.attributes)
    .where(SignInIdentity.account_id == Account.id, SignInIdentity.issuer != LOCAL)
    .order_by(SignInIdentity.refreshed_at.desc())
    .limit(1)
    .scalar_subquery()
    .label("attributes"),
    or_(exists().where(AccountLink.kept_id == Account.id), exists().where(AccountLink.other_id == Account.id)).label(
        "linked"
    ),
    Mirror.moodle_id,
    Mirror.state,
    Mirror.owned,
    Mirror.suspended_by_us,
    Mirror.written,
    Mirror.account_version,
    Mirror.seen_at,
    Mirror.absent_runs,
    Mirror.due,
    Mirror.conflicts,
    Mirror.problem,
)


def _query() -> Any:
    return (
        select(*_COLUMNS)
        .select_from(Account)
        .outerjoin(Address, (Address.account_id == Account.id) & Address.is_primary)
        .outerjoin(Mirror, (Mirror.account_id == Account.id) & (Mirror.site == bindparam("site")))
    )


_ONE = Prepared(lambda: _query().where(Account.id == bindparam("account_id")))
_NEXT = Prepared(
    lambda: (
        _query()
        .where(Account.id > bindparam("after"), Account.id <= bindparam("upto"))
        .order_by(Account.id)
        .limit(PAGE)
    )
)


@dataclass(frozen=True, slots=True)
class Entry:
    """An account and its mirror at one site."""

    subject: Subject
    mirror: MirrorView
    linked: bool = False
    """Whether the account was ever joined to another one, or another one to it: see `lms_bridge.sync.ties`."""

    @property
    def account_id(self) -> AccountId:
        return self.subject.facts.account_id


def one(database: Database, account_id: AccountId, site: str) -> Entry | None:
    """The account as it is now, or None when there is no such account."""
    with database.driver() as connection:
        rows = _ONE.run(connection, database, {"account_id": account_id, "site": site})
    return _entry(rows[0]) if rows else None


def without_address(database: Database, site: str, account_id: AccountId | None = None) -> frozenset[AccountId]:
    """The accounts whose confirmed address belongs to another account at this site.

    An address goes to one user (Moodle may refuse or mix up two): to the account that has it there already, else to
    the oldest. The others are for a human. Accounts that were joined to another one have no part in it. Looks at all
    accounts, or at those that share `account_id`'s address.
    """
    confirmed = (
        select(Address.email_key)
        .join(Account, Account.id == Address.account_id)
        .where(Address.is_primary, Address.confirmed_at.is_not(None), Account.merged_into_id.is_(None))
    )
    if account_id is None:
        keys = confirmed.group_by(Address.email_key).having(func.count() > 1)
    else:
        keys = confirmed.where(Address.account_id == account_id)
    query = (
        select(Address.email_key, Address.account_id, Mirror.written)
        .join(Account, Account.id == Address.account_id)
        .outerjoin(Mirror, (Mirror.account_id == Address.account_id) & (Mirror.site == site))
        .where(Address.is_primary, Address.confirmed_at.is_not(None), Address.email_key.in_(keys))
        .where(Account.merged_into_id.is_(None))
        .order_by(Address.account_id)
    )
    sharing: dict[str, list[tuple[bool, AccountId]]] = defaultdict(list)
    with database.read() as session:
        for key, owner, written in session.execute(query):
            has_it = str((written or {}).get("email", "")).lower() == key
            sharing[key].append((not has_it, owner))
    return frozenset(owner for people in sharing.values() for _, owner in sorted(people)[1:])


@dataclass(frozen=True, slots=True)
class Extent:
    """How far a run reads: accounts made later are for the next one. `count` is how many it must have read."""

    last_id: AccountId
    count: int


def extent(database: Database) -> Extent:
    with database.read() as session:
        last, count = session.execute(select(func.coalesce(func.max(Account.id), 0), func.count(Account.id))).one()
    return Extent(last, count)


def stream(database: Database, site: str, upto: AccountId) -> Iterator[list[Entry]]:
    """All accounts with ids up to `upto`, a page at a time, by id. No transaction stays open between pages."""
    after = 0
    while True:
        with database.driver() as connection:
            rows = _NEXT.run(connection, database, {"site": site, "after": after, "upto": upto})
        if not rows:
            return
        page = [_entry(row) for row in rows]
        yield page
        after = page[-1].account_id


def _entry(row: tuple[Any, ...]) -> Entry:
    key, attributes, linked, moodle_id, state, owned, by_us, written, version, *more = row[len(FACT_COLUMNS) :]
    mirror = MirrorView()
    if state is not None:
        seen_at, absent_runs, due, conflicts, problem = more
        mirror = MirrorView(
            moodle_id=moodle_id,
            state=MirrorState(state),
            owned=bool(owned),
            suspended_by_us=bool(by_us),
            written=read_json(written) or {},
            account_version=version,
            seen_at=read_time(seen_at),
            absent_runs=absent_runs,
            due=bool(due),
            conflicts=read_json(conflicts) or (),
            problem=problem,
        )
    return Entry(Subject(facts_from_row(row), key, read_json(attributes) or {}), mirror, bool(linked))
