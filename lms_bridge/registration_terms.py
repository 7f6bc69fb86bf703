"""What the settings say about registrations, in the words of `external_accounts.registration_steps`."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from external_accounts.registration_steps import Terms
from lms_bridge.settings import Settings

MONTHS_A_YEAR = 12
LAST_DAY_EVERYWHERE = 28


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


def end_of_day(day: date, zone: ZoneInfo) -> datetime:
    """The last minute of a day as the university's clocks show it: rights "until 30 June" include that day."""
    return datetime.combine(day, time(23, 59), zone)


def usual_last_day(today: date, months: int | None) -> date | None:
    """The day `months` later; the month's last one where it has no such day. None: rights do not end by themselves."""
    if months is None:
        return None
    years, month = divmod(today.month - 1 + months, MONTHS_A_YEAR)
    for day in range(today.day, min(today.day, LAST_DAY_EVERYWHERE) - 1, -1):
        try:
            return date(today.year + years, month + 1, day)
        except ValueError:
            continue
    return None
