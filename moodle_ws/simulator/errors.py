"""The refusals of a simulated Moodle, by its own class and code names."""


class WebServiceError(Exception):
    """An error answer. `exception` is the short class name, the same for every version; `debuginfo` is shown only from
    debug level NORMAL on."""

    def __init__(self, exception: str, errorcode: str, message: str, debuginfo: str | None = None) -> None:
        self.exception = exception
        self.errorcode = errorcode
        self.message = message
        self.debuginfo = debuginfo
        super().__init__(errorcode)


def moodle_error(code: str, message: str) -> WebServiceError:
    """`moodle_exception` with this code."""
    return WebServiceError("moodle_exception", code, message)


def invalid_parameter(debuginfo: str | None = None) -> WebServiceError:
    """`invalidparameter`: the same words for every cause; the cause is in `debuginfo` only (ground truth §1)."""
    return WebServiceError(
        "invalid_parameter_exception", "invalidparameter", "Invalid parameter value detected", debuginfo
    )


def invalid_response(debuginfo: str) -> WebServiceError:
    """`invalidresponse`: Moodle's own answer breaks its description."""
    return WebServiceError(
        "invalid_response_exception", "invalidresponse", "Invalid response value detected", debuginfo
    )


def coding_error(message: str) -> WebServiceError:
    """`codingerror`."""
    text = f"Coding error detected, it must be fixed by a programmer: {message}"
    return WebServiceError("coding_exception", "codingerror", text)


def access_error() -> WebServiceError:
    """`accessexception`: one answer for every reason of the gate (ground truth §2)."""
    return WebServiceError("webservice_access_exception", "accessexception", "Access control exception")


def database_error(debuginfo: str) -> WebServiceError:
    """`dmlwriteexception`."""
    return WebServiceError("dml_write_exception", "dmlwriteexception", "Error writing to database", debuginfo)


def missing_record(table: str, query: str, values: tuple[int | str, ...]) -> WebServiceError:
    """A record is not there: `invaliduser` or `invalidrecord`. Version 5.2 says `invalidrecordunknown` unless it
    debugs; see `webservice.as_this_version_says`."""
    listed = "".join(
        f"  {n} => {value if isinstance(value, int) else repr(value)},\n" for n, value in enumerate(values)
    )
    code, message = "invalidrecord", f"Can't find data record in database table {table}."
    if table == "user":
        code, message = "invaliduser", "Invalid user"
    return WebServiceError("dml_missing_record_exception", code, message, f"{query}\n[array (\n{listed})]")


# Names of capabilities in English, as the refusal prints them in place of their identifier.
_CAPABILITY_NAMES = {
    "moodle/user:create": "Create users",
    "moodle/user:update": "Update user profiles",
    "moodle/user:delete": "Delete users",
    "moodle/cohort:manage": "Create, delete and move cohorts",
    "moodle/cohort:view": "View site-wide cohorts",
    "moodle/cohort:assign": "Add and remove cohort members",
    "auth/userkey:generatekey": "Generate login user key",
    "enrol/manual:enrol": "Enrol users",
}


def missing_capability(capability: str) -> WebServiceError:
    """`nopermissions`."""
    name = _CAPABILITY_NAMES.get(capability, capability)
    text = f"Sorry, but you do not currently have permissions to do that ({name})."
    return WebServiceError("required_capability_exception", "nopermissions", text)
