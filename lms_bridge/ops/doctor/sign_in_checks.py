"""The way from Moodle's login page to the bridge: one redirect, read without following it.

That redirect proves in one go that the plugin is there, enabled and pointed at this bridge, and that the address it
asks a ticket for is registered. Everything it does not prove is in `unseen_checks`.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import SplitResult, parse_qs, urljoin, urlsplit

from lms_bridge.cas.services import ServiceRefused, ServiceRegistry
from lms_bridge.i18n import gettext as _
from lms_bridge.ops.doctor import places
from lms_bridge.ops.doctor.findings import Finding, Subject, foreign
from lms_bridge.ops.doctor.probes import NoAnswer, Page
from lms_bridge.ops.doctor.site_facts import BUTTONS, SiteFacts
from lms_bridge.settings.web_addresses import DEFAULT_PORTS

REDIRECTS = (301, 302, 303, 307, 308)


def check(facts: SiteFacts, registry: ServiceRegistry, public_url: str) -> Iterator[Finding]:
    button = facts.button
    if isinstance(button, NoAnswer) or button.status >= 500:
        return
    target = _target(facts, button) if button.status in REDIRECTS else None
    if target is None:
        yield no_redirect(facts, button)
        return
    wrong = destination(facts, target, public_url)
    yield wrong or _way(facts).ok(_("Moodle sends people to %(url)s", url=foreign(_without_query(target))))
    if wrong is None:
        yield service(facts, target, registry)
        yield gateway(facts, target)
        yield login_page(facts)


def _way(facts: SiteFacts) -> Subject:
    return Subject(facts.area, "cas_plugin", _("Moodle's CAS plugin leads to this bridge"), _(places.CAS_SERVER))


def no_redirect(facts: SiteFacts, button: Page) -> Finding:
    """The login page answers the plugin's button itself: why?"""
    subject = _way(facts)
    other = next(plugin for plugin in BUTTONS if plugin != facts.site.plugin)
    if button.status >= 300:
        return subject.problem(
            _("HTTP %(status)d without a redirect one can follow", status=button.status),
            _("Look at the Moodle server's log."),
        )
    if not button.body.strip():
        return subject.problem(
            _("a blank page instead of a redirect"),
            _("PHP failed: most often certificate_path names a file that is not there, or hostname is empty."),
        )
    if BUTTONS[other] in button.text:
        return Subject(facts.area, "cas_plugin", subject.title, f"sites.{facts.site.name}.plugin").problem(
            _("the button on the login page is that of the plugin %(plugin)s", plugin=other),
            _('Write plugin = "%(plugin)s" for this site.', plugin=other),
        )
    return Subject(facts.area, "cas_plugin", subject.title, _(places.AUTHENTICATION)).problem(
        _("Moodle's own form instead of a redirect"),
        _(
            "The plugin %(plugin)s is not installed (from 5.0 on it is an add-on), not enabled (the eye), or has no "
            "hostname.",
            plugin=f"auth_{facts.site.plugin}",
        ),
    )


def destination(facts: SiteFacts, target: SplitResult, public_url: str) -> Finding | None:
    """A problem when the redirect leads elsewhere than to our login page; None when it is right."""
    subject = _way(facts)
    ours = urlsplit(f"{public_url}/cas/login")
    if (target.scheme, target.hostname, _port(target), target.path) == (
        ours.scheme,
        ours.hostname,
        _port(ours),
        ours.path,
    ):
        return None
    seen = _("Moodle sends people to %(url)s", url=foreign(_without_query(target)))
    site = urlsplit(facts.site.url)
    if target.hostname == site.hostname and not target.path.endswith("/cas/login"):
        return Subject(facts.area, "cas_plugin", subject.title, f"sites.{facts.site.name}.url").problem(
            seen, _("Moodle corrects the address it was asked at: the setting must be its wwwroot exactly.")
        )
    if not target.path.endswith("/login") or "service" not in parse_qs(target.query):
        return Subject(
            facts.area, "cas_plugin", subject.title, f"{_(places.AUTHENTICATION)} (alternateloginurl)"
        ).problem(seen, _("This is no CAS server: empty “Alternate login URL”."))
    wrong = []
    if target.hostname != ours.hostname:
        wrong.append(f"hostname = {ours.hostname}")
    if _port(target) != _port(ours):
        wrong.append(f"port = {_port(ours)}")
    if target.path != ours.path:
        wrong.append("baseuri = cas")
    return subject.problem(
        seen,
        _("Set: %(settings)s", settings=", ".join(wrong))
        if wrong
        else _("Moodle's plugin speaks https only: give the bridge an https address (public_url)."),
    )


def service(facts: SiteFacts, target: SplitResult, registry: ServiceRegistry) -> Finding:
    """Whether the address Moodle asks a ticket for is registered, for this very site."""
    asked = parse_qs(target.query).get("service", [""])[0]
    subject = Subject(facts.area, "cas_service", _("The address Moodle asks tickets for is registered"), "services.url")
    seen = _("Moodle asks for %(url)s", url=foreign(asked))
    try:
        found = registry.find(asked)
    except ServiceRefused:
        return subject.problem(
            seen,
            _(
                'Register it: url = "%(url)s", site = "%(site)s" in [[services]].',
                url=f"{facts.site.url}/login/index.php",
                site=facts.site.name,
            ),
        )
    if found.site != facts.site.name:
        return Subject(facts.area, "cas_service", subject.title, f"services.{found.name}.site").problem(
            _("%(seen)s, registered as %(service)s without this site", seen=seen, service=found.name),
            _(
                'Write site = "%(site)s" there: otherwise nobody is brought into step before entering.',
                site=facts.site.name,
            ),
        )
    wanted = "url" if facts.site.plugin == "casattras" else "service"
    if found.logout_parameter != wanted:
        return Subject(facts.area, "cas_service", subject.title, f"services.{found.name}.logout_parameter").warning(
            _("%(seen)s; signing out of this plugin sends `%(parameter)s`", seen=seen, parameter=wanted),
            _('Write logout_parameter = "%(parameter)s".', parameter=wanted),
        )
    return subject.ok(_("%(seen)s, registered as %(service)s", seen=seen, service=found.name))


def gateway(facts: SiteFacts, target: SplitResult) -> Finding:
    subject = Subject(facts.area, "gateway", _("How Moodle asks first"), _(places.CAS_SERVER))
    if parse_qs(target.query).get("gateway") == ["true"]:
        return subject.ok(_("with gateway=true, as phpCAS does: people signed in elsewhere see no page"))
    return subject.ok(_("without gateway: everybody sees the doors or comes straight back"))


def login_page(facts: SiteFacts) -> Finding:
    """Whether the login page itself goes to the bridge (multiauth off) or shows a button."""
    subject = Subject(
        facts.area, "login_page", _("What Moodle's login page does"), f"{_(places.CAS_SERVER)} (multiauth)"
    )
    login = facts.login
    if isinstance(login, Page) and login.status in REDIRECTS:
        if "/cas/login" in login.location:
            return subject.ok(_("it leads straight to the doors (multiauth = No)"))
        return subject.warning(
            _("it leads to %(url)s", url=foreign(login.location)),
            _("Empty “Alternate login URL”, or let that page offer a way to the bridge."),
        )
    if isinstance(login, Page) and BUTTONS[facts.site.plugin] in login.text:
        return subject.ok(_("it shows its own form and a button to the bridge (multiauth = Yes)"))
    return subject.warning(
        _("it shows its own form without a button"), _("Set multiauth to No, or see why the button is hidden.")
    )


def _target(facts: SiteFacts, button: Page) -> SplitResult | None:
    try:
        target = urlsplit(urljoin(f"{facts.site.url}/login/index.php", button.location)) if button.location else None
        return target if target is not None and target.hostname and _port(target) else None
    except ValueError:
        return None


def _port(url: SplitResult) -> int:
    return url.port or DEFAULT_PORTS.get(url.scheme, 0)


def _without_query(url: SplitResult) -> str:
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
