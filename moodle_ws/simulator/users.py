"""core_user_get_users_by_field and core_user_get_users: who is visible, and with which fields.

The rights table of ground truth §3 in code: without `viewdetails` nobody is seen but oneself, and absence is never an
error. A row that breaks the site's own rules spoils the whole list when the answer is checked (`shapes.release`).
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from moodle_ws.simulator.calls import Call, Function
from moodle_ws.simulator.errors import coding_error, invalid_parameter, moodle_error
from moodle_ws.simulator.flavours import Version, php_trim
from moodle_ws.simulator.shapes import Multiple, Single, Value
from moodle_ws.simulator.user_table import User

_SCRIPT = re.compile(r"<script.*?</script>", re.IGNORECASE | re.DOTALL)


def _optional(kind: str) -> Value:
    return Value(kind, required=False)


def description(version: Version) -> Single:
    """The description of one user, in Moodle's order (recording `xml-get-by-field` of each version)."""
    keys: dict[str, Any] = {
        "id": Value("int"),
        "username": _optional("username"),
        "firstname": _optional("notags"),
        "lastname": _optional("notags"),
        "fullname": Value("notags"),
    }
    if version is Version.V5_2:
        keys["initials"] = _optional("text")
    keys |= {
        # A blank at the end poisons, bad syntax does not (`collision-emailpair-trailing-space-first`,
        # `poison-email-bad-in-db-debug`).
        "email": _optional("raw_trimmed"),
        "address": _optional("text"),
        "phone1": _optional("notags"),
        "phone2": _optional("notags"),
        "department": _optional("text"),
        "institution": _optional("text"),
        "idnumber": _optional("raw"),
        "interests": _optional("text"),
        "firstaccess": _optional("int"),
        "lastaccess": _optional("int"),
        "auth": _optional("auth"),
        "suspended": _optional("bool"),
        "confirmed": _optional("bool"),
        "lang": _optional("text"),
        "calendartype": _optional("text"),
        "theme": _optional("text"),
        "timezone": _optional("text"),
        "mailformat": _optional("int"),
    }
    if version is not Version.V4_4:
        keys["trackforums"] = _optional("int")
    keys |= {
        "description": _optional("raw"),
        "descriptionformat": _optional("int"),
        "city": _optional("notags"),
        "country": _optional("alpha"),
        "profileimageurlsmall": Value("raw"),
        "profileimageurl": Value("raw"),
        "customfields": Multiple(
            Single(
                {
                    "type": Value("raw"),
                    "value": Value("raw"),
                    "displayvalue": _optional("raw"),
                    "name": Value("raw"),
                    "shortname": Value("raw"),
                }
            ),
            required=False,
        ),
        "preferences": Multiple(Single({"name": Value("raw"), "value": Value("raw")}), required=False),
    }
    return Single(keys)


# -- what the token may see ------------------------------------------------------------------------------------------


def visible(call: Call, user: User) -> dict[str, Any] | None:
    """The row as the token may see it; None when it may not see the user at all."""
    me = user.id == call.user.id
    if user.id in call.hidden or (not me and not call.may("moodle/user:viewdetails")):
        return None
    hidden = set() if me or call.may("moodle/user:viewhiddendetails") else set(call.options.hiddenuserfields)
    everything = me or call.may("moodle/user:viewalldetails")
    row: dict[str, Any] = {"id": user.id, "fullname": user.fullname}
    # From 4.5 on the names come without site:viewfullnames (versions page §1).
    named = call.may("moodle/site:viewfullnames") or call.options.version is not Version.V4_4
    if named:
        row |= {"firstname": user.firstname, "lastname": user.lastname}
    row["initials"] = (user.firstname[:1] + user.lastname[:1]).strip().upper()
    if me or (call.may("moodle/site:viewuseridentity") and "email" in call.options.showuseridentity):
        row["email"] = user.email
    if "suspended" not in hidden:
        row["suspended"] = user.suspended
    row |= {key: getattr(user, key) for key in ("firstaccess", "lastaccess") if key not in hidden}
    row |= {"timezone": user.timezone} | _given(user, ("description", "city", "country"), hidden)
    if "description" in row:
        row["descriptionformat"] = 1
        if not call.raw:
            row["description"] = _SCRIPT.sub("", user.description)
    if everything:
        row |= {
            "username": user.username,
            "auth": user.auth,
            "confirmed": user.confirmed,
            "department": user.department,
            "lang": user.lang,
            "theme": user.theme,
            "mailformat": user.mailformat,
            "trackforums": 0,
        } | _given(user, ("idnumber", "institution", "phone1", "phone2", "address"), hidden)
    picture = f"{call.site.wwwroot}/theme/image.php/boost/core/{call.site.theme_revision}/u/"
    row |= {"profileimageurlsmall": picture + "f2", "profileimageurl": picture + "f1"}
    custom = _customfields(call, user)
    if custom:
        row["customfields"] = custom
    if user.id in call.poisoned:
        row["auth"] = "removed from disk"
    if me and user.preferences:
        row["preferences"] = [{"name": name, "value": value} for name, value in user.preferences.items()]
    return row


def _given(user: User, keys: Iterable[str], hidden: set[str]) -> dict[str, str]:
    # PHP takes "0" for empty: the country a bad code was cleaned to never shows (`poison-country-get-by-id-debug`).
    return {key: getattr(user, key) for key in keys if key not in hidden and getattr(user, key) not in {"", "0"}}


def _customfields(call: Call, user: User) -> list[dict[str, Any]]:
    listed = []
    for profile_field in call.site.profile_fields:
        value = user.customfields.get(profile_field.shortname, "")
        checkbox = profile_field.kind == "checkbox"
        # From 4.5 on an unset checkbox is shown, an unset text is not (`get-by-email-one` of each version).
        if not value and not (checkbox and call.options.version is not Version.V4_4):
            continue
        shown = ("Yes" if value == "1" else "No") if checkbox else value
        listed.append(
            {
                "type": profile_field.kind,
                "value": value,
                "displayvalue": shown,
                "name": profile_field.name,
                "shortname": profile_field.shortname,
            }
        )
    return listed


def _allowed_by(call: Call, user: User, column: str) -> bool:
    """Whether a look-up by `column` may find the user: only by a field the token can see."""
    row = visible(call, user)
    return row is not None and (column in row or column == "id")


# -- get_users_by_field ----------------------------------------------------------------------------------------------

_COLUMN_TYPES = {"id": "int", "username": "username", "email": "text", "idnumber": "raw"}


def get_users_by_field(call: Call, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Everybody whose field equals one of the values, by id, without a word about the others."""
    call.enter_context()
    column = parameters["field"]
    if column not in _COLUMN_TYPES:
        raise coding_error("invalid field parameter")
    values = [value for value in parameters["values"] if _cleaned(call, column, value)]
    if column == "id":
        numbers = {int(value) for value in values}
        # Deleted users are found by id (`get-by-id-deleted`).
        found: Iterable[User] = (call.site.users[key] for key in sorted(numbers) if key in call.site.users)
    else:
        found = call.site.matching(column, values)
    return [row for user in found if _allowed_by(call, user, column) and (row := visible(call, user))]


def _cleaned(call: Call, column: str, value: str) -> bool:
    """Whether the value takes part in the look-up; an unclean one fails the whole call."""
    # PHP's greatest number, compared as a floating one: 2^63 still passes.
    if column == "id" and (not re.match(r"-?\d+\Z", value) or abs(int(value)) > 2**63):
        raise invalid_parameter("values: the value is not an integer")
    if column == "username" and _searched_username(call, value) != value:
        raise invalid_parameter("values: the user name is not clean")
    if column == "email" and value != php_trim(value):
        raise invalid_parameter("values: blanks around the address")
    return value not in {"", "0"}


def by_field_function(version: Version) -> Function:
    """core_user_get_users_by_field."""
    parameters = Single({"field": Value("alpha"), "values": Multiple(Value("raw"))})
    return Function("core_user_get_users_by_field", parameters, Multiple(description(version)), get_users_by_field)


# -- get_users -------------------------------------------------------------------------------------------------------

_CRITERIA = frozenset({"id", "lastname", "firstname", "idnumber", "username", "email", "auth"})
_LIKE = frozenset({"lastname", "firstname", "email"})


def get_users(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """Everybody who meets all criteria. An unknown key is dropped with a warning: alone, it finds everybody."""
    call.enter_context()
    warnings: list[dict[str, str]] = []
    used: dict[str, str] = {}
    for criterion in parameters["criteria"]:
        key, value = criterion["key"], criterion["value"]
        if key in used:
            raise moodle_error("keyalreadyset", "error/keyalreadyset")
        if key not in _CRITERIA:
            message = f"The search key '{key}' is not supported, look at the web service documentation"
            warnings.append({"item": key, "warningcode": "invalidfieldparameter", "message": message})
            continue
        used[key] = value
    found = [user for user in _candidates(call, used) if all(_meets(call, user, key, used[key]) for key in used)]
    rows = [
        row
        for user in found
        if all(_allowed_by(call, user, key) for key in _shown(used)) and (row := visible(call, user))
    ]
    return {"users": rows, "warnings": warnings}


def _candidates(call: Call, used: dict[str, str]) -> Iterable[User]:
    if "idnumber" in used:
        return call.site.matching("idnumber", [used["idnumber"]])
    if "username" in used:
        return call.site.matching("username", [_searched_username(call, used["username"])])
    if "email" in used and not re.search(r"[%_\\]", used["email"]):
        return call.site.same_email(used["email"])
    if "id" in used and used["id"].isdigit():
        user = call.site.users.get(int(used["id"]))
        return () if user is None or user.deleted else (user,)
    return call.site.living()


def _searched_username(call: Call, value: str) -> str:
    """A user name as get_users cleans it: folded and stripped, not refused (`get-users-by-username-uppercase`)."""
    value = php_trim(value).lower()
    return value if call.options.extendedusernamechars else re.sub(r"[^-.@_a-z0-9]", "", value)


def _shown(used: dict[str, str]) -> set[str]:
    # Names may be searched without being shown (recordings `caps-*-get-users-email` cover e-mail only).
    return set(used) - {"firstname", "lastname"}


def _meets(call: Call, user: User, key: str, value: str) -> bool:
    stored = str(getattr(user, key))
    if key in _LIKE:
        return _like(value, escapes=key != "email").match(stored) is not None
    if key == "username":
        value = _searched_username(call, value)
    if key in {"username", "idnumber"}:
        return any(user.id == other.id for other in call.site.matching(key, [value]))
    return stored == value


@lru_cache(maxsize=256)
def _like(pattern: str, *, escapes: bool) -> re.Pattern[str]:
    """SQL LIKE without case: `%` and `_` are wild. A backslash escapes in name criteria and finds nothing in e-mail
    ones (MariaDB page, correction to the ground truth)."""
    parts = []
    characters = iter(pattern)
    for character in characters:
        if character == "\\" and escapes:
            parts.append(re.escape(next(characters, "")))
        else:
            parts.append({"%": ".*", "_": "."}.get(character) or re.escape(character))
    return re.compile("".join(parts) + r"\Z", re.IGNORECASE | re.DOTALL)


def search_function(version: Version) -> Function:
    """core_user_get_users."""
    criteria = Multiple(Single({"key": Value("alpha"), "value": Value("raw")}))
    returns = Single(
        {
            "users": Multiple(description(version)),
            "warnings": Multiple(
                Single(
                    {
                        "item": Value("text", required=False),
                        "itemid": Value("int", required=False),
                        "warningcode": Value("alphanum"),
                        "message": Value("text"),
                    }
                ),
                required=False,
            ),
        }
    )
    return Function("core_user_get_users", Single({"criteria": criteria}), returns, get_users)
