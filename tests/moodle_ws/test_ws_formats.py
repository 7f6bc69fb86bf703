"""Every function says the same in JSON and in XML, on every version and database."""

from collections.abc import Callable
from typing import Any

import pytest

from moodle_ws import Enrolment, Membership, MoodleClient, MoodleError, NewCohort, NewUser, UserUpdate
from moodle_ws.simulator import Database, ProfileField, SimulatedMoodle, UserKeySettings, Version

ANNE = 100


def person(number: int, **values: Any) -> NewUser:
    given = {"username": f"p{number}", "firstname": "P", "lastname": "L", "email": f"p{number}@example.test"}
    return NewUser(**{**given, "auth": "cas", **values})


ASKED: dict[str, Callable[[MoodleClient], Any]] = {
    "site_info": lambda client: client.site_info(),
    "users_by_field": lambda client: [
        client.users_by_field("id", [1, 2, 3, ANNE, 999]),
        client.users_by_field("username", ["anne", "nobody"]),
        client.users_by_field("email", ["Anne@example.test"]),
        client.users_by_field("idnumber", ["A-1"]),
    ],
    "iter_users_by_field": lambda client: list(client.iter_users_by_field("id", [2, ANNE, 101])),
    "search_users": lambda client: [
        client.search_users({key: value})
        for key, value in (
            ("id", str(ANNE)),
            ("username", "anne"),
            ("email", "ANNE@example.test"),
            ("idnumber", "A-1"),
            ("auth", "cas"),
            ("firstname", "an%"),
            ("lastname", "D_rand"),
        )
    ],
    "create_users": lambda client: client.create_users(
        [person(1), person(2, idnumber="N", lang="fr", customfields={"vipflag": "1", "staffid": "S é"})]
    ),
    "create_users_each": lambda client: [
        repr(outcome) for outcome in client.create_users_each([person(1), person(2, email="anne@example.test")])
    ],
    "update_users": lambda client: client.update_users(
        [
            UserUpdate(id=ANNE, suspended=True, customfields={"staffid": "S-2"}),
            UserUpdate(id=999, suspended=True),
            UserUpdate(id=101, auth="notthere"),
        ]
    ),
    "create_cohorts": lambda client: client.create_cohorts(
        [NewCohort(name="Élèves", idnumber="e"), NewCohort(name="H", idnumber="h", description="d", visible=False)]
    ),
    "create_cohorts_each": lambda client: [
        repr(outcome) for outcome in client.create_cohorts_each([NewCohort(name="S", idnumber="staff")])
    ],
    "cohorts": lambda client: [client.cohorts(), client.cohorts([1, 99])],
    "search_cohorts": lambda client: client.search_cohorts("sta"),
    "cohort_members": lambda client: client.cohort_members([1, 2, 99]),
    "add_cohort_members": lambda client: client.add_cohort_members(
        [Membership(1, 101), Membership(1, ANNE), Membership(1, 999)]
    ),
    "remove_cohort_members": lambda client: client.remove_cohort_members([Membership(1, ANNE), Membership(1, 999)]),
    "courses_by_field": lambda client: client.courses_by_field("id", 2),
    "courses_of": lambda client: client.courses_of(4),
    "enrol_users": lambda client: client.enrol_users(
        [Enrolment(roleid=5, userid=ANNE, courseid=2, suspend=False), Enrolment(roleid=1, userid=ANNE, courseid=2)]
    ),
    "enrolled_users": lambda client: [
        client.enrol_users([Enrolment(roleid=5, userid=ANNE, courseid=2)]),
        client.enrolled_users(2),
    ],
    "request_password_reset": lambda client: client.request_password_reset(username="anne"),
    "confirm_user": lambda client: [client.confirm_user("newbie", "secret"), client.confirm_user("newbie", "secret")],
    "userkey_login_url": lambda client: client.userkey_login_url({"email": "anne@example.test"}).partition("=")[0],
    "a refusal": lambda client: client.call("core_user_delete_users", {"userids": [999]}, read=False),
    "a missing right": lambda client: client.call("core_nosuch", read=True),
}


def test_every_function_of_the_client_is_asked() -> None:
    functions = {name for name in vars(MoodleClient) if not name.startswith("_")}
    assert functions - {"call", "close", "unavailable"} <= ASKED.keys()


@pytest.mark.parametrize("database", list(Database))
@pytest.mark.parametrize("version", list(Version))
@pytest.mark.parametrize("name", ASKED)
def test_a_function_gives_the_same_in_json_and_xml(
    serve: Callable[..., SimulatedMoodle],
    connect: Callable[..., MoodleClient],
    name: str,
    version: Version,
    database: Database,
) -> None:
    told = []
    for answer_format in ("json", "xml"):
        simulated = serve(
            version=version,
            database=database,
            registerauth="email",
            userkey=UserKeySettings(),
        )
        people(simulated)
        client = connect(simulated, answer_format=answer_format)
        simulated.site.wwwroot = "http://moodle.test"  # the same in both, in the answers too
        told.append(outcome(ASKED[name], client))
    assert told[0] == told[1]
    assert told[0] is not None


def people(simulated: SimulatedMoodle) -> None:
    site = simulated.site
    site.profile_fields = (ProfileField("vipflag", "VIP", "checkbox"), ProfileField("staffid", "Staff id"))
    values = {"firstname": "Anne", "lastname": "Durand", "email": "Anne@example.test", "idnumber": "A-1"}
    site.add_user("anne", id=ANNE, auth="cas", city="Poitiers", lastaccess=1700000000, **values)
    site.add_user("bob", id=101, auth="cas", firstname="Bob", lastname="B", email="bob@example.test", suspended=True)
    values = {"firstname": "N", "lastname": "N", "email": "new@example.test", "secret": "secret"}
    site.add_user("newbie", id=102, auth="email", confirmed=False, **values)
    site.add_cohort("Staff", "staff").members = [ANNE]
    site.add_cohort("Staff & Co", "staff-b", visible=False)


def outcome(ask: Callable[[MoodleClient], Any], client: MoodleClient) -> Any:
    try:
        return ask(client)
    except MoodleError as error:
        return (type(error), str(error))
