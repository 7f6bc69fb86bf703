"""How notices are written: in whose language, under which keys, from which host."""

from __future__ import annotations

from external_accounts.address_changes import Notices
from lms_bridge.runtime import Runtime


def notices(runtime: Runtime, locale: str) -> Notices:
    return Notices(keys=runtime.keys, locale=locale, mail_domain=runtime.settings.public_host)
