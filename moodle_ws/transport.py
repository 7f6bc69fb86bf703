"""One form to Moodle and one body back, under the policy of `moodle_ws.client`."""

import ssl
import time
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import urlencode, urlsplit

import requests
import urllib3

from moodle_ws.errors import (
    AnswerLost,
    Maintenance,
    MoodleError,
    Unavailable,
    UnreadableAnswer,
    WebServiceDisabled,
)
from moodle_ws.wire import Form

_LARGEST_ANSWER = 64 * 1024 * 1024
_CHUNK = 64 * 1024


class Body(bytes):
    """A form on its way out. It carries the token and passwords, so it does not show in a traceback's variables."""

    def __repr__(self) -> str:
        return f"<form of {len(self)} bytes>"


def encoded(form: Form) -> Body:
    """The form on the wire. Raises ValueError for text that has no UTF-8 form."""
    try:
        return Body(urlencode(form, encoding="utf-8", errors="strict").encode("ascii"))
    except UnicodeEncodeError:
        pass
    raise ValueError("a value is not valid Unicode text")  # outside the handler: its error carries the value


class Transport:
    """Posts forms to one site. Safe to share by threads.

    Times are in seconds. Raises ValueError for an address that is none.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_timeout: float,
        read_timeout: float,
        answer_timeout: float,
        session: requests.Session | None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("the site's address must be a plain http(s) URL without query or fragment")
        if parts.username or parts.password:
            raise ValueError("the site's address must not carry a user name or password")
        self.url = url.rstrip("/")
        self._timeouts = (connect_timeout, read_timeout)
        self._answer_timeout = answer_timeout
        self._owns_session = session is None
        self._session = session if session is not None else _plain_session()

    def close(self) -> None:
        """Drops the open connections of the session made here; a session passed in stays its owner's."""
        if self._owns_session:
            self._session.close()

    def post(self, path: str, body: Body, function: str, *, read: bool) -> bytes:
        """The body of the answer. `read` says that the call changes nothing; `function` is for the errors only.
        Raises MoodleError for everything but HTTP 200."""
        status, content = self._exchange(path, body, function, read=read)
        if status == 200:
            return content
        if status == 403:
            raise WebServiceDisabled(function=function)
        if status == 503:
            raise Maintenance("HTTP 503", function=function)
        if status >= 500:
            raise (Unavailable if read else AnswerLost)(f"HTTP {status}", function=function)
        if status == 429:
            raise Unavailable("HTTP 429, too many calls", function=function)
        raise UnreadableAnswer(f"HTTP {status}; is {self.url} the site's own address?", function=function)

    def _exchange(self, path: str, body: Body, function: str, *, read: bool) -> tuple[int, bytes]:
        """Status and body. The errors are raised outside the handlers: a chained exception of requests carries the
        request, and with it the token."""
        failure: MoodleError
        deadline = time.monotonic() + self._answer_timeout
        try:
            with self._session.post(
                self.url + path,
                data=body,
                headers={"Content-Type": "application/x-www-form-urlencoded", "Accept-Encoding": "gzip, identity"},
                timeout=self._timeouts,
                allow_redirects=False,
                stream=True,
            ) as response:
                return response.status_code, self._read(response, deadline)
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

    def _read(self, response: requests.Response, deadline: float) -> bytes:
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
