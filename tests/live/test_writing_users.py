"""Creating and changing users: what a Moodle takes, what it refuses, and what it leaves behind."""

from __future__ import annotations

import pytest

from moodle_ws import BadRow, Created, DatabaseRefused, NewUser, RowStatus, UserUpdate
from tests.live.moodle_under_test import MoodleUnderTest


def test_a_user_is_created_as_asked_and_may_come_in(moodle: MoodleUnderTest) -> None:
    row = moodle.person(idnumber=moodle.name("key"), lang="en")
    (created,) = moodle.client.create_users([row])
    assert created.username == row.username
    user = moodle.user(created.id)
    assert (user.username, user.auth, user.email, user.idnumber) == (row.username, moodle.auth, row.email, row.idnumber)
    assert (user.suspended, user.confirmed, user.lang) == (False, True, "en")
    assert user.fullname == "Zoé Test 1"


def test_names_in_any_script_come_back_as_sent(moodle: MoodleUnderTest) -> None:
    people = ["Zoé", "O'Brien & Co", "李小龍", "x < y", "L" * 100, "😀 Smile", 'a+b=c%20d;e\\f"g']
    rows = [moodle.person(number, firstname=name, lastname=name) for number, name in enumerate(people)]
    ids = [created.id for created in moodle.client.create_users(rows)]
    assert [user.fullname for user in moodle.client.users_by_field("id", ids)] == [f"{name} {name}" for name in people]


def test_values_of_the_greatest_length_are_kept_whole(moodle: MoodleUnderTest) -> None:
    domain = "@" + "d" * 60 + ".invalid"
    row = NewUser(
        username=moodle.name("u" * (100 - len(moodle.prefix))),
        firstname="é" * 100,
        lastname="😀" * 100,
        email=moodle.name("e" * (100 - len(domain) - len(moodle.prefix))) + domain,
        auth=moodle.auth,
        idnumber=moodle.name("k" * (255 - len(moodle.prefix))),
    )
    user = moodle.user(moodle.client.create_users([row])[0].id)
    assert (user.username, user.email, user.idnumber) == (row.username, row.email, row.idnumber)
    assert user.fullname == f"{row.firstname} {row.lastname}"


def test_a_value_too_long_rolls_the_whole_call_back(moodle: MoodleUnderTest) -> None:
    good, bad = ({**vars(moodle.person(number)), "lang": None} for number in (1, 2))
    rows = [{key: value for key, value in row.items() if value is not None} for row in (good, bad)]
    rows[1]["lastname"] = "L" * 101
    with pytest.raises(DatabaseRefused):
        moodle.client.call("core_user_create_users", {"users": rows}, read=False)
    assert moodle.client.users_by_field("username", [moodle.name(1), moodle.name(2)]) == []


def test_creating_is_all_or_nothing_and_the_bad_rows_are_found(moodle: MoodleUnderTest) -> None:
    moodle.create("taken")
    rows = moodle.people(20)
    rows[7] = moodle.person("taken", email=moodle.email("other"))
    rows[13] = moodle.person(13, auth="notthere")
    outcomes = moodle.client.create_users_each(rows)
    assert [number for number, outcome in enumerate(outcomes) if isinstance(outcome, BadRow)] == [7, 13]
    assert {outcome.code for outcome in outcomes if isinstance(outcome, BadRow)} == {"invalidparameter"}
    created = [outcome for outcome in outcomes if isinstance(outcome, Created)]
    assert [user.username for user in created] == [
        row.username for number, row in enumerate(rows) if number not in {7, 13}
    ]
    found = moodle.client.users_by_field("id", [user.id for user in created])
    assert {user.username for user in found} == {user.username for user in created}


def test_an_address_that_is_taken_in_another_case_is_refused(moodle: MoodleUnderTest) -> None:
    moodle.create("first", email=moodle.email("shared"))
    (outcome,) = moodle.client.create_users_each([moodle.person("second", email=moodle.email("SHARED"))])
    if isinstance(outcome, Created):
        moodle.cannot("the site allows an address to be shared (allowaccountssameemail)")
    assert outcome.code == "invalidparameter"
    assert moodle.client.users_by_field("username", [moodle.name("second")]) == []


def test_an_idnumber_may_have_two_users(moodle: MoodleUnderTest) -> None:
    key = moodle.name("key")
    ids = {moodle.create(number, idnumber=key) for number in (1, 2)}
    assert {user.id for user in moodle.client.users_by_field("idnumber", [key])} == ids


def test_what_an_update_does_not_name_stays_as_it_was(moodle: MoodleUnderTest) -> None:
    number = moodle.create(idnumber=moodle.name("key"))
    before = moodle.user(number)
    (outcome,) = moodle.client.update_users([UserUpdate(id=number, lastname="Nouvelle")])
    assert outcome.applied
    after = moodle.user(number)
    assert after.fullname == "Zoé Nouvelle"
    assert (after.username, after.auth, after.email, after.idnumber, after.suspended) == (
        before.username,
        before.auth,
        before.email,
        before.idnumber,
        before.suspended,
    )


def test_a_user_is_suspended_and_opened_again_as_often_as_asked(moodle: MoodleUnderTest) -> None:
    number = moodle.create()
    for suspended in (True, True, False, False):
        (outcome,) = moodle.client.update_users([UserUpdate(id=number, suspended=suspended)])
        assert outcome.applied
        assert moodle.user(number).suspended is suspended


def test_a_user_is_renamed_and_the_old_name_is_free(moodle: MoodleUnderTest) -> None:
    number = moodle.create("before")
    assert moodle.client.update_users([UserUpdate(id=number, username=moodle.name("after"))])[0].applied
    assert [user.id for user in moodle.client.users_by_field("username", [moodle.name("after")])] == [number]
    assert moodle.create("before", email=moodle.email("newcomer")) != number


def test_an_idnumber_is_emptied_by_an_empty_text(moodle: MoodleUnderTest) -> None:
    number = moodle.create(idnumber=moodle.name("key"))
    assert moodle.client.update_users([UserUpdate(id=number, idnumber="")])[0].applied
    assert moodle.user(number).idnumber in {None, ""}
    assert moodle.client.users_by_field("idnumber", [moodle.name("key")]) == []


def test_the_sign_in_method_changes_in_place(moodle: MoodleUnderTest) -> None:
    number = moodle.create(auth="manual", password="Lms-Bridge-2026!")
    assert moodle.client.update_users([UserUpdate(id=number, auth=moodle.auth)])[0].applied
    assert moodle.user(number).auth == moodle.auth


def test_every_row_of_an_update_has_its_outcome(moodle: MoodleUnderTest) -> None:
    one, two, three = (moodle.create(number) for number in (1, 2, 3))
    unknown = 2_000_000_000
    rows = [
        UserUpdate(id=one, suspended=True),
        UserUpdate(id=unknown, suspended=True),
        UserUpdate(id=two, username=moodle.name(1)),
        UserUpdate(id=three, email=moodle.email(1).upper()),
    ]
    assert [(outcome.id, outcome.status.value, outcome.code) for outcome in moodle.client.update_users(rows)] == [
        (one, "applied", None),
        (unknown, "refused", "invaliduserid"),
        (two, "refused", "dmlwriteexception"),
        (three, "refused", "useremailduplicate"),
    ]
    assert moodle.user(one).suspended is True
    assert moodle.user(two).username == moodle.name(2)
    assert moodle.user(three).email == moodle.email(3)


def test_the_guest_is_left_alone(moodle: MoodleUnderTest) -> None:
    found = moodle.client.users_by_field("username", ["guest"])
    if not found:
        moodle.cannot("the token does not see the guest")
    (outcome,) = moodle.client.update_users([UserUpdate(id=found[0].id, lastname="Test")])
    assert (outcome.status, outcome.code) == (RowStatus.REFUSED, "usernotupdatedguest")


def test_a_row_of_the_wrong_shape_refuses_only_itself(moodle: MoodleUnderTest) -> None:
    ids = [created.id for created in moodle.client.create_users(moodle.people(9))]
    rows = [UserUpdate(id=number, suspended=True) for number in ids]
    rows[4] = UserUpdate(id=ids[4], suspended=True, auth="notthere")
    outcomes = moodle.client.update_users(rows)
    assert [outcome.applied for outcome in outcomes] == [number != 4 for number in range(9)]
    assert outcomes[4].code == "invalidparameter"
    assert [moodle.user(number).suspended for number in ids] == [number != 4 for number in range(9)]


def test_a_weak_password_leaves_the_batch_unknown_although_the_others_are_written(moodle: MoodleUnderTest) -> None:
    one, two, three = (moodle.create(number) for number in (1, 2, 3))
    outcomes = moodle.client.update_users(
        [UserUpdate(id=one, suspended=True), UserUpdate(id=two, password="abc"), UserUpdate(id=three, suspended=True)]
    )
    if all(outcome.applied for outcome in outcomes):
        moodle.cannot("the site has no password policy")
    assert {outcome.status for outcome in outcomes} == {RowStatus.UNKNOWN}
    assert [moodle.user(number).suspended for number in (one, two, three)] == [True, False, True]


def test_a_custom_field_is_written_and_an_unknown_one_ignored(moodle: MoodleUnderTest) -> None:
    if not moodle.field:
        moodle.cannot("no text profile field is named (LMS_BRIDGE_LIVE_MOODLE_FIELD)")
    number = moodle.create(customfields={moodle.field: "première", "nosuchfield": "x"})
    assert moodle.user(number).customfields == {moodle.field: "première"}
    assert moodle.client.update_users([UserUpdate(id=number, customfields={moodle.field: "deuxième"})])[0].applied
    assert moodle.user(number).customfields == {moodle.field: "deuxième"}
    assert moodle.client.update_users([UserUpdate(id=number, lastname="Autre")])[0].applied
    assert moodle.user(number).customfields == {moodle.field: "deuxième"}


@pytest.mark.parametrize("count", [50, 200])
def test_a_crowd_is_created_suspended_and_found_whole(moodle: MoodleUnderTest, count: int) -> None:
    rows = moodle.people(count)
    created = moodle.client.create_users(rows)
    assert [user.username for user in created] == [row.username for row in rows]
    outcomes = moodle.client.update_users([UserUpdate(id=user.id, suspended=True) for user in created])
    assert all(outcome.applied for outcome in outcomes)
    found = moodle.client.users_by_field("username", [row.username for row in rows])
    assert [(user.username, user.suspended) for user in found] == [(row.username, True) for row in rows]


def test_rows_with_many_variables_are_all_written(moodle: MoodleUnderTest) -> None:
    """Beyond PHP's limit the rest would be dropped without a word (`bulk-create-2000-six-fields-silent-truncation`)."""
    many = {f"nosuchfield{number}": "x" for number in range(40)}
    rows = [moodle.person(number, customfields=many) for number in range(40)]
    created = moodle.client.create_users(rows)
    assert len(moodle.client.users_by_field("id", [user.id for user in created])) == len(rows)
    updates = [UserUpdate(id=user.id, customfields=many, lastname="Changée") for user in created]
    assert all(outcome.applied for outcome in moodle.client.update_users(updates))
    found = moodle.client.users_by_field("id", [user.id for user in created])
    assert {user.fullname for user in found} == {"Zoé Changée"}
