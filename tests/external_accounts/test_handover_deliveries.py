"""Deliveries of handovers, on every database: who holds a row, what comes next, and how things stand."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from external_accounts import handover_deliveries as deliveries
from external_accounts.database import Database
from external_accounts.handovers import MAILBOX_CHANGED, hand_over
from external_accounts.institution_schema import HandoverDelivery
from tests.external_accounts.conftest import NOW

HOOK, OTHER = "hook:mail", "hook:other"
LATER = NOW + deliveries.LEASE


def tell(database: Database, add_person: Callable[..., int], count: int, *targets: str) -> list[int]:
    """Handovers that are spread to these targets; their ids."""
    account_id = add_person(database)
    with database.begin() as session:
        handovers = [hand_over(session, MAILBOX_CHANGED, account_id, now=NOW) for _ in range(count)]
        session.flush()
        ids = [one.id for one in handovers]
    with database.begin() as session:
        assert deliveries.spread(session, lambda _handover, _account: targets, now=NOW, limit=1000) == count
    return ids


def end(database: Database, handover_id: int, target: str, error: str = "", *, permanent: bool = False) -> None:
    with database.begin() as session:
        begun = deliveries.begin_try(session, handover_id, target, leased_until=LATER, now=NOW)
        assert begun is not None
    with database.begin() as session:
        deliveries.end_try(session, handover_id, target, error=error, permanent=permanent, leased_until=LATER, now=NOW)


def test_a_handover_is_spread_once(database: Database, add_person: Callable[..., int]) -> None:
    tell(database, add_person, 2, HOOK, OTHER)
    with database.begin() as session:
        assert deliveries.spread(session, lambda _handover, _account: [HOOK], now=NOW, limit=10) == 0
        assert session.query(HandoverDelivery).count() == 4
        assert sorted(deliveries.due_targets(session, [HOOK, OTHER, "hook:new"], NOW)) == [HOOK, OTHER]


def test_runners_side_by_side_take_each_row_once(database: Database, add_person: Callable[..., int]) -> None:
    wanted = tell(database, add_person, 60, HOOK)

    def take(_number: int) -> list[int]:
        with database.begin() as session:
            return deliveries.lease_due(session, HOOK, now=NOW, limit=7)

    with ThreadPoolExecutor(8) as pool:
        taken = [one for batch in pool.map(take, range(24)) for one in batch]
    assert sorted(taken) == wanted


def test_a_row_is_held_by_one_until_the_lease_ends(database: Database, add_person: Callable[..., int]) -> None:
    [handover] = tell(database, add_person, 1, HOOK)
    with database.begin() as session:
        assert deliveries.lease_due(session, HOOK, now=NOW, limit=5) == [handover]
        assert deliveries.lease_due(session, HOOK, now=LATER - timedelta(seconds=1), limit=5) == []
    with database.begin() as session:
        assert deliveries.lease_due(session, HOOK, now=LATER, limit=5) == [handover]
    with database.begin() as session:
        assert deliveries.begin_try(session, handover, HOOK, leased_until=LATER, now=LATER) is None
        late = {"error": "x", "permanent": True, "leased_until": LATER, "now": LATER}
        deliveries.end_try(session, handover, HOOK, **late)  # type: ignore[arg-type]
    with database.read() as session:
        assert session.get_one(HandoverDelivery, (handover, HOOK)).state == deliveries.PENDING


def test_the_figures_of_each_target(database: Database, add_person: Callable[..., int]) -> None:
    first, second, third, _fourth = tell(database, add_person, 4, HOOK, OTHER)
    with database.begin() as session:
        deliveries.lease_due(session, HOOK, now=NOW, limit=3)
    end(database, first, HOOK)
    end(database, second, HOOK, "answered 404", permanent=True)
    end(database, third, HOOK, "answered 503")
    with database.read() as session:
        hook, other = deliveries.figures(session)
        assert [row.handover_id for row in deliveries.failed(session, limit=5)] == [second]
    assert (hook.target, hook.waiting, hook.deferred, hook.failed, hook.done) == (HOOK, 2, 1, 1, 1)
    assert (hook.oldest, hook.last_error) == (NOW, "answered 503")
    assert (other.target, other.waiting, other.deferred, other.failed, other.done) == (OTHER, 4, 0, 0, 0)
    assert hook.is_stuck(NOW + timedelta(hours=2))
    assert not other.is_stuck(NOW + timedelta(hours=2))


def test_what_was_given_up_can_be_told_again(database: Database, add_person: Callable[..., int]) -> None:
    [handover] = tell(database, add_person, 1, HOOK)
    with database.begin() as session:
        deliveries.lease_due(session, HOOK, now=NOW, limit=3)
    end(database, handover, HOOK, "answered 404", permanent=True)
    with database.begin() as session:
        assert deliveries.retry(session, handover_id=None, target=OTHER, now=NOW) == 0
        assert deliveries.retry(session, handover_id=handover, target=None, now=NOW) == 1
        assert deliveries.lease_due(session, HOOK, now=NOW, limit=3) == [handover]


def test_what_is_old_is_dropped(database: Database, add_person: Callable[..., int]) -> None:
    tell(database, add_person, 2, HOOK)
    with database.begin() as session:
        deliveries.purge(session, keep=timedelta(days=90), now=NOW + timedelta(days=91))
    with database.read() as session:
        assert session.query(HandoverDelivery).count() == 0
