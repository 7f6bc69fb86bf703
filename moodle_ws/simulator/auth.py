"""Password reset, confirmation and one-time sign-in links (recordings `pwreset-*`, `confirm-*`, `userkey-*`)."""

import re
import secrets
from typing import Any

from moodle_ws.simulator.calls import Call, Function
from moodle_ws.simulator.errors import access_error, invalid_parameter, moodle_error
from moodle_ws.simulator.flavours import php_trim
from moodle_ws.simulator.shapes import Multiple, Single, Value
from moodle_ws.simulator.site import GUEST_ID, UserKey
from moodle_ws.simulator.user_table import User

_HELP = "If you continue to have difficulty, please contact the site administrator."
_MAYBE_SENT = (
    "<p>If you supplied a correct username or unique email address then an email should have been sent to you.</p>\n"
    f"   <p>It contains easy instructions to confirm and complete this password change.\n{_HELP}</p>"
)
_NOT_SENT = (
    "<p>The user detail you supplied does not identify an existing user account.</p>\n"
    f"   <p>Please check the information you entered, then try again.\n{_HELP}</p>"
)
_SENT = (
    "An email has been sent to your address at <b>******@{domain}</b>.\n"
    "<br />It contains easy instructions to confirm and complete this password change.\n"
    "If you continue to have difficulty, contact the site administrator."
)

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z")


def request_password_reset(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """With `protectusernames` the answer never tells whether the person exists; the mail does."""
    if call.options.forgottenpasswordurl:
        raise moodle_error("cannotmailconfirm", "Error sending password change confirmation email")
    username, email = parameters["username"], parameters["email"]
    if bool(username) == bool(email):
        both = [
            ("username", "Enter either username or email address"),
            ("email", "Enter either username or email address"),
        ]
        return _data_error(*both)
    if username and username != php_trim(username).lower():
        raise invalid_parameter("username => Invalid parameter value detected")
    if email and not _EMAIL.match(email):
        return _data_error(("email", "Invalid email address"))
    user = call.site.user(username) if username else next(call.site.same_email(email), None)
    if user is not None and user.auth not in call.options.auth_plugins:
        raise moodle_error("authpluginnotfound", f"Authentication plugin {user.auth} not found.")
    _mail(call, user)
    if call.options.protectusernames:
        return {"status": "emailpasswordconfirmmaybesent", "notice": _MAYBE_SENT, "warnings": []}
    if user is None:
        return _data_error(
            ("username", "The username was not found in the database")
            if username
            else ("email", "The email address was not found in the database")
        )
    if user.suspended:
        return {"status": "emailpasswordconfirmnotsent", "notice": _NOT_SENT, "warnings": []}
    domain = user.email.rpartition("@")[2]
    return {"status": "emailresetconfirmsent", "notice": _SENT.format(domain=domain), "warnings": []}


def _mail(call: Call, user: User | None) -> None:
    if user is not None and not user.suspended and user.id != GUEST_ID:
        # People who sign in elsewhere are told that their password cannot be reset here (ground truth §3).
        call.site.mails.append((user.email, "reset" if user.auth == "manual" else "reset-impossible"))


def _data_error(*problems: tuple[str, str]) -> dict[str, Any]:
    warnings = [
        {"item": item, "itemid": 0, "warningcode": "fielderror", "message": message} for item, message in problems
    ]
    return {"status": "dataerror", "notice": "", "warnings": warnings}


def confirm_user(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """Only for self-registered users, by the secret mailed to them."""
    if not call.options.registerauth:
        raise moodle_error("confirmationnotenabled", "User confirmation is not enabled on this site")
    user = call.site.user(parameters["username"])
    if user is None or user.auth != call.options.registerauth or not user.secret or user.secret != parameters["secret"]:
        raise moodle_error("invalidconfirmdata", "Invalid confirmation data")
    if user.confirmed:
        words = "Registration has already been confirmed"
        warning = {"item": "user", "itemid": 0, "warningcode": "alreadyconfirmed", "message": words}
        return {"success": False, "warnings": [warning]}
    user.confirmed = True
    return {"success": True, "warnings": []}


def request_login_url(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """A single-use sign-in address; suspension and sign-in method are not asked for (ground truth §8)."""
    settings = call.options.userkey
    if settings is None:
        raise access_error()
    call.require("auth/userkey:generatekey")
    given = parameters["user"]
    allowed = {settings.mappingfield}
    if settings.iprestriction:
        allowed.add("ip")
    if settings.createuser or settings.updateuser:
        allowed |= {"username", "email", "firstname", "lastname"}
    if set(given) - allowed or settings.mappingfield not in given or (settings.iprestriction and "ip" not in given):
        raise invalid_parameter("unexpected or missing keys")
    user = _mapped(call, settings.mappingfield, given[settings.mappingfield])
    if user is None:
        user = _created(call, given)
    elif settings.updateuser:
        user.auth = "userkey"  # takes the person away from CAS (`userkey-updateuser`)
        for key in ("username", "email", "firstname", "lastname"):
            setattr(user, key, given.get(key, getattr(user, key)))
    key = secrets.token_hex(16)
    # A newer key replaces the person's older one.
    call.site.user_keys = {old: owner for old, owner in call.site.user_keys.items() if owner.userid != user.id}
    call.site.user_keys[key] = UserKey(user.id, call.site.now() + settings.keylifetime, given.get("ip"))
    return {"loginurl": f"{call.site.wwwroot}/auth/userkey/login.php?key={key}"}


def _mapped(call: Call, column: str, value: str) -> User | None:
    if column == "username" and not call.options.extendedusernamechars and not value.isascii():
        raise invalid_parameter("username")
    # Later rows win on PostgreSQL, earlier ones on MariaDB, when two share the value (MariaDB page §2); neither is
    # promised: the first is taken here.
    return next(call.site.matching(column, [value]), None)


def _created(call: Call, given: dict[str, str]) -> User:
    settings = call.options.userkey
    needed = {"username", "email", "firstname", "lastname"}
    if settings is None or not settings.createuser or needed - set(given) or call.site.user(given["username"]):
        raise invalid_parameter("no such user")
    user = call.site.add_user(given["username"], auth="userkey", email=given["email"])
    user.firstname, user.lastname = given["firstname"], given["lastname"]
    return user


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


def update_user_preferences(_call: Call, parameters: dict[str, Any]) -> None:
    """Answers success for `emailstop` and does nothing (`preferences-emailstop`); other preferences are not here."""
    if parameters.get("preferences"):
        raise moodle_error("notsimulated", "This parameter exists in Moodle and not in the simulator")


FUNCTIONS: tuple[Function, ...] = (
    Function(
        "core_user_update_user_preferences",
        Single(
            {
                "userid": Value("int", required=False, default=0),
                "emailstop": Value("int", required=False),
                "preferences": Multiple(Single({"type": Value("raw"), "value": Value("raw")}), required=False),
            }
        ),
        None,
        update_user_preferences,
    ),
    Function(
        "core_auth_request_password_reset",
        Single(
            {"username": Value("raw", required=False, default=""), "email": Value("raw", required=False, default="")}
        ),
        Single({"status": Value("alphanum"), "notice": Value("raw"), "warnings": _WARNINGS}),
        request_password_reset,
    ),
    Function(
        "core_auth_confirm_user",
        Single({"username": Value("username"), "secret": Value("raw")}),
        Single({"success": Value("bool"), "warnings": _WARNINGS}),
        confirm_user,
    ),
    Function(
        "auth_userkey_request_login_url",
        Single(
            {
                "user": Single(
                    {
                        key: Value("raw", required=False)
                        for key in ("ip", "username", "email", "idnumber", "firstname", "lastname")
                    }
                )
            }
        ),
        Single({"loginurl": Value("raw")}),
        request_login_url,
    ),
)
