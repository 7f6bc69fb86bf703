"""Moodle's functions around signing in: password reset, confirmation, and one-time sign-in links (auth_userkey)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from moodle_ws import fields
from moodle_ws.errors import UnreadableAnswer

if TYPE_CHECKING:
    from moodle_ws.client import MoodleClient


def request_password_reset(client: "MoodleClient", *, username: str | None = None, email: str | None = None) -> str:
    """Asks Moodle to mail a password reset, by exactly one of user name and e-mail; returns Moodle's status word.

    With the default settings every address gives `emailpasswordconfirmmaybesent`, known or not. Users of `cas` get a
    mail that says their password cannot be reset here (ground truth §3). Sends mail, so it is never repeated.
    Raises ValueError for none or both; Refused with code `cannotmailconfirm` when the site sends people elsewhere.
    """
    if (username is None) == (email is None):
        raise ValueError("give either the user name or the e-mail address")
    function = "core_auth_request_password_reset"
    answer = client.call(function, {"username": username, "email": email}, read=False)
    status = fields.text(answer, "status") if isinstance(answer, dict) else None
    if status is None:
        raise UnreadableAnswer("no status", function=function)
    return status


def confirm_user(client: "MoodleClient", username: str, secret: str) -> bool:
    """Confirms a self-registered user by the secret mailed to them; False when they were confirmed already.

    Useless for provisioning: users made by the web service are born confirmed. Raises Refused with code
    `confirmationnotenabled` or `invalidconfirmdata`.
    """
    function = "core_auth_confirm_user"
    answer = client.call(function, {"username": username, "secret": secret}, read=False)
    success = fields.flag(answer, "success") if isinstance(answer, dict) else None
    if success is None:
        raise UnreadableAnswer("no success flag", function=function)
    return success


def userkey_login_url(client: "MoodleClient", user: Mapping[str, str]) -> str:
    """A one-time sign-in address for the user named by the plugin's mapping field (`{"email": …}` by default).

    The address is a secret: whoever opens it first is that person, suspended users and administrators included
    (ground truth §8), and `wantsurl` on it is an open redirect. Check everything before asking. Raises BadRequest for
    every refusal of the plugin, AccessDenied when it is switched off.
    """
    function = "auth_userkey_request_login_url"
    answer = client.call(function, {"user": dict(user)}, read=False)
    address = fields.text(answer, "loginurl") if isinstance(answer, dict) else None
    if not address:
        raise UnreadableAnswer("no address", function=function)
    return address
