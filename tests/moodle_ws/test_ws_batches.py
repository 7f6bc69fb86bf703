"""Batches: sized by variables, bisected around bad rows, compared with what came back."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moodle_ws import (
    BadRow,
    Created,
    FieldHidden,
    InvalidResponse,
    Maintenance,
    Membership,
    MoodleClient,
    NewUser,
    RowStatus,
    Truncated,
    UserUpdate,
)
from moodle_ws.batches import batches
from moodle_ws.simulator import Database, SimulatedMoodle

Serve = Callable[..., SimulatedMoodle]
Connect = Callable[..., MoodleClient]


def person(number: int, **values: str) -> NewUser:
    given = {"username": f"p{number}", "firstname": "P", "lastname": str(number), "email": f"p{number}@example.test"}
    return NewUser(**{**given, "auth": "cas", **values})  # type: ignore[arg-type]


def names(moodle: SimulatedMoodle) -> list[str]:
    return [user.username for user in moodle.site.living() if user.id > 3]


def calls_of(moodle: SimulatedMoodle, client: MoodleClient, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Every call the client makes from now on, with the number of its form fields."""
    made: list[tuple[str, int]] = []
    original = client._guarded

    def counting(function: str, body: bytes, *, read: bool) -> object:
        made.append((function, body.count(b"&") + 1))
        return original(function, body, read=read)

    monkeypatch.setattr(client, "_guarded", counting)
    return made


# -- sizing ----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), max_size=200), st.integers(1, 60), st.integers(50, 200))
def test_batches_keep_order_lose_nothing_and_stay_within_both_bounds(
    sizes: list[int], rows: int, variables: int
) -> None:
    cut = list(batches(sizes, lambda size: size, most_rows=rows, most_variables=variables))
    assert [size for batch in cut for size in batch] == sizes
    assert all(1 <= len(batch) <= rows for batch in cut)
    assert all(sum(batch) + 3 <= variables for batch in cut)


def test_a_row_that_cannot_fit_is_refused_not_cut() -> None:
    with pytest.raises(ValueError, match="form variables"):
        list(batches([5, 100], lambda size: size, most_variables=50))


def test_no_call_comes_near_phps_limit(
    moodle: SimulatedMoodle, client: MoodleClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = calls_of(moodle, client, monkeypatch)
    custom = {f"field{number}": "x" for number in range(20)}
    rows = [person(number) for number in range(120)]
    rows += [NewUser(**{**person(number).__dict__, "customfields": custom}) for number in range(120, 180)]
    assert len(client.create_users(rows)) == 180
    assert max(fields for _function, fields in made) <= 900
    assert len(made) < 12


# -- creating --------------------------------------------------------------------------------------------------------


def test_created_rows_come_back_in_order_with_their_names(client: MoodleClient) -> None:
    created = client.create_users([person(1), person(2), person(3)])
    assert [user.username for user in created] == ["p1", "p2", "p3"]
    assert [user.id for user in created] == [4, 5, 6]


def test_the_bad_rows_are_found_and_everybody_else_is_created(moodle: SimulatedMoodle, client: MoodleClient) -> None:
    moodle.site.add_user("p7", auth="cas", email="taken@example.test")
    rows = [person(number) for number in range(20)]
    rows[13] = person(13, email="TAKEN@example.test")
    outcomes = client.create_users_each(rows)
    bad = {index for index, outcome in enumerate(outcomes) if isinstance(outcome, BadRow)}
    assert bad == {7, 13}
    assert [outcome.username for outcome in outcomes if isinstance(outcome, Created)] == [
        f"p{number}" for number in range(20) if number not in bad
    ]
    assert all(outcome.index == index for index, outcome in enumerate(outcomes) if isinstance(outcome, BadRow))


def test_create_users_names_the_first_bad_row_after_creating_the_others(
    moodle: SimulatedMoodle, client: MoodleClient
) -> None:
    moodle.site.add_user("p2", auth="cas")
    with pytest.raises(BadRow) as caught:
        client.create_users([person(1), person(2), person(3)])
    assert caught.value.index == 1
    assert caught.value.code == "invalidparameter"
    assert [type(outcome) for outcome in caught.value.outcomes] == [Created, BadRow, Created]
    assert "p3" in names(moodle)


def test_a_form_cut_on_a_row_boundary_is_noticed(serve: Serve, connect: Connect) -> None:
    """HTTP 200 and a shorter list (`bulk-create-2000-six-fields-silent-truncation`)."""
    simulated = serve(max_input_vars=3 + 5 * 4 - 1)
    with pytest.raises(Truncated, match="4 of 10") as caught:
        connect(simulated).create_users([person(number) for number in range(10)])
    assert [user.username for user in caught.value.outcomes[:4]] == ["p0", "p1", "p2", "p3"]
    assert caught.value.outcomes[4:] == (RowStatus.UNKNOWN,) * 6
    assert names(simulated) == ["p0", "p1", "p2", "p3"]


def test_a_site_that_stops_half_way_leaves_a_list_of_what_was_done(
    moodle: SimulatedMoodle, client: MoodleClient
) -> None:
    moodle.faults.next("", "503")
    with pytest.raises(Maintenance) as caught:
        client.create_users_each([person(number) for number in range(80)])
    assert [type(outcome) for outcome in caught.value.outcomes[:50]] == [Created] * 50
    assert caught.value.outcomes[50:] == (RowStatus.NOT_SENT,) * 30
    assert len(names(moodle)) == 50


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"username": "Zoé"}, "username"),
        ({"username": "Anne"}, "username"),
        ({"username": ""}, "username"),
        ({"username": "a" * 101}, "username"),
        ({"username": "a\n"}, "username"),
        ({"firstname": " "}, "firstname"),
        ({"firstname": "<b>Bob</b>"}, "firstname"),
        ({"lastname": "L" * 101}, "lastname"),
        ({"lastname": "nul\0"}, "lastname"),
        ({"lastname": "\ud800"}, "lastname"),
        ({"email": "not-an-email"}, "email"),
        ({"email": "foo@bar"}, "email"),
        ({"email": "é@example.test"}, "email"),
        ({"email": "a b@example.test"}, "email"),
        ({"email": "a@" + "b" * 100 + ".test"}, "email"),
        ({"idnumber": "N" * 256}, "idnumber"),
        ({"auth": "No Such!"}, "auth"),
        ({"lang": "français"}, "lang"),
        ({"password": "Abc!23456"}, "password"),
    ],
)
def test_values_are_checked_before_sending(
    moodle: SimulatedMoodle, client: MoodleClient, monkeypatch: pytest.MonkeyPatch, values: dict[str, str], field: str
) -> None:
    made = calls_of(moodle, client, monkeypatch)
    with pytest.raises(BadRow) as caught:
        client.create_users([person(1, **values)])
    assert caught.value.field == field
    assert made == []


def test_names_may_be_anything_people_are_called(client: MoodleClient) -> None:
    for number, name in enumerate(["Zoé", "O'Brien & Co", "李小龍", "😀 Smile", "x < y", "L" * 100]):
        client.create_users([person(number, firstname=name, lastname=name)])
        (user,) = client.users_by_field("username", [f"p{number}"])
        assert (user.firstname, user.lastname) == (name, name)


# -- looking up ------------------------------------------------------------------------------------------------------


def test_one_poison_row_does_not_hide_the_others(moodle: SimulatedMoodle, client: MoodleClient) -> None:
    ids = [user.id for user in client.create_users([person(number) for number in range(120)])]
    moodle.site.users[ids[70]].auth = "removed"
    with pytest.raises(InvalidResponse) as caught:
        client.users_by_field("id", ids)
    assert caught.value.poisoned == (str(ids[70]),)
    assert len(caught.value.outcomes) == 119


def test_a_loose_database_gives_no_strangers(serve: Serve, connect: Connect) -> None:
    simulated = serve(database=Database.MARIADB)
    client = connect(simulated)
    for idnumber in ("EMP-9", "emp-9", "ÉMP-9", "EMP-9 "):
        number = simulated.site._next_user
        simulated.site.add_user(f"i{number}", auth="cas", email=f"i{number}@example.test", idnumber=idnumber)
    assert [user.idnumber for user in client.users_by_field("idnumber", ["EMP-9"])] == ["EMP-9"]


def test_an_email_matches_without_case_but_never_without_accent(serve: Serve, connect: Connect) -> None:
    simulated = serve(database=Database.MARIADB)
    simulated.site.add_user("rene", auth="cas", firstname="R", lastname="P", email="Rene.Petit@univ.test")
    client = connect(simulated)
    assert [user.username for user in client.users_by_field("email", ["rene.petit@UNIV.test"])] == ["rene"]
    assert client.users_by_field("email", ["rené.petit@univ.test"]) == []


def test_search_finds_an_email_whatever_its_case_on_either_database(
    moodle: SimulatedMoodle, client: MoodleClient
) -> None:
    moodle.site.add_user("rene", auth="cas", firstname="R", lastname="P", email="Rene_Petit@univ.test")
    moodle.site.add_user("renex", auth="cas", firstname="R", lastname="P", email="RenexPetit@univ.test")
    assert client.users_by_field("email", ["rene_petit@univ.test"]) == []
    assert [user.username for user in client.search_users({"email": "rene_petit@univ.test"})] == ["rene"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", "René"),
        ("username", ""),
        ("idnumber", "0"),
        ("idnumber", ""),
        ("id", "seven"),
        ("email", " a@b.fr"),
    ],
)
def test_a_value_that_would_fail_the_call_or_never_match_is_refused(
    client: MoodleClient, field: str, value: str
) -> None:
    with pytest.raises(BadRow):
        client.users_by_field(field, [value])  # type: ignore[arg-type]


def test_the_same_value_twice_is_asked_once(client: MoodleClient) -> None:
    assert len(client.users_by_field("id", [2, "2", 2])) == 1


def test_nobody_asked_nobody_found(client: MoodleClient) -> None:
    assert client.users_by_field("id", []) == []


def test_deleted_users_are_recognised(moodle: SimulatedMoodle, client: MoodleClient) -> None:
    (created,) = client.create_users([person(1)])
    moodle.site.delete_user(moodle.site.users[created.id])
    (user,) = client.users_by_field("id", [created.id])
    assert user.looks_deleted
    (admin,) = client.users_by_field("id", [2])
    assert admin.looks_deleted is False


def test_what_may_not_be_seen_is_unknown_not_false(moodle: SimulatedMoodle, client: MoodleClient) -> None:
    moodle.site.tokens[moodle.site.options.token].capabilities = frozenset(
        {"webservice/rest:use", "moodle/user:viewdetails"}
    )
    (user,) = client.users_by_field("id", [2])
    assert user.suspended is False
    assert (user.username, user.auth, user.confirmed, user.email, user.idnumber) == (None,) * 5
    assert user.looks_deleted is None


def test_a_row_that_hides_the_field_it_was_found_by_is_no_answer(
    moodle: SimulatedMoodle, client: MoodleClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "call", lambda *_arguments, **_options: [{"id": 7, "fullname": "Somebody"}])
    with pytest.raises(FieldHidden):
        client.users_by_field("username", ["somebody"])


# -- updating --------------------------------------------------------------------------------------------------------


def test_every_row_of_an_update_has_its_outcome(moodle: SimulatedMoodle, client: MoodleClient) -> None:
    one, two, three = (user.id for user in client.create_users([person(1), person(2), person(3)]))
    outcomes = client.update_users(
        [
            UserUpdate(id=one, suspended=True),
            UserUpdate(id=999999, suspended=True),
            UserUpdate(id=two, username="p1"),
            UserUpdate(id=three, email="p1@EXAMPLE.test"),
            UserUpdate(id=2, suspended=True),
        ]
    )
    assert [(outcome.status.value, outcome.code) for outcome in outcomes] == [
        ("applied", None),
        ("refused", "invaliduserid"),
        ("refused", "dmlwriteexception"),
        ("refused", "useremailduplicate"),
        ("refused", "usernotupdatedadmin"),
    ]
    assert moodle.site.users[one].suspended
    assert moodle.site.users[two].username == "p2"


def test_a_row_of_the_wrong_shape_refuses_only_itself(moodle: SimulatedMoodle, client: MoodleClient) -> None:
    ids = [user.id for user in client.create_users([person(number) for number in range(9)])]
    rows = [UserUpdate(id=number, suspended=True) for number in ids]
    rows[4] = UserUpdate(id=ids[4], suspended=True, auth="notthere")
    outcomes = client.update_users(rows)
    assert [outcome.applied for outcome in outcomes] == [number != 4 for number in range(9)]
    assert outcomes[4].code == "invalidparameter"
    assert [moodle.site.users[number].suspended for number in ids] == [number != 4 for number in range(9)]


def test_a_weak_password_makes_the_batch_unknown_although_the_others_are_written(
    moodle: SimulatedMoodle, client: MoodleClient
) -> None:
    one, two, three = (user.id for user in client.create_users([person(1), person(2), person(3)]))
    outcomes = client.update_users(
        [UserUpdate(id=one, suspended=True), UserUpdate(id=two, password="abc"), UserUpdate(id=three, suspended=True)]
    )
    assert {outcome.status for outcome in outcomes} == {RowStatus.UNKNOWN}
    assert moodle.site.users[one].suspended
    assert moodle.site.users[three].suspended


def test_a_site_that_stops_half_way_tells_unknown_from_not_sent(moodle: SimulatedMoodle, client: MoodleClient) -> None:
    ids = [user.id for user in client.create_users([person(number) for number in range(130)])]
    moodle.faults.next("", "lost")
    with pytest.raises(Exception, match="answer was lost") as caught:
        client.update_users([UserUpdate(id=number, suspended=True) for number in ids])
    statuses = [outcome.status for outcome in caught.value.outcomes]  # type: ignore[attr-defined]
    assert statuses == [RowStatus.APPLIED] * 50 + [RowStatus.UNKNOWN] * 50 + [RowStatus.NOT_SENT] * 30
    assert [moodle.site.users[number].suspended for number in ids] == [True] * 100 + [False] * 30


def test_the_same_user_twice_in_one_update_is_refused(client: MoodleClient) -> None:
    with pytest.raises(ValueError, match="twice"):
        client.update_users([UserUpdate(id=4, suspended=True), UserUpdate(id=4, suspended=False)])


def test_an_untouched_field_stays_and_an_empty_idnumber_empties(moodle: SimulatedMoodle, client: MoodleClient) -> None:
    (created,) = client.create_users([person(1, idnumber="N1")])
    client.update_users([UserUpdate(id=created.id, firstname="Neu")])
    assert moodle.site.users[created.id].idnumber == "N1"
    client.update_users([UserUpdate(id=created.id, idnumber="")])
    assert moodle.site.users[created.id].idnumber == ""


# -- cohorts ---------------------------------------------------------------------------------------------------------


def test_a_missing_member_is_found_among_the_others(moodle: SimulatedMoodle, client: MoodleClient) -> None:
    ids = [user.id for user in client.create_users([person(number) for number in range(10)])]
    staff = moodle.site.add_cohort("Staff", "staff")
    staff.members = [ids[0]]
    rows = [Membership(staff.id, number) for number in [*ids, 999999]]
    outcomes = client.add_cohort_members(rows)
    assert [outcome.row for outcome in outcomes] == rows
    assert [outcome.applied for outcome in outcomes] == [True] * 10 + [False]
    assert outcomes[-1].code == "2"
    assert client.cohort_members([staff.id]) == {staff.id: frozenset(ids)}
