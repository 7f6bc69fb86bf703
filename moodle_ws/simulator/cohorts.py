"""The cohort functions (ground truth §5): creation all or nothing, adding item by item, removal all or nothing."""

from typing import Any

from moodle_ws.simulator.calls import Call, Function
from moodle_ws.simulator.errors import WebServiceError, invalid_parameter, missing_capability, missing_record
from moodle_ws.simulator.shapes import Multiple, Shape, Single, Value
from moodle_ws.simulator.site import Cohort, equal
from moodle_ws.simulator.user_table import User

_SYSTEM_CONTEXT = 1


def _described(cohort: Cohort) -> dict[str, Any]:
    return {
        "id": cohort.id,
        "name": cohort.name,
        "idnumber": cohort.idnumber,
        "description": cohort.description,
        "descriptionformat": cohort.descriptionformat,
        "visible": cohort.visible,
        "theme": "",
        "customfields": [],
    }


def create_cohorts(call: Call, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Creates all or none. An idnumber is unique in the whole site, the empty one too."""
    call.require("moodle/cohort:manage")
    before = dict(call.site.cohorts)
    try:
        return [_create(call, row) for row in parameters["cohorts"]]
    except WebServiceError:
        call.site.cohorts = before
        raise


def _create(call: Call, row: dict[str, Any]) -> dict[str, Any]:
    kind = row["categorytype"]["type"]
    if kind not in {"system", "id", "idnumber"}:
        raise invalid_parameter("Invalid context type")
    if _by_idnumber(call, row["idnumber"]) is not None:
        raise invalid_parameter("record already exists: idnumber")
    given = {key: row[key] for key in ("description", "descriptionformat", "visible") if key in row}
    cohort = call.site.add_cohort(row["name"], row["idnumber"], **given)
    cohort.contextid = _SYSTEM_CONTEXT if kind == "system" else 3
    return _described(cohort)


def get_cohorts(call: Call, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """The cohorts asked for, or all; unknown ids are skipped."""
    wanted = parameters["cohortids"] or sorted(call.site.cohorts)
    _require_sight(call)
    return [_described(call.site.cohorts[number]) for number in wanted if number in call.site.cohorts]


def search_cohorts(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """Substring of name or idnumber, without case, by name."""
    context = parameters["context"]
    if "contextid" not in context and not ("contextlevel" in context and "instanceid" in context):
        raise invalid_parameter("contextid or contextlevel and instanceid must be given")
    _require_sight(call)
    query = parameters["query"].lower()
    everywhere = parameters["includes"] == "all"
    found = [
        cohort
        for cohort in call.site.cohorts.values()
        if (everywhere or cohort.contextid == _SYSTEM_CONTEXT)
        and (query in cohort.name.lower() or query in cohort.idnumber.lower())
    ]
    found.sort(key=lambda cohort: (cohort.name.lower(), cohort.idnumber.lower()))
    first = parameters["limitfrom"]
    return {"cohorts": [_described(cohort) for cohort in found[first : first + parameters["limitnum"]]]}


def get_members(call: Call, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Members in the order they were added; one unknown cohort refuses the whole call."""
    answers = []
    for number in parameters["cohortids"]:
        cohort = _existing(call, number)
        _require_sight(call)
        answers.append({"cohortid": cohort.id, "userids": list(cohort.members)})
    return answers


def add_members(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """Item by item, with warnings that name their item only in words. The duplicate is noticed before the missing
    right (`caps-cohview-add-cohort-members`)."""
    warnings = []
    present = {cohort.id: set(cohort.members) for cohort in _cohorts_named(call, parameters["members"])}
    for row in parameters["members"]:
        refusal = _add(call, row, present)
        if refusal is not None:
            warnings.append({"warningcode": refusal[0], "message": refusal[1]})
    return {"warnings": warnings}


def _cohorts_named(call: Call, rows: list[dict[str, Any]]) -> list[Cohort]:
    named = {(row["cohorttype"]["type"], row["cohorttype"]["value"]) for row in rows}
    found = [_named(call, kind, value) for kind, value in named]
    return [cohort for cohort in found if cohort is not None]


def _named(call: Call, kind: str, value: str) -> Cohort | None:
    return call.site.cohorts.get(_number(value)) if kind == "id" else _by_idnumber(call, value)


def _add(call: Call, row: dict[str, Any], present: dict[int, set[int]]) -> tuple[str, str] | None:
    cohort_kind, cohort_value = row["cohorttype"]["type"], row["cohorttype"]["value"]
    user_kind, user_value = row["usertype"]["type"], row["usertype"]["value"]
    if cohort_kind not in {"id", "idnumber"}:
        return "1", f"invalid parameter: cohortype={cohort_kind}"
    if user_kind not in {"id", "username"}:
        return "1", f"invalid parameter: usertype={user_kind}"
    user = _member(call, user_kind, user_value)
    if user is None:
        return "2", f"user {user_kind}={user_value} not exists"
    cohort = _named(call, cohort_kind, cohort_value)
    if cohort is None:
        return "2", f"cohort {cohort_kind}={cohort_value} not exists"
    if user.id in present[cohort.id]:
        return "3", f"record already exists: cohort({cohort_kind}={cohort_value} {user_kind}={user_value})"
    if not (call.may("moodle/cohort:manage") or call.may("moodle/cohort:assign")):
        raise missing_capability("moodle/cohort:assign")
    cohort.members.append(user.id)
    present[cohort.id].add(user.id)
    return None


def _member(call: Call, kind: str, value: str) -> User | None:
    if kind == "username":
        return call.site.user(value)
    user = call.site.users.get(_number(value))
    return None if user is None or user.deleted else user


def delete_members(call: Call, parameters: dict[str, Any]) -> None:
    """All or nothing; somebody who is no member is fine."""
    leaving: dict[int, set[int]] = {}
    for row in parameters["members"]:
        cohort = _existing(call, row["cohortid"])
        user = call.site.users.get(row["userid"])
        if user is None or user.deleted:
            query = "SELECT * FROM {user} WHERE id = ? AND deleted = ? AND mnethostid = ?"
            raise missing_record("user", query, (row["userid"], 0, 1))
        if not (call.may("moodle/cohort:manage") or call.may("moodle/cohort:assign")):
            raise missing_capability("moodle/cohort:assign")
        leaving.setdefault(cohort.id, set()).add(user.id)
    for number, people in leaving.items():
        cohort = call.site.cohorts[number]
        cohort.members = [member for member in cohort.members if member not in people]


def _require_sight(call: Call) -> None:
    if not (call.may("moodle/cohort:manage") or call.may("moodle/cohort:view")):
        raise missing_capability("moodle/cohort:view")


def _existing(call: Call, number: int) -> Cohort:
    cohort = call.site.cohorts.get(number)
    if cohort is None:
        raise missing_record("cohort", "SELECT * FROM {cohort} WHERE id = ?", (number,))
    return cohort


def _by_idnumber(call: Call, idnumber: str) -> Cohort | None:
    database = call.options.database
    return next((cohort for cohort in call.site.cohorts.values() if equal(cohort.idnumber, idnumber, database)), None)


def _number(value: str) -> int:
    return int(value) if value.lstrip("-").isdigit() else 0


def _cohort(*, with_fields: bool) -> Single:
    keys: dict[str, Shape] = {
        "id": Value("int"),
        "name": Value("raw"),
        "idnumber": Value("raw"),
        "description": Value("raw"),
        "descriptionformat": Value("int"),
        "visible": Value("bool"),
        "theme": Value("theme", required=False),
    }
    if with_fields:
        keys["customfields"] = Multiple(Single({"shortname": Value("raw"), "value": Value("raw")}), required=False)
    return Single(keys)


_PAIR = Single({"type": Value("text"), "value": Value("raw")})
_WARNINGS = Multiple(
    Single(
        {
            "item": Value("text", required=False),
            "itemid": Value("int", required=False),
            "warningcode": Value("alphanum"),
            "message": Value("text"),
        }
    ),
    required=False,
)

FUNCTIONS: tuple[Function, ...] = (
    Function(
        "core_cohort_create_cohorts",
        Single(
            {
                "cohorts": Multiple(
                    Single(
                        {
                            "categorytype": _PAIR,
                            "name": Value("raw"),
                            "idnumber": Value("raw"),
                            "description": Value("raw", required=False),
                            "descriptionformat": Value("int", required=False),
                            "visible": Value("bool", required=False),
                            "theme": Value("theme", required=False),
                        }
                    )
                )
            }
        ),
        Multiple(_cohort(with_fields=False)),
        create_cohorts,
    ),
    Function(
        "core_cohort_get_cohorts",
        Single({"cohortids": Multiple(Value("int"), required=False, default=())}),
        Multiple(_cohort(with_fields=True)),
        get_cohorts,
    ),
    Function(
        "core_cohort_search_cohorts",
        Single(
            {
                "query": Value("raw"),
                "context": Single(
                    {
                        "contextid": Value("int", required=False),
                        "contextlevel": Value("alpha", required=False),
                        "instanceid": Value("int", required=False),
                    }
                ),
                "includes": Value("alpha", required=False, default="parents"),
                "limitfrom": Value("int", required=False, default=0),
                "limitnum": Value("int", required=False, default=25),
            }
        ),
        Single({"cohorts": Multiple(_cohort(with_fields=True))}),
        search_cohorts,
    ),
    Function(
        "core_cohort_get_cohort_members",
        Single({"cohortids": Multiple(Value("int"))}),
        Multiple(Single({"cohortid": Value("int"), "userids": Multiple(Value("int"))})),
        get_members,
    ),
    Function(
        "core_cohort_add_cohort_members",
        Single({"members": Multiple(Single({"cohorttype": _PAIR, "usertype": _PAIR}))}),
        Single({"warnings": _WARNINGS}),
        add_members,
    ),
    Function(
        "core_cohort_delete_cohort_members",
        Single({"members": Multiple(Single({"cohortid": Value("int"), "userid": Value("int")}))}),
        None,
        delete_members,
    ),
)
