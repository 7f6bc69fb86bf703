"""What the settings say about the life cycle, in the words of `external_accounts`."""

from __future__ import annotations

from external_accounts.lifecycle_mails import Terms
from lms_bridge.runtime import Runtime


def terms(runtime: Runtime) -> Terms:
    settings = runtime.settings
    return Terms(
        zone=settings.zone,
        keys=runtime.keys,
        mail_domain=settings.public_host,
        locale=settings.default_language,
        policies={profile.name: profile.policy for profile in settings.profiles},
        deciders=settings.registration.deciders or (settings.institution.help_email,),
    )
