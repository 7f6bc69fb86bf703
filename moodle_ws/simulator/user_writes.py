"""core_user_create_users, core_user_update_users, core_user_delete_users: three ways to fail (ground truth §3).

Creating is all or nothing. Updating is one transaction a user, with warnings, whose text can break the answer.
Deleting is all or nothing, and pretends for the guest.
"""

import copy
import re
from typing import Any

from moodle_ws.simulator.calls import Call, Function
from moodle_ws.simulator.errors import (
    WebServiceError,
    database_error,
    invalid_parameter,
    missing_record,
    moodle_error,
)
from moodle_ws.simulator.flavours import Database, php_trim
from moodle_ws.simulator.shapes import Multiple, Single, Value
from moodle_ws.simulator.site import ADMIN_ID, GUEST_ID
from moodle_ws.simulator.user_table import NOT_CACHED, User

# PHP's FILTER_VALIDATE_EMAIL, without its rarities: at most 64 characters before the @ and 63 in a label, no hyphen at
# either end of a label, a letter after the last dot.
_EMAIL = re.compile(
    r"(?=.{1,64}@)[!#$%&'*+/=?^_`{|}~A-Za-z0-9-]+(\.[!#$%&'*+/=?^_`{|}~A-Za-z0-9-]+)*"
    r"@(?!-|.*\.-|.*-(\.|$))(?!.*[^.]{64})[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z][A-Za-z0-9-]*\Z"
)

_LENGTHS = {
    "username": 100, "firstname": 100, "lastname": 100, "email": 100, "idnumber": 255, "city": 120, "department": 255,
    "institution": 255, "phone1": 20, "phone2": 20, "address": 255,
}  # fmt: skip

# Methods whose users have their password in Moodle (ground truth §3: "any internal plugin, also nologin").
_INTERNAL_AUTH = frozenset({"manual", "email", "nologin"})
_NEVER_AUTH = frozenset({"webservice", "mnet"})


def _optional(kind: str) -> Value:
    return Value(kind, required=False)


_LISTS: dict[str, Any] = {
    "customfields": Multiple(Single({"type": Value("alphanumext"), "value": Value("raw")}), required=False),
    "preferences": Multiple(Single({"type": Value("raw"), "value": Value("raw")}), required=False),
}
_TEXTS: dict[str, Any] = {
    "maildisplay": _optional("int"),
    "city": _optional("notags"),
    "country": _optional("alpha"),
    "timezone": _optional("timezone"),
    "description": _optional("raw"),
    "firstnamephonetic": _optional("notags"),
    "lastnamephonetic": _optional("notags"),
    "middlename": _optional("notags"),
    "alternatename": _optional("notags"),
    "interests": _optional("text"),
    "idnumber": _optional("raw"),
    "institution": _optional("raw"),
    "department": _optional("raw"),
    "phone1": _optional("notags"),
    "phone2": _optional("notags"),
    "address": _optional("raw"),
    "lang": _optional("lang"),
    "calendartype": _optional("raw"),
    "theme": _optional("theme"),
    "mailformat": _optional("int"),
}

_STORED = (
    "username", "auth", "firstname", "lastname", "email", "idnumber", "lang", "theme", "timezone", "mailformat",
    "description", "department", "institution", "phone1", "phone2", "address", "city",
)  # fmt: skip


# -- create ----------------------------------------------------------------------------------------------------------


def create_users(call: Call, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Creates everybody or nobody."""
    call.enter_context()
    call.require("moodle/user:create")
    created: list[dict[str, Any]] = []
    try:
        for row in parameters["users"]:
            user = _create(call, row)
            created.append({"id": user.id, "username": user.username})
    except WebServiceError:
        for row in created:  # one transaction; the id sequence keeps its gap, as a database's does
            del call.site.users[row["id"]]
        raise
    return created


def _create(call: Call, row: dict[str, Any]) -> User:
    for key in ("username", "firstname", "lastname"):
        if not php_trim(row[key]):
            raise invalid_parameter(f"The field {key} cannot be blank")
    if not row["auth"] or row["auth"] in _NEVER_AUTH:
        raise invalid_parameter(f"Invalid authentication type: {row['auth']}")
    if row.get("lang") == "":
        raise invalid_parameter("Invalid language code: ")
    if call.site.user(row["username"]) is not None:
        raise invalid_parameter(f"Username already exists: {row['username']}")
    password = _new_password(row)
    _check_email(call, row["email"])
    _check_lengths(call, row, "INSERT INTO mdl_user")
    stored: dict[str, Any] = {key: row[key] for key in _STORED if key in row}
    user = call.site.add_user(**{"lang": call.options.languages[0], **stored})
    user.password = password
    _store_country(user, row)
    _store_customfields(call, user, row)
    if row["createpassword"] or {"type": "auth_forcepasswordchange", "value": "1"} in row.get("preferences", []):
        # With auth=cas this locks the person out at the next sign-in (trace `createpassword-cas-user-login`).
        user.preferences["auth_forcepasswordchange"] = "1"
    if row["createpassword"]:
        call.site.mails.append((user.email, "newpassword"))
    return user


def _store_country(user: User, row: dict[str, Any]) -> None:
    if "country" in row:  # an unknown one is cleaned to 0 (`debugdisplay-create-country-cleaned`)
        user.country = row["country"] if row["country"] in {"FR", "GB", "BE", "CH", "CA", "DE", "ES", "IT"} else "0"


def _new_password(row: dict[str, Any]) -> str:
    if row["auth"] not in _INTERNAL_AUTH:
        return NOT_CACHED  # a password, even a weak one, is silently ignored (`create-weak-password-with-cas`)
    if row["createpassword"]:
        return "generated"
    password = row.get("password", "")
    if not password:
        raise invalid_parameter("Invalid password: you must provide a password, or set createpassword.")
    refusal = _password_policy(password)
    if refusal:
        raise moodle_error(refusal, f"error/{refusal}")
    return str(password)


def _password_policy(password: str) -> str:
    """The site's default policy; the refusal is the HTML that Moodle puts into `errorcode`."""
    broken = []
    if len(password) < 8:
        broken.append("Passwords must be at least 8 characters long.")
    if not re.search(r"\d", password):
        broken.append("Passwords must have at least 1 digit(s).")
    if not re.search(r"[a-z]", password):
        broken.append("Passwords must have at least 1 lower case letter(s).")
    if not re.search(r"[A-Z]", password):
        broken.append("Passwords must have at least 1 upper case letter(s).")
    if password.isalnum():
        broken.append("The password must have at least 1 special character(s) such as *, -, or #.")
    return "".join(f"<div>{sentence}</div>" for sentence in broken)


def _check_email(call: Call, email: str) -> None:
    if not _EMAIL.match(email):
        raise invalid_parameter(f"Email address is invalid: {email}")
    if not call.options.allowaccountssameemail and next(call.site.same_email(email), None) is not None:
        raise invalid_parameter(f"Email address already exists: {email}")


def _check_lengths(call: Call, row: dict[str, Any], statement: str) -> None:
    for key, most in _LENGTHS.items():
        if len(row.get(key, "")) > most:
            if call.options.database is Database.MARIADB:
                raise database_error(f"Data too long for column '{key}' at row 1\n{statement}")
            raise database_error(f"ERROR:  value too long for type character varying({most})\n{statement}")


def _store_customfields(call: Call, user: User, row: dict[str, Any]) -> None:
    known = {profile_field.shortname for profile_field in call.site.profile_fields}
    for custom in row.get("customfields", []):
        if custom["type"] in known:  # an unknown one is silently ignored
            user.customfields[custom["type"]] = custom["value"]


# -- update ----------------------------------------------------------------------------------------------------------


def update_users(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """Updates each user in a transaction of its own; whoever fails gets a warning."""
    call.enter_context()
    call.require("moodle/user:update")
    warnings = []
    for row in parameters["users"]:
        number = row["id"]
        present = call.site.users.get(number)
        before = copy.deepcopy({**present.__dict__, "_table": None}) if present else None
        try:
            _update(call, row)
        except WebServiceError as refusal:
            if present is not None and before is not None:
                for key, value in before.items():
                    if key != "_table":
                        setattr(present, key, value)
            warnings.append(
                {"item": "user", "itemid": number, "warningcode": refusal.errorcode, "message": refusal.message}
            )
    return {"warnings": warnings}


def _update(call: Call, row: dict[str, Any]) -> None:
    user = call.site.users.get(row["id"])
    if user is None:
        raise moodle_error("invaliduserid", "Invalid user ID")
    if user.deleted:
        raise moodle_error("usernotupdateddeleted", "error/usernotupdateddeleted")
    if user.id == ADMIN_ID and call.user.id != ADMIN_ID:
        raise moodle_error("usernotupdatedadmin", "Cannot update admin accounts")
    if user.id == GUEST_ID:
        raise moodle_error("usernotupdatedguest", "error/usernotupdatedguest")
    if "email" in row and row["email"] != user.email:
        _check_new_email(call, user, row["email"])
    if "username" in row:
        _check_free_username(call, user, row["username"])
    _check_lengths(call, row, "UPDATE mdl_user")
    for key in _STORED:
        if key in row:
            setattr(user, key, row[key])
    _store_country(user, row)
    _update_password(user, row)
    _store_customfields(call, user, row)
    for preference in row.get("preferences", []):
        user.preferences[preference["type"]] = preference["value"]
    if "suspended" in row:
        user.suspended = row["suspended"]
        if user.suspended:
            call.site.kill_sessions(user.id)


def _check_new_email(call: Call, user: User, email: str) -> None:
    if not _EMAIL.match(email):
        raise moodle_error("useremailinvalid", "error/useremailinvalid")
    if call.options.allowaccountssameemail:
        return
    if any(other.id != user.id for other in call.site.same_email(email)):
        raise moodle_error("useremailduplicate", "Duplicate address")


def _check_free_username(call: Call, user: User, username: str) -> None:
    if any(other.id != user.id for other in call.site.matching("username", [username])):
        raise database_error("duplicate key")


def _update_password(user: User, row: dict[str, Any]) -> None:
    password = row.get("password", "")
    if not password:
        return
    # The policy is asked before the sign-in method (`update-weak-password-on-cas-user`); its HTML then becomes the
    # warning's code and spoils the answer, after the other users were written.
    refusal = _password_policy(password)
    if refusal:
        raise moodle_error(refusal, f"error/{refusal}")
    if user.auth in _INTERNAL_AUTH:
        user.password = password


# -- delete ----------------------------------------------------------------------------------------------------------


def delete_users(call: Call, parameters: dict[str, Any]) -> None:
    """Deletes everybody or nobody; the guest is left alone without a word (`delete-guest`)."""
    call.enter_context()
    call.require("moodle/user:delete")
    doomed = []
    for number in parameters["userids"]:
        user = call.site.users.get(number)
        if user is None or user.deleted:
            raise missing_record("user", "SELECT * FROM {user} WHERE id = ? AND deleted = ?", (number, 0))
        if user.id == ADMIN_ID:
            raise moodle_error("useradminodelete", "Administrator accounts cannot be deleted.")
        if user.id == call.user.id:
            raise moodle_error("usernotdeletederror", "User not deleted - error")
        if user.id != GUEST_ID:
            doomed.append(user)
    for user in doomed:
        call.site.delete_user(user)


_WARNING = Single(
    {
        "item": Value("text", required=False),
        "itemid": Value("int", required=False),
        "warningcode": Value("alphanum"),
        "message": Value("text"),
    }
)

CREATE_USERS = Function(
    "core_user_create_users",
    Single(
        {
            "users": Multiple(
                Single(
                    {
                        "createpassword": Value("bool", required=False, default=False),
                        "username": Value("username"),
                        "auth": Value("auth", required=False, default="manual"),
                        "password": _optional("raw"),
                        "firstname": Value("notags"),
                        "lastname": Value("notags"),
                        "email": Value("raw_trimmed"),
                        **_TEXTS,
                        **_LISTS,
                    }
                )
            )
        }
    ),
    Multiple(Single({"id": Value("int"), "username": Value("username")})),
    create_users,
)

UPDATE_USERS = Function(
    "core_user_update_users",
    Single(
        {
            "users": Multiple(
                Single(
                    {
                        "id": Value("int"),
                        "username": _optional("username"),
                        "auth": _optional("auth"),
                        "suspended": _optional("bool"),
                        "password": _optional("raw"),
                        "firstname": _optional("notags"),
                        "lastname": _optional("notags"),
                        "email": _optional("raw_trimmed"),
                        **_TEXTS,
                        "userpicture": _optional("int"),
                        **_LISTS,
                    }
                )
            )
        }
    ),
    Single({"warnings": Multiple(_WARNING, required=False)}),
    update_users,
)

DELETE_USERS = Function("core_user_delete_users", Single({"userids": Multiple(Value("int"))}), None, delete_users)
