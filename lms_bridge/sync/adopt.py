"""Taking over the users a Moodle had before the bridge.

For each account that may enter and whose user is not ours yet, candidates are looked for in this order: Moodle id,
bridge key, ID number, user name, confirmed e-mail address. Exactly one candidate over all of them is a match; two are
a conflict, and so is one Moodle user that two accounts lay claim to. A user name or an address alone is not believed:
something else must agree (address, ID number, or family name), because `jdupont` may be somebody else.

Nothing else of the user changes than what the bridge owns: name, sign-in method, own fields. A suspension stays.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from external_accounts.schema import AccountId
from lms_bridge import gate
from lms_bridge.gate import MirrorState, Policy
from lms_bridge.i18n import N_
from lms_bridge.settings.moodle_sites import Site
from lms_bridge.sync.actions import Action, Conflict, Kind
from lms_bridge.sync.compare import PROTECTED, PROTECTED_IDS, Comparison, observed_value, protected_names
from lms_bridge.sync.desired import DesiredUser, Subject, bridge_key, desired_user, modes
from lms_bridge.sync.observed import ask
from lms_bridge.sync.plan import UNREADABLE, Plan, PlanFile
from lms_bridge.sync.source import Entry
from moodle_ws.batches import MOST_ROWS
from moodle_ws.client import MoodleClient
from moodle_ws.uniqueness import strict_key
from moodle_ws.users import LookupField, MoodleUser, same_email

LEVELS = (N_("moodle id"), N_("bridge key"), N_("ID number"), N_("user name"), N_("e-mail address"))
CERTAIN = frozenset(LEVELS[:3])
"""What alone names one user: our own marks, or the university's number."""
SAME = "same "
"""What the reason of a take-over begins with; the levels that agree follow."""

Candidates = Mapping[str, Sequence[MoodleUser]]
Noticed = Callable[[Sequence[Entry], Mapping[AccountId, Candidates]], None]
Taken = Callable[[Sequence[int]], frozenset[int]]


def make_plan(
    pages: Iterator[list[Entry]],
    client: MoodleClient,
    site: Site,
    policy: Policy,
    file: PlanFile,
    *,
    taken: Taken,
    own_user: int,
    clock: Callable[[], datetime],
    progress: Callable[[int], None] = lambda _read: None,
    noticed: Noticed = lambda _left, _found: None,
) -> Plan:
    """The plan of an adoption. `noticed` is told of the accounts that are left to a human, and whom look-ups found.

    Raises MoodleError when Moodle could not be read.
    """
    read = owned = without = 0
    claims: Counter[int] = Counter()
    rough = file.path.with_suffix(".rough")
    with ThreadPoolExecutor(site.parallel_calls) as pool, rough.open("w", encoding="utf-8") as lines:
        for page in pages:
            asked = []
            for entry in page:
                read += 1
                if entry.mirror.owned:
                    owned += 1
                elif gate.decide(entry.subject.facts, policy, clock()).admitted:
                    asked.append(entry)
                else:
                    without += 1  # taken over once they may enter
            found, unreadable = candidates(client, site, asked, pool)
            others = taken([user.id for levels in found.values() for users in levels.values() for user in users])
            left: list[Entry] = []
            for entry in asked:
                outcome = _decide(entry, found[entry.account_id], site, others, unreadable, own_user)
                if outcome is None:
                    continue
                if isinstance(outcome, Action):
                    claims[outcome.moodle_id or 0] += 1
                else:
                    left.append(entry)
                lines.write(outcome.line() + "\n")
            noticed(left, found)
            progress(read)
    _write_decided(rough, file, claims)
    rough.unlink()
    return Plan(
        site=site.name,
        path=file.path,
        checksum=file.checksum,
        counts=dict(file.counts),
        conflicts=file.conflicts,
        read=read,
        in_step=owned,
        without=without,
    )


def _write_decided(rough: Path, file: PlanFile, claims: Mapping[int, int]) -> None:
    """Copy the decisions; a user that two accounts lay claim to is neither's."""
    with rough.open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith('{"conflict"'):
                file.add(Comparison(MirrorState.CONFLICT, conflicts=(Conflict.from_line(line),)))
                continue
            action = Action.from_line(line)
            if claims[action.moodle_id or 0] > 1:
                problem = N_("two accounts lay claim to this Moodle user")
                conflict = Conflict(
                    action.account_id, action.username, action.moodle_id, problem, field="user", ours=action.username
                )
                file.add(Comparison(MirrorState.CONFLICT, conflicts=(conflict,)))
            else:
                file.add(Comparison(MirrorState.IN_STEP, (action,)))


def _decide(
    entry: Entry,
    candidates: Candidates,
    site: Site,
    taken: frozenset[int],
    unreadable: Mapping[AccountId, str],
    own_user: int,
) -> Action | Conflict | None:
    """Take over, leave to a human, or nothing to do."""
    facts = entry.subject.facts
    if entry.account_id in unreadable:
        theirs = unreadable[entry.account_id]
        return Conflict(facts.account_id, facts.username, None, UNREADABLE, field="user", theirs=theirs)
    mine = entry.mirror.moodle_id
    free = {
        level: [user for user in users if user.id not in taken or user.id == mine]
        for level, users in candidates.items()
    }
    matched = match(entry.subject, free, site, own_user=own_user)
    return _conflict(facts, matched) if isinstance(matched, tuple) else matched


def _conflict(facts: Any, found: tuple[str, Sequence[MoodleUser]]) -> Conflict:
    problem, users = found
    shown = (f"{user.id} {user.username or '?'} ({user.fullname or ''}, {user.auth or '?'})" for user in users)
    return Conflict(
        facts.account_id,
        facts.username,
        users[0].id if len(users) == 1 else None,
        problem,
        field="user",
        ours=f"{facts.username} ({facts.display_name})",
        theirs="; ".join(shown),
    )


def match(
    subject: Subject,
    candidates: Candidates,
    site: Site,
    *,
    taken: Set[int] = frozenset(),
    own_user: int = 0,
) -> Action | tuple[str, Sequence[MoodleUser]] | None:
    """The take-over of the one user who is meant; or why a human must look, with the users; or None for nobody.

    `candidates` holds what each level of `LEVELS` found, `taken` the ids of users that are other accounts'. A pure
    function.
    """
    people = {user.id: user for users in candidates.values() for user in users}
    if not people:
        return None
    if len(people) > 1:
        return N_("several Moodle users could be this person"), list(people.values())
    user = next(iter(people.values()))
    if user.id in taken:
        return N_("the Moodle user is another account's"), [user]
    levels = [level for level in LEVELS if candidates.get(level)]
    problem = _problem(user, site, own_user) or _doubt(subject, user, levels)
    if problem is not None:
        return problem, [user]
    return _take_over(subject, user, site, levels)


def _problem(user: MoodleUser, site: Site, own_user: int) -> str | None:
    if user.username is None or user.auth is None or user.suspended is None or user.email is None:
        return N_("Moodle does not show user name, sign-in method, suspension or address")
    if user.looks_deleted:
        return N_("the user was deleted in Moodle")
    if user.id in PROTECTED_IDS or user.id == own_user or user.username in protected_names(site):
        return PROTECTED
    if user.auth != site.auth_method and user.auth not in site.adopts:
        return N_("users with this sign-in method are not taken over")
    if user.confirmed is False:
        return N_("the user is not confirmed in Moodle")
    return None


def _doubt(subject: Subject, user: MoodleUser, levels: Sequence[str]) -> str | None:
    """What speaks against a match by user name or address alone."""
    if CERTAIN & set(levels) or len(levels) > 1:
        return None
    facts = subject.facts
    if facts.email and facts.email_confirmed_at and user.email and same_email(facts.email, user.email):
        agrees = levels[0] != "e-mail address" or _same_person(subject, user)
    else:
        agrees = _same_person(subject, user)
    return None if agrees else N_("only the user name or the address agrees: it may be somebody else")


def _same_person(subject: Subject, user: MoodleUser) -> bool:
    """Whether the family name agrees, accents and case aside; first and last name may be swapped in Moodle."""
    ours = strict_key(subject.facts.family_name)
    return bool(ours) and ours in (strict_key(user.lastname or ""), strict_key(user.firstname or ""))


def _take_over(subject: Subject, user: MoodleUser, site: Site, levels: Sequence[str]) -> Action:
    facts = subject.facts
    desired: DesiredUser = desired_user(subject, site, admitted=True)
    known = modes(site)
    after: dict[str, Any] = {"auth": desired.auth}
    if user.username != desired.username:
        after["username"] = desired.username
    for name, value in desired.fields.items():
        shown = observed_value(user, name)
        # A seed is for what is empty: what the site has put there stays.
        if (known[name] == "own" and shown != value) or (known[name] == "seed" and not shown and name == "idnumber"):
            after[name] = value
    before: dict[str, Any] = {name: observed_value(user, name) for name in after}
    if user.suspended:
        before["suspended"] = True
    reason = SAME + ", ".join(levels)
    return Action(Kind.ADOPT, facts.account_id, facts.username, facts.version, user.id, before, after, reason)


def candidates(
    client: MoodleClient, site: Site, entries: Sequence[Entry], pool: Executor
) -> tuple[dict[AccountId, dict[str, list[MoodleUser]]], dict[AccountId, str]]:
    """What each level finds for each account, 50 values a call; and the accounts whose look-up met a poison row."""
    asked: dict[tuple[str, LookupField], dict[str, list[AccountId]]] = defaultdict(lambda: defaultdict(list))
    for entry in entries:
        for level, column, value in _questions(entry, site):
            asked[level, column][value].append(entry.account_id)
    calls = [
        (level, column, values[start : start + MOST_ROWS])
        for (level, column), by_value in asked.items()
        for values in [list(by_value)]
        for start in range(0, len(values), MOST_ROWS)
    ]
    found: dict[AccountId, dict[str, list[MoodleUser]]] = {entry.account_id: {} for entry in entries}
    unreadable: dict[AccountId, str] = {}
    answers = pool.map(lambda call: ask(client, call[1], call[2]), calls)
    for (level, column, _), (users, poisoned) in zip(calls, answers, strict=True):
        accounts = asked[level, column]
        for value in poisoned:
            unreadable.update((account, f"{level} {value}") for account in accounts.get(value, ()))
        for user in users:
            for account in _askers(accounts, user, column):
                found[account].setdefault(level, []).append(user)
    return found, unreadable


def _questions(entry: Entry, site: Site) -> Iterator[tuple[str, LookupField, str]]:
    subject = entry.subject
    facts = subject.facts
    if entry.mirror.moodle_id is not None:
        yield LEVELS[0], "id", str(entry.mirror.moodle_id)
    number = desired_user(subject, site, admitted=True).fields.get("idnumber")
    if site.idnumber_from == "key":
        yield LEVELS[1], "idnumber", bridge_key(subject)
    elif number and number != "0":
        yield LEVELS[2], "idnumber", number
    yield LEVELS[3], "username", facts.username
    if facts.email and facts.email_confirmed_at:
        # PostgreSQL compares addresses with case: as written here, and as most systems write them.
        for written in dict.fromkeys((facts.email, facts.email.lower())):
            yield LEVELS[4], "email", written


def _askers(accounts: Mapping[str, Sequence[AccountId]], user: MoodleUser, column: LookupField) -> set[AccountId]:
    """Who asked for this user. MariaDB finds addresses in any case, and the client leaves them that."""
    value = str(getattr(user, column))
    if column != "email":
        return set(accounts.get(value, ()))
    return {account for asked, asking in accounts.items() if same_email(asked, value) for account in asking}
