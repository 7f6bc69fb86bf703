"""One call to Moodle's web service, and the front door to everything this package can ask for.

The policy, in one place:

* one POST form a call, control fields first: what PHP cuts off is always the tail (ground truth §1);
* a time-out on connecting, on every silence, and on the whole answer; the answer's size is bounded too;
* no redirect is followed (a token must not travel to wherever a page points), no cookie is kept, no environment
  proxy or `.netrc` is read by the session made here: pass a session of your own where a proxy is needed;
* a call is repeated only when it reads and only when the connection failed; a write is never repeated;
* whatever stands before the answer (a PHP warning) is skipped and logged; secrets never reach a log, an error, or a
  traceback, local variables included.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import requests

from moodle_ws import auth, cohorts, courses, enrolment, site, user_writes, users
from moodle_ws.breaker import Breaker
from moodle_ws.errors import BadRow, MoodleError, Truncated, Unavailable, UnreadableAnswer, from_answer
from moodle_ws.redaction import redact, without_secrets
from moodle_ws.transport import Body, Transport, encoded
from moodle_ws.wire import Decoded, Form, Format, Parameter, Unreadable, decode, flatten

if TYPE_CHECKING:
    from moodle_ws.cohorts import Cohort, Membership, NewCohort
    from moodle_ws.courses import CourseField, MoodleCourse
    from moodle_ws.enrolment import Enrolment
    from moodle_ws.outcomes import RowOutcome
    from moodle_ws.site import SiteInfo
    from moodle_ws.user_writes import Created, NewUser, UpdateOutcome, UserUpdate
    from moodle_ws.users import LookupField, MoodleUser, UserBatch

log = logging.getLogger("moodle_ws")

ENDPOINT = "/webservice/rest/server.php"
# The setting that PHP's warning "Input variables exceeded …" names, in no language.
_CUT_FORM = "max_input_vars"


class MoodleClient:
    """Speaks to one Moodle with one token. Safe to share by threads; close it (or use `with`) to drop connections.

    `url` is the site's wwwroot. Times are in seconds: `connect_timeout` to connect, `read_timeout` for any silence,
    `answer_timeout` for the whole answer. A batch of 50 new users takes 2 to 4 s on a site of 30,000 users
    (ground truth §9, MariaDB page §4), so keep `read_timeout` well above that. Raises ValueError for a bad `url`.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        connect_timeout: float = 3.0,
        read_timeout: float = 10.0,
        answer_timeout: float = 60.0,
        session: requests.Session | None = None,
        answer_format: Format = "json",
        breaker: Breaker | None = None,
        read_retries: int = 1,
    ) -> None:
        self._transport = Transport(
            url,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            answer_timeout=answer_timeout,
            session=session,
        )
        self.url = self._transport.url
        self._token = token
        self._format: Format = answer_format
        self._breaker = breaker
        self._read_retries = read_retries

    def __repr__(self) -> str:
        return f"MoodleClient({self.url!r})"

    def __enter__(self) -> "MoodleClient":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def unavailable(self) -> bool:
        """Whether a call made now would be answered by the circuit breaker, without asking Moodle."""
        return self._breaker is not None and self._breaker.is_open

    def close(self) -> None:
        """Drops the open connections of the session made here; a session passed in stays its owner's."""
        self._transport.close()

    # -- one call ----------------------------------------------------------------------------------------------------

    def call(self, function: str, parameters: Mapping[str, Parameter] | None = None, *, read: bool) -> Any:
        """Calls `function` and returns the decoded answer (JSON values; in XML every leaf is text or None).

        `read` says that the call changes nothing and may be repeated when the connection fails. Raises MoodleError.
        """
        body = encoded(self._control_fields(function) + flatten(parameters or {}))
        parameters = None  # may carry passwords: a traceback that shows local variables must not
        attempts = 1 + (self._read_retries if read else 0)
        while True:
            attempts -= 1
            try:
                return self._guarded(function, body, read=read)
            except Unavailable as error:
                if attempts <= 0 or not error.connection_failed:
                    raise
                log.info("%s: connection failed, asking once more", function)

    def _control_fields(self, function: str) -> Form:
        return [("wstoken", self._token), ("wsfunction", function), ("moodlewsrestformat", self._format)]

    def _guarded(self, function: str, body: Body, *, read: bool) -> Any:
        if self._breaker is None:
            return self._exchange(function, body, read=read)
        with self._breaker.guarding(function):
            return self._exchange(function, body, read=read)

    def _exchange(self, function: str, body: Body, *, read: bool) -> Any:
        return self._understand(function, self._transport.post(ENDPOINT, body, function, read=read))

    def _understand(self, function: str, content: bytes) -> Any:
        try:
            answer = decode(content)
        except Unreadable as error:
            raise UnreadableAnswer(str(error), function=function) from None
        if answer.noise:
            log.warning(
                "%s: the server prints text before its answer: %s",
                function,
                redact(answer.noise[:200], self._token),
            )
            if _CUT_FORM in answer.noise:  # seen where PHP displays its warnings; a cut update shows in no other way
                raise Truncated("PHP says so", function=function)
        if isinstance(answer.value, dict) and "exception" in answer.value:
            raise self._refusal(function, answer)
        return without_secrets(answer.value)

    def _refusal(self, function: str, answer: Decoded) -> MoodleError:
        error = from_answer(answer.value, function)
        if answer.format == "xml" and self._format == "json" and error.code == "invalidtoken":
            # Format and token were both lost: not a bad token but a cut form (`bulk-create-2000-overflow-ctl-last`).
            return Truncated("the control fields were lost", function=function, kind=error.kind, code=error.code)
        return error

    # -- what can be asked for ---------------------------------------------------------------------------------------

    def site_info(self) -> "SiteInfo":
        """Who the token is, where, and what it may call. Raises MoodleError. See `moodle_ws.site.site_info`."""
        return site.site_info(self)

    def users_by_field(self, field: "LookupField", values: Iterable[str | int]) -> "list[MoodleUser]":
        """The users with one of these values, each once. Raises BadRow, InvalidResponse with `poisoned`, FieldHidden,
        MoodleError. See `moodle_ws.users.by_field`."""
        return users.by_field(self, field, values)

    def iter_users_by_field(self, field: "LookupField", values: Iterable[str | int]) -> "Iterator[UserBatch]":
        """The same as a stream of batches with flat memory, poisoned values told in each. Raises BadRow, FieldHidden,
        MoodleError. See `moodle_ws.users.iter_by_field`."""
        return users.iter_by_field(self, field, values)

    def search_users(self, criteria: Mapping[str, str]) -> "list[MoodleUser]":
        """The users that match every criterion. Raises ValueError, BadRow, InvalidResponse, FieldHidden, MoodleError.
        See `moodle_ws.users.search`."""
        return users.search(self, criteria)

    def create_users(self, rows: "Sequence[NewUser]") -> "list[Created]":
        """Creates everybody, in order. Raises the first BadRow after creating the others, MoodleError. See
        `moodle_ws.user_writes.create`."""
        return user_writes.create(self, rows)

    def create_users_each(self, rows: "Sequence[NewUser]") -> "list[Created | BadRow]":
        """Creates whom it can: one entry per row, in order. Raises MoodleError with an entry per row in `outcomes`. See
        `moodle_ws.user_writes.create_each`."""
        return user_writes.create_each(self, rows)

    def update_users(self, rows: "Sequence[UserUpdate]") -> "list[UpdateOutcome]":
        """Changes users by id: one outcome per row, in order. Raises ValueError, MoodleError with an outcome per row in
        `outcomes`. See `moodle_ws.user_writes.update`."""
        return user_writes.update(self, rows)

    def create_cohorts(self, rows: "Sequence[NewCohort]") -> "list[Cohort]":
        """Creates every cohort, in order. Raises the first BadRow after creating the others, MoodleError. See
        `moodle_ws.cohorts.create`."""
        return cohorts.create(self, rows)

    def create_cohorts_each(self, rows: "Sequence[NewCohort]") -> "list[Cohort | BadRow]":
        """Creates the cohorts it can: one entry per row, in order. Raises MoodleError with an entry per row in
        `outcomes`. See `moodle_ws.cohorts.create_each`."""
        return cohorts.create_each(self, rows)

    def cohorts(self, ids: Sequence[int] = ()) -> "list[Cohort]":
        """The cohorts with these ids, or all of the site. Raises MoodleError. See `moodle_ws.cohorts.by_id`."""
        return cohorts.by_id(self, ids)

    def search_cohorts(self, query: str) -> "list[Cohort]":
        """The system cohorts whose name or idnumber contains `query`. Raises MoodleError. See
        `moodle_ws.cohorts.search`."""
        return cohorts.search(self, query)

    def cohort_members(self, ids: Sequence[int]) -> dict[int, frozenset[int]]:
        """The user ids in each of these cohorts. Raises MoodleError. See `moodle_ws.cohorts.members`."""
        return cohorts.members(self, ids)

    def add_cohort_members(self, rows: "Sequence[Membership]") -> "list[RowOutcome[Membership]]":
        """Adds people to cohorts: one outcome per row, in order. Raises MoodleError with an outcome per row in
        `outcomes`. See `moodle_ws.cohorts.add_members`."""
        return cohorts.add_members(self, rows)

    def remove_cohort_members(self, rows: "Sequence[Membership]") -> "list[RowOutcome[Membership]]":
        """Takes people out of cohorts: one outcome per row, in order. Raises MoodleError with an outcome per row in
        `outcomes`. See `moodle_ws.cohorts.remove_members`."""
        return cohorts.remove_members(self, rows)

    def courses_by_field(self, field: "CourseField", value: str | int) -> "list[MoodleCourse]":
        """The courses with this value that the token may see. Raises MoodleError. See `moodle_ws.courses.by_field`."""
        return courses.by_field(self, field, value)

    def courses_of(self, userid: int) -> "list[MoodleCourse]":
        """The courses somebody is in that the token may see. Raises MoodleError. See `moodle_ws.courses.of_user`."""
        return courses.of_user(self, userid)

    def enrol_users(self, rows: "Sequence[Enrolment]") -> "list[RowOutcome[Enrolment]]":
        """Enrols people: one outcome per row, in order. Raises MoodleError with an outcome per row in `outcomes`. See
        `moodle_ws.enrolment.enrol`."""
        return enrolment.enrol(self, rows)

    def enrolled_users(self, courseid: int) -> "list[MoodleUser]":
        """The people enrolled in a course. Raises NotFound, MoodleError. See `moodle_ws.enrolment.enrolled`."""
        return enrolment.enrolled(self, courseid)

    def request_password_reset(self, *, username: str | None = None, email: str | None = None) -> str:
        """Asks Moodle to mail a password reset; its status word. Raises ValueError, Refused, MoodleError. See
        `moodle_ws.auth.request_password_reset`."""
        return auth.request_password_reset(self, username=username, email=email)

    def confirm_user(self, username: str, secret: str) -> bool:
        """Confirms a self-registered user; False when they were already. Raises Refused, MoodleError. See
        `moodle_ws.auth.confirm_user`."""
        return auth.confirm_user(self, username, secret)

    def userkey_login_url(self, user: Mapping[str, str]) -> str:
        """A one-time sign-in address, itself a secret. Raises BadRequest, AccessDenied, MoodleError. See
        `moodle_ws.auth.userkey_login_url`."""
        return auth.userkey_login_url(self, user)
