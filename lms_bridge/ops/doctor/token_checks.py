"""The token, the functions it may call, and the user behind it."""

from __future__ import annotations

from collections.abc import Iterator

from lms_bridge.i18n import gettext as _
from lms_bridge.ops.doctor import needs, places
from lms_bridge.ops.doctor.findings import Finding, Subject, foreign
from lms_bridge.ops.doctor.site_facts import BY_FIELD, SITE_INFO, SiteFacts
from lms_bridge.sync import guard
from moodle_ws.errors import (
    AccessDenied,
    MoodleError,
    ServiceUserBlocked,
    TokenInvalid,
    Unavailable,
    UnknownOutcome,
    WebServiceDisabled,
)
from moodle_ws.site import SiteInfo


def check(facts: SiteFacts) -> Iterator[Finding]:
    if isinstance(facts.info, Unavailable | WebServiceDisabled | UnknownOutcome):
        return  # the line about the web service says it
    yield token(facts)
    if isinstance(facts.info, SiteInfo):
        yield functions(facts, facts.info)
        yield more_than_needed(facts, facts.info)
        yield from cohort_functions(facts, facts.info)
        yield service_user(facts, facts.info)
        yield administrator(facts, facts.info)
        yield canary(facts, facts.info)


def token(facts: SiteFacts) -> Finding:
    subject = Subject(facts.area, "token", _("The token is accepted"), f"sites.{facts.site.name}.token")
    error = facts.info
    match error:
        case SiteInfo():
            return subject.ok(_("as the user %(user)s", user=foreign(error.username)))
        case TokenInvalid():
            return subject.problem(
                _("Moodle does not know this token, or it has expired"),
                _(
                    "Make a new one without an end date, and write it in the settings: %(place)s",
                    place=_(places.TOKENS),
                ),
            )
        case ServiceUserBlocked():
            return _blocked(subject, error)
        case AccessDenied():
            return subject.problem(
                _("access denied; Moodle does not say for which reason"),
                _(
                    "One of these: the service is disabled, or lacks %(function)s; the user is not among its "
                    "authorised users, or has a date in “Valid until” (leave it empty); the token is limited to "
                    "another IP address; the role lacks %(capability)s.",
                    function=SITE_INFO,
                    capability="webservice/rest:use",
                )
                + f" {_(places.SERVICES)}",
            )
    return subject.problem(foreign(str(error)), _("Look at the Moodle server's log."))


def functions(facts: SiteFacts, info: SiteInfo) -> Finding:
    subject = Subject(
        facts.area, "functions", _("The functions the bridge calls are in the service"), _(places.SERVICES)
    )
    missing = info.missing_functions(guard.FUNCTIONS)
    if missing:
        return subject.problem(
            _("missing: %(names)s", names=_listed(missing)), _("Add them to the service (link “Functions”).")
        )
    return subject.ok(_listed(guard.FUNCTIONS))


def more_than_needed(facts: SiteFacts, info: SiteInfo) -> Finding:
    subject = Subject(
        facts.area,
        "functions_never_called",
        _("No function is there that the bridge must never call"),
        _(places.SERVICES),
    )
    surplus = needs.NEVER_FUNCTIONS & info.functions.keys()
    if surplus:
        return subject.warning(
            _("in the service: %(names)s", names=_listed(surplus)),
            _("Take them out: the bridge never calls them, and a stolen token could."),
        )
    return subject.ok(_("none"))


def cohort_functions(facts: SiteFacts, info: SiteInfo) -> Iterator[Finding]:
    """Needed where settings name cohorts; elsewhere said only if somebody began to offer them."""
    missing = info.missing_functions(guard.COHORT_FUNCTIONS)
    if missing == guard.COHORT_FUNCTIONS and not facts.site.cohorts:
        return
    subject = Subject(
        facts.area, "cohort_functions", _("The functions for cohorts are in the service"), _(places.SERVICES)
    )
    if missing and facts.site.cohorts:
        yield subject.problem(
            _("missing: %(names)s", names=_listed(missing)),
            _("Add them: settings name cohorts of this site, and without these functions no run begins."),
        )
    elif missing:
        yield subject.warning(
            _("missing: %(names)s", names=_listed(missing)),
            _("Add them if the bridge is to keep cohorts; otherwise take the others out."),
        )
    else:
        yield subject.ok(_listed(guard.COHORT_FUNCTIONS))


def service_user(facts: SiteFacts, info: SiteInfo) -> Finding:
    """Whether the user can work: seen on a call that validates a context, which site information does not."""
    subject = Subject(facts.area, "service_user", _("The service user can work"), _(places.USERS))
    error = facts.people.error
    if BY_FIELD not in info.functions:
        return subject.unseen(_("the function that would show it is missing"), _("Add the missing functions first."))
    if isinstance(error, ServiceUserBlocked):
        return _blocked(subject, error)
    if isinstance(error, MoodleError):
        return subject.problem(foreign(str(error)), _("Look at the Moodle server's log."))
    if info.policyagreed is False:
        # So it is for everybody on a site without a policy; it would stop the token on the day there is one.
        return subject.ok(_("nothing stands in its way today; it has agreed to no policy, should there be one one day"))
    return subject.ok(_("no password change, policy or profile stands in its way"))


def administrator(facts: SiteFacts, info: SiteInfo) -> Finding:
    subject = Subject(facts.area, "administrator", _("The service user is no administrator"), _(places.ADMINISTRATORS))
    if info.userissiteadmin:
        return subject.problem(
            _("%(user)s is a site administrator", user=foreign(info.username)),
            _("Use an ordinary user with a role of its own: a stolen token would open everything."),
        )
    if info.usercanchangeconfig:
        return subject.problem(
            _("%(user)s may change the site's configuration", user=foreign(info.username)),
            _("Take the capability %(capability)s from its role.", capability="moodle/site:config"),
        )
    if info.userissiteadmin is None:
        return subject.unseen(_("Moodle does not say"), _("The user must not be in this list."))
    return subject.ok(_("an ordinary user"))


def canary(facts: SiteFacts, info: SiteInfo) -> Finding:
    """The user by whom visibility is proved."""
    subject = Subject(
        facts.area, "canary", _("A known user is there to prove what the token sees"), f"sites.{facts.site.name}.canary"
    )
    name, people = facts.site.canary, facts.people
    choose = _("Name an ordinary user there, never changed, other than the service user.")
    if not name:
        if people.person is not None and not people.is_sample:
            return subject.warning(_("none is set; a user known to the bridge stood in"), choose)
        return subject.problem(
            _("none is set, and the bridge knows nobody on this site yet: no run over the whole site will begin"),
            choose,
        )
    if name == info.username:
        return subject.problem(_("it is the service user itself, who sees itself whatever its rights"), choose)
    if people.error is not None:
        return subject.unseen(_("nobody can be looked up"), choose)
    if people.by_username:
        return subject.ok(_("%(user)s is found by user name", user=name))
    if people.person is not None and people.person.username is None:
        return subject.unseen(
            _("user names are hidden from the token"), _("Mend the capabilities below, then run this again.")
        )
    if people.person is None:
        return subject.problem(
            _("%(user)s is not found, nor is anybody else", user=name),
            _("Mend the capabilities below first; then see whether this user exists."),
        )
    return subject.problem(
        _("other users are found, %(user)s is not: renamed, deleted, or never there", user=name), choose
    )


def _blocked(subject: Subject, error: ServiceUserBlocked) -> Finding:
    fixes = {
        "wsaccessusersuspended": _("Lift the suspension of this user in Moodle."),
        "wsaccessuserunconfirmed": _("Confirm this user in Moodle."),
        "wsaccessusernologin": _("Give this user the authentication method “Manual accounts”."),
        "wsaccessuserexpired": _("This user's password has expired: set a new one in Moodle."),
        "forcepasswordchangenotice": _(
            "Sign in once as this user and change the password, or untick “Force password change”."
        ),
        "sitepolicynotagreed": _("Sign in once as this user and agree to the site's policy."),
        "usernotfullysetup": _("Complete this user's profile: first name, last name, address, required fields."),
    }
    return subject.problem(
        _("blocked: %(code)s", code=foreign(error.code or "?")),
        fixes.get(error.code or "", _("Look at this user's account in Moodle.")),
    )


def _listed(names: frozenset[str] | set[str]) -> str:
    return ", ".join(sorted(names))
