"""The tables of the service: sessions, tickets, mirrors. They point at accounts; accounts do not know them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Boolean, ForeignKey, Index, Integer, String, Text, UniqueConstraint, false, text, true
from sqlalchemy import Identity as Generated
from sqlalchemy.orm import Mapped, mapped_column

from external_accounts.database import Base
from external_accounts.schema import AccountId


class SsoSession(Base):
    """A sign-in at the bridge (CAS: the ticket-granting ticket). Only the hash of the cookie is kept."""

    __tablename__ = "sso_sessions"

    id: Mapped[int] = mapped_column(Generated(), primary_key=True)
    secret_hash: Mapped[str] = mapped_column(String(64), unique=True)
    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"), index=True)
    identity_id: Mapped[int] = mapped_column(ForeignKey("identities.id"))
    issuer: Mapped[str] = mapped_column(String(40))
    upstream_ticket_hash: Mapped[str | None] = mapped_column(String(64), index=True)
    """Hash of the upstream CAS's ticket, by which its single logout names the session."""
    created_at: Mapped[datetime]
    authenticated_at: Mapped[datetime | None]
    """When the person last showed who they are. Empty: an upstream CAS let them in without asking."""
    seen_at: Mapped[datetime]
    """Moved forward at most once a minute, so that a page view does not cost a write."""
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str] = mapped_column(String(40), default="")
    network: Mapped[str] = mapped_column(String(50), default="")
    user_agent: Mapped[str] = mapped_column(String(200), default="")


class Ticket(Base):
    """A service ticket or proxy ticket. Only its hash is kept until it is spent.

    Once validated the text is kept too: single logout must name it (CAS-12), and it opens nothing any more.
    """

    __tablename__ = "tickets"
    __table_args__ = (Index("ix_tickets_logout", "logout_state", "logout_due_at"),)

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    session_id: Mapped[int] = mapped_column(ForeignKey("sso_sessions.id"), index=True)
    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"))
    service: Mapped[str] = mapped_column(Text)
    """Byte for byte as the browser brought it."""
    service_name: Mapped[str] = mapped_column(String(40))
    from_new_login: Mapped[bool] = mapped_column(Boolean)
    proxies: Mapped[list[str] | None] = mapped_column(JSON)
    """For a proxy ticket: the callbacks it came through, latest first. None for a service ticket."""
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    claimed_at: Mapped[datetime | None]
    validated: Mapped[bool] = mapped_column(Boolean, server_default=false())
    spent_ticket: Mapped[str | None] = mapped_column(String(64))
    logout_state: Mapped[str | None] = mapped_column(String(10))
    """None: nothing to tell. `pending`, `sent`, `failed`: the back-channel message of single logout."""
    logout_due_at: Mapped[datetime | None]
    logout_attempts: Mapped[int] = mapped_column(Integer, server_default="0")


class ProxyGrant(Base):
    """A proxy-granting ticket: lets a service ask for proxy tickets while the session lives."""

    __tablename__ = "proxy_grants"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    session_id: Mapped[int] = mapped_column(ForeignKey("sso_sessions.id"), index=True)
    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"))
    service_name: Mapped[str] = mapped_column(String(40))
    callbacks: Mapped[list[str]] = mapped_column(JSON)
    """The chain of callbacks, latest first."""
    issued_at: Mapped[datetime | None]
    """Empty for those of before this was noted."""
    expires_at: Mapped[datetime]


class Mirror(Base):
    """What we last wrote to a Moodle site for an account, and what we last saw there."""

    __tablename__ = "mirrors"
    __table_args__ = (
        UniqueConstraint("account_id", "site"),
        UniqueConstraint("site", "moodle_id"),
        # What every process asks for each second or two, and mostly finds nothing.
        Index("ix_mirrors_due", "site", sqlite_where=text("due = 1"), postgresql_where=text("due")),
        Index(
            "ix_mirrors_recheck_at",
            "site",
            "recheck_at",
            sqlite_where=text("recheck_at IS NOT NULL"),
            postgresql_where=text("recheck_at IS NOT NULL"),
        ),
        # What a human must look at.
        Index("ix_mirrors_problem", "id", sqlite_where=text("problem <> ''"), postgresql_where=text("problem <> ''")),
        Index(
            "ix_mirrors_sign_out_pending",
            "id",
            sqlite_where=text("sign_out_pending = 1"),
            postgresql_where=text("sign_out_pending"),
        ),
    )

    id: Mapped[int] = mapped_column(Generated(), primary_key=True)
    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"))
    site: Mapped[str] = mapped_column(String(40))
    moodle_id: Mapped[int | None]
    state: Mapped[str] = mapped_column(String(20), default="pending")
    """`pending` (to be written), `in_step`, `conflict` (a human must look), `suspended_elsewhere`."""
    owned: Mapped[bool] = mapped_column(Boolean, server_default=false())
    """Whether the bridge created the user or was told to take it over: only then fields are written (I7)."""
    suspended_by_us: Mapped[bool] = mapped_column(Boolean, server_default=false())
    written: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    """Field by field, the values of the last write that Moodle acknowledged."""
    account_version: Mapped[int] = mapped_column(Integer, default=0)
    """`accounts.version` that `written` stands for."""
    seen_at: Mapped[datetime | None]
    """When a look-up last found exactly this user, in step (I12)."""
    sign_out_pending: Mapped[bool] = mapped_column(Boolean, server_default=false())
    """The person signed out everywhere: Moodle's sessions are to be ended (suspend and lift, see the sync room)."""
    problem: Mapped[str] = mapped_column(String(200), default="")
    """Why a human must look, or why the last try failed; empty when all is well."""
    conflicts: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    """Fields that changed here and in Moodle: `{"field", "ours", "theirs"}` each. Nothing was written."""
    absent_runs: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    """Complete runs in a row that did not find the user in Moodle: one is a doubt, two are a conflict."""
    due: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    """To be brought into step. Set by a trigger in the transaction that changes the account (migration 0002)."""
    next_try_at: Mapped[datetime | None]
    """Not before this: the last try failed, or the guard holds the row."""
    tries: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    recheck_at: Mapped[datetime | None]
    """When the gate's answer may change by itself: a suspension or the rights end."""
    leased_until: Mapped[datetime | None]
    """A worker has the row until then; a killed one's is taken over."""


class SiteState(Base):
    """What is known of a Moodle site as a whole."""

    __tablename__ = "site_states"

    site: Mapped[str] = mapped_column(String(40), primary_key=True)
    active: Mapped[bool] = mapped_column(Boolean, default=True, server_default=true())
    """Whether settings name the site. Accounts get a mirror row for each active site when they are made."""
    release: Mapped[str] = mapped_column(String(20), default="", server_default="")
    """Branch (`4.5`) that the last run accepted; another one stops the next run."""
    cohort_ids: Mapped[dict[str, int]] = mapped_column(JSON, default=dict)
    """Moodle's ids of our cohorts, by ID number."""
    run_lease: Mapped[str] = mapped_column(String(40), default="", server_default="")
    run_lease_until: Mapped[datetime | None]
    """One run at a time; a dead run's lease ends by itself."""
    complete_run_at: Mapped[datetime | None]
    held_since: Mapped[datetime | None]
    """Since when the guard holds changes back from the continuous worker."""
    held_reason: Mapped[str] = mapped_column(String(300), default="", server_default="")
    failing_since: Mapped[datetime | None]
    """Since when Moodle has not done what was asked."""
    last_error: Mapped[str] = mapped_column(String(300), default="", server_default="")
    nightly_day: Mapped[str] = mapped_column(String(10), default="", server_default="")
    """The local day (`2026-09-01`) whose nightly run was begun."""


class WhyRequest(Base):
    """Somebody asks why they cannot enter. Whether anybody is meant, the background work looks (I3)."""

    __tablename__ = "why_requests"

    id: Mapped[int] = mapped_column(Generated(), primary_key=True)
    sought: Mapped[str] = mapped_column(String(320))
    """What was typed, in the form of `external_accounts.recovery.sought_text`."""
    locale: Mapped[str] = mapped_column(String(10))
    may_mail: Mapped[bool] = mapped_column(Boolean)
    """Whether a mail was left in the budget of what was typed."""
    asked_at: Mapped[datetime]
    due_at: Mapped[datetime] = mapped_column(index=True)


class SyncRun(Base):
    """One run over a whole site that was meant to write."""

    __tablename__ = "sync_runs"

    id: Mapped[int] = mapped_column(Generated(), primary_key=True)
    site: Mapped[str] = mapped_column(String(40), index=True)
    kind: Mapped[str] = mapped_column(String(10))
    """`apply`, `adopt` or `nightly`."""
    actor: Mapped[str] = mapped_column(String(120), default="")
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str] = mapped_column(String(20), default="running")
    """`running`, `done`, `nothing`, `stopped` (by the guard), `partial`, `unreachable`."""
    checksum: Mapped[str] = mapped_column(String(64), default="")
    counts: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    problem: Mapped[str] = mapped_column(String(500), default="")


class JournalEntry(Base):
    """One write to Moodle: written down before it is made, settled after it."""

    __tablename__ = "sync_journal"
    __table_args__ = (Index("ix_sync_journal_open", "site", "state"), Index("ix_sync_journal_at", "site", "kind", "at"))

    id: Mapped[int] = mapped_column(Generated(), primary_key=True)
    run_id: Mapped[int | None] = mapped_column(ForeignKey("sync_runs.id"))
    """None: written for one account, at a sign-in or by the continuous worker."""
    site: Mapped[str] = mapped_column(String(40))
    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"), index=True)
    moodle_id: Mapped[int | None]
    kind: Mapped[str] = mapped_column(String(10))
    before: Mapped[dict[str, Any]] = mapped_column(JSON)
    after: Mapped[dict[str, Any]] = mapped_column(JSON)
    reason: Mapped[str] = mapped_column(String(60), default="")
    state: Mapped[str] = mapped_column(String(10))
    """`intended`, then `done`, `refused`, or `lost` (looked up afterwards: it was not made)."""
    code: Mapped[str] = mapped_column(String(80), default="")
    """Moodle's code of a refusal."""
    at: Mapped[datetime]
    settled_at: Mapped[datetime | None]


class MoodleMerge(Base):
    """What a link did at one Moodle: gave the kept account the other one's user, or left two users of one person, whose
    course work an administrator of that Moodle moves."""

    __tablename__ = "moodle_merges"
    __table_args__ = (UniqueConstraint("link_id", "site"), Index("ix_moodle_merges_state", "site", "state"))

    id: Mapped[int] = mapped_column(Generated(), primary_key=True)
    link_id: Mapped[int] = mapped_column(ForeignKey("account_links.id"))
    site: Mapped[str] = mapped_column(String(40))
    kept_moodle_id: Mapped[int] = mapped_column(Integer)
    other_moodle_id: Mapped[int] = mapped_column(Integer)
    """The same as the kept one where only the other account had a user."""
    kept_username: Mapped[str] = mapped_column(String(100))
    """As it is called once both writes are made."""
    other_username: Mapped[str] = mapped_column(String(100))
    state: Mapped[str] = mapped_column(String(10))
    """`open`, `moved` (the user itself came over: no work), `done` (somebody says that the work was moved) or `void`
    (the link was undone)."""
    made_at: Mapped[datetime]
    done_at: Mapped[datetime | None]
    done_by: Mapped[str] = mapped_column(String(120), default="")


class StrayUser(Base):
    """A user of a Moodle who may be the person of an account that has another user there, or none. Nothing is written
    to it (`lms_bridge.sync.strays`)."""

    __tablename__ = "stray_users"
    __table_args__ = (
        UniqueConstraint("account_id", "site", "moodle_id"),
        Index("ix_stray_users_state", "state", "id"),
    )

    id: Mapped[int] = mapped_column(Generated(), primary_key=True)
    account_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"))
    site: Mapped[str] = mapped_column(String(40))
    moodle_id: Mapped[int] = mapped_column(Integer)
    username: Mapped[str] = mapped_column(String(100))
    fullname: Mapped[str] = mapped_column(String(200))
    facts: Mapped[list[str]] = mapped_column(JSON, default=list)
    """By what a look-up found it: `email`, `idnumber`, `username`."""
    state: Mapped[str] = mapped_column(String(10))
    """`open`, or `dismissed` (by the help desk)."""
    found_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str] = mapped_column(String(120), default="")


class BulkRun(Base):
    """One act on many accounts: looked at first, then carried out by the background work just as it was shown."""

    __tablename__ = "bulk_runs"
    __table_args__ = (Index("ix_bulk_runs_state", "state", "id"),)

    id: Mapped[int] = mapped_column(Generated(), primary_key=True)
    act: Mapped[str] = mapped_column(String(20))
    """One of `lms_bridge.helpdesk.bulk_runs.ACTS`."""
    reason: Mapped[str] = mapped_column(String(500))
    until: Mapped[str] = mapped_column(String(10), default="")
    """The last day, like `2027-06-30`; empty: none."""
    state: Mapped[str] = mapped_column(String(10))
    """`previewed`, `running`, `done` or `stopped`."""
    made_by: Mapped[str] = mapped_column(String(120))
    made_by_id: Mapped[AccountId] = mapped_column(ForeignKey("accounts.id"))
    network: Mapped[str] = mapped_column(String(50), default="")
    made_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    undoes_id: Mapped[int | None] = mapped_column(ForeignKey("bulk_runs.id"))


class BulkLine(Base):
    """One account of such a run, as it stood when it was looked at, and what became of it."""

    __tablename__ = "bulk_lines"
    __table_args__ = (Index("ix_bulk_lines_run_id", "run_id", "state", "id"),)

    id: Mapped[int] = mapped_column(Generated(), primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("bulk_runs.id"))
    typed: Mapped[str] = mapped_column(String(254))
    account_id: Mapped[AccountId | None] = mapped_column(ForeignKey("accounts.id"))
    version: Mapped[int] = mapped_column(Integer, default=0)
    """The account's when it was looked at: with another one, nothing is done for it."""
    state: Mapped[str] = mapped_column(String(10))
    """`ready`, `done`, `refused` or `changed`."""
    refusal: Mapped[str] = mapped_column(String(40), default="")
    at: Mapped[datetime | None]


class NightlyWork(Base):
    """The night of which a nightly job was begun last: one process begins it."""

    __tablename__ = "nightly_work"

    job: Mapped[str] = mapped_column(String(40), primary_key=True)
    day: Mapped[str] = mapped_column(String(10))
    """The university's calendar day, like `2026-11-25`."""
