"""Mails as they go out: text and HTML parts, no remote content, the exact deadline in both.

A mail is composed when it is delivered, from facts: that is when its link and code are derived from the proof, and
what is no longer of use (a proof used meanwhile) is not sent at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.headerregistry import Address as HeaderAddress
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

from sqlalchemy.orm import Session

from external_accounts import (
    activation,
    extensions,
    link_ceremonies,
    lost_identifiers,
    proofs,
    recovery,
    registration_steps,
)
from external_accounts.accounts import Person
from external_accounts.keys import UnknownKey
from external_accounts.proof_keys import format_code, proof_keys
from external_accounts.proofs import state_of
from external_accounts.schema import Account, OutboxMail, Proof
from lms_bridge import i18n
from lms_bridge.cas.services import ServiceRefused
from lms_bridge.rendering import outside_requests
from lms_bridge.runtime import Runtime
from lms_bridge.settings import Settings
from lms_bridge.settings.sections import text_in
from lms_bridge.web.theme import theme

LINKS = {
    proofs.CONFIRM_ADDRESS: "/account/confirm",
    registration_steps.PROVE_ADDRESS: "/account/register",
    registration_steps.CHOOSE_PASSWORD: "/account/register",
    proofs.UNDO_ADDRESS_CHANGE: "/account/undo",
    proofs.KEEP_ACCOUNT: "/account/keep",
    proofs.UNDO_LINK: "/account/links/undo",
    link_ceremonies.LINK_ACCOUNTS: "/account/links/proof",
    recovery.RESET_PASSWORD: "/account/reset",
    lost_identifiers.RECOVER_IDENTIFIER: "/perte-identifiant",
    activation.ACTIVATE: "/account/activate",
    activation.ACTIVATE_AGAIN: "/account/activate",
    extensions.DECIDE_EXTENSION: "/extension",
}
"""Where the link of each purpose leads."""

MOMENTS = frozenset({"rights_end", "kept_until", "asked_until", "granted_until", "suspended_until"})
"""Facts of a mail that are moments: written in ISO 8601, read in words."""

WIRE = SMTP.clone(cte_type="7bit")
"""Everything in 7 bits and short lines: a server on the way may be older than 8BITMIME."""


class NothingToSay(Exception):
    """What the mail would offer is used, cancelled or over."""


def compose(session: Session, runtime: Runtime, mail: OutboxMail, *, now: datetime) -> EmailMessage:
    """The message for one outbox row.

    Raises:
        NothingToSay: it should not be sent any more.
    """
    context: dict[str, Any] = dict(mail.context)
    if mail.account_id is not None:
        account = session.get_one(Account, mail.account_id)
        context["display_name"] = Person(account.given_name, account.family_name).display_name or account.username
    for name in MOMENTS.intersection(context):
        if moment := context[name]:
            context[name] = i18n.format_deadline(datetime.fromisoformat(moment), runtime.settings.zone, mail.locale)
    if mail.proof_id is not None:
        context |= _proof_context(session.get_one(Proof, mail.proof_id), runtime, mail.locale, now)
    return write(runtime.settings, mail, context)


def _proof_context(proof: Proof, runtime: Runtime, locale: str, now: datetime) -> Mapping[str, Any]:
    settings = runtime.settings
    if (state := state_of(proof, now)) != "pending":
        raise NothingToSay(state)
    try:
        secrets = proof_keys(runtime.keys, proof)
    except UnknownKey:
        raise NothingToSay("key rotated out") from None
    service_label = None
    if proof.service:
        try:
            service_label = text_in(runtime.registry.find(proof.service).label, locale)
        except ServiceRefused:
            service_label = None  # no longer registered: nobody is sent there either
    return {
        "link": f"{settings.public_url}{LINKS[proof.purpose]}/{secrets.link_token}",
        "code": format_code(secrets.code) if proof.code_expires_at > now else None,
        "deadline": i18n.format_deadline(proof.expires_at, settings.zone, locale),
        "code_deadline": i18n.format_deadline(proof.code_expires_at, settings.zone, locale),
        "service_label": service_label,
    }


def write(settings: Settings, mail: OutboxMail, context: Mapping[str, Any]) -> EmailMessage:
    """The message of the mail's template, filled with `context`."""
    institution = settings.institution
    colours = theme(institution.accent)
    values = {
        "accent": colours.accent,
        "on_accent": colours.on_accent,
        "institution": institution,
        "locale": mail.locale,
        "public_url": settings.public_url,
        "doors": {upstream.issuer: text_in(upstream.title, mail.locale) for upstream in settings.upstreams},
        **context,
    }
    with i18n.use_locale(mail.locale):
        environment = outside_requests()
        subject = environment.get_template(f"mail/{mail.template}.subject.txt").render(values)
        text = environment.get_template(f"mail/{mail.template}.txt").render(values)
        html = environment.get_template(f"mail/{mail.template}.html").render(values)
    # RFC 2919 and 8058: no List-Id, no List-Unsubscribe, no Precedence. These are no list, nobody can leave them while
    # they have an account, and a false sign of bulk mail sends a person's own link among the advertisements.
    message = EmailMessage(policy=WIRE)
    message["Subject"] = " ".join(subject.split())
    local, _, domain = settings.mail.sender.rpartition("@")
    message["From"] = HeaderAddress(" ".join(institution.short_name.split()), local, domain)
    message["To"] = mail.recipient
    message["Reply-To"] = institution.help_email
    message["Date"] = mail.created_at
    message["Message-ID"] = mail.message_id
    # Out-of-office replies must not answer a machine, nor a vacation notice reach the help desk.
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(text.strip() + "\n", cte="quoted-printable")
    import css_inline  # noqa: PLC0415 (2 MiB that a worker without mails need not carry)

    html = css_inline.inline(html, load_remote_stylesheets=False)
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    # Last: `Content-*` headers that are there earlier move into the first part, where no mail program looks.
    message["Content-Language"] = mail.locale
    return message
