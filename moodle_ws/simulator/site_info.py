"""core_webservice_get_site_info: who am I, where, and what may I call (recordings `site-info`, `proto-get-method`)."""

from typing import Any

from moodle_ws.simulator.calls import Call, Function
from moodle_ws.simulator.flavours import Version
from moodle_ws.simulator.shapes import Multiple, Single, Value
from moodle_ws.simulator.site import ADMIN_ID

# The functions of the recorded service, in its order, with the component whose version they carry. The simulator
# lists them all, as a site would, and answers those it implements.
SERVICE_FUNCTIONS: tuple[tuple[str, str], ...] = (
    ("core_webservice_get_site_info", "core"),
    ("core_user_create_users", "core"),
    ("core_user_update_users", "core"),
    ("core_user_delete_users", "core"),
    ("core_user_get_users", "core"),
    ("core_user_get_users_by_field", "core"),
    ("core_auth_request_password_reset", "core"),
    ("core_auth_confirm_user", "core"),
    ("core_cohort_create_cohorts", "core"),
    ("core_cohort_update_cohorts", "core"),
    ("core_cohort_delete_cohorts", "core"),
    ("core_cohort_get_cohorts", "core"),
    ("core_cohort_search_cohorts", "core"),
    ("core_cohort_add_cohort_members", "core"),
    ("core_cohort_delete_cohort_members", "core"),
    ("core_cohort_get_cohort_members", "core"),
    ("core_enrol_get_enrolled_users", "core"),
    ("core_enrol_get_users_courses", "core"),
    ("core_course_get_courses", "core"),
    ("core_course_get_courses_by_field", "core"),
    ("enrol_manual_enrol_users", "plugin"),
    ("enrol_manual_unenrol_users", "plugin"),
    ("core_role_assign_roles", "core"),
    ("core_role_unassign_roles", "core"),
    ("auth_userkey_request_login_url", "userkey"),
    ("auth_email_get_signup_settings", "plugin"),
    ("auth_email_signup_user", "plugin"),
    ("core_user_add_user_device", "core"),
    ("core_user_update_user_preferences", "core"),
    ("core_user_get_user_preferences", "core"),
)

_USERKEY_VERSION = "2022081901"

_FEATURES: tuple[tuple[str, int], ...] = (
    ("usecomments", 1),
    ("usetags", 1),
    ("enablenotes", 1),
    ("messaging", 1),
    ("enableblogs", 1),
    ("enablecompletion", 1),
    ("enablebadges", 1),
    ("messagingallusers", 0),
    ("enablecustomreports", 1),
    ("enableglobalsearch", 0),
    ("mnet_dispatcher_mode", 0),
)


def returns(version: Version) -> Single:
    """The description of the answer: keys were added in 4.5 and 5.2 (versions page §1)."""
    keys: dict[str, Any] = {
        "sitename": Value("raw"),
        "username": Value("raw"),
        "firstname": Value("raw"),
        "lastname": Value("raw"),
        "fullname": Value("raw"),
        "lang": Value("raw"),
        "userid": Value("int"),
        "siteurl": Value("raw"),
        "userpictureurl": Value("raw"),
        "functions": Multiple(Single({"name": Value("raw"), "version": Value("raw")})),
        "downloadfiles": Value("int", required=False),
        "uploadfiles": Value("int", required=False),
        "release": Value("raw", required=False),
        "version": Value("raw", required=False),
        "mobilecssurl": Value("raw", required=False),
        "advancedfeatures": Multiple(Single({"name": Value("raw"), "value": Value("int")}), required=False),
        "usercanmanageownfiles": Value("bool", required=False),
        "userquota": Value("int", required=False),
        "usermaxuploadfilesize": Value("int", required=False),
        "userhomepage": Value("int", required=False),
        "userhomepageurl": Value("raw", required=False),
        "userprivateaccesskey": Value("raw", required=False),
        "siteid": Value("int", required=False),
        "sitecalendartype": Value("raw", required=False),
        "usercalendartype": Value("raw", required=False),
        "userissiteadmin": Value("bool", required=False),
        "theme": Value("raw", required=False),
        "limitconcurrentlogins": Value("int", required=False),
        "usersessionscount": Value("int", required=False),
    }
    if version is Version.V4_4:
        del keys["userhomepageurl"]
    else:
        keys["policyagreed"] = Value("int", required=False)
    if version is Version.V5_2:
        keys["usercanchangeconfig"] = Value("bool", required=False)
        keys["usercanviewconfig"] = Value("bool", required=False)
        keys["sitesecret"] = Value("raw", required=False)
    return Single(keys)


def site_info(call: Call, _parameters: dict[str, Any]) -> dict[str, Any]:
    """The answer for the token's user. It works while a password change or policy is pending."""
    site, user = call.site, call.user
    versions = {
        "core": site.release.version,
        "plugin": site.release.plugin_version,
        "userkey": _USERKEY_VERSION,
    }
    components = dict(SERVICE_FUNCTIONS)
    offered = [
        {"name": name, "version": versions[components[name]]}
        for name in call.token.functions or components
        if name in components
    ]
    features = [*_FEATURES]
    if call.options.version is not Version.V4_4:
        features.append(("enablecompetencies", 1))
    return {
        "sitename": call.options.sitename,
        "username": user.username,
        "firstname": user.firstname,
        "lastname": user.lastname,
        "fullname": user.fullname,
        "lang": user.lang,
        "userid": user.id,
        "siteurl": site.wwwroot,
        "userpictureurl": f"{site.wwwroot}/theme/image.php/boost/core/{site.theme_revision}/u/f1",
        "functions": offered,
        "downloadfiles": 0,
        "uploadfiles": 0,
        "release": site.release.release,
        "version": site.release.version,
        "mobilecssurl": "",
        "advancedfeatures": [{"name": name, "value": value} for name, value in features],
        "usercanmanageownfiles": True,
        "userquota": 104857600,
        "usermaxuploadfilesize": 104857600,
        "userhomepage": 1,
        "userprivateaccesskey": "simulated-private-access-key",
        "siteid": 1,
        "sitecalendartype": "gregorian",
        "usercalendartype": "gregorian",
        "userissiteadmin": user.id == ADMIN_ID,
        "theme": "boost",
        "limitconcurrentlogins": 0,
        "policyagreed": int(user.policyagreed),
        "usercanchangeconfig": user.id == ADMIN_ID,
        "usercanviewconfig": user.id == ADMIN_ID,
    }


SITE_INFO = Function("core_webservice_get_site_info", Single({}), None, site_info)
