"""The capabilities, one by one, as far as the fields that come back let them be told apart (ground truth §3 and §6).

Rights to write cannot be seen without writing. What the bridge wrote before is said as what it is: a trace of the past.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from lms_bridge.i18n import gettext as _
from lms_bridge.ops.doctor import needs, places, words
from lms_bridge.ops.doctor.findings import Finding, Subject, foreign
from lms_bridge.ops.doctor.site_facts import BY_FIELD, SiteFacts
from moodle_ws.errors import MissingCapability, MoodleError
from moodle_ws.site import SiteInfo

IN_FULL = ("username", "auth", "confirmed")
"""Fields that are never empty and come with `viewalldetails` alone."""


def check(facts: SiteFacts, now: datetime) -> Iterator[Finding]:
    info = facts.info
    if not isinstance(info, SiteInfo) or BY_FIELD not in info.functions or facts.people.error is not None:
        return
    yield Subject(facts.area, "webservice/rest:use", _right("webservice/rest:use"), _(places.ROLES)).ok(
        _("calls are answered")
    )
    yield view_details(facts)
    yield view_all_details(facts)
    yield identity(facts)
    yield names(facts, info)
    yield hidden_fields(facts)
    yield look_ups(facts)
    yield from writing(facts, now)
    yield from cohorts(facts)


def view_details(facts: SiteFacts) -> Finding:
    subject = _subject(facts, "moodle/user:viewdetails")
    if facts.people.person is None:
        return subject.problem(
            _("nobody but the service user itself is visible"),
            _allow() + " " + _("See that the role is assigned: %(place)s", place=_(places.ROLE_HOLDERS)),
        )
    return subject.ok(_("other users are visible"))


def view_all_details(facts: SiteFacts) -> Finding:
    subject = _subject(facts, "moodle/user:viewalldetails")
    person = facts.people.person
    if person is None:
        return _not_before(subject, "moodle/user:viewdetails")
    missing = [name for name in IN_FULL if getattr(person, name) is None]
    if missing:
        return subject.problem(_("hidden: %(names)s", names=", ".join(missing)), _allow())
    return subject.ok(_("visible: %(names)s", names=", ".join(IN_FULL)))


def identity(facts: SiteFacts) -> Finding:
    """One verdict for two causes: a missing right and an e-mail that is not among the identity fields look alike."""
    where = _role_or_policy("showuseridentity")
    right = "moodle/site:viewuseridentity"
    subject = Subject(facts.area, right, _right(right), where)
    person = facts.people.person
    if person is None:
        return _not_before(subject, "moodle/user:viewdetails")
    if person.email is None:
        return subject.problem(
            _("e-mail addresses are hidden"),
            _("Allow it in the role, and tick the e-mail address in “Show user identity”: either may be missing."),
        )
    return subject.ok(_("e-mail addresses are visible"))


def names(facts: SiteFacts, info: SiteInfo) -> Finding:
    subject = _subject(facts, "moodle/site:viewfullnames")
    person = facts.people.person
    if person is None:
        return _not_before(subject, "moodle/user:viewdetails")
    if person.firstname is None or person.lastname is None:
        return subject.problem(_("first and last names are hidden"), _allow())
    if info.branch is not None and info.branch >= needs.NAMES_NEED_NO_RIGHT:
        return subject.ok(_("names are visible; from Moodle 4.5 on without this capability"))
    return subject.ok(_("names are visible"))


def hidden_fields(facts: SiteFacts) -> Finding:
    where = _role_or_policy("hiddenuserfields")
    right = "moodle/user:viewhiddendetails"
    subject = Subject(facts.area, right, _right(right), where)
    person = facts.people.person
    if person is None:
        return _not_before(subject, "moodle/user:viewdetails")
    if person.suspended is None:
        return subject.problem(
            _("the suspension of users is hidden by “Hide user fields”"),
            _("Allow it in the role, or untick the suspension there: the bridge would take nobody for suspended."),
        )
    return subject.unseen(
        _("nothing the bridge needs is hidden today, so this right is not proved"),
        _("Allow it in the role, for the day somebody hides a field."),
    )


def look_ups(facts: SiteFacts) -> Finding:
    """Whether a person whose fields are visible is also found by them: the bridge relies on it."""
    subject = Subject(
        facts.area, "look_ups", _("People are found by id, user name, address and number"), _(places.ROLES)
    )
    person = facts.people.person
    if person is None:
        return subject.unseen(_("nobody to look for"), _("Mend the capabilities above, then run this again."))
    lost = [name for name, found in facts.people.found.items() if not found]
    if lost:
        return subject.problem(
            _("visible but not found by: %(names)s", names=", ".join(lost)),
            _("A capability is missing, or the row is unfit for the site's own rules: look at this user in Moodle."),
        )
    found = ", ".join(facts.people.found)
    if "idnumber" in facts.people.found:
        return subject.ok(_("found by %(names)s", names=found))
    return subject.ok(_("found by %(names)s; the user looked up has no idnumber", names=found))


def writing(facts: SiteFacts, now: datetime) -> Iterator[Finding]:
    for right, what in (
        ("moodle/user:create", _("Create users")),
        ("moodle/user:update", _("Update user profiles")),
    ):
        subject = _subject(facts, right)
        fix = _("Look in the role of the service user: “%(name)s” must be allowed.", name=what)
        if facts.rows.last_write is None:
            yield subject.unseen(_("cannot be seen without writing, and the bridge has not written here yet"), fix)
        else:
            yield subject.unseen(
                _(
                    "cannot be seen without writing; a user made by the bridge was in step %(age)s ago",
                    age=words.age(facts.rows.last_write, now),
                ),
                fix,
            )


def cohorts(facts: SiteFacts) -> Iterator[Finding]:
    """Only where the functions are offered: the line about them says when they are missing."""
    outcome = facts.cohorts
    if outcome is None:
        return
    subject = _subject(facts, "moodle/cohort:view")
    if isinstance(outcome, MissingCapability):
        seen, fix = _("cohorts cannot be listed"), _("Allow it if the bridge is to keep cohorts.")
        yield subject.problem(seen, fix) if facts.site.cohorts else subject.warning(seen, fix)
    elif isinstance(outcome, MoodleError):
        yield subject.warning(foreign(str(outcome)), _("Look at the Moodle server's log."))
    else:
        yield subject.ok(_("cohorts can be listed"))
    yield _subject(facts, "moodle/cohort:assign, moodle/cohort:manage").unseen(
        _("cannot be seen without writing"), _("Allow both if the bridge is to keep cohorts.")
    )


def _subject(facts: SiteFacts, right: str) -> Subject:
    return Subject(facts.area, right, _right(right), _(places.ROLES))


def _role_or_policy(setting: str) -> str:
    return _(
        "%(role)s; %(policy)s (%(setting)s)",
        role=_(places.ROLES),
        policy=_(places.USER_POLICIES),
        setting=setting,
    )


def _right(right: str) -> str:
    return _("Capability %(name)s", name=right)


def _allow() -> str:
    return _("Allow it in the role of the service user, in the system context.")


def _not_before(subject: Subject, right: str) -> Finding:
    return subject.unseen(
        _("nobody is visible yet"), _("Allow %(capability)s first, then run this again.", capability=right)
    )
