"""D08: what the policy says, the link does, in the clock of the university: at T-1 s, T, T+1 s, in every night."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from external_accounts.activation_deadlines import NEXT_DAY, SAME_DAY, Life, life_of
from external_accounts.database import Database
from external_accounts.keys import Keys
from external_accounts.proof_deadlines import (
    LEAST_GRACE,
    MOST_GRACE,
    begin_life,
    deadline_if_taken,
    is_waiting_for_its_mail,
    note_accepted,
)
from external_accounts.proofs import Subject, make_proof, state_of
from external_accounts.schema import Proof

PARIS = ZoneInfo("Europe/Paris")
ZONES = [ZoneInfo(name) for name in ("Europe/Paris", "Indian/Reunion", "America/Sao_Paulo", "Pacific/Noumea", "UTC")]
SECOND = timedelta(seconds=1)
SINCE_2015 = datetime(2015, 1, 1, tzinfo=UTC)
moments = st.timedeltas(timedelta(0), timedelta(days=7300)).map(lambda later: SINCE_2015 + later)


def paris(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=PARIS)


@pytest.mark.parametrize(
    ("policy", "made", "ends"),
    [
        (NEXT_DAY, "2026-11-24 10:00", "2026-11-25 23:59"),
        (NEXT_DAY, "2026-11-24 00:00", "2026-11-25 23:59"),
        (NEXT_DAY, "2026-11-24 23:59", "2026-11-25 23:59"),
        (SAME_DAY, "2026-11-24 10:00", "2026-11-24 23:59"),
        (SAME_DAY, "2026-11-24 17:59", "2026-11-24 23:59"),
        # Never less than six hours.
        (SAME_DAY, "2026-11-24 18:00", "2026-11-25 00:00"),
        (SAME_DAY, "2026-11-24 23:58", "2026-11-25 05:58"),
        # The night that is an hour shorter, the one that is an hour longer: 23:59 on the wall, six hours on the watch.
        (NEXT_DAY, "2026-03-28 12:00", "2026-03-29 23:59"),
        (SAME_DAY, "2026-03-29 01:30", "2026-03-29 23:59"),
        (SAME_DAY, "2026-03-28 22:00", "2026-03-29 05:00"),
        (NEXT_DAY, "2026-10-24 12:00", "2026-10-25 23:59"),
        (SAME_DAY, "2026-10-24 22:00", "2026-10-25 03:00"),
        # Leap day, and the day before there is none.
        (NEXT_DAY, "2028-02-28 09:00", "2028-02-29 23:59"),
        (SAME_DAY, "2028-02-29 09:00", "2028-02-29 23:59"),
        (NEXT_DAY, "2027-02-28 09:00", "2027-03-01 23:59"),
        (NEXT_DAY, "2026-12-31 09:00", "2027-01-01 23:59"),
        ("hours:6", "2026-10-24 22:00", "2026-10-25 03:00"),
        ("hours:48", "2026-11-24 10:00", "2026-11-26 10:00"),
    ],
)
def test_d08_the_policies_on_the_days_that_matter(policy: str, made: str, ends: str) -> None:
    now = paris(made)
    assert life_of(policy, now, PARIS).ends(now.astimezone(UTC)) == paris(ends).astimezone(UTC)


def test_a_policy_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="tomorrow"):
        life_of("tomorrow", paris("2026-11-24 10:00"), PARIS)


@given(now=moments, policy=st.sampled_from([NEXT_DAY, SAME_DAY, "hours:6", "hours:36"]), zone=st.sampled_from(ZONES))
def test_never_less_than_six_hours_and_else_what_the_policy_says(now: datetime, policy: str, zone: ZoneInfo) -> None:
    ends = life_of(policy, now, zone).ends(now)
    assert ends - now >= LEAST_GRACE
    if policy.startswith("hours:"):
        assert ends == now + timedelta(hours=int(policy[6:]))
    elif ends - now > LEAST_GRACE:
        day = now.astimezone(zone).date() + timedelta(days=1 if policy == NEXT_DAY else 0)
        shown = ends.astimezone(zone)
        assert (shown.date(), shown.hour, shown.minute) == (day, 23, 59)


def test_a_23_59_that_the_clock_shows_twice_is_the_later_one() -> None:
    zone = ZoneInfo("America/Sao_Paulo")  # went back from 24:00 to 23:00 on 17 February 2018
    ends = life_of(SAME_DAY, datetime(2018, 2, 17, 12, tzinfo=UTC), zone).ends(datetime(2018, 2, 17, 12, tzinfo=UTC))
    assert ends == datetime(2018, 2, 18, 2, 59, tzinfo=UTC)


def test_a_23_59_that_the_clock_skips_is_as_late_as_it_would_have_been() -> None:
    zone = ZoneInfo("America/Nuuk")  # goes from 23:00 to 24:00 on 28 March 2026
    now = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert life_of(SAME_DAY, now, zone).ends(now) == datetime(2026, 3, 29, 1, 59, tzinfo=UTC)


def made(database: Database, keys: Keys, life: Life, now: datetime) -> Proof:
    with database.begin() as session:
        return make_proof(
            session,
            keys,
            Subject(),
            purpose="activate",
            lifetime=life.lifetime,
            service=None,
            locale="fr",
            now=now,
            calendar_end=life.calendar_end,
        )


def offered(database: Database, proof: Proof, now: datetime) -> Proof:
    with database.begin() as session:
        row = session.get_one(Proof, proof.id)
        begin_life(session, row, now)
        note_accepted(session, proof.id, now)
    with database.read() as session:
        return session.get_one(Proof, proof.id)


@pytest.mark.parametrize("made_at", ["2026-11-24 10:00", "2026-03-28 12:00", "2026-10-24 12:00", "2028-02-28 12:00"])
def test_d08_open_a_second_before_over_at_the_very_second(database: Database, keys: Keys, made_at: str) -> None:
    now = paris(made_at)
    life = life_of(NEXT_DAY, now, PARIS)
    proof = offered(database, made(database, keys, life, now), now)
    ends = paris(made_at).replace(hour=23, minute=59) + timedelta(days=1)  # on the wall
    states = [state_of(proof, ends.astimezone(UTC) + SECOND * shift) for shift in (-1, 0, 1)]
    assert states == ["pending", "expired", "expired"]


def test_a_mail_that_is_taken_late_does_not_move_the_23_59(database: Database, keys: Keys) -> None:
    now = paris("2026-11-24 10:00")
    proof = made(database, keys, life_of(SAME_DAY, now, PARIS), now)
    assert offered(database, proof, now + timedelta(hours=5)).expires_at == paris("2026-11-24 23:59")


def test_greylisting_still_leaves_six_hours(database: Database, keys: Keys) -> None:
    now = paris("2026-11-24 10:00")
    proof = made(database, keys, life_of(SAME_DAY, now, PARIS), now)
    assert offered(database, proof, paris("2026-11-24 22:00")).expires_at == paris("2026-11-25 04:00")


@given(late=st.timedeltas(timedelta(0), timedelta(days=5)), now=moments, policy=st.sampled_from([NEXT_DAY, SAME_DAY]))
def test_however_late_the_mail_six_hours_are_left_or_a_day_has_passed(
    late: timedelta, now: datetime, policy: str
) -> None:
    life = life_of(policy, now, PARIS)
    assert life.calendar_end is not None
    taken = now + late
    ends = deadline_if_taken(now, life.lifetime, taken, calendar_end=life.calendar_end)
    assert ends >= life.calendar_end
    assert ends - taken >= LEAST_GRACE or ends == max(life.calendar_end, life.calendar_end + MOST_GRACE)
    proof = Proof(created_at=now, lifetime_seconds=int(life.lifetime.total_seconds()), calendar_end=life.calendar_end)
    assert is_waiting_for_its_mail(proof, taken) == (taken + LEAST_GRACE <= life.calendar_end + MOST_GRACE)
