"""The token, its user and its rights: the table of ground truth §3, one missing right at a time."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lms_bridge.i18n import use_locale
from lms_bridge.ops.doctor import people_checks, token_checks
from lms_bridge.ops.doctor.database_facts import Mirrored, SiteRows
from lms_bridge.schema import Mirror
from lms_bridge.sync import guard
from moodle_ws.simulator.flavours import Database, Version
from moodle_ws.simulator.site import ProfileField
from tests.lms_bridge.ops.doctor.conftest import CANARY, SITE_INFO, Clinic, healthy_site

VIEW = "moodle/user:viewdetails"
VIEW_ALL = "moodle/user:viewalldetails"
IDENTITY = "moodle/site:viewuseridentity"
NAMES = "moodle/site:viewfullnames"
HIDDEN = "moodle/user:viewhiddendetails"


def test_a_token_that_moodle_does_not_know_is_a_problem(clinic: Clinic) -> None:
    clinic.site["token"] = "another-one"
    line = clinic.examine().line("token")
    assert line["verdict"] == "problem"
    assert line["where"] == "sites.updago.token"
    assert "Manage tokens" in line["fix"]


@pytest.mark.parametrize("fault", ["service_enabled", "user_authorised", "address_allowed"])
def test_reasons_that_moodle_does_not_tell_apart_are_all_named(clinic: Clinic, fault: str) -> None:
    setattr(clinic.token, fault, False)
    line = clinic.examine().line("token")
    assert line["verdict"] == "problem"
    for reason in ("disabled", "authorised users", "Valid until", "IP address", "webservice/rest:use"):
        assert reason in line["fix"]


def test_a_service_without_the_site_information_is_among_those_reasons(clinic: Clinic) -> None:
    clinic.token.functions = ("core_user_get_users_by_field",)
    assert "core_webservice_get_site_info" in clinic.examine().line("token")["fix"]


def test_the_right_to_use_rest_is_among_those_reasons(clinic: Clinic) -> None:
    clinic.without("webservice/rest:use")
    assert "webservice/rest:use" in clinic.examine().line("token")["fix"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"suspended": True}, "wsaccessusersuspended"),
        ({"confirmed": False}, "wsaccessuserunconfirmed"),
        ({"auth": "nologin"}, "wsaccessusernologin"),
    ],
)
def test_a_service_user_who_may_not_enter_is_named_with_the_cure(
    clinic: Clinic, change: dict[str, object], code: str
) -> None:
    for name, value in change.items():
        setattr(clinic.service_user, name, value)
    line = clinic.examine().line("token")
    assert (line["verdict"], line["seen"]) == ("problem", f"blocked: {code}")
    assert line["fix"] != "Look at this user's account in Moodle."


@pytest.mark.parametrize("fault", ["password", "policy", "profile"])
def test_what_site_information_hides_is_seen_by_a_call_that_validates_a_context(clinic: Clinic, fault: str) -> None:
    if fault == "password":
        clinic.service_user.preferences["auth_forcepasswordchange"] = "1"
    elif fault == "policy":
        clinic.world.moodle.site.site_policy = True
    else:
        clinic.service_user.firstname = ""
    report = clinic.examine()
    assert report.verdict("token") == "ok"
    line = report.line("service_user")
    assert line["verdict"] == "problem"
    codes = {"password": "forcepasswordchangenotice", "policy": "sitepolicynotagreed", "profile": "usernotfullysetup"}
    assert line["seen"] == f"blocked: {codes[fault]}"


def test_missing_functions_are_named(clinic: Clinic) -> None:
    clinic.token.functions = ("core_webservice_get_site_info", "core_user_get_users_by_field")
    line = clinic.examine().line("functions")
    assert (line["verdict"], line["seen"]) == (
        "problem",
        "missing: core_user_create_users, core_user_update_users",
    )


def test_without_the_look_up_function_the_service_users_state_is_unseen(clinic: Clinic) -> None:
    clinic.token.functions = ("core_webservice_get_site_info",)
    report = clinic.examine()
    assert report.verdict("functions") == "problem"
    assert report.verdict("service_user") == "unseen"
    assert report.verdict("max_input_vars") == "unseen"
    assert report.verdict("debugging") == "unseen"


def test_functions_that_are_never_called_should_not_be_there(clinic: Clinic) -> None:
    clinic.token.functions = (*(clinic.token.functions or ()), "core_user_delete_users")
    line = clinic.examine().line("functions_never_called")
    assert (line["verdict"], line["seen"]) == ("warning", "in the service: core_user_delete_users")


def test_half_of_the_cohort_functions_is_worth_a_word_and_none_is_not(clinic: Clinic) -> None:
    assert "cohort_functions" not in {line["check"] for line in clinic.examine().lines}
    clinic.token.functions = (*(clinic.token.functions or ()), "core_cohort_search_cohorts")
    assert clinic.examine().verdict("cohort_functions") == "warning"


def test_what_a_run_calls_must_be_there_where_the_site_has_cohorts(clinic: Clinic) -> None:
    clinic.site["cohorts"] = [{"idnumber": "learners", "name": "Learners"}]
    line = clinic.examine().line("cohort_functions")
    assert line["verdict"] == "problem"
    assert line["seen"] == "missing: " + ", ".join(sorted(guard.COHORT_FUNCTIONS))
    clinic.token.functions = tuple(guard.FUNCTIONS | guard.COHORT_FUNCTIONS)
    assert clinic.examine().verdict("cohort_functions") == "ok"
    clinic.without("moodle/cohort:view", "moodle/cohort:manage")
    assert clinic.examine().verdict("moodle/cohort:view") == "problem"


def test_cohorts_that_cannot_be_listed_are_noticed(clinic: Clinic) -> None:
    clinic.token.functions = (*(clinic.token.functions or ()), *guard.COHORT_FUNCTIONS)
    assert clinic.examine().verdict("moodle/cohort:view") == "ok"
    clinic.without("moodle/cohort:view", "moodle/cohort:manage")
    report = clinic.examine()
    assert report.verdict("cohort_functions") == "ok"
    assert report.verdict("moodle/cohort:view") == "warning"
    assert report.verdict("moodle/cohort:assign, moodle/cohort:manage") == "unseen"


def test_an_administrators_token_is_a_problem(clinic: Clinic) -> None:
    clinic.token.userid = 2
    line = clinic.examine().line("administrator")
    assert (line["verdict"], line["seen"]) == ("problem", "admin is a site administrator")


def test_a_user_who_may_change_the_configuration_is_a_problem() -> None:
    """Only 5.2 says so, of its administrators and of whoever has the capability."""
    line = token_checks.administrator(healthy_site(), replace(SITE_INFO, usercanchangeconfig=True))
    assert line.verdict == "problem"
    assert "moodle/site:config" in line.fix


# --- The canary ---


def test_without_a_canary_somebody_known_to_the_bridge_stands_in(clinic: Clinic) -> None:
    clinic.world.ticket()
    del clinic.site["canary"]
    report = clinic.examine()
    assert report.line("canary")["seen"] == "none is set; a user known to the bridge stood in"
    assert report.verdict(VIEW_ALL) == "ok"


def test_without_anybody_known_the_rights_are_seen_on_whoever_is_there(clinic: Clinic) -> None:
    del clinic.site["canary"]
    report = clinic.examine()
    assert report.verdict("canary") == "problem", "no run over the whole site would begin"
    assert report.verdict(VIEW) == "ok"


def test_a_canary_that_is_gone_is_told_from_rights_that_are_missing(clinic: Clinic) -> None:
    clinic.canary.username = "somebody-else"
    report = clinic.examine()
    assert report.verdict("canary") == "problem"
    assert "renamed, deleted, or never there" in report.line("canary")["seen"]
    assert report.verdict(VIEW_ALL) == "ok"


def test_the_service_user_cannot_be_its_own_canary(clinic: Clinic) -> None:
    clinic.site["canary"] = "svc-bridge"
    assert "sees itself whatever its rights" in clinic.examine().line("canary")["seen"]


# --- Rights ---


def test_nobody_visible_means_viewdetails_is_missing(clinic: Clinic) -> None:
    clinic.without(VIEW)
    report = clinic.examine()
    assert report.verdict(VIEW) == "problem"
    assert {report.verdict(right) for right in (VIEW_ALL, IDENTITY, NAMES, HIDDEN, "look_ups")} == {"unseen"}
    assert report.verdict("canary") == "problem"


def test_where_the_role_is_given_is_said_in_french_too(clinic: Clinic) -> None:
    clinic.without(VIEW)
    report = json.loads(clinic.run("--json", "--lang", "fr").output)
    [fix] = [line["fix"] for line in report if line["check"] == VIEW]
    assert "Voyez que le rôle est attribué" in fix


def test_user_names_hidden_means_viewalldetails_is_missing(clinic: Clinic) -> None:
    clinic.without(VIEW_ALL)
    report = clinic.examine()
    assert report.line(VIEW_ALL)["seen"] == "hidden: username, auth, confirmed"
    assert (report.verdict(VIEW), report.verdict(IDENTITY)) == ("ok", "ok")
    assert report.verdict("canary") == "unseen"


@pytest.mark.parametrize("fault", ["right", "policy"])
def test_addresses_hidden_names_both_possible_causes(clinic: Clinic, fault: str) -> None:
    if fault == "right":
        clinic.without(IDENTITY)
    else:
        clinic.moodle(showuseridentity=())
    line = clinic.examine().line(IDENTITY)
    assert line["verdict"] == "problem"
    assert "showuseridentity" in line["where"]


def test_names_need_a_right_before_4_5_only(clinic: Clinic) -> None:
    clinic.without(NAMES)
    assert clinic.examine().verdict(NAMES) == "ok"
    clinic.moodle(version=Version.V4_4)
    assert clinic.examine().verdict(NAMES) == "problem"


def test_a_hidden_suspension_means_viewhiddendetails_is_missing(clinic: Clinic) -> None:
    clinic.moodle(hiddenuserfields=("suspended",))
    assert clinic.examine().verdict(HIDDEN) == "unseen"
    clinic.without(HIDDEN)
    line = clinic.examine().line(HIDDEN)
    assert line["verdict"] == "problem"
    assert "hiddenuserfields" in line["where"]


def test_a_person_who_is_seen_and_not_found_is_a_problem(clinic: Clinic) -> None:
    clinic.world.moodle.site.add_user("TWIN", auth="cas", email="other@univ.example", idnumber="C-1")
    line = clinic.examine().line("look_ups")
    assert (line["verdict"], line["seen"]) == ("problem", "visible but not found by: idnumber")


def test_rights_to_write_are_never_tried(clinic: Clinic) -> None:
    report = clinic.examine()
    for right in ("moodle/user:create", "moodle/user:update"):
        assert report.verdict(right) == "unseen"
        assert "has not written here yet" in report.line(right)["seen"]
    clinic.world.ticket()
    assert "was in step" in clinic.examine().line("moodle/user:create")["seen"]


# --- People ---


def test_a_custom_profile_field_that_moodle_does_not_have_is_a_problem(clinic: Clinic) -> None:
    """Moodle takes the value, says nothing and drops it (ground truth §3)."""
    check = "profile_field:kind"
    clinic.site["custom_fields"] = [{"shortname": "kind", "holds": "profile"}]
    assert clinic.examine().verdict(check) == "unseen"
    clinic.world.ticket()
    with clinic.world.bridge.runtime.database.begin() as session:
        mirror = session.query(Mirror).one()
        mirror.written = mirror.written | {"custom:kind": "learner"}
    line = clinic.examine().line(check)
    assert (line["verdict"], line["seen"]) == ("problem", "written for 1 person, and Moodle shows it for nobody")
    assert "User profile fields" in line["where"]
    clinic.world.moodle.site.profile_fields = (ProfileField("kind", "Kind"),)
    clinic.world.user("ext.ada").customfields["kind"] = "learner"
    assert clinic.examine().verdict(check) == "ok"
    clinic.site["custom_fields"][0]["mode"] = "ignore"
    assert check not in {line["check"] for line in clinic.examine().lines}


def test_users_that_were_changed_in_moodle_are_counted_and_named(clinic: Clinic) -> None:
    clinic.world.ticket()
    assert clinic.examine().line("mirrored_users")["seen"] == "0 of 1 looked up are not"
    clinic.world.user().username = "renamed"
    line = clinic.examine().line("mirrored_users")
    assert (line["verdict"], line["seen"]) == ("warning", "1 of 1 looked up are not: ext.ada")


def test_of_many_users_changed_in_moodle_a_few_are_named() -> None:
    sample = tuple(Mirrored(number, f"ext.{number}", "") for number in range(9))
    with use_locale("en"):
        line = people_checks.mirrored_users(healthy_site(rows=SiteRows(sample=sample)))
    assert line.seen == "9 of 9 looked up are not: ext.0, ext.1, ext.2, ext.3, ext.4, …"


def test_rows_that_moodle_refuses_to_show_point_at_the_missing_plugin(clinic: Clinic) -> None:
    """Users with auth=cas on a Moodle without the plugin poison every read (versions page §2)."""
    clinic.world.ticket()
    assert clinic.examine().verdict("auth_method") == "ok"
    clinic.moodle(auth_plugins=("manual", "oauth2"))
    line = clinic.examine().line("auth_method")
    assert line["verdict"] == "problem"
    assert "no longer part of Moodle" in line["fix"]


def test_without_a_user_of_ours_the_plugin_is_not_proved_by_reading(clinic: Clinic) -> None:
    clinic.canary.auth = "manual"
    line = clinic.examine().line("auth_method")
    assert line["verdict"] == "unseen"
    assert line["fix"].startswith("If that line is ok, there is nothing to do here")


def test_with_nobody_in_step_no_address_is_said_to_be_compared(clinic: Clinic) -> None:
    assert clinic.examine().line("email_case")["seen"] == "nobody to compare yet; this Moodle's database minds the case"


def test_addresses_that_differ_by_capital_letters_are_counted(clinic: Clinic) -> None:
    clinic.world.ticket()
    clinic.world.user().email = "EXT.ada@mail.example"
    line = clinic.examine().line("email_case")
    assert (line["verdict"], line["seen"]) == ("warning", "1 of 1 differ in capital letters alone")


@pytest.mark.parametrize(
    ("database", "habit"), [(Database.POSTGRESQL, "minds the case"), (Database.MARIADB, "ignores case")]
)
def test_whether_the_database_minds_the_case_is_seen(clinic: Clinic, database: Database, habit: str) -> None:
    site = clinic.world.moodle.site
    clinic.moodle(database=database)
    site.users = type(site.users)(database)
    for user in [("guest", 1), ("svc-bridge", 3)]:
        site.add_user(user[0], id=user[1], firstname="x", lastname="y", email=f"{user[0]}@example.test")
    site.add_user(CANARY, id=9, auth="cas", firstname="Camille", lastname="Narri", email="canari@univ.example")
    assert habit in clinic.examine().line("email_case")["seen"]


def test_an_address_that_two_moodle_users_share_is_noticed(clinic: Clinic) -> None:
    clinic.world.moodle.site.add_user("other", email="canari@univ.example")
    line = clinic.examine().line("shared_email")
    assert line["verdict"] == "warning"
    assert "allowaccountssameemail" in line["where"]


def test_an_address_that_two_accounts_confirmed_is_noticed_and_masked(clinic: Clinic) -> None:
    bridge = clinic.world.bridge
    for username in ("ext.ben", "ext.benoit"):
        bridge.add_account(username, email="benoit@mail.example")
        clinic.world.enter(username)
    # Moodle refuses a second user of one address; an administrator's script did not.
    with bridge.runtime.database.begin() as session:
        session.connection().exec_driver_sql("UPDATE mirrors SET moodle_id = 900 + id WHERE moodle_id IS NULL")
    report = clinic.examine()
    assert report.verdict("shared_addresses") == "warning"
    assert "benoit@mail.example" not in report.output


def test_settings_that_nobody_can_see_are_listed_with_place_and_value(clinic: Clinic) -> None:
    report = clinic.examine()
    for name in ("authpreventaccountcreation", "allowaccountssameemail", "certificate_check", "proxycas", "logoutcas",
                 "field_lock_firstname"):  # fmt: skip
        line = report.line(name)
        assert line["verdict"] == "unseen"
        assert name in line["where"]
        assert line["fix"].startswith(("Must be", "Should be"))
