"""Getting a token for a name and a password, as Moodle's mobile app does (`/login/token.php`)."""

from moodle_ws.errors import UnreadableAnswer, from_answer
from moodle_ws.transport import Transport, encoded
from moodle_ws.wire import Unreadable, decode

PATH = "/login/token.php"


def request_token(
    url: str,
    username: str,
    password: str,
    service: str,
    *,
    connect_timeout: float = 3.0,
    read_timeout: float = 10.0,
) -> str:
    """The token of this person for the service with this short name; Moodle makes one when there is none yet.

    Only people whose password is in Moodle get one. A service account needs no such call: an administrator gives it
    its token. Times are in seconds. Raises Refused with code `invalidlogin` (unknown, wrong password, suspended, or of
    another sign-in method), `usernotconfirmed`, `usernotallowed` or `servicenotavailable`; Maintenance;
    UnreadableAnswer for the empty page of a site whose CAS plugin is switched on without a server; MoodleError.
    """
    transport = Transport(
        url, connect_timeout=connect_timeout, read_timeout=read_timeout, answer_timeout=60.0, session=None
    )
    body = encoded([("username", username), ("password", password), ("service", service)])
    password = ""  # a traceback that shows local variables must not
    try:
        content = transport.post(PATH, body, "login/token.php", read=False)
    finally:
        transport.close()
    try:
        answer = decode(content).value
    except Unreadable as error:
        raise UnreadableAnswer(str(error), function="login/token.php") from None
    if isinstance(answer, dict) and answer.get("errorcode"):
        # Errors have a shape of their own here, without a class (ground truth §1).
        facts = {"exception": "moodle_exception", "errorcode": answer["errorcode"]}
        raise from_answer(facts | {"debuginfo": answer.get("debuginfo")}, "login/token.php")
    if not isinstance(answer, dict) or not isinstance(answer.get("token"), str):
        raise UnreadableAnswer("no token", function="login/token.php")
    return str(answer["token"])
