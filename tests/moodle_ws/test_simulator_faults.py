"""Every trap of Moodle's, switched on for one request."""

import time
from collections.abc import Callable

import pytest
import requests

from moodle_ws import (
    AnswerLost,
    BadRequest,
    BadRow,
    InvalidResponse,
    Maintenance,
    MissingCapability,
    MoodleClient,
    NewUser,
    RowStatus,
    TokenInvalid,
    Truncated,
    Unavailable,
    UserUpdate,
)
from moodle_ws.simulator import Database, Pace, SimulatedMoodle
from moodle_ws.simulator.pace import Workers

Serve = Callable[..., SimulatedMoodle]
Connect = Callable[..., MoodleClient]
UPDATE = "core_user_update_users"


def person(number: int) -> NewUser:
    email = f"p{number}@example.test"
    return NewUser(username=f"p{number}", firstname="P", lastname="L", email=email, auth="cas")


@pytest.fixture
def anne(moodle: SimulatedMoodle) -> int:
    values = {"firstname": "A", "lastname": "D", "email": "Anne@example.test", "idnumber": "A-1"}
    return moodle.site.add_user("anne", auth="cas", **values).id


def test_the_third_update_is_lost_and_nothing_else_is(moodle: SimulatedMoodle, client: MoodleClient, anne: int) -> None:
    moodle.faults.at(UPDATE, 3, "lost")
    told = []
    for suspended in (True, False, True, False):
        client.users_by_field("id", [anne])
        try:
            told.append(client.update_users([UserUpdate(id=anne, suspended=suspended)])[0].status)
        except AnswerLost as error:
            assert moodle.site.users[anne].suspended, "the work was done"
            told.append(error.outcomes[0].status)
    assert told == [RowStatus.APPLIED, RowStatus.APPLIED, RowStatus.UNKNOWN, RowStatus.APPLIED]


def test_a_fault_of_a_function_leaves_the_queue_alone(moodle: SimulatedMoodle, client: MoodleClient) -> None:
    moodle.faults.next("503")
    moodle.faults.at("core_webservice_get_site_info", 1, "sitemaintenance")
    for _time in range(2):
        with pytest.raises(Maintenance):
            client.site_info()
    assert client.site_info().userid == 3


def test_both_kinds_of_maintenance(moodle: SimulatedMoodle, client: MoodleClient) -> None:
    moodle.faults.next("sitemaintenance", "maintenance")
    with pytest.raises(Maintenance) as caught:
        client.site_info()
    assert caught.value.code == "sitemaintenance"
    with pytest.raises(Maintenance, match="HTTP 503"):
        client.site_info()


def test_a_form_is_cut_on_a_row_boundary_in_the_middle_of_a_row_and_before_the_token(
    moodle: SimulatedMoodle, client: MoodleClient, connect: Connect
) -> None:
    moodle.faults.next(f"max_input_vars={3 + 5 * 4 - 1}")
    with pytest.raises(Truncated, match="4 of 10"):
        client.create_users([person(number) for number in range(10)])
    moodle.faults.next(f"max_input_vars={3 + 5 * 4}")
    assert len(client.create_users([person(number) for number in range(10, 20)])) == 10, "refused, halved, created"
    moodle.faults.next("max_input_vars=-1")
    with pytest.raises(Truncated, match="control fields"):
        client.site_info()
    moodle.faults.next("max_input_vars=-1")
    with pytest.raises(TokenInvalid):
        connect(moodle, answer_format="xml").site_info()


def test_poison_comes_and_goes_with_the_request(moodle: SimulatedMoodle, client: MoodleClient, anne: int) -> None:
    moodle.faults.next(f"poison={anne}", f"poison={anne}")
    with pytest.raises(InvalidResponse) as caught:
        client.users_by_field("id", [anne])
    assert caught.value.poisoned == (str(anne),)
    with pytest.raises(InvalidResponse):
        client.search_users({"username": "anne"})
    assert len(client.users_by_field("id", [anne])) == 1


def test_people_are_hidden_one_by_one_or_all_by_a_missing_right(
    moodle: SimulatedMoodle, client: MoodleClient, anne: int
) -> None:
    moodle.faults.next(f"hide={anne}|2", "without=moodle/user:viewdetails", "without=moodle/user:viewalldetails", "")
    assert [user.id for user in client.users_by_field("id", [1, 2, 3, anne])] == [1, 3]
    assert [user.id for user in client.users_by_field("id", [2, 3, anne])] == [3], "nobody but oneself, and no error"
    (user,) = client.users_by_field("id", [anne])
    assert (user.username, user.auth) == (None, None)
    assert len(client.users_by_field("id", [2, anne])) == 2


def test_a_right_is_missing_for_one_request(moodle: SimulatedMoodle, client: MoodleClient, anne: int) -> None:
    moodle.faults.at(UPDATE, 1, "without=moodle/user:update")
    with pytest.raises(MissingCapability, match="moodle/user:update"):
        client.update_users([UserUpdate(id=anne, suspended=True)])
    assert client.update_users([UserUpdate(id=anne, suspended=True)])[0].applied


def test_a_write_is_refused_as_a_whole_for_one_of_its_values(moodle: SimulatedMoodle, client: MoodleClient) -> None:
    moodle.faults.next(*["refuse=p3"] * 5)
    outcomes = client.create_users_each([person(number) for number in range(4)])
    assert [isinstance(outcome, BadRow) for outcome in outcomes] == [False, False, False, True]
    assert [user.username for user in moodle.site.living() if user.id > 3] == ["p0", "p1", "p2"]


@pytest.mark.parametrize("stands", list(Database))
def test_one_request_compares_as_the_other_database(serve: Serve, connect: Connect, stands: Database) -> None:
    simulated = serve(database=stands)
    simulated.site.add_user("rene", auth="cas", firstname="R", lastname="P", email="Rene@univ.test", idnumber="E-1")
    client = connect(simulated)

    def found(fault: str) -> int:
        simulated.faults.next(fault)
        answer = client.call(
            "core_user_get_users_by_field", {"field": "email", "values": ["rené@univ.test"]}, read=True
        )
        return len(answer)

    loose = int(stands is Database.MARIADB)
    assert [found(fault) for fault in ("", "database=mariadb", "database=postgresql", "")] == [loose, 1, 0, loose]
    simulated.faults.next("database=mariadb")
    created = client.create_users([person(1)])[0].id
    simulated.site.users[created].idnumber = "É-1"
    simulated.faults.next("database=mariadb")
    assert len(client.call("core_user_get_users_by_field", {"field": "idnumber", "values": ["e-1"]}, read=True)) == 2


def test_an_answer_may_come_in_drops(moodle: SimulatedMoodle, connect: Connect) -> None:
    moodle.faults.next("drip=0.2")
    assert connect(moodle, read_timeout=5).site_info().userid == 3
    moodle.faults.next("drip=30")
    with pytest.raises(Unavailable):
        connect(moodle, read_timeout=0.2, read_retries=0).site_info()


@pytest.mark.parametrize("words", ["slw=2", "lost, maintainance"])
def test_a_word_that_is_no_fault_is_refused(moodle: SimulatedMoodle, words: str) -> None:
    with pytest.raises(ValueError, match="not a fault"):
        moodle.faults.next(words)
    with pytest.raises(ValueError, match="not a fault"):
        moodle.faults.at(UPDATE, 1, words)
    address = f"{moodle.site.wwwroot}/webservice/rest/server.php"
    assert requests.post(address, headers={"X-Simulate-Fault": words}, timeout=5).status_code == 400


def test_success_is_answered_for_a_preference_that_is_not_set(client: MoodleClient, anne: int) -> None:
    parameters = {"userid": anne, "emailstop": 1}
    assert client.call("core_user_update_user_preferences", parameters, read=False) is None
    with pytest.raises(BadRequest):
        client.call("core_user_update_user_preferences", {"userid": anne, "suspended": 1}, read=False)


# -- pace ------------------------------------------------------------------------------------------------------------

MEASURED = [  # ground truth §9, one client: function, rows, seconds a call took
    ("core_user_create_users", 1, 0.034),
    ("core_user_create_users", 10, 0.076),
    ("core_user_create_users", 50, 0.25),
    (UPDATE, 1, 0.036),
    (UPDATE, 10, 0.056),
    (UPDATE, 50, 0.12),
    (UPDATE, 100, 0.26),
    ("core_user_get_users_by_field", 1, 0.044),
    ("core_user_get_users_by_field", 50, 0.33),
    ("core_user_get_users_by_field", 500, 2.9),
    ("core_user_get_users", 1, 0.046),
    ("core_webservice_get_site_info", 0, 0.031),
]


@pytest.mark.parametrize(("function", "rows", "seconds"), MEASURED)
def test_a_paced_call_costs_what_was_measured(function: str, rows: int, seconds: float) -> None:
    assert Pace().cost(function, rows) == pytest.approx(seconds, rel=0.15)


@pytest.mark.parametrize(
    ("call", "function", "rows"),
    [
        (lambda client: client.create_users([person(number) for number in range(7)]), "core_user_create_users", 7),
        (lambda client: client.update_users([UserUpdate(id=4, suspended=True)]), UPDATE, 1),
        (lambda client: client.users_by_field("id", [2, 3, 999]), "core_user_get_users_by_field", 2),
        (lambda client: client.users_by_field("id", [998, 999]), "core_user_get_users_by_field", 0),
        (lambda client: client.search_users({"username": "admin"}), "core_user_get_users", 1),
        (lambda client: client.site_info(), "core_webservice_get_site_info", 0),
    ],
)
def test_the_rows_sent_or_found_are_paid_for(
    serve: Serve,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[[MoodleClient], object],
    function: str,
    rows: int,
) -> None:
    paid: list[tuple[str, int]] = []

    def cost(_pace: Pace, function: str, rows: int) -> float:
        paid.append((function, rows))
        return 0.0

    monkeypatch.setattr(Pace, "cost", cost)
    simulated = serve(pace=Pace())
    simulated.site.add_user("anne", id=4, auth="cas")
    call(connect(simulated))
    assert paid == [(function, rows)]


def test_two_calls_are_worked_on_at_once_and_a_third_waits() -> None:
    slept: list[float] = []
    workers = Workers(Pace(workers=2, seconds={"f": (10.0, 1.0)}), sleep=slept.append)
    with workers.working("f") as first, workers.working("f") as second:
        assert not workers._free.acquire(blocking=False)
        first(5)
        second(0)
    assert [round(seconds) for seconds in slept] == [10, 15]
    assert workers._free.acquire(blocking=False)


def test_a_paced_call_takes_its_time_without_burning_the_processor(serve: Serve, connect: Connect) -> None:
    client = connect(serve(pace=Pace(seconds={"core_webservice_get_site_info": (0.3, 0.0)})))
    began, used = time.monotonic(), time.process_time()
    client.site_info()
    assert time.monotonic() - began >= 0.3
    assert time.process_time() - used < 0.2


# -- speed -----------------------------------------------------------------------------------------------------------


def test_a_hundred_thousand_people_do_not_slow_it_down() -> None:
    """Processor time of the look-up and creation of 50, well under 10 ms each; the bound leaves room for a busy CI."""
    simulated = SimulatedMoodle()
    for number in range(100_000):
        values = {"email": f"u{number}@example.test", "idnumber": f"N{number}"}
        simulated.site.add_user(f"u{number}", auth="cas", firstname="F", lastname="L", **values)
    with simulated.serve() as handle, MoodleClient(handle.url, simulated.site.options.token) as client:
        client.users_by_field("username", ["u1"])

        def cost(call: Callable[[int], object]) -> float:
            """The cheapest of five, client and server together, in milliseconds."""
            spent = []
            for turn in range(5):
                began = time.process_time()
                call(turn)
                spent.append(1000 * (time.process_time() - began))
            return min(spent)

        for field, prefix in (("username", "u"), ("idnumber", "N")):
            values = [f"{prefix}{1999 * number}" for number in range(50)]
            assert cost(lambda _turn, field=field, values=values: client.users_by_field(field, values)) < 20
        assert cost(lambda turn: client.create_users([person(100 * turn + number) for number in range(50)])) < 20
        assert cost(lambda _turn: client.search_users({"email": "u77@example.test"})) < 20
