"""The site itself: does it answer, is it the one configured, does its server do what the bridge relies on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from urllib.parse import urlsplit

from lms_bridge.i18n import gettext as _
from lms_bridge.ops.doctor import places, words
from lms_bridge.ops.doctor.findings import Finding, Subject, foreign
from lms_bridge.ops.doctor.needs import FULLY_SUPPORTED, NEWEST_KNOWN, OLDEST_RELEASE
from lms_bridge.ops.doctor.probes import NoAnswer, Page, Silence
from lms_bridge.ops.doctor.site_facts import RECOMMENDED_VARIABLES, SiteFacts
from moodle_ws.batches import MOST_VARIABLES
from moodle_ws.errors import Maintenance, Truncated, Unavailable, UnreadableAnswer, WebServiceDisabled
from moodle_ws.site import SiteInfo

SLOW_SECONDS = 1.0
TOO_SLOW_SECONDS = 4.0


def check(facts: SiteFacts, now: datetime) -> Iterator[Finding]:
    yield answers(facts)
    subject = Subject(facts.area, "certificate", _("The site's certificate"), _(places.MOODLE_SERVER))
    yield from words.certificate(subject, facts.certificate, now)
    if isinstance(facts.login, Page):
        subject = Subject(facts.area, "clock", _("The site's clock"), _(places.MOODLE_SERVER))
        yield words.clock(subject, facts.login.clock_ahead())
    if is_silent(facts):
        return
    yield web_service(facts)
    if isinstance(facts.info, SiteInfo):
        yield address(facts, facts.info)
        yield release(facts, facts.info)
        yield response_time(facts)
        yield noise(facts)
        yield debugging(facts)
        yield form_variables(facts)


def is_silent(facts: SiteFacts) -> bool:
    """Whether nothing more was looked at: the site is down, in maintenance, or not to be trusted."""
    return isinstance(facts.login, NoAnswer) or facts.login.status >= 500


def answers(facts: SiteFacts) -> Finding:
    subject = Subject(facts.area, "answers", _("The site answers"), f"sites.{facts.site.name}.url")
    login = facts.login
    if isinstance(login, NoAnswer):
        return subject.problem(
            _("%(url)s: %(why)s", url=facts.site.url, why=words.silence(login)),
            _("From this machine, open the address with curl; look at the network, the firewall, and the setting."),
            moodle_unreachable=login.why is not Silence.CERTIFICATE,
        )
    if login.status == 503:
        return Subject(facts.area, "answers", _("The site answers"), _(places.MAINTENANCE)).problem(
            _("HTTP %(status)d: under maintenance, or stopped", status=login.status),
            _("Wait for the end of the maintenance, then run this again."),
            moodle_unreachable=True,
        )
    if login.status >= 500:
        return subject.problem(
            _("HTTP %(status)d", status=login.status), _("Look at the Moodle server's log."), moodle_unreachable=True
        )
    if login.status >= 400:
        return subject.problem(
            _("HTTP %(status)d for the login page", status=login.status),
            _("The setting must be Moodle's wwwroot exactly: the address in config.php, with its path."),
        )
    return subject.ok(_("HTTP %(status)d for the login page", status=login.status))


def web_service(facts: SiteFacts) -> Finding:
    """Whether the web service speaks at all. What the token may do there has lines of its own."""
    subject = Subject(facts.area, "web_service", _("The web service answers"), _(places.WEB_SERVICES))
    error = facts.info
    match error:
        case WebServiceDisabled():
            return subject.problem(
                _("HTTP 403: web services or the REST protocol are switched off"),
                _("Enable web services (Overview, step 1) and the REST protocol (step 2)."),
            )
        case Maintenance():
            return subject.problem(
                _("under maintenance"), _("Wait for its end, then run this again."), moodle_unreachable=True
            )
        case Truncated():
            return subject.problem(_("the server cuts forms short"), _("Raise max_input_vars to 5000."))
        case Unavailable():
            return subject.problem(
                foreign(str(error)),
                _("The pages answer and the web service does not: look at the Moodle server's log."),
                moodle_unreachable=True,
            )
        case UnreadableAnswer():
            return subject.problem(
                foreign(str(error)),
                _("The setting must be Moodle's wwwroot exactly: something else answers at this address."),
            )
    return subject.ok(_("REST, JSON"))


def address(facts: SiteFacts, info: SiteInfo) -> Finding:
    subject = Subject(
        facts.area, "wwwroot", _("Moodle's own address is the one configured"), f"sites.{facts.site.name}.url"
    )
    seen = _("Moodle calls itself %(url)s", url=foreign(info.siteurl))
    theirs, ours = info.siteurl.rstrip("/"), facts.site.url.rstrip("/")
    if theirs == ours:
        return subject.ok(seen)
    if urlsplit(theirs)[1:] == urlsplit(ours)[1:]:
        fix = _("Only http and https differ: correct $CFG->wwwroot in config.php (behind a proxy also sslproxy).")
    else:
        fix = _("Write this address in the setting, and in `url` of the service behind it.")
    return subject.problem(seen, fix)


def release(facts: SiteFacts, info: SiteInfo) -> Finding:
    subject = Subject(facts.area, "release", _("Moodle's version"), _(places.ENVIRONMENT))
    seen = foreign(info.release or "")
    upgrade = _("Upgrade Moodle. The CAS plugin must be there before you go to 5.0 or later.")
    if info.branch is None:
        return subject.warning(
            _("Moodle does not say its version"), _("The bridge is tried from 4.1 to 5.2: look yourself.")
        )
    if info.branch < OLDEST_RELEASE:
        return subject.problem(seen, upgrade)
    if info.branch < FULLY_SUPPORTED:
        return subject.warning(
            _("%(release)s: older than 4.5 LTS, supported as far as it was tried", release=seen), upgrade
        )
    if info.branch > NEWEST_KNOWN:
        return subject.warning(
            _("%(release)s: newer than what the bridge was tried with", release=seen),
            _("Try the bridge on a copy of the site first, and read its change log."),
        )
    return subject.ok(seen)


def response_time(facts: SiteFacts) -> Finding:
    subject = Subject(facts.area, "response_time", _("Time of one call"), f"sites.{facts.site.name}.read_timeout")
    page = facts.raw.page
    if isinstance(page, NoAnswer):
        return subject.warning(
            _("one call of two was not answered: %(why)s", why=words.silence(page)),
            _("Look at the load of the Moodle server."),
        )
    seen = _("%(ms)d ms", ms=round(page.elapsed * 1000))
    if page.elapsed < SLOW_SECONDS:
        return subject.ok(seen)
    fix = _("Look at the load of the Moodle server. Every sign-in waits for two such calls.")
    return subject.problem(seen, fix) if page.elapsed >= TOO_SLOW_SECONDS else subject.warning(seen, fix)


def noise(facts: SiteFacts) -> Finding:
    subject = Subject(facts.area, "noise", _("Nothing is printed before the answers"), _(places.PHP))
    if facts.raw.noise:
        return subject.warning(
            _("text stands before the answer: PHP prints its warnings"),
            _("Set display_errors = Off in php.ini, and mend what the warning in the server's log names."),
        )
    return subject.ok(_("clean answers"))


def debugging(facts: SiteFacts) -> Finding:
    subject = Subject(facts.area, "debugging", _("Errors give no details away"), _(places.DEBUGGING))
    if facts.debug_visible is None:
        return subject.unseen(_("no error could be provoked"), _("Debug messages: NONE (`debug` = 0)."))
    if facts.debug_visible:
        return subject.warning(
            _("errors carry debuginfo: SQL and values, addresses among them"),
            _("Set “Debug messages” to NONE and untick “Display debug messages” on a site in use."),
        )
    return subject.ok(_("an error without debuginfo"))


def form_variables(facts: SiteFacts) -> Finding:
    """What was proved: that the last of so many variables arrived; PHP drops the tail without a word."""
    subject = Subject(facts.area, "max_input_vars", _("Long forms arrive whole"), f"{_(places.PHP)} (max_input_vars)")
    fix = _("Set max_input_vars = 5000 in php.ini, as Moodle itself asks, and restart PHP.")
    if MOST_VARIABLES not in facts.variables:
        return subject.unseen(_("no look-up was possible"), fix)
    if not facts.variables[MOST_VARIABLES]:
        return subject.problem(
            _("a form of %(count)d variables lost its end: batches would be cut silently", count=MOST_VARIABLES), fix
        )
    if facts.variables.get(RECOMMENDED_VARIABLES):
        return subject.ok(_("a form of %(count)d variables arrived whole", count=RECOMMENDED_VARIABLES))
    return subject.ok(
        _(
            "a form of %(small)d variables arrived whole, one of %(large)d did not; the bridge never sends more than "
            "%(small)d",
            small=MOST_VARIABLES,
            large=RECOMMENDED_VARIABLES,
        )
    )
