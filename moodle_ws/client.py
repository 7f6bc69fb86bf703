"""One call to Moodle's web service, and the front door to everything this package can ask for.

The policy, in one place:

* one POST form a call, control fields first: what PHP cuts off is always the tail (ground truth §1);
* a time-out on connecting, on every silence, and on the whole answer; the answer's size is bounded too;
* no redirect is followed (a token must not travel to wherever a page points), no cookie is kept, no environment
  proxy or `.netrc` is read by the session made here: pass a session of your own where a proxy is needed;
* a call is repeated only when it reads and only when the connection failed; a write is never repeated;
* whatever stands before the answer (a PHP warning) is skipped and logged; secrets never reach a log or an error.
"""

import logging
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import requests
import urllib3

from moodle_ws import auth, cohorts, enrolment, site, user_writes, users
from moodle_ws.breaker import Breaker
from moodle_ws.errors import (
    AnswerLost,
    BadRow,
    Maintenance,
    MoodleError,
    Truncated,
    Unavailable,
    UnreadableAnswer,
    WebServiceDisabled,
    from_answer,
)
from moodle_ws.redaction import redact, without_secrets
from moodle_ws.wire import Decoded, Form, Format, Parameter, Unreadable, decode, flatten

if TYPE_CHECKING:
    from moodle_ws.cohorts import Cohort, Membership, MembershipOutcome, NewCohort
    from moodle_ws.site import SiteInfo
    from moodle_ws.user_writes import Created, NewUser, UpdateOutcome, UserUpdate
    from moodle_ws.users import LookupField, MoodleUser

log = logging.getLogger("moodle_ws")

ENDPOINT = "/webservice/rest/server.php"
_LARGEST_ANSWER = 64 * 1024 * 1024
_CHUNK = 64 * 1024


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
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("the site's address must be a plain http(s) URL without query or fragment")
        if parts.username or parts.password:
            raise ValueError("the site's address must not carry a user name or password")
        self.url = url.rstrip("/")
        self._token = token
        self._timeouts = (connect_timeout, read_timeout)
        self._answer_timeout = answer_timeout
        self._format: Format = answer_format
        self._breaker = breaker
        self._read_retries = read_retries
        self._owns_session = session is None
        self._session = session if session is not None else _plain_session()

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
        if self._owns_session:
            self._session.close()

    # -- one call ----------------------------------------------------------------------------------------------------

    def call(self, function: str, parameters: Mapping[str, Parameter] | None = None, *, read: bool) -> Any:
        """Calls `function` and returns the decoded answer (JSON values; in XML every leaf is text or None).

        `read` says that the call changes nothing and may be repeated when the connection fails. Raises MoodleError.
        """
        try:
            fields = flatten(parameters or {})
            form = self._control_fields(function) + fields
            body = urlencode(form, encoding="utf-8", errors="strict").encode("ascii")
        except UnicodeEncodeError:
            raise ValueError("a value is not valid Unicode text") from None
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

    def _guarded(self, function: str, body: bytes, *, read: bool) -> Any:
        if self._breaker is None:
            return self._exchange(function, body, read=read)
        with self._breaker.guarding(function):
            return self._exchange(function, body, read=read)

    def _exchange(self, function: str, body: bytes, *, read: bool) -> Any:
        status, content = self._post(function, body, read=read)
        if status == 200:
            return self._understand(function, content)
        if status == 403:
            raise WebServiceDisabled(function=function)
        if status == 503:
            raise Maintenance("HTTP 503", function=function)
        if status >= 500:
            raise (Unavailable if read else AnswerLost)(f"HTTP {status}", function=function)
        if status == 429:
            raise Unavailable("HTTP 429, too many calls", function=function)
        raise UnreadableAnswer(f"HTTP {status}; is {self.url} the site's own address?", function=function)

    def _post(self, function: str, body: bytes, *, read: bool) -> tuple[int, bytes]:
        """Status and body. The errors are raised outside the handlers: a chained exception of requests carries the
        request, and with it the token."""
        failure: MoodleError
        try:
            with self._session.post(
                self.url + ENDPOINT,
                data=body,
                headers={"Content-Type": "application/x-www-form-urlencoded", "Accept-Encoding": "gzip, identity"},
                timeout=self._timeouts,
                allow_redirects=False,
                stream=True,
            ) as response:
                return response.status_code, self._read(response)
        except requests.ConnectTimeout:
            failure = Unavailable("time-out while connecting", function=function)
        except (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError, TimeoutError):
            failure = (Unavailable if read else AnswerLost)("time-out while waiting for the answer", function=function)
        except urllib3.exceptions.DecodeError:
            failure = UnreadableAnswer("the answer's compression is broken", function=function)
        except _TooMuch:
            failure = UnreadableAnswer("the answer is larger than any of Moodle's", function=function)
        # Everything of requests is an OSError, as is a connection that breaks while the answer is read.
        except (urllib3.exceptions.HTTPError, OSError) as error:
            failure = _connection_failure(error, function, read=read)
        raise failure

    def _read(self, response: requests.Response) -> bytes:
        deadline = time.monotonic() + self._answer_timeout
        pieces: list[bytes] = []
        size = 0
        while piece := response.raw.read1(_CHUNK, decode_content=True):
            pieces.append(piece)
            size += len(piece)
            if size > _LARGEST_ANSWER:
                raise _TooMuch
            if time.monotonic() > deadline:
                raise TimeoutError
        declared = response.headers.get("Content-Length", "")
        if declared.isdigit() and "Content-Encoding" not in response.headers and size < int(declared):
            raise requests.ConnectionError
        return b"".join(pieces)

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
        """See `moodle_ws.site.site_info`."""
        return site.site_info(self)

    def users_by_field(self, field: "LookupField", values: Iterable[str | int]) -> "list[MoodleUser]":
        """See `moodle_ws.users.by_field`."""
        return users.by_field(self, field, values)

    def search_users(self, criteria: Mapping[str, str]) -> "list[MoodleUser]":
        """See `moodle_ws.users.search`."""
        return users.search(self, criteria)

    def create_users(self, rows: "Sequence[NewUser]") -> "list[Created]":
        """See `moodle_ws.user_writes.create`."""
        return user_writes.create(self, rows)

    def create_users_each(self, rows: "Sequence[NewUser]") -> "list[Created | BadRow]":
        """See `moodle_ws.user_writes.create_each`."""
        return user_writes.create_each(self, rows)

    def update_users(self, rows: "Sequence[UserUpdate]") -> "list[UpdateOutcome]":
        """See `moodle_ws.user_writes.update`."""
        return user_writes.update(self, rows)

    def create_cohorts(self, rows: "Sequence[NewCohort]") -> "list[Cohort]":
        """See `moodle_ws.cohorts.create`."""
        return cohorts.create(self, rows)

    def cohorts(self, ids: Sequence[int] = ()) -> "list[Cohort]":
        """See `moodle_ws.cohorts.by_id`."""
        return cohorts.by_id(self, ids)

    def search_cohorts(self, query: str) -> "list[Cohort]":
        """See `moodle_ws.cohorts.search`."""
        return cohorts.search(self, query)

    def cohort_members(self, ids: Sequence[int]) -> dict[int, frozenset[int]]:
        """See `moodle_ws.cohorts.members`."""
        return cohorts.members(self, ids)

    def add_cohort_members(self, rows: "Sequence[Membership]") -> "list[MembershipOutcome]":
        """See `moodle_ws.cohorts.add_members`."""
        return cohorts.add_members(self, rows)

    def remove_cohort_members(self, rows: "Sequence[Membership]") -> None:
        """See `moodle_ws.cohorts.remove_members`."""
        cohorts.remove_members(self, rows)

    def enrol_users(self, rows: "Sequence[enrolment.Enrolment]") -> None:
        """See `moodle_ws.enrolment.enrol`."""
        enrolment.enrol(self, rows)

    def request_password_reset(self, *, username: str | None = None, email: str | None = None) -> str:
        """See `moodle_ws.auth.request_password_reset`."""
        return auth.request_password_reset(self, username=username, email=email)

    def confirm_user(self, username: str, secret: str) -> bool:
        """See `moodle_ws.auth.confirm_user`."""
        return auth.confirm_user(self, username, secret)

    def userkey_login_url(self, user: Mapping[str, str]) -> str:
        """See `moodle_ws.auth.userkey_login_url`."""
        return auth.userkey_login_url(self, user)


class _TooMuch(Exception):
    """The answer passed the bound on its size."""


def _connection_failure(error: Exception, function: str, *, read: bool) -> MoodleError:
    """What a broken connection means: a write whose answer may be lost, unless nothing can have left this machine."""
    cause = _root_cause(error)
    failure: Unavailable
    if isinstance(cause, ssl.SSLCertVerificationError):
        failure = Unavailable("the TLS certificate is not acceptable", function=function)
    elif isinstance(cause, urllib3.exceptions.NewConnectionError):
        failure = Unavailable("no connection", function=function)
        failure.connection_failed = True
    elif read:
        failure = Unavailable("the connection was lost", function=function)
        failure.connection_failed = True
    else:
        failure = AnswerLost("the connection was lost", function=function)
    return failure


def _root_cause(error: BaseException) -> BaseException:
    """The innermost error: requests wraps urllib3, which wraps the retry, which wraps the reason."""
    inner = getattr(error, "reason", None)
    if not isinstance(inner, BaseException):
        inner = next((argument for argument in error.args if isinstance(argument, BaseException)), None)
    return error if inner is None or inner is error else _root_cause(inner)


def _plain_session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session
