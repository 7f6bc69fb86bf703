"""The people on both sides: are those the bridge believes in step there, and does an address mean one person."""

from __future__ import annotations

from collections.abc import Iterator

from lms_bridge.i18n import gettext as _
from lms_bridge.i18n import ngettext
from lms_bridge.ops.doctor import places
from lms_bridge.ops.doctor.database_facts import Mirrored
from lms_bridge.ops.doctor.findings import Finding, Subject
from lms_bridge.ops.doctor.site_facts import SiteFacts
from moodle_ws.site import SiteInfo
from moodle_ws.users import MoodleUser, same_email

MOST_NAMES = 5
"""How many of the users that were changed in Moodle a line names."""


def check(facts: SiteFacts) -> Iterator[Finding]:
    if not isinstance(facts.info, SiteInfo) or facts.people.error is not None:
        return
    yield auth_method(facts)
    yield mirrored_users(facts)
    yield from profile_fields(facts)
    yield email_case(facts)
    yield from shared_email(facts)
    yield shared_addresses(facts)


def auth_method(facts: SiteFacts) -> Finding:
    """A user with our auth value that can be read proves that the plugin is on the server's disk (versions page §2)."""
    method = facts.site.auth_method
    subject = Subject(
        facts.area,
        "auth_method",
        _("Users with the authentication “%(auth)s” can be read", auth=method),
        _(places.AUTHENTICATION),
    )
    install = _(
        "Install the CAS plugin on the Moodle server: from 5.0 on it is no longer part of Moodle. If it is there, look "
        "for users with a name that the site's own rules refuse."
    )
    if facts.people.poisoned:
        return subject.problem(
            ngettext(
                "Moodle refuses to show %(num)d of the users known to the bridge",
                "Moodle refuses to show %(num)d of the users known to the bridge",
                facts.people.poisoned,
            ),
            install,
        )
    people = [*facts.people.mirrored.values(), *([facts.people.person] if facts.people.person else [])]
    if any(user.auth == method for user in people):
        return subject.ok(_("one was read: the plugin is on the server"))
    return subject.unseen(
        _("no such user was met; whether the plugin is enabled, the line about the way to the bridge says"),
        _("If that line is ok, there is nothing to do here before the first person enters. If not:") + " " + install,
    )


def mirrored_users(facts: SiteFacts) -> Finding:
    subject = Subject(
        facts.area, "mirrored_users", _("Users the bridge believes in step are as it wrote them"), _(places.USERS)
    )
    sample = facts.rows.sample
    if not sample:
        return subject.ok(_("the bridge has nobody on this site yet"))
    different = [
        known.username
        for known in sample
        if _differs(known, facts.people.mirrored.get(known.moodle_id), facts.site.auth_method)
    ]
    seen = _("%(different)d of %(count)d looked up are not", different=len(different), count=len(sample))
    if different:
        names = ", ".join(different[:MOST_NAMES]) + (", …" if len(different) > MOST_NAMES else "")
        return subject.warning(
            _("%(seen)s: %(names)s", seen=seen, names=names),
            _("They were renamed, suspended, deleted or given another authentication in Moodle: see the guide."),
        )
    return subject.ok(seen)


def _differs(known: Mirrored, user: MoodleUser | None, method: str) -> bool:
    """Whether somebody else had a hand in this user. What the token may not see is not held against it."""
    if user is None or user.looks_deleted or user.suspended:
        return True
    return (user.username or known.username, user.auth or method) != (known.username, method)


def profile_fields(facts: SiteFacts) -> Iterator[Finding]:
    """Moodle silently ignores a value for a field that it does not have (ground truth §3): it must be seen again."""
    for field in facts.site.custom_fields:
        if field.mode == "ignore":
            continue
        subject = Subject(
            facts.area,
            f"profile_field:{field.shortname}",
            _("The custom profile field “%(name)s” exists", name=field.shortname),
            _(places.PROFILE_FIELDS),
        )
        fix = _("Add a field with exactly this short name, visible to the user of the token.")
        looked_at = [
            user.customfields or {}
            for known in facts.rows.sample
            if field.shortname in known.custom_fields
            and (user := facts.people.mirrored.get(known.moodle_id)) is not None
        ]
        if any(field.shortname in shown for shown in looked_at):
            yield subject.ok(_("Moodle shows it"))
        elif looked_at:
            seen = ngettext(
                "written for %(num)d person, and Moodle shows it for nobody",
                "written for %(num)d people, and Moodle shows it for nobody",
                len(looked_at),
            )
            yield subject.problem(seen, fix)
        else:
            yield subject.unseen(_("nobody to look at yet"), fix)


def email_case(facts: SiteFacts) -> Finding:
    """Case counts on PostgreSQL and not on MariaDB (MariaDB page §2); the bridge must write what it looks for."""
    subject = Subject(facts.area, "email_case", _("Addresses are written the same on both sides"), _(places.USERS))
    both = [
        (known.email, user.email)
        for known in facts.rows.sample
        if known.email and (user := facts.people.mirrored.get(known.moodle_id)) is not None and user.email
    ]
    cased = sum(1 for ours, theirs in both if ours != theirs and same_email(ours, theirs))
    if cased:
        return subject.warning(
            _("%(cased)d of %(count)d differ in capital letters alone", cased=cased, count=len(both)),
            _("Write the address in Moodle as it stands in the bridge: a database that minds the case finds nobody."),
        )
    habit = {
        True: _("this Moodle's database ignores case"),
        False: _("this Moodle's database minds the case"),
        None: _("whether case counts here was not seen"),
    }[facts.people.other_case]
    if not both:
        return subject.ok(_("nobody to compare yet; %(habit)s", habit=habit))
    return subject.ok(_("%(count)d compared; %(habit)s", count=len(both), habit=habit))


def shared_email(facts: SiteFacts) -> Iterator[Finding]:
    if facts.people.same_address > 1:
        yield Subject(
            facts.area,
            "shared_email",
            _("An address belongs to one Moodle user"),
            f"{_(places.AUTHENTICATION)} (allowaccountssameemail)",
        ).warning(
            _("the user looked up shares the address with %(count)d others", count=facts.people.same_address - 1),
            _("Set it to No, and give each user an address of their own."),
        )


def shared_addresses(facts: SiteFacts) -> Finding:
    subject = Subject(
        facts.area,
        "shared_addresses",
        _("No confirmed address belongs to two accounts with a user here"),
        _("The bridge's accounts"),
    )
    shared = facts.rows.shared_addresses
    if shared:
        return subject.warning(
            _("shared: %(addresses)s", addresses=", ".join(shared)),
            _("They may be one person with two accounts: settle which one stays, with the person."),
        )
    return subject.ok(_("none"))
