"""Browsers and networks in words, so that people recognise their own.

A handful of marks in the order in which browsers imitate each other: a library of user agents would know a thousand
more, and date faster than these.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from external_accounts.throttle import IPNetwork
from lms_bridge.i18n import gettext as _

_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "Mac"),
    ("Linux", "Linux"),
)


def device_in_words(user_agent: str) -> str:
    """ "Firefox on Windows", as far as the browser says; never a version, which says nothing to people."""
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), None)
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), None)
    if browser and system:
        return _("%(browser)s on %(system)s", browser=browser, system=system)
    return browser or system or _("Unknown browser")


def network_in_words(address: str, campus: Sequence[IPNetwork]) -> str:
    """Roughly where from: the campus, or the first half of the address."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return _("Unknown network")
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if any(ip.version == prefix.version and ip in prefix for prefix in campus):
        return _("On the campus")
    if ip.is_loopback:
        return _("This machine")
    if ip.version == 4:
        return ".".join(str(ip).split(".")[:2]) + ".…"
    return str(ipaddress.ip_network((ip, 48), strict=False).network_address)[:-1] + "…"
