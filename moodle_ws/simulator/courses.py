"""Courses and who is in them (recordings `courses-get`, `courses-get-by-field`, `enrol-get-enrolled`).

The simulated site has no course content: what a course says of its format and filters is what an empty one says.
"""

from typing import Any

from moodle_ws.simulator.calls import Call, Function
from moodle_ws.simulator.errors import invalid_parameter, missing_record
from moodle_ws.simulator.flavours import Version
from moodle_ws.simulator.options import Course
from moodle_ws.simulator.shapes import Multiple, Shape, Single, Value
from moodle_ws.simulator.users import visible

_ROLES = {3: "editingteacher", 4: "teacher", 5: "student"}

_FILTERS = ("displayh5p", "activitynames", "mathjaxloader", "emoticon", "urltolink", "mediaplugin")


def get_courses(call: Call, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """The courses with these ids, or all; the front page is one."""
    wanted = parameters.get("options", {}).get("ids")
    listed = [_front_page(call), *(_summary(place) for place in call.options.courses)]
    return [row for row in listed if not wanted or row["id"] in wanted]


def _front_page(call: Call) -> dict[str, Any]:
    name = call.options.sitename
    row = {**_summary(Course(1, name, call.options.site_shortname)), "categoryid": 0, "format": "site"}
    return row | {"numsections": 1, "showcompletionconditions": None}


def _summary(place: Course) -> dict[str, Any]:
    return {
        "id": place.id,
        "shortname": place.shortname,
        "categoryid": 1,
        "fullname": place.fullname,
        "displayname": place.fullname,
        "summary": "",
        "summaryformat": 0,
        "format": "topics",
        "startdate": 0,
        "enddate": 0,
        "showactivitydates": False,
        "showcompletionconditions": True,
    }


def get_courses_by_field(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """The courses whose field has this value; no field lists all. idnumbers are not simulated."""
    field, value = parameters["field"], parameters["value"]
    if field not in {"", "id", "ids", "shortname", "idnumber", "category"}:
        raise invalid_parameter("Invalid field name")
    values = value.split(",") if field == "ids" else [value]
    found = [
        place
        for place in call.options.courses
        if field in {"", "category"}
        or (field in {"id", "ids"} and str(place.id) in values)
        or (field == "shortname" and place.shortname == value)
    ]
    if field == "category" and value != "1":
        found = []
    return {"courses": [_described(call, place) for place in found], "warnings": []}


def _described(call: Call, place: Course) -> dict[str, Any]:
    filters = [{"filter": name, "localstate": 0, "inheritedstate": 1} for name in _FILTERS]
    settings = [("hiddensections", 1), ("coursedisplay", 0), ("indentation", "1")]
    numbers = ("newsitems", 1), ("startdate", 0), ("enddate", 0), ("maxbytes", 0), ("showreports", 0), ("visible", 1)
    more = ("groupmode", "groupmodeforce", "defaultgroupingid", "enablecompletion", "completionnotify")
    return {
        **_summary(place),
        "courseimage": f"{call.site.wwwroot}/pluginfile.php/{10 + place.id}/course/generated/course.svg",
        "categoryname": "Category 1",
        "sortorder": 10000 + place.id,
        "summaryfiles": [],
        "overviewfiles": [],
        "contacts": [],
        "enrollmentmethods": ["manual"],
        "showgrades": 1,
        **dict(numbers),
        **dict.fromkeys(more, 0),
        "lang": "",
        "theme": "",
        "marker": 0,
        "filters": filters,
        "courseformatoptions": [{"name": name, "value": value} for name, value in settings],
    }


def get_enrolled_users(call: Call, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Everybody enrolled, by id, as far as the token may see them."""
    place = next((place for place in call.options.courses if place.id == parameters["courseid"]), None)
    if place is None:
        number = parameters["courseid"]
        raise missing_record("course", "SELECT * FROM {course} WHERE id = ?", (number,))
    call.require("moodle/course:viewparticipants")
    options = {option["name"]: option["value"] for option in parameters["options"]}
    roles: dict[int, list[int]] = {}
    for person, course, role in sorted(call.site.enrolments):
        if course == place.id:
            roles.setdefault(person, []).append(role)
    first, most = int(options.get("limitfrom", 0)), int(options.get("limitnumber", 0))
    people = [call.site.users[number] for number in sorted(roles) if number in call.site.users]
    rows = [
        row
        | {
            "lastcourseaccess": 0,
            "roles": [
                {"roleid": role, "name": "", "shortname": _ROLES.get(role, ""), "sortorder": 0}
                for role in roles[user.id]
            ],
            "enrolledcourses": [{"id": place.id, "fullname": place.fullname, "shortname": place.shortname}],
        }
        for user in people
        if not user.deleted and (row := visible(call, user)) is not None
    ]
    return rows[first : first + most if most else None]


def get_users_courses(call: Call, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """The courses of a user; those whose participants the token may not see are left out without a word (seen on 4.4:
    an empty list, as for an unknown id)."""
    if not call.may("moodle/course:viewparticipants"):
        return []
    taken = {course for person, course, _role in call.site.enrolments if person == parameters["userid"]}
    return [_taken(call, place) for place in call.options.courses if place.id in taken]


def _taken(call: Call, place: Course) -> dict[str, Any]:
    return {
        **_summary(place),
        "idnumber": "",
        "visible": 1,
        "courseimage": f"{call.site.wwwroot}/pluginfile.php/{10 + place.id}/course/generated/course.svg",
        "category": 1,
    }


def _person(version: Version) -> Single:
    keys: dict[str, Shape] = {
        "id": Value("int"),
        "username": Value("raw", required=False),
        "firstname": Value("notags", required=False),
        "lastname": Value("notags", required=False),
    }
    if version is Version.V5_2:
        keys["initials"] = Value("text", required=False)
    keys |= {"fullname": Value("notags")}
    optional = ("email", "address", "phone1", "phone2", "department", "institution", "idnumber", "interests")
    keys |= {name: Value("raw", required=False) for name in optional}
    keys |= {name: Value("int", required=False) for name in ("firstaccess", "lastaccess", "lastcourseaccess")}
    keys |= {"description": Value("raw", required=False), "descriptionformat": Value("int", required=False)}
    keys |= {name: Value("raw", required=False) for name in ("city", "country")}
    keys |= {"profileimageurlsmall": Value("raw"), "profileimageurl": Value("raw")}
    custom = {name: Value("raw") for name in ("type", "value", "name", "shortname")}
    role = {"roleid": Value("int"), "name": Value("raw"), "shortname": Value("raw"), "sortorder": Value("int")}
    keys |= {
        "customfields": Multiple(Single(custom), required=False),
        "roles": Multiple(Single(role), required=False),
        "enrolledcourses": Multiple(
            Single({"id": Value("int"), "fullname": Value("raw"), "shortname": Value("raw")}), required=False
        ),
    }
    return Single(keys)


_INTS = frozenset(
    {"id", "categoryid", "sortorder", "summaryformat", "showgrades", "newsitems", "startdate", "enddate", "maxbytes"}
    | {"showreports", "visible", "groupmode", "groupmodeforce", "defaultgroupingid", "enablecompletion", "marker"}
    | {"completionnotify", "numsections"}
)
_BOOLS = frozenset({"showactivitydates", "showcompletionconditions"})


def _scalars(*names: str) -> dict[str, Shape]:
    kinds = {**dict.fromkeys(_INTS, "int"), **dict.fromkeys(_BOOLS, "bool")}
    return {name: Value(kinds.get(name, "raw"), required=False) for name in names}


_COURSE = Single(
    _scalars("id", "shortname", "categoryid", "fullname", "displayname", "summary", "summaryformat", "format")
    | _scalars("startdate", "enddate", "numsections", "showactivitydates", "showcompletionconditions")
)
_DETAILED = Single(
    _scalars("id", "fullname", "displayname", "shortname", "courseimage", "categoryid", "categoryname", "sortorder")
    | _scalars("summary", "summaryformat")
    | {"summaryfiles": Multiple(Value("raw")), "overviewfiles": Multiple(Value("raw"))}
    | _scalars("showactivitydates", "showcompletionconditions")
    | {"contacts": Multiple(Value("raw")), "enrollmentmethods": Multiple(Value("raw"))}
    | _scalars("format", "showgrades", "newsitems", "startdate", "enddate", "maxbytes", "showreports", "visible")
    | _scalars("groupmode", "groupmodeforce", "defaultgroupingid", "enablecompletion", "completionnotify")
    | _scalars("lang", "theme", "marker")
    | {
        "filters": Multiple(
            Single({"filter": Value("raw"), "localstate": Value("int"), "inheritedstate": Value("int")})
        ),
        "courseformatoptions": Multiple(Single({"name": Value("raw"), "value": Value("raw")})),
    }
)

_TAKEN = Single(
    _scalars("id", "shortname", "fullname", "displayname", "idnumber", "visible", "summary", "summaryformat", "format")
    | _scalars("courseimage", "category", "startdate", "enddate")
)

FUNCTIONS: tuple[Function, ...] = (
    Function(
        "core_enrol_get_users_courses",
        Single({"userid": Value("int"), "returnusercount": Value("bool", required=False, default=True)}),
        Multiple(_TAKEN),
        get_users_courses,
    ),
    Function(
        "core_course_get_courses",
        Single({"options": Single({"ids": Multiple(Value("int"), required=False)}, required=False)}),
        Multiple(_COURSE),
        get_courses,
    ),
    Function(
        "core_course_get_courses_by_field",
        Single(
            {"field": Value("alpha", required=False, default=""), "value": Value("raw", required=False, default="")}
        ),
        Single({"courses": Multiple(_DETAILED), "warnings": Multiple(Value("raw"), required=False)}),
        get_courses_by_field,
    ),
)


def enrolled_function(version: Version) -> Function:
    """core_enrol_get_enrolled_users."""
    option = Single({"name": Value("alphanumext"), "value": Value("raw")})
    parameters = Single({"courseid": Value("int"), "options": Multiple(option, required=False, default=())})
    return Function("core_enrol_get_enrolled_users", parameters, Multiple(_person(version)), get_enrolled_users)
