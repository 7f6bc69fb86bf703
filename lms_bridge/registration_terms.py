"""What the settings say about registrations, in the words of `external_accounts.registration_steps`."""

from __future__ import annotations

from datetime import date, timedelta

from external_accounts.local_calendar import add_months
from external_accounts.registration_steps import Terms
from lms_bridge.settings import Settings


def terms(settings: Settings) -> Terms:
    chosen = settings.registration
    return Terms(
        mail_domain=settings.public_host,
        waiting=timedelta(days=chosen.waiting_days),
        link=timedelta(days=chosen.link_days),
        sponsor_profiles=chosen.sponsors,
        deciders=chosen.deciders or (settings.institution.help_email,),
        decider_locale=settings.default_language,
        member_domains={
            domain: upstream.issuer for upstream in settings.upstreams for domain in upstream.trusted_domains
        },
    )


def usual_last_day(today: date, months: int | None) -> date | None:
    """The day `months` later; the month's last one where it has no such day. None: rights do not end by themselves."""
    if months is None:
        return None
    return add_months(today, months)
