"""Imports as the settings rule them, and their words: what the command line and the API share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.duplicates import Fact
from external_accounts.import_rows import REASON_HEADERS, Column, Problem, Reason
from external_accounts.import_runs import Limits, Run
from external_accounts.imports import Decision, Limit, Note, Rules, Stop
from external_accounts.local_calendar import end_of_day
from external_accounts.name_index import Alike
from external_accounts.spreadsheets import plain
from lms_bridge.i18n import N_
from lms_bridge.i18n import gettext as _
from lms_bridge.runtime import Runtime
from lms_bridge.settings.people import Share
from lms_bridge.signin import sessions

COLUMNS: dict[Column, str] = {
    "external_key": N_("key of the staff office"),
    "given_name": N_("given name"),
    "family_name": N_("family name"),
    "birth_name": N_("birth name"),
    "profile": N_("profile"),
    "private_email": N_("private address"),
    "institutional_email": N_("institutional address"),
    "username": N_("user name"),
    "unit": N_("department"),
    "rights_end": N_("end of rights"),
    "sponsor": N_("sponsor"),
    "language": N_("language"),
    "homonym_checked": N_("homonym checked"),
}
REASONS: dict[Reason, str] = {
    "missing": N_("%(column)s: nothing is written there"),
    "unreadable": N_("%(column)s: “%(value)s” cannot be read"),
    "too_long": N_("%(column)s: longer than 100 characters"),
    "unknown": N_("%(column)s: “%(value)s” is not known here"),
    "twice": N_("%(column)s: “%(value)s” stands in several lines"),
    "too_many_cells": N_("the line has more cells than the first one"),
    "joined": N_(
        "%(column)s: the person joined this account to “%(value)s”: give that one's key, or take the line out"
    ),
    "taken": N_("%(column)s: “%(value)s” is or was somebody else's"),
    "not_here": N_("%(column)s: “%(value)s” is not a user name that this profile may have"),
    "cannot_change": N_("%(column)s: the account has another one, and “%(value)s” cannot replace it here"),
    "past": N_("%(column)s: %(value)s is over"),
    "homonym": N_("may have an account already (%(value)s): look, then write “oui” under homonyme_verifie"),
    "no_name_left": N_("%(column)s: none can be made of this name; write one"),
    "changed_meanwhile": N_("the account changed meanwhile; run the import again"),
}
NOTES: dict[Note, str] = {
    "taken_over": N_("had an account already: it now comes from the file"),
    "address_confirmed": N_("the person confirmed another address: it stays"),
    "homonym_accepted": N_("somebody checked that it is no homonym"),
    "homonym_near": N_("is a little like an account there is"),
    "ends_now": N_("no longer has rights: ends now"),
    "ended": N_("their rights have ended, and the file gives no later end"),
}
FACTS: dict[Fact, str] = {
    "same_names": N_("same names"),
    "swapped_names": N_("given name and family name swapped"),
    "birth_name": N_("same given name, one's birth name is the other's name"),
    "part_of_family_name": N_("same given name, a part of the family name"),
    "part_of_given_name": N_("same family name, a part of the given name"),
    "initial": N_("same family name and initial"),
    "same_birth_name": N_("same birth name"),
    "other_birth_name": N_("another birth name"),
    "same_person_key": N_("same number at the university"),
    "same_confirmed_address": N_("same confirmed e-mail address"),
    "same_address": N_("same e-mail address"),
    "claimed_address": N_("same e-mail address, which only one of the two has confirmed"),
    "same_unit": N_("same department"),
}
STOPS = {
    "too_many_ends": N_("%(count)d accounts would end, of %(known)d that come from files; %(limit)d are allowed"),
    "too_many_renames": N_(
        "%(count)d accounts would get another name, of %(known)d that come from files; %(limit)d are allowed"
    ),
    "incomplete": N_("%(count)d lines name nobody: whoever is missing may be one of them"),
    "empty": N_("the file has no lines: nobody is ended for that"),
}


def reason_header() -> str:
    """The header of the column of reasons, in the reader's language."""
    return _("reason")


def is_reason(header: str) -> bool:
    """Whether a column is one of reasons: a corrected file comes back with it."""
    return plain(header) in REASON_HEADERS


def rules(runtime: Runtime, *, default_profile: str | None = None, accepted: Iterable[str] = ()) -> Rules:
    settings = runtime.settings
    return Rules(
        now=runtime.clock(),
        profiles={profile.name: profile.policy for profile in settings.profiles},
        last_moment=lambda day: end_of_day(day, settings.zone),
        local_names=re.compile(settings.local.username_pattern),
        username_form=settings.imports.username_form,
        local_username_form=settings.registration.username_form,
        homonym_threshold=settings.imports.homonym_threshold,
        language=settings.default_language,
        default_profile=default_profile,
        accepted=frozenset(accepted),
    )


def limits(runtime: Runtime) -> Limits:
    chosen = runtime.settings.imports
    return Limits(_limit(chosen.ended), _limit(chosen.renamed))


def _limit(share: Share) -> Limit:
    return Limit(share.percent, share.floor)


def run(runtime: Runtime, chosen: Rules, origin: audit.Origin) -> Run:
    def end_sessions(session: Session, account_id: int) -> None:
        sessions.end_all_of(session, account_id, reason="rights ended", now=chosen.now, origin=origin)

    return Run(runtime.database, runtime.directories, chosen, origin, end_sessions)


def problem_words(problem: Problem) -> str:
    """One problem, in the reader's language."""
    column = _(COLUMNS[problem.column]) if problem.column else ""
    return _(REASONS[problem.reason], column=column, value=problem.value)


def reason_words(problems: Sequence[Problem]) -> str:
    return "; ".join(problem_words(problem) for problem in problems)


def note_words(decision: Decision) -> list[str]:
    return [_(NOTES[note]) for note in decision.notes]


def fact_words(facts: Sequence[Fact]) -> str:
    """Why two records are alike, in the reader's language."""
    return ", ".join(_(FACTS[fact]) for fact in facts)


def alike_words(alike: Alike) -> str:
    """Whom somebody is like, and why."""
    return f"{alike.username} ({alike.display_name}): {alike.likeness.points} – {fact_words(alike.likeness.facts)}"


def alike_document(alike: Alike) -> dict[str, Any]:
    """The same for programs."""
    return {"username": alike.username, "points": alike.likeness.points, "facts": list(alike.likeness.facts)}


def stop_words(stop: Stop) -> str:
    return _(STOPS[stop.name], count=stop.count, known=stop.known, limit=stop.limit)
