"""Settings of Moodle that nobody can see from outside: each with where it is and the value it must have."""

from __future__ import annotations

from collections.abc import Iterator

from lms_bridge.i18n import gettext as _
from lms_bridge.ops.doctor import places
from lms_bridge.ops.doctor.findings import Finding, Subject
from lms_bridge.settings.moodle_sites import Site


def check(site: Site) -> Iterator[Finding]:
    plugin = f"auth_{site.plugin}"
    lines = (
        (
            "authpreventaccountcreation", places.AUTHENTICATION, _("Moodle creates no account by itself"),
            _("Must be Yes: otherwise Moodle makes an empty account for any name it does not know."),
        ),
        (
            "allowaccountssameemail", places.AUTHENTICATION, _("An address belongs to one user"),
            _("Should be No: two users with one address cannot be told apart by it."),
        ),
        (
            "certificate_check", places.CAS_SERVER, _("Moodle verifies the bridge's certificate"),
            _(
                "Must be Yes, with certificate_path = %(path)s or your system's: without both Moodle verifies nothing.",
                path="/etc/ssl/certs/ca-certificates.crt",
            ),
        ),
        (
            "proxycas", places.CAS_SERVER, _("Proxy mode is off"),
            _("Must be No: sign-ins fail with it."),
        ),
        (
            "logoutcas", places.CAS_SERVER, _("Signing out of Moodle signs out of the bridge"),
            _("Should be Yes."),
        ),
        (
            "field_lock_firstname, field_lock_lastname, field_lock_email, field_lock_idnumber", places.CAS_SERVER,
            _("People cannot change in Moodle what the bridge writes"),
            _("Must be Locked: otherwise the address in Moodle is not the one that was confirmed."),
        ),
    )  # fmt: skip
    for name, place, title, wanted in lines:
        where = f"{_(place)} ({name})" if place == places.AUTHENTICATION else f"{_(place)} ({plugin}/{name})"
        yield Subject(f"site:{site.name}", name.partition(",")[0], title, where).unseen(
            _("no page or call shows it"), wanted
        )
