"""What is said of every row when a call's outcome is unknown, and that such a call is never made again."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moodle_ws import (
    BadRow,
    Cohort,
    Created,
    Enrolment,
    Membership,
    MissingCapability,
    MoodleClient,
    MoodleError,
    NewCohort,
    NewUser,
    RowOutcome,
    RowStatus,
    UnknownOutcome,
    UnreadableAnswer,
    UpdateOutcome,
    UserUpdate,
)
from moodle_ws.batches import bisected, create_each, write_each
from moodle_ws.errors import BadRequest
from moodle_ws.simulator import SimulatedMoodle

FIRST = 100  # the id of the first of the people put into the site


def person(number: int) -> NewUser:
    email = f"p{number}@example.test"
    return NewUser(username=f"p{number}", firstname="P", lastname="L", email=email, auth="cas")


WRITES: dict[str, tuple[str, Callable[[MoodleClient], Any]]] = {
    "users created": (
        "core_user_create_users",
        lambda client: client.create_users_each([person(number) for number in range(120)]),
    ),
    "users changed": (
        "core_user_update_users",
        lambda client: client.update_users([UserUpdate(id=FIRST + n, suspended=True) for n in range(120)]),
    ),
    "cohorts created": (
        "core_cohort_create_cohorts",
        lambda client: client.create_cohorts_each([NewCohort(name="C", idnumber=f"c{n}") for n in range(120)]),
    ),
    "members added": (
        "core_cohort_add_cohort_members",
        lambda client: client.add_cohort_members([Membership(1, FIRST + n) for n in range(120)]),
    ),
    "members removed": (
        "core_cohort_delete_cohort_members",
        lambda client: client.remove_cohort_members([Membership(1, FIRST + n) for n in range(120)]),
    ),
    "people enrolled": (
        "enrol_manual_enrol_users",
        lambda client: client.enrol_users(
            [Enrolment(roleid=5, userid=FIRST + n, courseid=2) for n in range(120)],
        ),
    ),
}


@pytest.fixture
def peopled(moodle: SimulatedMoodle) -> SimulatedMoodle:
    """A site with 120 people and a cohort with the even ones."""
    for number in range(120):
        moodle.site.add_user(f"q{number}", id=FIRST + number, auth="cas", email=f"q{number}@example.test")
    moodle.site.add_cohort("Staff", "staff").members = list(range(FIRST, FIRST + 120, 2))
    return moodle


def status(outcome: Any) -> RowStatus:
    if isinstance(outcome, Created | Cohort):
        return RowStatus.APPLIED
    if isinstance(outcome, UpdateOutcome | RowOutcome):
        return outcome.status
    return RowStatus.REFUSED if isinstance(outcome, BadRow) else RowStatus(outcome)


@pytest.mark.parametrize("fault", ["lost", "500", "cut", "empty", "redirect", "invalidresponse"])
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_rows_of_a_call_without_an_answer_are_unknown_and_never_sent_again(
    peopled: SimulatedMoodle, client: MoodleClient, write: tuple[str, Callable[[MoodleClient], Any]], fault: str
) -> None:
    function, call = write
    peopled.faults.at(function, 2, fault)
    if function == "core_user_update_users" and fault == "invalidresponse":
        outcomes = call(client)  # the others are not touched by it, so the work goes on
        assert [status(outcome) for outcome in outcomes[100:]] == [RowStatus.APPLIED] * 20
        calls = 3
    else:
        with pytest.raises(UnknownOutcome) as caught:
            call(client)
        outcomes = caught.value.outcomes
        assert [status(outcome) for outcome in outcomes[100:]] == [RowStatus.NOT_SENT] * 20
        calls = 2
    assert [status(outcome) for outcome in outcomes[:50]] == [RowStatus.APPLIED] * 50
    assert [status(outcome) for outcome in outcomes[50:100]] == [RowStatus.UNKNOWN] * 50
    assert peopled.calls == [function] * calls


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_right_that_is_missing_is_named_and_nothing_is_sent_after_it(
    peopled: SimulatedMoodle, client: MoodleClient, write: tuple[str, Callable[[MoodleClient], Any]]
) -> None:
    function, call = write
    peopled.site.tokens[peopled.site.options.token].capabilities = frozenset({"webservice/rest:use"})
    with pytest.raises(MissingCapability) as caught:
        call(client)
    assert caught.value.capability
    assert [status(outcome) for outcome in caught.value.outcomes] == [RowStatus.NOT_SENT] * 120
    assert peopled.calls == [function]


def test_rows_refused_here_keep_their_place_among_unknown_ones(moodle: SimulatedMoodle, client: MoodleClient) -> None:
    rows = [person(number) for number in range(80)]
    rows[3] = rows[70] = NewUser(username="Not Good", firstname="P", lastname="L", email="x@example.test", auth="cas")
    moodle.faults.next("lost")
    with pytest.raises(UnknownOutcome) as caught:
        client.create_users_each(rows)
    expected = [RowStatus.UNKNOWN] * 51 + [RowStatus.NOT_SENT] * 29
    expected[3] = expected[70] = RowStatus.REFUSED
    assert [status(outcome) for outcome in caught.value.outcomes] == expected


def test_a_warning_that_names_nobody_leaves_the_others_unknown(
    client: MoodleClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings = [
        {"item": "user", "itemid": 7, "warningcode": "invaliduserid", "message": "x"},
        {"warningcode": "somethingnew", "message": "x"},
    ]
    monkeypatch.setattr(client, "call", lambda *_arguments, **_options: {"warnings": warnings})
    outcomes = client.update_users([UserUpdate(id=number, suspended=True) for number in (7, 8)])
    assert outcomes == [
        UpdateOutcome(7, RowStatus.REFUSED, "invaliduserid"),
        UpdateOutcome(8, RowStatus.UNKNOWN, "somethingnew"),
    ]


def test_cohorts_that_are_not_those_sent_are_not_taken_for_created(
    client: MoodleClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "call", lambda *_arguments, **_options: [{"id": 4, "idnumber": "other"}])
    with pytest.raises(UnreadableAnswer, match="not those") as caught:
        client.create_cohorts([NewCohort(name="C", idnumber="c")])
    assert caught.value.outcomes == (RowStatus.UNKNOWN,)


# -- bisecting -------------------------------------------------------------------------------------------------------

SUBSETS = st.integers(1, 60).flatmap(
    lambda size: st.tuples(st.just(size), st.sets(st.integers(0, size - 1), max_size=size))
)


def most_calls(rows: int, bad: int) -> int:
    return 1 if not bad else min(2 * rows - 1, 1 + 2 * bad * (rows - 1).bit_length())


@settings(deadline=None)
@given(SUBSETS)
def test_bisecting_finds_exactly_the_bad_rows_in_a_bounded_number_of_calls(case: tuple[int, set[int]]) -> None:
    size, bad = case
    made: list[list[int]] = []

    def send(piece: Any) -> str:
        made.append(list(piece))
        if bad & set(piece):
            raise BadRequest
        return "done"

    pieces = list(bisected(range(size), send, BadRequest))
    assert [row for piece, _answer in pieces for row in piece] == list(range(size))
    assert {row for piece, answer in pieces for row in piece if isinstance(answer, BadRequest)} == bad
    assert len(made) <= most_calls(size, len(bad))


@settings(deadline=None)
@given(st.integers(0, 200), st.sets(st.integers(0, 199)), st.integers(1, 40), st.integers(0, 60))
def test_however_a_write_ends_every_row_is_accounted_for_and_told_the_truth(
    size: int, bad: set[int], lost_after: int, wide: int
) -> None:
    """A server that is all or nothing, refuses bad rows, and does the work of one call without answering it."""
    written: list[int] = []
    calls = 0

    def send(piece: Any) -> list[int]:
        nonlocal calls
        calls += 1
        if bad & set(piece):
            raise BadRequest(code="invalidparameter")
        written.extend(piece)
        if calls == lost_after:
            raise UnknownOutcome
        return list(piece)

    rows = list(range(size))
    for write in (
        lambda: write_each(rows, lambda _row: 1 + wide, send, BadRequest),
        lambda: create_each(rows, lambda _row, _index: None, lambda _row: 1 + wide, send),
    ):
        written.clear()
        calls = 0
        try:
            outcomes = list(write())
        except MoodleError as error:
            outcomes = list(error.outcomes)
        assert len(outcomes) == size
        told = {
            row: RowStatus.APPLIED if isinstance(outcome, int) else status(outcome)
            for row, outcome in enumerate(outcomes)
        }
        assert len(written) == len(set(written)), "nothing was written twice"
        for row, what in told.items():
            if what is RowStatus.APPLIED:
                assert row in written
            elif what is RowStatus.REFUSED:
                assert row in bad
            elif what is RowStatus.NOT_SENT:
                assert row not in written
        assert set(written) <= {row for row, what in told.items() if what in {RowStatus.APPLIED, RowStatus.UNKNOWN}}
