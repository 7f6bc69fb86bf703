"""From a living session to a ticket: the gate, Moodle, the ticket, the way on. The one place where tickets are issued.

The ticket is issued at the last redirect (D47), after the account was brought into step with the Moodle behind the
service, and only when the gate admits the account at that moment (I1, I6).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import bindparam, select

from external_accounts.accounts import AccountFacts
from external_accounts.database import Prepared, read_time
from lms_bridge import gate
from lms_bridge.cas import tickets
from lms_bridge.gate import Decision, MirrorState
from lms_bridge.runtime import Runtime
from lms_bridge.schema import Mirror
from lms_bridge.settings.sections import Service
from lms_bridge.signin.sessions import CurrentSession
from lms_bridge.sync.mirrors import MirrorView, is_fresh
from lms_bridge.sync.step import bring_into_step

_MIRROR = Prepared(
    lambda: select(Mirror.state, Mirror.account_version, Mirror.seen_at, Mirror.suspended_by_us).where(
        Mirror.account_id == bindparam("account_id"), Mirror.site == bindparam("site")
    )
)


@dataclass(frozen=True, slots=True)
class Admission:
    """The gate's decision for a service, and the ticket when it admits."""

    decision: Decision
    ticket: str | None = None


def admit(runtime: Runtime, current: CurrentSession, service: Service, url: str, *, from_new_login: bool) -> Admission:
    """Ask the gate for this person and service; when it admits, issue the ticket for `url`."""
    decision = decide(runtime, current.facts, service, prepare=True)
    if not decision.admitted:
        return Admission(decision)
    ticket = tickets.issue(
        runtime.database,
        tickets.Issued(
            session_id=current.id,
            account_id=current.facts.account_id,
            service=url,
            service_name=service.name,
            from_new_login=from_new_login,
        ),
        now=runtime.clock(),
        lifetime=timedelta(seconds=runtime.settings.ticket_seconds),
    )
    return Admission(decision, ticket)


def decide(runtime: Runtime, facts: AccountFacts, service: Service, *, prepare: bool) -> Decision:
    """The gate's decision. With `prepare`, an admitted account is brought into step with Moodle first.

    Without it (home page, gateway look) Moodle is not contacted: what is not known to be in step counts as in step,
    because entering will prepare it.
    """
    now = runtime.clock()
    policy = policy_for(runtime, service)
    decision = gate.decide(facts, policy, now)
    if not decision.admitted or service.site is None:
        return decision
    mirror = _read_mirror(runtime, facts.account_id, service.site)
    state = mirror.state
    if prepare and not is_fresh(mirror, facts, runtime.sites.site(service.site), now):
        state = bring_into_step(runtime.database, runtime.sites, service.site, facts.account_id, policy, now=now)
    elif not prepare and state is MirrorState.PENDING:
        state = MirrorState.IN_STEP
    return gate.decide(facts, policy, now, mirror=state)


def policy_for(runtime: Runtime, service: Service) -> gate.Policy:
    charter = runtime.settings.charter
    return gate.policy_of(service, charter_version=charter.version if charter else None)


def _read_mirror(runtime: Runtime, account_id: int, site: str) -> MirrorView:
    """As `sync.step.read_mirror`, prepared: on the way to every ticket."""
    with runtime.database.driver() as connection:
        rows = _MIRROR.run(connection, runtime.database, {"account_id": account_id, "site": site})
    if not rows:
        return MirrorView()
    state, version, seen_at, suspended_by_us = rows[0]
    return MirrorView(
        state=MirrorState(state),
        account_version=version,
        seen_at=read_time(seen_at),
        suspended_by_us=bool(suspended_by_us),
    )
