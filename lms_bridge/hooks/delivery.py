"""Delivery of handovers: to each hook by POST, to each directory by `write_choices`.

No transaction is open while another system is waited for. What an account is like is read when it is sent, so the last
state arrives whatever the order. One system that does not answer is left alone until the next round, and holds up none
of the others.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

import requests
import structlog
from werkzeug.http import parse_date

from external_accounts import handover_deliveries, mailbox
from external_accounts.directory import DirectoryError, DirectoryUnavailable
from external_accounts.handover_deliveries import FIRST_RETRY, LEASE
from external_accounts.handovers import ACTIVATED, LISTING_CHANGED, MAILBOX_CHANGED
from external_accounts.institution_schema import Handover
from external_accounts.schema import Account
from lms_bridge.cas import outbound
from lms_bridge.hooks.message import body_of, headers_of, state_of
from lms_bridge.runtime import Runtime
from lms_bridge.settings.hooks import Hook

log = structlog.get_logger(__name__)

BATCH = 20
SPREAD = 100
PARALLEL = 8
LONGEST_ASKED_PAUSE = timedelta(days=1)
MAY_BE_TRIED_AGAIN = frozenset({408, 425, 429})
"""Answers of the 400s that say "later" and not "never"."""
CHOICES_CHANGED = frozenset({ACTIVATED, LISTING_CHANGED, MAILBOX_CHANGED})
"""What a directory has a place for."""
HOOK, DIRECTORY = "hook:", "directory:"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one try. An empty error is success."""

    error: str = ""
    permanent: bool = False
    away: bool = False
    """The system does not answer at all, or asks for a pause: the others of this round need not be tried."""
    pause: timedelta = timedelta()
    """What it asked for: not before this."""


def deliver_due(runtime: Runtime) -> int:
    """Tell whom there is to tell. Returns how many rows were looked at."""
    now = runtime.clock()
    with runtime.database.begin() as session:
        done = handover_deliveries.spread(
            session, lambda handover, account: targets_of(runtime, handover, account), now=now, limit=SPREAD
        )
    with runtime.database.read() as session:
        targets = handover_deliveries.due_targets(session, known_targets(runtime), now)
    if targets:
        with ThreadPoolExecutor(min(PARALLEL, len(targets)), thread_name_prefix="hooks") as pool:
            done += sum(pool.map(lambda target: _deliver_to(runtime, target, now), targets))
    return done


def known_targets(runtime: Runtime) -> list[str]:
    """Everybody the settings name."""
    hooks = [HOOK + hook.name for hook in runtime.settings.hooks]
    return [*hooks, *(DIRECTORY + name for name in runtime.directories)]


def targets_of(runtime: Runtime, handover: Handover, account: Account) -> list[str]:
    """Whom a handover is for."""
    wanted = [HOOK + one.name for one in runtime.settings.hooks if not one.events or handover.event in one.events]
    directory = runtime.directory_of(account)
    if directory is not None and handover.event in CHOICES_CHANGED and account.erased_at is None:
        wanted.append(DIRECTORY + directory.name)
    return wanted


def _deliver_to(runtime: Runtime, target: str, now: datetime) -> int:
    with runtime.database.begin() as session:
        left = handover_deliveries.lease_due(session, target, now=now, limit=BATCH)
    taken = len(left)
    while left:
        outcome = _try(runtime, left.pop(0), target, now + LEASE)
        if outcome.away:
            with runtime.database.begin() as session:
                due = runtime.clock() + max(FIRST_RETRY, outcome.pause)
                handover_deliveries.put_back(session, left, target, leased_until=now + LEASE, due=due)
            break
    return taken


def _try(runtime: Runtime, handover_id: int, target: str, leased_until: datetime) -> Outcome:
    now = runtime.clock()
    with runtime.database.begin() as session:
        handover = handover_deliveries.begin_try(session, handover_id, target, leased_until=leased_until, now=now)
        if handover is None:
            return Outcome()
        account = session.get_one(Account, handover.account_id)
        choices = mailbox.handed_on(session, account.id) if account.erased_at is None else {}
        state = state_of(account, choices, now)
        username, event = account.username, handover.event
        session.expunge(handover)
    try:
        if target.startswith(HOOK):
            hook = next(one for one in runtime.settings.hooks if HOOK + one.name == target)
            body = body_of(handover, state, now)
            secrets = [secret.get_secret_value() for secret in hook.secrets]
            outcome = post(runtime.http, hook, body, headers_of(handover, body, secrets, now), now=now)
        else:
            runtime.directories[target.removeprefix(DIRECTORY)].write_choices(username, choices)
            outcome = Outcome()
    except DirectoryError as error:
        # An entry that is missing may still be on its way there; a directory that takes no changes is the operator's.
        outcome = Outcome(type(error).__name__, away=isinstance(error, DirectoryUnavailable))
    except Exception as error:  # one that cannot be written must not hold up the others
        log.exception("hooks.delivery", target=target, handover=handover_id)
        outcome = Outcome(type(error).__name__)
    with runtime.database.begin() as session:
        handover_deliveries.end_try(
            session,
            handover_id,
            target,
            error=outcome.error,
            permanent=outcome.permanent,
            pause=outcome.pause,
            leased_until=now + LEASE,
            now=runtime.clock(),
        )
    log.info("hooks.delivery", outcome=outcome.error or "ok", target=target, event_name=event, handover=handover_id)
    return outcome


def post(http: requests.Session, hook: Hook, body: bytes, headers: dict[str, str], *, now: datetime) -> Outcome:
    """Send one delivery. Only a 2xx answer counts; its body is not read."""
    try:
        timeout = (min(hook.timeout, 5), hook.timeout)
        answer = outbound.call(http, "POST", hook.url, data=body, headers=headers, timeout=timeout)
    except (requests.RequestException, OSError) as error:
        return Outcome(f"no answer: {type(error).__name__}", away=True)
    status = answer.status
    if 200 <= status < 300:
        return Outcome()
    if 300 <= status < 400:
        return Outcome(f"answered {status}: redirects are not followed, write the last address into the settings")
    if 400 <= status < 500 and status not in MAY_BE_TRIED_AGAIN:
        return Outcome(f"answered {status}", permanent=True)
    pause = asked_pause(answer.retry_after, now)
    return Outcome(f"answered {status}", away=bool(pause), pause=pause)


def asked_pause(retry_after: str, now: datetime) -> timedelta:
    """What a `Retry-After` header asks for (RFC 9110 §10.2.3): seconds or a date. Nothing when it says nothing; never
    more than a day: a receiver that errs by years would never be told again."""
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        seconds = float(text)
    elif (moment := parse_date(text)) is not None:
        seconds = (moment - now).total_seconds()
    else:
        return timedelta()
    return timedelta(seconds=min(max(seconds, 0), LONGEST_ASKED_PAUSE.total_seconds()))
