"""The pages of auth_userkey: one-time sign-in links (ground truth §8, traces `userkey-*`).

They let in whoever holds the link: suspended people, people of any sign-in method, administrators.
"""

from collections.abc import Callable
from ipaddress import ip_address, ip_network

from werkzeug.wrappers import Request, Response

from moodle_ws.simulator import pages
from moodle_ws.simulator.flavours import Version
from moodle_ws.simulator.options import UserKeySettings
from moodle_ws.simulator.responses import html, redirect
from moodle_ws.simulator.site import GUEST_ID, Session, Site, UserKey


def login(site: Site, request: Request, session: Session) -> Response:
    """Opens a session for the holder of the key, and follows any `wantsurl`: an open redirect."""
    settings = site.options.userkey
    if settings is None:
        return html(pages.error(site, "error/The userkey authentication plugin is disabled."), 404)
    key = site.user_keys.get(request.args.get("key", ""))
    refusal = _refusal(site, settings, key, request.remote_addr or "")
    if key is None or refusal is not None:
        session.userid = None  # a bad key ends the session it meets (`userkey-invalid-while-logged-in`)
        return html(pages.error(site, refusal or "Incorrect key"), 404)
    del site.user_keys[request.args["key"]]
    target = request.args.get("wantsurl") or site.wwwroot
    switched = session.userid not in {None, GUEST_ID, key.userid}
    site.renew_session(session)
    if switched:
        # The old session ends, the key is used up, and the new sign-in is lost (`userkey-switch-user`).
        session.userid = None
        session.lost = site.options.version is not Version.V4_4
        return redirect(target)
    session.userid, session.by_userkey = key.userid, True
    user = site.users[key.userid]
    first, user.lastaccess = not user.lastaccess, int(site.now())
    user.firstaccess = user.firstaccess or user.lastaccess
    if user.suspended and first:
        # Says no, and the session lives all the same (`userkey-login-suspended-user`).
        return html(pages.error(site, "Suspended account"), 404)
    return redirect(target)


def _refusal(site: Site, settings: UserKeySettings, key: UserKey | None, address: str) -> str | None:
    if key is None:
        return "Incorrect key"
    if key.valid_until < site.now():
        return "Expired key"
    if key.ip is not None and address != key.ip:
        allowed = [network for network in settings.ipwhitelist.split(";") if network]
        if not any(ip_address(address) in ip_network(network) for network in allowed):
            return "Client IP address mismatch"
    return None


def logout(site: Site, request: Request, session: Session) -> Response:
    """Signs out without a session key, and follows any `return`."""
    if session.userid is None or session.by_userkey:
        site.end_session(session)
    return redirect(request.args.get("return") or site.wwwroot)


def sign_in_elsewhere(site: Site, request: Request) -> str | None:
    """Where the login page sends everybody when the plugin has an `ssourl`; None for nowhere."""
    settings = site.options.userkey
    if settings is None or request.args.get("enrolkey_skipsso"):
        return None
    return settings.ssourl or None


Page = Callable[[Site, Request, Session], Response]
PAGES: dict[str, Page] = {"/auth/userkey/login.php": login, "/auth/userkey/logout.php": logout}
