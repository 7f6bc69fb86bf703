"""The outbox's leases: who holds a mail, and which one comes next."""

from __future__ import annotations

from datetime import timedelta

from external_accounts import outbox
from external_accounts.database import Database
from external_accounts.schema import OutboxMail
from tests.external_accounts.conftest import NOW

LATER = NOW + outbox.LEASE


def write(database: Database, count: int) -> list[int]:
    with database.begin() as session:
        mails = [
            outbox.enqueue(session, "t", f"{n}@mail.example", locale="fr", now=NOW, mail_domain="univ.example")
            for n in range(count)
        ]
        session.flush()
        return [mail.id for mail in mails]


def test_a_mail_is_held_by_one_until_the_lease_ends(database: Database) -> None:
    [mail] = write(database, 1)
    with database.begin() as session:
        assert outbox.lease_due(session, now=NOW, limit=5) == [mail]
    with database.begin() as session:
        assert outbox.lease_due(session, now=LATER - timedelta(seconds=1), limit=5) == []
        assert outbox.lease_due(session, now=LATER, limit=5) == [mail]


def test_who_lost_the_lease_cannot_begin(database: Database) -> None:
    [mail] = write(database, 1)
    with database.begin() as session:
        outbox.lease_due(session, now=NOW, limit=5)
    with database.begin() as session:
        outbox.lease_due(session, now=LATER, limit=5)
    until = LATER + 2 * outbox.LEASE
    with database.begin() as session:
        assert outbox.begin_try(session, mail, leased_until=LATER, until=until) is None
        begun = outbox.begin_try(session, mail, leased_until=LATER + outbox.LEASE, until=until)
        assert begun is not None
        assert (begun.attempts, begun.leased_until) == (1, until)


def test_a_mail_that_ends_every_runner_does_not_hold_up_the_ones_behind_it(database: Database) -> None:
    deadly, *others = write(database, 3)
    with database.begin() as session:
        assert outbox.lease_due(session, now=NOW, limit=5) == [deadly, *others]
    with database.begin() as session:
        assert outbox.begin_try(session, deadly, leased_until=LATER, until=LATER)
    # … and that was the end of the runner.
    with database.begin() as session:
        assert outbox.lease_due(session, now=LATER, limit=2) == others


def test_a_mail_that_was_only_taken_counts_no_try(database: Database) -> None:
    [mail] = write(database, 1)
    with database.begin() as session:
        outbox.lease_due(session, now=NOW, limit=5)
        row = session.get_one(OutboxMail, mail)
        outbox.put_back(row, NOW)
        assert (row.attempts, row.leased_until, row.due_at) == (0, None, NOW + outbox.FIRST_RETRY)


def test_d18_mail_is_slow_when_one_waits_for_30_seconds_and_no_later_one_was_taken(database: Database) -> None:
    def slow(seconds: int) -> bool:
        with database.read() as session:
            return outbox.is_slow(session, NOW + timedelta(seconds=seconds))

    assert not slow(60)
    write(database, 1)
    assert [slow(29), slow(30), slow(31)] == [False, True, True]
    [later] = write(database, 1)
    with database.begin() as session:
        row = session.get_one(OutboxMail, later)
        outbox.delivered(row, NOW)
    assert not slow(31), "one picky receiver is no slow server"
