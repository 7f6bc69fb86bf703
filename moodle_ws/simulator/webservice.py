"""/webservice/rest/server.php: the gate before the functions, in Moodle's order (ground truth §2), and the answer."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from werkzeug.wrappers import Request, Response

from moodle_ws.simulator import auth, cohorts, courses, enrolment, site_info, user_writes, users, wire
from moodle_ws.simulator.calls import Call, Function
from moodle_ws.simulator.errors import (
    WebServiceError,
    access_error,
    invalid_parameter,
    invalid_response,
    missing_record,
    moodle_error,
)
from moodle_ws.simulator.faults import Twists
from moodle_ws.simulator.flavours import Version
from moodle_ws.simulator.options import Debug
from moodle_ws.simulator.shapes import Shape, accept, release
from moodle_ws.simulator.site import Site, Token
from moodle_ws.simulator.user_table import User

_CONTROL = frozenset(
    {
        "wstoken",
        "wsfunction",
        "moodlewsrestformat",
        "moodlewssettingraw",
        "moodlewssettingfilter",
        "moodlewssettingfileurl",
        "moodlewssettinglang",
        "moodlewssettingtimezone",
    }
)

_HEADERS = {
    "Cache-Control": "private, must-revalidate, pre-check=0, post-check=0, max-age=0",
    "Expires": "Thu, 01 Jan 1970 00:00:00 GMT",
    "Pragma": "no-cache",
    "Accept-Ranges": "none",
    "Access-Control-Allow-Origin": "*",
}

_REFUSED_USERS = (
    (lambda user: user.suspended, "wsaccessusersuspended", "suspended username"),
    (lambda user: not user.confirmed, "wsaccessuserunconfirmed", "unconfirmed username"),
    (lambda user: user.auth == "nologin", "wsaccessusernologin", "nologin authentication username"),
)


NO_TWISTS = Twists()
_READS = frozenset(
    name
    for name, _component in site_info.SERVICE_FUNCTIONS
    if name.startswith("core_") and ("_get_" in name or "_search_" in name)
)


@cache
def functions(version: Version) -> dict[str, Function]:
    """The functions this simulator implements, described as the version describes them."""
    listed = [
        replace(site_info.SITE_INFO, returns=site_info.returns(version)),
        user_writes.CREATE_USERS,
        user_writes.UPDATE_USERS,
        user_writes.DELETE_USERS,
        users.by_field_function(version),
        users.search_function(version),
        *cohorts.FUNCTIONS,
        *auth.FUNCTIONS,
        *courses.FUNCTIONS,
        courses.enrolled_function(version),
        enrolment.ENROL_USERS,
    ]
    return {function.name: function for function in listed}


@dataclass(frozen=True)
class Answered:
    """An answer on the wire, and the value in it (None for an error)."""

    response: Response
    value: Any = None


def answer(site: Site, form: dict[str, Any], twists: Twists = NO_TWISTS) -> Answered:
    """Answers one call, given its form as PHP reads it."""
    if not site.web_services_enabled:
        return Answered(Response("", 403, content_type="text/html; charset=utf-8"))
    as_json = form.get("moodlewsrestformat") == "json"
    show_debug = site.options.debug >= Debug.NORMAL
    version = site.options.version
    shape: Shape | None = None
    try:
        with site.lock, site.comparing_as(twists.database):
            function, value = _run(site, form, twists)
        shape = function.returns
        if twists.spoil:
            # The work is done: as a weak password in an update does (ground truth §3).
            raise invalid_response("spoilt on purpose")
    except WebServiceError as error:
        spoken = as_this_version_says(error, version, debugging=show_debug)
        if as_json:
            return Answered(_json(wire.json_error(spoken, version, show_debug=show_debug)))
        return Answered(_xml(wire.xml_error(spoken, version, show_debug=show_debug)))
    return Answered(_json(wire.json_answer(value)) if as_json else _xml(wire.xml_answer(value, shape)), value)


def as_this_version_says(error: WebServiceError, version: Version, *, debugging: bool) -> WebServiceError:
    """5.2 no longer says which record is missing, unless it debugs (versions page §1)."""
    if version is Version.V5_2 and error.exception == "dml_missing_record_exception" and not debugging:
        return WebServiceError(error.exception, "invalidrecordunknown", "Can't find data record in database.")
    return error


def read_form(site: Site, request: Request, *, max_input_vars: int | None = None) -> dict[str, Any]:
    """The form of a call. Query string and body are read separately, each cut at `max_input_vars` (None: the site's);
    the body wins."""
    limit = site.options.max_input_vars if max_input_vars is None else max_input_vars
    form = wire.parse_form(request.query_string, limit)
    if request.method == "POST":
        kind = request.mimetype
        if kind == "multipart/form-data":
            form |= wire.store_all(list(request.form.items(multi=True)), limit)
        elif kind == "application/x-www-form-urlencoded":
            form |= wire.parse_form(request.get_data(), limit)
    return form


def _run(site: Site, form: dict[str, Any], twists: Twists) -> tuple[Function, Any]:
    token, user = _authenticated(site, form)
    if twists.without:
        token = replace(token, capabilities=token.capabilities - twists.without)
    if site.maintenance or twists.sitemaintenance:
        raise moodle_error("sitemaintenance", "The site is undergoing maintenance and is currently not available")
    _admitted(site, token, user)
    name = form.get("wsfunction")
    if not isinstance(name, str) or not name:
        raise invalid_parameter()
    known = functions(site.options.version)
    if name not in {listed for listed, _component in site_info.SERVICE_FUNCTIONS}:
        if name.startswith("core_course_create"):
            raise access_error()  # exists, but is not part of the service (`proto-function-not-in-service`)
        raise missing_record("external_functions", "SELECT * FROM {external_functions} WHERE name = ?", (name,))
    if token.functions is not None and name not in token.functions:
        raise access_error()
    if name not in known:
        raise moodle_error("notsimulated", "This function exists in Moodle and not in the simulator")
    function = known[name]
    raw = form.get("moodlewssettingraw") in {"1", "true"}
    call = Call(site, token, user, raw=raw, poisoned=twists.poisoned, hidden=twists.hidden)
    parameters = accept(
        function.parameters, {key: value for key, value in form.items() if key not in _CONTROL}, site.options
    )
    if twists.refused and name not in _READS and not twists.refused.isdisjoint(_leaves(parameters)):
        raise invalid_parameter("refused on purpose")
    value = function.run(call, parameters)
    return function, None if function.returns is None else release(function.returns, value, site.options)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    else:
        yield str(value)


def _authenticated(site: Site, form: dict[str, Any]) -> tuple[Token, User]:
    value = form.get("wstoken")
    token = site.tokens.get(value) if isinstance(value, str) and value else None
    user = site.users.get(token.userid) if token else None
    if token is None or user is None or user.deleted:
        raise moodle_error("invalidtoken", "Invalid token - token not found")
    return token, user


def _admitted(site: Site, token: Token, user: User) -> None:
    if token.expired:
        del site.tokens[token.value]  # the next use answers `invalidtoken` (`proto-token-expired-second-call`)
        raise access_error()
    if not (token.service_enabled and token.user_authorised and token.address_allowed):
        raise access_error()
    for refuses, code, words in _REFUSED_USERS:
        if refuses(user):
            raise moodle_error(code, f"Refused web service access for {words}: {user.username}")
    if "webservice/rest:use" not in token.capabilities:
        raise access_error()


def _json(body: bytes) -> Response:
    return Response(body, content_type="application/json", headers=_HEADERS)


def _xml(body: bytes) -> Response:
    headers = {"Content-Disposition": 'inline; filename="response.xml"', **_HEADERS}
    return Response(body, content_type="application/xml; charset=utf-8", headers=headers)
