"""The servers the bridge leans on: mail, and the university's CAS."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from lms_bridge.i18n import gettext as _
from lms_bridge.ops.doctor import words
from lms_bridge.ops.doctor.bridge_facts import MailFacts, UpstreamFacts
from lms_bridge.ops.doctor.findings import Finding, Subject, foreign
from lms_bridge.ops.doctor.probes import Page
from lms_bridge.settings.sections import Mail, Upstream
from lms_bridge.settings.web_addresses import LOOPBACK_HOSTS


def check_mail(mail: Mail, facts: MailFacts | None) -> Iterator[Finding]:
    yield mail_server(mail, facts)
    yield mail_encryption(mail)


def mail_server(mail: Mail, facts: MailFacts | None) -> Finding:
    subject = Subject("mail", "server", _("The mail server takes our mails"), "mail")
    if facts is None:
        return words.too_slow(subject)
    server = f"{mail.host}:{mail.port}"
    code = f" ({facts.code})" if facts.code else ""
    match facts.stage:
        case "ok":
            return subject.ok(
                _("%(server)s takes mails from %(sender)s; none was sent", server=server, sender=mail.sender)
            )
        case "connect":
            return subject.problem(
                _("%(server)s does not answer", server=server),
                _("See mail.host, mail.port, the network and the firewall."),
            )
        case "certificate":
            return subject.problem(
                _("%(server)s: TLS fails", server=server),
                _("See mail.security and mail.port (465 with tls, 587 with starttls), and mail.ca_file."),
            )
        case "starttls":
            return subject.problem(
                _("%(server)s does not offer STARTTLS", server=server),
                _('See mail.port, or write mail.security = "tls".'),
            )
        case "auth":
            return subject.problem(
                _("%(server)s refuses the user name or password%(code)s", server=server, code=code),
                _("See mail.username and mail.password."),
            )
        case "sender":
            return subject.problem(
                _("%(server)s refuses the sender %(sender)s%(code)s", server=server, sender=mail.sender, code=code),
                _("See mail.sender, or let the mail server allow this machine to send for it."),
            )
    return subject.problem(
        _("%(server)s ends the conversation%(code)s", server=server, code=code),
        _("Look at the mail server's log; it may not allow this machine."),
    )


def mail_encryption(mail: Mail) -> Finding:
    subject = Subject("mail", "encryption", _("Mails travel encrypted"), "mail.security")
    if mail.security == "none" and mail.host not in LOOPBACK_HOSTS:
        return subject.warning(
            _("in the clear to %(server)s: links in mails can be read on the way", server=mail.host),
            _("Write starttls or tls."),
        )
    if mail.security == "none":
        return subject.ok(_("in the clear, but no further than %(server)s, this very machine", server=mail.host))
    return subject.ok(mail.security)


def check_upstream(upstream: Upstream, facts: UpstreamFacts | None, now: datetime) -> Iterator[Finding]:
    area = f"upstream:{upstream.issuer}"
    setting = f"upstreams.{upstream.issuer}.cas_url"
    subject = Subject(area, "validation", _("The university's CAS validates tickets"), setting)
    if facts is None:
        yield words.too_slow(subject)
        return
    yield validation(subject, facts)
    yield from words.certificate(Subject(area, "certificate", _("Its certificate"), setting), facts.certificate, now)
    if isinstance(facts.page, Page):
        yield words.clock(Subject(area, "clock", _("Its clock"), setting), facts.page.clock_ahead())


def validation(subject: Subject, facts: UpstreamFacts) -> Finding:
    """What the CAS said about a ticket that nobody has: `INVALID_TICKET` is the healthy answer."""
    if facts.code is None:
        seen = _("it answers, and not as a CAS does") if isinstance(facts.page, Page) else words.silence(facts.page)
        return subject.problem(seen, _("See the address (with its path, usually /cas), the network, and ca_file."))
    if facts.code == "INVALID_TICKET":
        return subject.ok(_("a made-up ticket is refused: INVALID_TICKET"))
    if facts.code == "":
        return subject.problem(
            _("it accepted a made-up ticket"), _("This is no CAS server one can trust: correct the address.")
        )
    return subject.problem(
        _("it answers %(code)s", code=foreign(facts.code)),
        _(
            "Have this bridge's address registered as a service of the CAS: %(address)s",
            address=f"/signin/{subject.area.partition(':')[2]}/callback?state=…",
        ),
    )
