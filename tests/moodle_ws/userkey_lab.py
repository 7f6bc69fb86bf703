"""The walks through auth_userkey: who stood at the door, with which settings, holding which key."""

from typing import Any

import requests

from moodle_ws import MoodleClient
from moodle_ws.simulator import Site, UserKeySettings

WORDS = (
    "Expired key",
    "Incorrect key",
    "Client IP address mismatch",
    "Suspended account",
    "error/The userkey",
    "Your session has timed out",
)

# What the person's row was like, by a part of the walk's name; user name and e-mail are `uk4`.
PERSON: dict[str, dict[str, Any]] = {
    "cas-auth-user": {"auth": "cas"},
    "nologin-user": {"auth": "nologin"},
    "suspended-user": {"suspended": True},
    "unconfirmed-user": {"confirmed": False},
    # Not the first time that this suspended person opens a key.
    "suspended-verify": {"suspended": True, "lastaccess": 1700000000},
}


def settings(name: str, university: str) -> UserKeySettings | None:
    """The plugin's settings at the time of the walk; `university` is the CAS server's address."""
    if name == "userkey-plugin-disabled":
        return None
    return UserKeySettings(
        keylifetime=1 if name == "userkey-expired" else 60,
        iprestriction=name.startswith("userkey-ip-"),
        ipwhitelist="127.0.0.0/8" if name.endswith("whitelisted") else "",
        redirecturl=f"{university}/cas/loggedout" if name.endswith("redirecturl") else "",
        ssourl=f"{university}/cas/sso" if "-ssourl-" in name else "",
    )


def people(site: Site, name: str) -> None:
    """Two people of the plugin, one of them as the walk's name says."""
    row = next((row for part, row in PERSON.items() if part in name), {})
    for username, values in (("uk4", row), ("uk5", {})):
        given = {"auth": "userkey", "firstname": "F", "lastname": "L", "email": f"{username}@example.test"}
        site.add_user(username, **{**given, **values})


def key(scene: Any, browser: requests.Session) -> str:
    """The key that the walk opens, after what had happened in that browser, and to other keys, before."""
    name, site = scene.name, scene.moodle.site
    if site.options.userkey is None or "-ssourl-" in name:
        return ""
    if name == "userkey-session-wantsurl-ignored":
        browser.get(f"{site.wwwroot}/course/view.php?id=2", allow_redirects=False, timeout=10)
    if name in {"userkey-switch-user", "userkey-invalid-while-logged-in"} or "logout" in name:
        browser.get(address(scene, "uk5"), timeout=10)
    if "logout" in name:
        (session,) = [session for session in site.sessions.values() if session.userid is not None]
        scene.first = scene.first.replace(scene.first.partition("sesskey=")[2] or "\0", session.sesskey)
        return ""
    wanted = key_of(address(scene, "admin" if name.endswith("-admin") else "uk4"))
    if name == "userkey-login-second-use":
        requests.get(f"{site.wwwroot}/auth/userkey/login.php?key={wanted}", timeout=10)
    if name == "userkey-first-of-two-keys":
        address(scene, "uk4")
    if name == "userkey-second-of-two-keys":
        wanted = key_of(address(scene, "uk4"))
    if name == "userkey-expired":
        now = site.now
        site.now = lambda: now() + 3
    return wanted


def address(scene: Any, username: str) -> str:
    """A sign-in address, asked for as anybody with the service's token does."""
    site = scene.moodle.site
    user = {"email": site.user(username).email}
    if site.options.userkey.iprestriction:
        user["ip"] = "127.0.0.1" if scene.name == "userkey-ip-match" else "10.9.9.9"
    with MoodleClient(site.wwwroot, site.options.token) as client:
        return client.userkey_login_url(user)


def key_of(sign_in_address: str) -> str:
    return sign_in_address.rpartition("=")[2]
