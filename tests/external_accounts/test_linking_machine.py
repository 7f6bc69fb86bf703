"""Whatever people do with two, three, four accounts, in whatever order: I4, I5 and I10 hold at every step, nobody loses
the last way in, and a link that is undone at once leaves not a byte changed."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Set
from datetime import datetime, timedelta
from typing import ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import select
from sqlalchemy.orm import Session

from external_accounts import address_changes, link_ceremonies, parting, unlinking
from external_accounts.accounts import lock_account
from external_accounts.address_changes import ChangeRefused, Notices
from external_accounts.addresses import parse_address
from external_accounts.database import Database
from external_accounts.identities import LOCAL
from external_accounts.keys import Keys
from external_accounts.link_ceremonies import CeremonyOver
from external_accounts.linking import LinkRefused
from external_accounts.linking_schema import AccountLink, LinkCeremony, UnlinkedIdentity
from external_accounts.parting import LinkOver
from external_accounts.proofs import LASTING, UNDO_ADDRESS_CHANGE, ProofUnusable, cancel_pending
from external_accounts.schema import Account, Address, LocalPassword, Proof, SignInIdentity
from external_accounts.throttle import Throttled
from external_accounts.unlinking import CannotComeBack, LastWayIn
from tests.external_accounts.conftest import NOW
from tests.external_accounts.linking_people import (
    ORIGIN,
    Ceremony,
    add_learner,
    add_member,
    begin,
    confirm,
    dump,
    found,
    show_other,
)

ISSUERS = frozenset({"sel"})
WHO = st.integers(0, 3)
MAILBOX = st.sampled_from(["one@box.example", "two@box.example"])
NUMBERS = itertools.count(1)


class Town(RuleBasedStateMachine):
    """Two learners and two members, one of whom is perhaps two of them."""

    database: ClassVar[Database]
    keys: ClassVar[Keys]

    def __init__(self) -> None:
        super().__init__()
        self.notices = Notices(keys=self.keys, locale="fr", mail_domain="x.example")
        self.now: datetime = NOW
        number = next(NUMBERS)
        with self.database.begin() as session:
            self.people = [
                add_learner(session, self.keys, f"ext.a{number}", NOW),
                add_learner(session, self.keys, f"ext.b{number}", NOW),
                add_member(session, f"m{number}", NOW),
                add_member(session, f"n{number}", NOW),
            ]
            rows = session.scalars(select(SignInIdentity).where(SignInIdentity.account_id.in_(self.people)))
            self.born = {(row.issuer, row.subject): row.account_id for row in rows}
        self.ceremonies: list[Ceremony] = []
        self.sessions = itertools.count(number * 1000)

    def living(self, index: int) -> int | None:
        """The account, if it is not joined to another."""
        with self.database.read() as session:
            account = session.get_one(Account, self.people[index])
            return account.id if account.merged_into_id is None else None

    # --- what people do ---

    @rule(hours=st.integers(1, 90))
    def time_passes(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule(one=WHO, other=WHO)
    def begin_and_show(self, one: int, other: int) -> None:
        mine, theirs = self.living(one), self.living(other)
        if mine is None or theirs is None:
            return
        with self.database.begin() as session:
            ceremony = begin(session, mine, next(self.sessions), self.now)
            if show_other(session, self.keys, ceremony, theirs, self.now):
                self.ceremonies.append(ceremony)

    @precondition(lambda self: self.ceremonies)
    @rule(keep_other=st.booleans(), number=st.integers(0, 5), at_once=st.booleans())
    def conclude(self, keep_other: bool, number: int, at_once: bool) -> None:
        ceremony = self.ceremonies[number % len(self.ceremonies)]
        before = dump(self.database, self.people)
        try:
            with self.database.begin() as session:
                row = found(session, ceremony, self.now)
                done = link_ceremonies.conclude(session, row, keep_other=keep_other, now=self.now, origin=ORIGIN)
                link_id = done.link.id if done.link is not None else 0
        except (CeremonyOver, LinkRefused):
            assert dump(self.database, self.people) == before
            return
        self._no_pending(row.account_id, row.other_account_id)
        if at_once and link_id:
            with self.database.begin() as session:
                parting.part(session, link_id, now=self.now, origin=ORIGIN)
            assert dump(self.database, self.people) == before

    @rule(one=WHO, other=WHO, keep_other=st.booleans())
    def join_at_once(self, one: int, other: int, keep_other: bool) -> None:
        before = len(self.ceremonies)
        self.begin_and_show(one, other)
        if len(self.ceremonies) > before:
            self.conclude(keep_other, before, at_once=False)

    @rule(number=st.integers(0, 5))
    def undo_a_link(self, number: int) -> None:
        with self.database.read() as session:
            query = select(AccountLink.id).where(AccountLink.kept_id.in_(self.people), AccountLink.undone_at.is_(None))
            links = list(session.scalars(query))
        if not links:
            return
        link_id = links[number % len(links)]
        with contextlib.suppress(LinkOver), self.database.begin() as session:
            parted = parting.part(session, link_id, now=self.now, origin=ORIGIN)
            affected = parted.account_ids
            session.flush()
            self._check_no_pending(session, affected)

    @rule(who=WHO, number=st.integers(0, 3))
    def unlink(self, who: int, number: int) -> None:
        account_id = self.living(who)
        if account_id is None:
            return
        with self.database.begin() as session:
            identities = session.get_one(Account, account_id).identities
            identity_id = identities[number % len(identities)].id
            try:
                gone, _ = unlinking.choose_other(session, account_id, identity_id, issuers=ISSUERS)
            except LastWayIn:
                return
            unlinking.unlink(session, gone, now=self.now, origin=ORIGIN)

    @rule(number=st.integers(0, 5))
    def bring_back(self, number: int) -> None:
        with self.database.read() as session:
            query = select(UnlinkedIdentity.id).where(UnlinkedIdentity.account_id.in_(self.people))
            records = list(session.scalars(query))
        if not records:
            return
        with contextlib.suppress(CannotComeBack), self.database.begin() as session:
            unlinking.bring_back(session, records[number % len(records)], now=self.now, origin=ORIGIN)

    @rule(who=WHO, email=MAILBOX, reads=st.booleans())
    def add_address(self, who: int, email: str, reads: bool) -> None:
        account_id = self.living(who)
        if account_id is None:
            return
        with contextlib.suppress(ChangeRefused, Throttled), self.database.begin() as session:
            address = address_changes.add_address(
                session,
                account_id,
                parse_address(email),
                role="contact",
                notices=self.notices,
                now=self.now,
                origin=ORIGIN,
            )
            if reads and address.confirmed_at is None:
                confirm(session, self.keys, address, self.now)

    @rule(who=WHO, number=st.integers(0, 5), what=st.sampled_from(["make_primary", "remove_address"]))
    def change_address(self, who: int, number: int, what: str) -> None:
        account_id = self.living(who)
        if account_id is None:
            return
        with contextlib.suppress(ChangeRefused, Throttled), self.database.begin() as session:
            addresses = session.get_one(Account, account_id).addresses
            if addresses:
                address_id = addresses[number % len(addresses)].id
                change = getattr(address_changes, what)
                change(session, account_id, address_id, notices=self.notices, now=self.now, origin=ORIGIN)

    @rule(number=st.integers(0, 9))
    def undo_an_address_change(self, number: int) -> None:
        with self.database.read() as session:
            query = select(Proof.id).where(
                Proof.account_id.in_(self.people), Proof.purpose == UNDO_ADDRESS_CHANGE, Proof.claimed_at.is_(None)
            )
            pending = list(session.scalars(query))
        if not pending:
            return
        proof_id = pending[number % len(pending)]
        with contextlib.suppress(ProofUnusable), self.database.begin() as session:
            proof = session.get_one(Proof, proof_id)
            for link_id in parting.links_since(session, proof.account_id or 0, proof.created_at):
                with contextlib.suppress(LinkOver), session.begin_nested():
                    parting.part(session, link_id, now=self.now, origin=ORIGIN)
            address_changes.undo(session, proof_id, notices=self.notices, now=self.now, origin=ORIGIN)

    @rule(who=WHO)
    def reset_password(self, who: int) -> None:
        account_id = self.living(who)
        if account_id is None:
            return
        with self.database.begin() as session:
            lock_account(session, account_id)
            password = session.get(LocalPassword, account_id)
            if password is None:
                return
            password.hash, password.set_at = f"$argon2id$new{self.now}", self.now
            cancel_pending(session, account_id, self.now)

    # --- what holds ---

    def _no_pending(self, *account_ids: int | None) -> None:
        with self.database.read() as session:
            self._check_no_pending(session, {one for one in account_ids if one is not None})

    def _check_no_pending(self, session: Session, account_ids: Set[int]) -> None:
        query = select(Proof.purpose).where(
            Proof.account_id.in_(account_ids),
            Proof.claimed_at.is_(None),
            Proof.cancelled_at.is_(None),
            Proof.purpose.not_in(LASTING),
        )
        assert list(session.scalars(query)) == [], "I10"

    @invariant()
    def i4_every_confirmed_address_was_shown_by_a_proof_for_it(self) -> None:
        with self.database.read() as session:
            rows = session.scalars(
                select(Address).where(Address.account_id.in_(self.people), Address.confirmed_at.is_not(None))
            ).all()
            for row in rows:
                if row.confirmed_by == "sel":
                    assert row.email.endswith("@univ.example")
                    continue
                key = row.email.lower()
                claimed = select(Proof.id).where(Proof.email_key == key, Proof.claimed_at.is_not(None))
                assert session.scalar(claimed.limit(1)) is not None, row.email

    @invariant()
    def i5_a_way_in_leads_where_it_led_or_where_a_standing_link_says(self) -> None:
        with self.database.read() as session:
            into = {
                account.id: account.merged_into_id
                for account in session.scalars(select(Account).where(Account.id.in_(self.people)))
            }
            standing = {
                (link.other_id, link.kept_id)
                for link in session.scalars(select(AccountLink).where(AccountLink.undone_at.is_(None)))
            }
            for closed, kept in into.items():
                assert kept is None or (closed, kept) in standing
            linked = select(LinkCeremony.id).where(
                LinkCeremony.outcome == "linked", LinkCeremony.account_id.in_(self.people)
            )
            made = select(AccountLink.id).where(AccountLink.kept_id.in_(self.people))
            assert len(list(session.scalars(made))) <= len(list(session.scalars(linked)))
            for row in session.scalars(select(SignInIdentity).where(SignInIdentity.account_id.in_(self.people))):
                home = self.born[(row.issuer, row.subject)]
                trail = [home]
                while (following := into[trail[-1]]) is not None:
                    trail.append(following)
                retired = row.issuer == LOCAL and row.account_id in trail
                assert row.account_id == trail[-1] or retired

    @invariant()
    def no_living_account_has_lost_its_last_way_in(self) -> None:
        with self.database.read() as session:
            for account in session.scalars(
                select(Account).where(Account.id.in_(self.people), Account.merged_into_id.is_(None))
            ):
                has_password = session.get(LocalPassword, account.id) is not None
                assert unlinking.usable(unlinking.ways_of(account), has_password=has_password, issuers=ISSUERS), (
                    account.username
                )

    @invariant()
    def every_account_has_one_main_address_at_most_and_a_living_one_has_its_own(self) -> None:
        with self.database.read() as session:
            for account in session.scalars(select(Account).where(Account.id.in_(self.people))):
                mains = [one for one in account.addresses if one.is_primary]
                assert len(mains) == (1 if account.merged_into_id is None and account.addresses else 0)


def test_whatever_people_do_with_several_accounts_i4_i5_i10_hold(embedded: Database, keys: Keys) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        type("ThisTown", (Town,), {"database": embedded, "keys": keys}),
        settings=settings(
            max_examples=20,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
