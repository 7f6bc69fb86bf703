"""Site information, cohorts, enrolment and the functions around signing in, on a simulated site."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from moodle_ws import (
    AccessDenied,
    BadRequest,
    BadRow,
    Cohort,
    Enrolment,
    Membership,
    MoodleClient,
    NewCohort,
    NewUser,
    Refused,
    UnreadableAnswer,
)
from moodle_ws.simulator import SimulatedMoodle, UserKeySettings, Version

Serve = Callable[..., SimulatedMoodle]
Connect = Callable[..., MoodleClient]


@pytest.fixture
def anne(client: MoodleClient) -> int:
    row = NewUser(username="anne", firstname="Anne", lastname="Durand", email="anne@example.test", auth="cas")
    return client.create_users([row])[0].id


@pytest.mark.parametrize("version", list(Version))
@pytest.mark.parametrize("answer_format", ["json", "xml"])
def test_site_information_reads_the_same_in_both_formats_of_every_version(
    serve: Serve, connect: Connect, version: Version, answer_format: str
) -> None:
    info = connect(serve(version=version), answer_format=answer_format).site_info()
    assert info.branch == tuple(int(part) for part in version.split("."))
    assert info.userissiteadmin is False
    assert info.policyagreed is (None if version is Version.V4_4 else False)
    assert info.usercanchangeconfig is (False if version is Version.V5_2 else None)


def test_functions_a_token_lacks_are_named(moodle: SimulatedMoodle, client: MoodleClient) -> None:
    moodle.site.tokens[moodle.site.options.token].functions = ("core_webservice_get_site_info",)
    needed = frozenset({"core_webservice_get_site_info", "core_user_create_users"})
    assert client.site_info().missing_functions(needed) == {"core_user_create_users"}
    with pytest.raises(AccessDenied):
        client.users_by_field("id", [2])


def test_something_that_is_no_site_information_is_not_taken_for_one(
    client: MoodleClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for answer in ([], {"sitename": "x"}, None):
        monkeypatch.setattr(client, "call", lambda *_a, answer=answer, **_k: answer)
        with pytest.raises(UnreadableAnswer):
            client.site_info()


def test_cohorts_are_created_found_and_listed(client: MoodleClient) -> None:
    created = client.create_cohorts([NewCohort(name=f"C {n:03}", idnumber=f"c{n}") for n in range(230)])
    assert len(created) == 230
    assert [cohort.id for cohort in client.cohorts()] == [cohort.id for cohort in created]
    assert len(client.search_cohorts("c")) == 230, "fetched page by page"
    assert [cohort.idnumber for cohort in client.cohorts([created[7].id])] == ["c7"]


@pytest.mark.parametrize(
    ("name", "idnumber", "field"), [("C", " ", "idnumber"), ("", "c", "name"), ("C", "c ", "idnumber")]
)
def test_a_cohort_without_a_name_and_key_of_its_own_is_refused(
    moodle: SimulatedMoodle, client: MoodleClient, name: str, idnumber: str, field: str
) -> None:
    with pytest.raises(BadRow) as caught:
        client.create_cohorts([NewCohort(name=name, idnumber=idnumber)])
    assert caught.value.field == field
    assert moodle.calls == []


def test_a_taken_cohort_key_is_found_and_the_other_cohorts_are_created(
    moodle: SimulatedMoodle, client: MoodleClient
) -> None:
    client.create_cohorts([NewCohort(name="A", idnumber="c7")])
    outcomes = client.create_cohorts_each([NewCohort(name=f"C{n}", idnumber=f"c{n}") for n in range(20)])
    assert [isinstance(outcome, Cohort) for outcome in outcomes] == [number != 7 for number in range(20)]
    assert len(moodle.site.cohorts) == 20
    with pytest.raises(BadRow) as caught:
        client.create_cohorts([NewCohort(name="B", idnumber="b"), NewCohort(name="A2", idnumber="c7")])
    assert (caught.value.index, caught.value.code) == (1, "invalidparameter")
    assert [type(outcome) for outcome in caught.value.outcomes] == [Cohort, BadRow]


def test_members_come_and_go(client: MoodleClient, anne: int) -> None:
    (cohort,) = client.create_cohorts([NewCohort(name="A", idnumber="a")])
    client.add_cohort_members([Membership(cohort.id, anne)])
    assert client.add_cohort_members([Membership(cohort.id, anne)])[0].applied
    for _time in range(2):
        assert client.remove_cohort_members([Membership(cohort.id, anne)])[0].applied
    assert client.cohort_members([cohort.id]) == {cohort.id: frozenset()}


def test_a_cohort_that_is_not_there_is_absent_and_hides_no_other(client: MoodleClient) -> None:
    created = client.create_cohorts([NewCohort(name=f"C{n}", idnumber=f"c{n}") for n in range(5)])
    ids = [cohort.id for cohort in created]
    assert client.cohort_members([*ids, 999, ids[0]]) == {number: frozenset() for number in ids}


@pytest.mark.parametrize(
    ("version", "code"),
    [(Version.V4_4, "invaliduser"), (Version.V4_5, "invaliduser"), (Version.V5_2, "invalidrecordunknown")],
)
def test_a_person_who_is_gone_stops_nobody_from_leaving_a_cohort(
    serve: Serve, connect: Connect, version: Version, code: str
) -> None:
    simulated = serve(version=version)
    client = connect(simulated)
    (cohort,) = client.create_cohorts([NewCohort(name="A", idnumber="a")])
    people = [simulated.site.add_user(f"p{number}", auth="cas").id for number in range(10)]
    cohort_row = simulated.site.cohorts[cohort.id]
    cohort_row.members = list(people)
    simulated.site.delete_user(simulated.site.users[people[4]])
    outcomes = client.remove_cohort_members([Membership(cohort.id, number) for number in people])
    assert [outcome.applied for outcome in outcomes] == [number != 4 for number in range(10)]
    assert outcomes[4].code == code
    assert cohort_row.members == []


def test_suspension_keeps_memberships_and_deletion_ends_them(
    moodle: SimulatedMoodle, client: MoodleClient, anne: int
) -> None:
    (cohort,) = client.create_cohorts([NewCohort(name="A", idnumber="a")])
    client.add_cohort_members([Membership(cohort.id, anne)])
    moodle.site.users[anne].suspended = True
    assert anne in client.cohort_members([cohort.id])[cohort.id]
    moodle.site.delete_user(moodle.site.users[anne])
    assert anne not in client.cohort_members([cohort.id])[cohort.id]


def test_enrolling_is_repeatable_and_finds_the_bad_rows_on_every_version(serve: Serve, connect: Connect) -> None:
    for version, missing in (
        (Version.V4_4, "codingerror"),
        (Version.V4_5, "invaliduser"),
        (Version.V5_2, "invalidrecordunknown"),
    ):
        simulated = serve(version=version)
        client = connect(simulated)
        rows = [Enrolment(roleid=5, userid=2, courseid=2) for _time in range(5)]
        rows[1] = Enrolment(roleid=5, userid=999999, courseid=2)
        rows[2] = Enrolment(roleid=1, userid=2, courseid=2)
        rows[3] = Enrolment(roleid=5, userid=2, courseid=99)
        outcomes = client.enrol_users(rows)
        assert [outcome.code for outcome in outcomes] == [None, missing, "wsusercannotassign", "invalidparameter", None]
        assert [outcome.row for outcome in outcomes] == rows
        assert simulated.site.enrolments == {(2, 2, 5)}


def test_a_password_reset_says_the_same_to_everybody_and_mails_what_it_must(
    moodle: SimulatedMoodle, client: MoodleClient, anne: int
) -> None:
    assert client.request_password_reset(email="nobody@example.test") == "emailpasswordconfirmmaybesent"
    assert moodle.site.mails == []
    assert client.request_password_reset(username="anne") == "emailpasswordconfirmmaybesent"
    assert moodle.site.mails == [("anne@example.test", "reset-impossible")]
    with pytest.raises(ValueError, match="either"):
        client.request_password_reset(username="anne", email="anne@example.test")


def test_confirming_needs_self_registration(client: MoodleClient, anne: int) -> None:
    with pytest.raises(Refused) as caught:
        client.confirm_user("anne", "secret")
    assert caught.value.code == "confirmationnotenabled"


def test_a_switched_off_userkey_plugin_is_denied(serve: Serve, connect: Connect) -> None:
    with pytest.raises(AccessDenied):
        connect(serve()).userkey_login_url({"email": "admin@example.test"})
    with pytest.raises(BadRequest):
        connect(serve(userkey=UserKeySettings())).userkey_login_url({"email": "nobody@example.test"})


def test_calls_of_several_threads_do_not_disturb_each_other(moodle: SimulatedMoodle, client: MoodleClient) -> None:
    def create(number: int) -> int:
        values = {"username": f"t{number}", "firstname": "T", "lastname": "T", "email": f"t{number}@example.test"}
        return client.create_users([NewUser(**values, auth="cas")])[0].id

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(create, range(40)))
    assert len(set(ids)) == 40
