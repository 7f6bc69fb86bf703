"""Taking the steps of a life, on both databases."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, func, select

from external_accounts.accounts import UsernameTaken, readmit, suspend
from external_accounts.database import Database
from external_accounts.directory import Entry
from external_accounts.directory.embedded import EmbeddedDirectory
from external_accounts.institution_schema import (
    ActivationDraft,
    DirectoryEntry,
    Extension,
    Handover,
    LifecycleNotice,
    MailboxChoice,
)
from external_accounts.lifecycle import Step, steps_due
from external_accounts.lifecycle_candidates import Candidate, candidates, count, life_of
from external_accounts.lifecycle_steps import take_due
from external_accounts.linking_schema import PairCheck, SearchWord
from external_accounts.local_calendar import end_of_day
from external_accounts.passwords import PasswordHashing
from external_accounts.proofs import about, make_proof
from external_accounts.rights import AccountErased, move_end
from external_accounts.schema import Account, AuditEvent, OutboxMail, Proof
from tests.external_accounts.people_with_ends import END, ORIGIN, PARIS, POLICIES, TERMS, add, noon


def run(database: Database, now: datetime) -> Counter[str]:
    """What a run does, without its guard."""
    done: Counter[str] = Counter()
    for page in candidates(database, POLICIES, now, PARIS):
        for candidate in page:
            with database.begin() as session:
                steps = take_due(session, candidate.account_id, TERMS, now=now, origin=ORIGIN)
            done.update(step.value for step in steps)
    return done


def mails(database: Database) -> list[tuple[str, str]]:
    with database.read() as session:
        rows = session.execute(select(OutboxMail.template, OutboxMail.recipient).order_by(OutboxMail.id)).all()
        return [(row.template, row.recipient) for row in rows]


def test_both_addresses_are_warned_once_for_each_end(database: Database) -> None:
    with database.begin() as session:
        add(session)
    assert run(database, noon(2027, 5, 30)) == {}
    assert run(database, noon(2027, 5, 31)) == {"rights_30_days": 1}
    assert run(database, noon(2027, 6, 1)) == {}
    assert mails(database) == [
        ("rights_warning", "vnguyen@univ.example"),
        ("rights_warning", "vnguyen@mail.example"),
    ]
    assert run(database, noon(2027, 6, 20)) == {"rights_10_days": 1}
    assert run(database, noon(2027, 6, 29)) == {}
    assert len(mails(database)) == 4


def test_a_warning_is_in_the_persons_language_and_says_both_dates(embedded: Database) -> None:
    with embedded.begin() as session:
        add(session, language="en")
    run(embedded, noon(2027, 6, 1))
    with embedded.read() as session:
        mail = session.scalars(select(OutboxMail)).first()
        assert mail is not None
        assert mail.locale == "en"
        assert datetime.fromisoformat(mail.context["rights_end"]) == END
        assert datetime.fromisoformat(mail.context["kept_until"]) == datetime(2027, 12, 30, 23, 59, tzinfo=PARIS)
        assert mail.context["can_ask"] is True


def test_whoever_cannot_be_written_to_is_noted(embedded: Database) -> None:
    with embedded.begin() as session:
        add(session, confirmed=False)
    assert run(embedded, noon(2027, 6, 1)) == {"rights_30_days": 1}
    with embedded.read() as session:
        outcome = session.scalar(select(AuditEvent.outcome).where(AuditEvent.event == "lifecycle.warned"))
    assert (outcome, mails(embedded)) == ("nowhere to write to", [])


def test_whoever_answers_for_an_account_without_addresses_is_told_in_its_place(embedded: Database) -> None:
    with embedded.begin() as session:
        sponsor = add(session, "tmartin", end=None, language="en")
        add(session, "scanner", confirmed=False, sponsor_id=sponsor.id)
    assert run(embedded, noon(2027, 6, 1)) == {"rights_30_days": 1}
    with embedded.read() as session:
        mail = session.scalars(select(OutboxMail)).one()
        assert (mail.recipient, mail.locale, mail.context["answers_for"]) == ("tmartin@univ.example", "en", "scanner")


def test_i10_closing_ends_pending_proofs_and_tells_other_systems_and_moodle(database: Database) -> None:
    with database.begin() as session:
        account = add(session)
        make_proof(
            session,
            TERMS.keys,
            about(account.addresses[0]),
            purpose="reset password",
            lifetime=timedelta(days=400),
            service=None,
            locale="fr",
            now=noon(2027, 6, 1),
        )
        session.flush()
        account_id, version = account.id, account.version
    run(database, noon(2027, 6, 25))
    assert run(database, END) == {"closed": 1}
    with database.read() as session:
        assert session.get_one(Account, account_id).version == version + 1
        assert session.scalars(select(Handover.event)).all() == ["account.ended"]
        pending = select(func.count()).where(Proof.claimed_at.is_(None), Proof.cancelled_at.is_(None))
        assert session.scalar(pending) == 0


def erased(database: Database) -> None:
    """Everything that comes until the account is erased."""
    for now in (END, noon(2027, 11, 30), noon(2027, 12, 20), noon(2027, 12, 31)):
        run(database, now)


def test_what_is_left_of_an_account_of_the_university_is_a_tombstone(database: Database) -> None:
    hashing = PasswordHashing(threads=1)
    EmbeddedDirectory("sel", database, hashing).save(Entry("vnguyen", "Valentin", "Nguyen", "v@univ.example"))
    hashing.close()
    with database.begin() as session:
        account = add(session, external_key="hr-1", birth_name="Tran", unit="UFR Sciences", directory="sel")
        session.add(ActivationDraft(account_id=account.id, answers={"directory": True}, updated_at=END))
        session.add(
            MailboxChoice(
                account_id=account.id,
                forward_address_id=account.addresses[1].id,
                keep_copy=True,
                antispam="",
                updated_at=END,
            )
        )
        account_id = account.id
    erased(database)
    with database.read() as session:
        account = session.get_one(Account, account_id)
        assert account.erased_at is not None
        assert (account.username, account.given_name, account.birth_name, account.unit, account.external_key) == (
            ("vnguyen", "", "", "", None)
        )
        assert account.addresses == []
        for table in (ActivationDraft, MailboxChoice, DirectoryEntry, LifecycleNotice):
            assert session.scalar(select(func.count()).select_from(table)) == 0
        assert session.scalars(select(Handover.event).order_by(Handover.id)).all() == [
            "account.ended",
            "account.erased",
        ]
    assert mails(database)[-2:] == [
        ("retention_over", "vnguyen@univ.example"),
        ("retention_over", "vnguyen@mail.example"),
    ]


def test_a_user_name_is_never_given_again_but_a_staff_number_may_come_back(database: Database) -> None:
    with database.begin() as session:
        add(session, external_key="hr-1")
    erased(database)
    with pytest.raises(UsernameTaken), database.begin() as session:
        add(session)
    with database.begin() as session:
        add(session, "vnguyen2", external_key="hr-1")


def test_an_erased_account_does_not_come_back(database: Database) -> None:
    with database.begin() as session:
        account_id = add(session).id
    erased(database)
    with pytest.raises(AccountErased), database.begin() as session:
        move_end(session, account_id, None, now=noon(2028, 1, 1), origin=ORIGIN)


def test_a_return_within_retention_is_the_same_account_warned_anew(database: Database) -> None:
    with database.begin() as session:
        account = add(session)
        account_id, key = account.id, account.key
    for now in (noon(2027, 6, 1), noon(2027, 6, 22), END, noon(2027, 12, 1)):
        run(database, now)
    later = end_of_day(datetime(2028, 6, 30, tzinfo=PARIS).date(), PARIS)
    with database.begin() as session:
        assert move_end(session, account_id, later, now=noon(2027, 12, 2), origin=ORIGIN)
        assert not move_end(session, account_id, later, now=noon(2027, 12, 2), origin=ORIGIN)
    with database.read() as session:
        assert session.get_one(Account, account_id).key == key
        assert session.scalars(select(Handover.event).order_by(Handover.id)).all() == [
            "account.ended",
            "account.revived",
        ]
    assert run(database, noon(2028, 1, 15)) == {}
    assert run(database, noon(2028, 6, 1)) == {"rights_30_days": 1}
    assert run(database, later) == {"closed": 1}


def test_an_end_that_comes_back_to_the_same_day_is_closed_again(embedded: Database) -> None:
    with embedded.begin() as session:
        account_id = add(session).id
    assert run(embedded, END) == {"closed": 1}
    for end in (None, END):
        with embedded.begin() as session:
            move_end(session, account_id, end, now=noon(2027, 7, 2), origin=ORIGIN)
    assert run(embedded, noon(2027, 7, 3)) == {"closed": 1}


def test_an_account_under_suspension_is_held_until_somebody_decides(database: Database) -> None:
    with database.begin() as session:
        account = add(session)
        suspend(session, account, reason="look into it", until=None, now=noon(2027, 6, 1), origin=ORIGIN)
        account_id = account.id
    erased(database)
    with database.read() as session:
        assert session.get_one(Account, account_id).erased_at is None
    with database.begin() as session:
        readmit(session, session.get_one(Account, account_id), now=noon(2028, 5, 1), origin=ORIGIN)
    assert run(database, noon(2028, 5, 1)) == {"erasure_10_days": 1}
    assert run(database, noon(2028, 5, 10)) == {}
    assert run(database, noon(2028, 5, 12)) == {"erased": 1}


def test_two_runs_at_once_take_every_step_once(database: Database) -> None:
    with database.begin() as session:
        for number in range(20):
            add(session, f"person{number}")
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: run(database, END), range(4)))
    assert sum(done, Counter()) == {"closed": 20}
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Handover)) == 20


def test_more_than_a_page_is_read_whole_and_in_order(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("external_accounts.lifecycle_candidates.PAGE", 7)
    with database.begin() as session:
        for number in range(30):
            add(session, f"person{number}", end=END + timedelta(minutes=number // 4), confirmed=False)
    found = [one for page in candidates(database, POLICIES, noon(2027, 6, 25), PARIS) for one in page]
    assert len({one.account_id for one in found}) == len(found) == 30
    assert [one.life.rights_end_at for one in found] == sorted(one.life.rights_end_at or END for one in found)
    with database.read() as session:
        assert count(session, POLICIES, noon(2027, 6, 25), PARIS) == 30


DAYS = st.integers(-800, 120)


@given(
    people=st.lists(st.tuples(DAYS, st.sampled_from(["vacataire", "staff", "learner"]), st.integers(0, 5)), max_size=12)
)
def test_the_database_never_narrows_away_what_the_rule_would_take(
    embedded: Database, people: list[tuple[int, str, int]]
) -> None:
    now = noon(2028, 2, 29)
    with embedded.begin() as session:
        for table in (LifecycleNotice, Extension, PairCheck, SearchWord, Account):
            session.execute(delete(table))
        for number, (days, profile, steps) in enumerate(people):
            end = now + timedelta(days=days)
            account = Account(username=f"p{number}", profile=profile, created_at=now, rights_end_at=end, version=1)
            session.add(account)
            session.flush()
            past = [step for step in Step if step is not Step.ERASE][:steps]
            session.add_all(LifecycleNotice(account_id=account.id, kind=step.value, about=end, at=now) for step in past)
    with embedded.read() as session:
        every = session.scalars(select(Account)).all()
        due = {
            account.username
            for account in every
            if list(steps_due(life_of(session, account.id), POLICIES[account.profile], now, PARIS))
        }
    read: list[Candidate] = [one for page in candidates(embedded, POLICIES, now, PARIS) for one in page]
    taken = {one.username for one in read if list(steps_due(one.life, POLICIES[one.profile], now, PARIS))}
    assert taken == due
