"""/login/token.php: a token for a name and a password (recordings `token-php-*`)."""

from werkzeug.wrappers import Request, Response

from moodle_ws.simulator import wire
from moodle_ws.simulator.flavours import php_trim
from moodle_ws.simulator.options import Debug
from moodle_ws.simulator.site import Site
from moodle_ws.simulator.user_table import NOT_CACHED, User


def answer(site: Site, request: Request) -> Response:
    """Errors are HTTP 200 and have a shape of their own."""
    if site.maintenance:
        return _error(site, "sitemaintenance", "The site is undergoing maintenance and is currently not available")
    username = php_trim(request.values.get("username", "")).lower()
    user = site.user(username)
    if site.options.cas_without_server and (user is None or user.auth == "cas"):
        # The CAS plugin is asked, and dies without a word (ground truth §2).
        return _answered(b"")
    if user is None or not _proved(user, request.values.get("password", "")):
        return _error(site, "invalidlogin", "Invalid login, please try again")
    if not user.confirmed:
        return _error(site, "usernotconfirmed", f"Could not confirm {user.username}")
    service = request.values.get("service", "")
    if service != site.options.service:
        words = "Web service is not available (it doesn't exist or might be disabled)"
        return _error(site, "servicenotavailable", words)
    token = next((token for token in site.tokens.values() if token.userid == user.id), None)
    if token is None:
        words = "First you need to allow this user on the "
        allowed = f"The user is not allowed for this service. {words}{service}'s allowed users administration page."
        return _error(site, "usernotallowed", allowed)
    return _answered(wire.json_answer({"token": token.value, "privatetoken": None}))


def _proved(user: User, password: str) -> bool:
    known = user.auth in {"manual", "email"} and user.password not in {"", NOT_CACHED}
    return known and user.password == password and not user.suspended


def _error(site: Site, code: str, words: str) -> Response:
    debugging = site.options.debug >= Debug.NORMAL
    trace = "* line 112 of /login/token.php: moodle_exception thrown\n"
    return _answered(
        wire.json_answer(
            {
                "error": words,
                "errorcode": code,
                "stacktrace": trace if debugging else None,
                "debuginfo": f"\nError code: {code}" if debugging else None,
                "reproductionlink": f"{site.wwwroot}/" if debugging else None,
            }
        )
    )


def _answered(body: bytes) -> Response:
    return Response(body, content_type="application/json; charset=utf-8")
