"""What can go wrong when talking to Moodle, named by meaning.

Moodle answers errors with HTTP 200 and a class, a code and a sentence. The sentence depends on the site's language
and the class on its version (`moodle_exception` became `core\\exception\\moodle_exception` in 4.5), so a class is
matched by its last name segment, a code by itself, and a sentence never. `debuginfo` is not kept: it carries SQL and
values; only the fact that the site sends it is (`debug_visible`), because a production site should not.

Every error of this package is a `MoodleError`. Two questions matter to a caller, and each is one class to catch:
may I try later (`Unavailable`), and could the write have happened all the same (`UnknownOutcome`)?
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from moodle_ws.redaction import redact

_CODE = re.compile(r"[A-Za-z0-9_/.-]{1,80}\Z")


class MoodleError(Exception):
    """Base of every error of this package.

    `function` is the web service function called; `kind` the last segment of Moodle's exception class and `code` its
    error code, both as answered (None when the error was found on our side). `detail` is our own words, free of
    secrets. `outcomes` says what became of the rows given to a function that writes, one entry per row, in order:
    see that function (empty for calls without rows).
    """

    meaning: ClassVar[str] = "Moodle refused the call"

    def __init__(
        self,
        detail: str = "",
        *,
        function: str | None = None,
        kind: str | None = None,
        code: str | None = None,
        debug_visible: bool = False,
    ) -> None:
        self.detail = redact(detail)
        self.function = function
        self.kind = kind
        self.code = code
        self.debug_visible = debug_visible
        self.outcomes: tuple[Any, ...] = ()
        super().__init__(self.detail)

    def __str__(self) -> str:
        shown = self.code if self.code and _CODE.match(self.code) else None
        parts = [self.meaning, self.detail, f"{self.kind}/{shown}" if self.kind and shown else shown or ""]
        words = ": ".join(part for part in parts if part)
        return f"{self.function}: {words}" if self.function else words

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross processes (job queues pickle them), and Exception's own way forgets keyword arguments.
        return _restored, (type(self), self.detail, self.__dict__)


def _restored(kind: type[MoodleError], detail: str, facts: dict[str, Any]) -> MoodleError:
    error = kind.__new__(kind, detail)
    error.__dict__.update(facts)
    return error


# -- the site cannot be used now; nobody's fault but time's --------------------------------------------------------


class Unavailable(MoodleError):
    """The site did not answer: no connection, time-out, HTTP 502/503/504. Nothing was changed, unless the error is
    also an `UnknownOutcome`. `connection_failed` tells a connection that was refused or lost from slowness: it is what
    a read may be repeated for."""

    meaning = "Moodle cannot be reached"
    connection_failed = False


class Maintenance(Unavailable):
    """Maintenance mode: `sitemaintenance` (recording `proto-maintenance-db`) or HTTP 503 (`proto-maintenance-cli`)."""

    meaning = "Moodle is under maintenance"


class CircuitOpen(Unavailable):
    """Not sent: the last calls all failed, and the breaker answers in Moodle's place until it is time to try again."""

    meaning = "Moodle has not answered the last calls; not asked again yet"


# -- the outcome is not known: read back, never repeat blindly ------------------------------------------------------


class UnknownOutcome(MoodleError):
    """The call may or may not have taken effect. Read back before anything else; never repeat it blindly."""

    meaning = "the outcome is unknown"


class AnswerLost(Unavailable, UnknownOutcome):
    """The call left us and no complete answer came back (time-out, connection lost, HTTP 5xx)."""

    meaning = "Moodle's answer was lost"


class InvalidResponse(UnknownOutcome):
    """Moodle failed on its own answer (`invalidresponse`).

    On a read, one row is unfit for the site's own rules ("poison row", recording `poison-username-get-by-id`). On an
    update, every other row of the call was written (ground truth §3, update-batch-weak-password-in-middle).
    `poisoned` holds the values of a look-up that lead to such rows, once they were found by bisecting.
    """

    meaning = "Moodle refused its own answer"
    poisoned: tuple[str, ...] = ()


class UnreadableAnswer(UnknownOutcome):
    """Something answered that is not Moodle's web service: a redirect, a page, an empty or cut body."""

    meaning = "the answer is not one of Moodle's web service"


class Truncated(UnknownOutcome):
    """PHP dropped the tail of the form and Moodle answered as if it had been complete (ground truth §1).

    The rows that were written are known; the last of them may lack optional fields that were cut off.
    """

    meaning = "the server cut the form short"


# -- the token and its rights ----------------------------------------------------------------------------------------


class TokenInvalid(MoodleError):
    """`invalidtoken`: unknown, deleted or expired token, or its user was deleted."""

    meaning = "the token is not valid"


class AccessDenied(MoodleError):
    """`accessexception`: service disabled, function or user not in the service, address restriction, token just
    expired, or the right to use REST is missing. Moodle does not say which (ground truth §2)."""

    meaning = "access denied"


class WebServiceDisabled(AccessDenied):
    """HTTP 403 with an empty page: web services or the REST protocol are switched off (`proto-ws-disabled`)."""

    meaning = "web services or the REST protocol are switched off"


class ServiceUserBlocked(AccessDenied):
    """The token's user is suspended, unconfirmed, without login, or owes Moodle a password change, a policy agreement
    or a complete profile."""

    meaning = "the service user is blocked"


class MissingCapability(AccessDenied):
    """`nopermissions`. `capability` is the one the function needs first according to ground truth §6 (Moodle names it
    only in a translated sentence); None when the function is not in that table."""

    meaning = "the service user lacks a capability"

    def __init__(self, detail: str = "", *, capability: str | None = None, **facts: Any) -> None:
        self.capability = capability
        super().__init__(detail or (capability or ""), **facts)


class RoleNotAssignable(AccessDenied):
    """`wsusercannotassign`: the token's user may not give that role in that course
    (`enrol-manual-role-not-assignable`)."""

    meaning = "the service user may not give this role"


class FieldHidden(AccessDenied):
    """A row came back without the field it was looked up by, so that it cannot be told apart from another row."""

    meaning = "the token may not see the field it looks up by"


# -- the call itself -------------------------------------------------------------------------------------------------


class NotFound(MoodleError):
    """A record is missing, in all its spellings: `invaliduser`, `invalidrecord`, `invalidrecordunknown`.

    An unknown function answers the same, and 5.2 does not even say which record (versions page §1).
    """

    meaning = "not found"


class Refused(MoodleError):
    """Moodle understood the call and refuses it by a rule of its own; `code` says which."""


class BadRequest(MoodleError):
    """Moodle refuses the form (`invalidparameter`, `codingerror`, …). With the production debug level it does not say
    which row or field."""

    meaning = "Moodle refuses the form"


class DatabaseRefused(BadRequest):
    """`dmlwriteexception`: a value is too long or a user name is taken. The whole call was rolled back."""

    meaning = "Moodle's database refuses a value"


class WeakPassword(BadRequest):
    """The password policy refuses a password; the code is then the policy's text (`create-weak-password-manual`)."""

    meaning = "Moodle's password policy refuses the password"


class BadRow(BadRequest):
    """One row of a list cannot be written; the others can.

    `index` is its place in the list given, `field` the field at fault when it was found before sending (None when
    Moodle refused the row as a whole), `code` Moodle's code for the row sent alone.
    """

    meaning = "a row cannot be accepted"

    def __init__(self, detail: str = "", *, index: int, field: str | None = None, **facts: Any) -> None:
        self.index = index
        self.field = field
        super().__init__(detail, **facts)

    @classmethod
    def refused(cls, error: BadRequest, *, index: int) -> "BadRow":
        """The row with this index, which Moodle refused when it was sent alone."""
        facts = {"function": error.function, "kind": error.kind, "code": error.code}
        return cls(error.meaning, index=index, debug_visible=error.debug_visible, **facts)

    def __str__(self) -> str:
        return f"{super().__str__()} (row {self.index}{', ' + self.field if self.field else ''})"


_BY_CODE: dict[str, type[MoodleError]] = {
    "invalidtoken": TokenInvalid,
    "accessexception": AccessDenied,
    "nopermissions": MissingCapability,
    "sitemaintenance": Maintenance,
    "wsaccessusersuspended": ServiceUserBlocked,
    "wsaccessuserunconfirmed": ServiceUserBlocked,
    "wsaccessusernologin": ServiceUserBlocked,
    "wsaccessuserdeleted": ServiceUserBlocked,
    "wsaccessuserexpired": ServiceUserBlocked,
    "forcepasswordchangenotice": ServiceUserBlocked,
    "sitepolicynotagreed": ServiceUserBlocked,
    "usernotfullysetup": ServiceUserBlocked,
    "wsusercannotassign": RoleNotAssignable,
    "invaliduser": NotFound,
    "invalidrecord": NotFound,
    "invalidrecordunknown": NotFound,
    "invalidresponse": InvalidResponse,
    "invalidparameter": BadRequest,
    "codingerror": BadRequest,
    "keyalreadyset": BadRequest,
    "dmlwriteexception": DatabaseRefused,
}

# Consulted when the code says nothing: an unknown or absent code still has a class.
_BY_KIND: dict[str, type[MoodleError]] = {
    "webservice_access_exception": AccessDenied,
    "required_capability_exception": MissingCapability,
    "dml_missing_record_exception": NotFound,
    "invalid_response_exception": InvalidResponse,
    "invalid_parameter_exception": BadRequest,
    "coding_exception": BadRequest,
    "dml_write_exception": DatabaseRefused,
}

# The first right each function needs (ground truth §6). The sentence that names it is translated, hence this table.
CAPABILITIES: dict[str, str] = {
    "core_user_create_users": "moodle/user:create",
    "core_user_update_users": "moodle/user:update",
    "core_user_delete_users": "moodle/user:delete",
    "core_user_get_users": "moodle/user:viewdetails",
    "core_user_get_users_by_field": "moodle/user:viewdetails",
    "core_cohort_create_cohorts": "moodle/cohort:manage",
    "core_cohort_update_cohorts": "moodle/cohort:manage",
    "core_cohort_delete_cohorts": "moodle/cohort:manage",
    "core_cohort_get_cohorts": "moodle/cohort:view",
    "core_cohort_search_cohorts": "moodle/cohort:view",
    "core_cohort_get_cohort_members": "moodle/cohort:view",
    "core_cohort_add_cohort_members": "moodle/cohort:assign",
    "core_cohort_delete_cohort_members": "moodle/cohort:assign",
    "core_enrol_get_enrolled_users": "moodle/course:viewparticipants",
    "enrol_manual_enrol_users": "enrol/manual:enrol",
    "enrol_manual_unenrol_users": "enrol/manual:unenrol",
    "auth_userkey_request_login_url": "auth/userkey:generatekey",
}


def last_segment(exception_class: str) -> str:
    """`moodle_exception` for `core\\exception\\moodle_exception` as for `moodle_exception`."""
    return exception_class.replace("/", "\\").rsplit("\\", 1)[-1]


def from_answer(answer: Mapping[str, Any], function: str) -> MoodleError:
    """The named error for a decoded `{"exception", "errorcode", …}` answer of `function`."""
    kind = last_segment(str(answer.get("exception") or ""))
    code = answer.get("errorcode")
    code = None if code is None else str(code)
    facts: dict[str, Any] = {
        "function": function,
        "kind": kind or None,
        "code": code,
        "debug_visible": bool(answer.get("debuginfo")),
    }
    # A weak password in a new row makes the policy's HTML the code (`create-weak-password-manual`).
    if code is not None and code.lstrip().startswith("<"):
        return WeakPassword(**facts)
    named = _BY_CODE.get(code or "") or _BY_KIND.get(kind) or Refused
    if named is MissingCapability:
        return MissingCapability(capability=CAPABILITIES.get(function), **facts)
    return named(**facts)
