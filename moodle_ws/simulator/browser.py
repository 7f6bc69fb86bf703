"""What a browser sees: the pages, the login page with its CAS mode, and the way out (`cas-traces`)."""

import json
import re
from collections.abc import Callable
from typing import TypeAlias
from urllib.parse import urlsplit

from werkzeug.wrappers import Request, Response

from moodle_ws.simulator import cas_plugin, pages, token_page, userkey_pages
from moodle_ws.simulator.flavours import Version, php_trim
from moodle_ws.simulator.options import Course
from moodle_ws.simulator.responses import html, redirect
from moodle_ws.simulator.site import GUEST_ID, Session, Site
from moodle_ws.simulator.user_table import NOT_CACHED, User

View: TypeAlias = "Callable[[Site, Request, Session], Response]"

_TIMED_OUT = "Your session has timed out. Please log in again."
_LOCKED_OUT = (
    "You cannot proceed without changing your password, however there is no available page for changing it. "
    "Please contact your Moodle Administrator."
)


def answer(site: Site, request: Request) -> Response:
    """Answers one page request. The browser's session is opened at its first page."""
    if request.path == "/whoami.json":
        return _whoami(site, request)
    if request.path == "/login/token.php" and not site.maintenance_cli:
        return token_page.answer(site, request)
    if site.maintenance or site.maintenance_cli:
        return html(pages.maintenance(site), 503)
    moved = _wrong_host(site, request)
    if moved is not None:
        return moved
    session = site.sessions.get(request.cookies.get(cookie_name(site), ""))
    if session is None:
        session = site.open_session()
    arrived_with = session.id if cookie_name(site) in request.cookies else None
    if session.lost:
        # What a switch by one-time link leaves behind; 5.2 tells the person (`userkey-switch-user`).
        site.renew_session(session)
        session.lost, session.timed_out = False, site.options.version is Version.V5_2
    view = _VIEWS.get(request.path)
    response = view(site, request, session) if view else html(pages.error(site, "Page introuvable"), 404)
    if request.cookies.get(cookie_name(site)) != session.id or arrived_with != session.id:
        response.set_cookie(cookie_name(site), session.id, path="/", httponly=True)
    response.headers["Cache-Control"] = "no-store"
    return response


def cookie_name(site: Site) -> str:
    """The session cookie; its name carries the port, since cookies do not know ports and two demonstrations may run
    on one host."""
    parts = urlsplit(site.wwwroot)
    return f"MoodleSession{parts.port or {'https': 443}.get(parts.scheme, 80)}"


def current_user(site: Site, session: Session) -> User | None:
    """The person signed in, unless deleted meanwhile."""
    user = site.users.get(session.userid) if session.userid is not None else None
    return None if user is None or user.deleted else user


# -- pages -----------------------------------------------------------------------------------------------------------


def _whoami(site: Site, request: Request) -> Response:
    session = site.sessions.get(request.cookies.get(cookie_name(site), ""))
    user = current_user(site, session) if session else None
    body = json.dumps({"username": user.username if user else None})
    return Response(body, content_type="application/json", headers={"Cache-Control": "no-store"})


def _front(site: Site, _request: Request, session: Session) -> Response:
    user = current_user(site, session)
    if user is None and site.options.forcelogin:
        return redirect(f"{site.wwwroot}/login/index.php")
    if user is not None and session.by_userkey:
        return redirect(f"{site.wwwroot}/my/")
    return html(pages.front(site, session, user))


def _dashboard(site: Site, request: Request, session: Session) -> Response:
    user = _signed_in(site, request, session)
    return user if isinstance(user, Response) else html(pages.dashboard(site, session, user))


def _course(site: Site, request: Request, session: Session) -> Response:
    place = _place(site, request)
    if place is None:
        return html(pages.error(site, "Ce cours n’existe pas"), 404)
    if place.open_to_guests and current_user(site, session) is None:
        # Guest access with automatic guest sign-in (Moodle's autologinguests).
        session.userid = GUEST_ID
    if place.open_to_guests and session.userid == GUEST_ID:
        return html(pages.course(site, session, site.users[GUEST_ID], place))
    user = _signed_in(site, request, session)
    if isinstance(user, Response):
        return user
    if not place.enrolled:
        return redirect(f"{site.wwwroot}/enrol/index.php?id={place.id}")
    return html(pages.course(site, session, user, place))


def _enrol(site: Site, request: Request, session: Session) -> Response:
    place, user = _place(site, request), _signed_in(site, request, session)
    if isinstance(user, Response):
        return user
    return html(pages.enrol(site, session, user, place)) if place else html(pages.error(site, "?"), 404)


def _edit_profile(site: Site, _request: Request, session: Session) -> Response:
    user = current_user(site, session)
    if user is None:
        return redirect(f"{site.wwwroot}/login/index.php")
    return html(pages.incomplete_profile(site, session, user))


def _policy(site: Site, _request: Request, session: Session) -> Response:
    user = current_user(site, session)
    if user is None:
        return redirect(f"{site.wwwroot}/login/index.php")
    return html(pages.policy(site, session, user))


def _place(site: Site, request: Request) -> Course | None:
    wanted = request.args.get("id", "")
    return next((place for place in site.options.courses if str(place.id) == wanted), None)


def _signed_in(site: Site, request: Request, session: Session) -> User | Response:
    """The person, or where Moodle sends somebody who may not see this page yet."""
    user = current_user(site, session)
    if user is None or user.id == GUEST_ID:
        session.wantsurl = f"{site.wwwroot}{request.path}" + (
            f"?{request.query_string.decode('latin-1')}" if request.query_string else ""
        )
        return redirect(userkey_pages.sign_in_elsewhere(site, request) or f"{site.wwwroot}/login/index.php")
    if user.preferences.get("auth_forcepasswordchange") == "1":
        return html(pages.error(site, _LOCKED_OUT), 404)
    if _incomplete(user):
        return redirect(f"{site.wwwroot}/user/edit.php")
    if site.site_policy and not user.policyagreed:
        return redirect(f"{site.wwwroot}/user/policy.php")
    return user


def _incomplete(user: User) -> bool:
    return not (user.firstname.strip() and user.lastname.strip() and user.email)


# -- login -----------------------------------------------------------------------------------------------------------


def _login(site: Site, request: Request, session: Session) -> Response:
    testsession = request.args.get("testsession")
    if testsession is not None:
        return _after_login(site, session, testsession)
    if request.method == "POST" and request.form.get("username"):
        return _local_login(site, request, session)
    if session.timed_out:
        session.timed_out = False
        return _refuse(site, session, _TIMED_OUT)
    error, session.login_error = session.login_error, None
    if error is None and _asks_cas(site, request):
        return _cas_login(site, request, session)
    elsewhere = userkey_pages.sign_in_elsewhere(site, request)
    if elsewhere is not None and error is None:
        return redirect(elsewhere)
    # From 4.5 on `loginredirect=0` shows the local form all the same (versions page §1).
    stays = site.options.version is not Version.V4_4 and request.args.get("loginredirect") == "0"
    if site.options.alternateloginurl and not stays:
        suffix = ("&" if "?" in site.options.alternateloginurl else "?") + "errorcode=3" if error else ""
        return redirect(site.options.alternateloginurl + suffix)
    return html(pages.login(site, session, error=error, cas_button=_button(site)))


def _button(site: Site) -> str | None:
    if not site.options.cas_url:
        return None
    name, value = site.options.cas_plugin.button
    return f"/login/index.php?{name}={value}"


def _asks_cas(site: Site, request: Request) -> bool:
    if not site.options.cas_url:
        return False
    if site.options.multiauth:
        name, value = site.options.cas_plugin.button
        return request.args.get(name) == value
    return not request.args.get("username")  # `multiauth-off-username-param-shows-form`


def _cas_login(site: Site, request: Request, session: Session) -> Response:
    service = cas_plugin.service_url(site, request.path, request.query_string.decode("latin-1"))
    try:
        outcome = cas_plugin.authenticate(site, session, service=service, ticket=request.args.get("ticket"))
    except cas_plugin.ValidationFailed as failure:
        return html(pages.error(site, f"Exception - {failure}"), 404)
    except cas_plugin.BlankPage:
        return html("")
    if isinstance(outcome, cas_plugin.Redirect):
        return redirect(outcome.location, 302)
    courseid = request.args.get("courseid", "")
    if site.options.multiauth and courseid.isdigit():
        # Redirects before the person is signed in (ground truth §7, trace `service-url-courseid`).
        return redirect(f"{site.wwwroot}/course/view.php?id={courseid}")
    return _enter(site, session, outcome)


def _enter(site: Site, session: Session, asserted: str) -> Response:
    """The first-login matrix of ground truth §7."""
    # Lower-casing is Unicode-aware: KELVIN SIGN becomes k on every database (MariaDB page §1).
    username = php_trim(asserted).lower()
    plugin = site.options.cas_plugin
    with site.lock:
        user = site.user(username)
        if user is None and (site.deleted_user(username) or _is_an_address(site, username)):
            return _refuse(site, session, site.release.failed_login)
        if user is None:
            if site.options.authpreventaccountcreation:
                return _refuse(site, session, f'The user account "{username}" is not available on this site')
            if not site.options.extendedusernamechars and not re.match(r"[-.@_a-z0-9]+\Z", username):
                return html(pages.error(site, "The given username contains invalid characters"), 404)
            user = site.add_user(username, auth=plugin.auth)
    if user.auth != plugin.auth or user.suspended:
        return _refuse(site, session, site.release.failed_login)
    if not user.confirmed:
        return html(pages.must_confirm(site, user))
    user.password = NOT_CACHED
    user.lastaccess = int(site.now())
    user.firstaccess = user.firstaccess or user.lastaccess
    return _complete(site, session, user)


def _is_an_address(site: Site, username: str) -> bool:
    # Finds the person and then refuses them (`login-username-is-email-authloginviaemail`).
    return site.options.authloginviaemail and any(site.same_email(username))


def _complete(site: Site, session: Session, user: User) -> Response:
    session.userid = user.id
    site.renew_session(session)
    if user.preferences.get("auth_forcepasswordchange") == "1" and user.auth != "manual":
        return html(pages.error(site, _LOCKED_OUT), 404)
    return redirect(f"{site.wwwroot}/login/index.php?testsession={user.id}")


def _after_login(site: Site, session: Session, testsession: str) -> Response:
    user = current_user(site, session)
    if user is None or testsession != str(user.id):
        return _refuse(site, session, _TIMED_OUT)
    if _incomplete(user) and user.id != GUEST_ID:
        return redirect(f"{site.wwwroot}/user/edit.php")
    target, session.wantsurl = session.wantsurl or f"{site.wwwroot}/my/", None
    if user.id == GUEST_ID:
        target = f"{site.wwwroot}/"
    return redirect(target)


def _local_login(site: Site, request: Request, session: Session) -> Response:
    # With an alternate login page the token is not asked for: the emergency door (ground truth §7).
    if not site.options.alternateloginurl and request.form.get("logintoken") != session.login_token:
        return _refuse(site, session, site.release.failed_login)
    username, password = request.form["username"].strip().lower(), request.form.get("password", "")
    if username == "guest":
        session.userid = GUEST_ID
        return _complete(site, session, site.users[GUEST_ID])
    user = site.user(username)
    if user is None or user.auth != "manual" or user.suspended or user.password in {"", NOT_CACHED}:
        return _refuse(site, session, site.release.failed_login)
    if user.password != password:
        return _refuse(site, session, site.release.failed_login)
    if not user.confirmed:
        return html(pages.must_confirm(site, user))
    return _complete(site, session, user)


def _refuse(site: Site, session: Session, message: str) -> Response:
    session.login_error = message
    return redirect(f"{site.wwwroot}/login/index.php{site.release.failed_login_query}")


# -- logout ----------------------------------------------------------------------------------------------------------


def _logout(site: Site, request: Request, session: Session) -> Response:
    user = current_user(site, session)
    if user is None:
        return redirect(f"{site.wwwroot}/")
    if request.values.get("sesskey") != session.sesskey:
        return html(pages.confirm_logout(site, session))
    from_cas = bool(site.options.cas_url) and user.auth == site.options.cas_plugin.auth
    userkey = site.options.userkey if session.by_userkey else None
    site.end_session(session)
    if userkey is not None and userkey.redirecturl:
        return redirect(userkey.redirecturl)
    if from_cas and site.options.logoutcas:
        return redirect(cas_plugin.logout_url(site), 302)
    return redirect((from_cas and site.options.logout_return_url) or f"{site.wwwroot}/")


# -- answers ---------------------------------------------------------------------------------------------------------


def _wrong_host(site: Site, request: Request) -> Response | None:
    if request.host == urlsplit(site.wwwroot).netloc:
        return None
    if site.options.version is Version.V4_4:
        return redirect(site.wwwroot)
    query = f"?{request.query_string.decode('latin-1')}" if request.query_string else ""
    return redirect(f"{site.wwwroot}{request.path}{query}")


_VIEWS: dict[str, View] = {
    "/": _front,
    "/index.php": _front,
    "/my/": _dashboard,
    "/course/view.php": _course,
    "/enrol/index.php": _enrol,
    "/user/edit.php": _edit_profile,
    "/user/policy.php": _policy,
    "/login/index.php": _login,
    "/login/logout.php": _logout,
    **userkey_pages.PAGES,
}
