"""What the help desk's page says of one account, section by section: values for its template, no decision of its own.

No secret is among them: of a proof its purpose and times, of a session its device, never what opens either.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from external_accounts import engagements, mailbox
from external_accounts.accounts import AccountFacts, Person
from external_accounts.identities import LOCAL
from external_accounts.institution_schema import ActivationLetter, Extension
from external_accounts.linking_schema import AccountLink, AddressCorrection, LikelyPair
from external_accounts.local_calendar import end_of_retention
from external_accounts.proofs import CODE_ATTEMPTS
from external_accounts.schema import Account, Engagement, LocalPassword, OutboxMail, Proof, Registration
from lms_bridge.cas.admission import decide
from lms_bridge.gate import is_suspended
from lms_bridge.helpdesk import words
from lms_bridge.helpdesk.members import Member
from lms_bridge.helpdesk.start import account_url
from lms_bridge.helpdesk.words import marked, said, short
from lms_bridge.i18n import current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.runtime import Runtime
from lms_bridge.schema import Mirror
from lms_bridge.selfservice.account.addresses import ROLES, of_account
from lms_bridge.selfservice.account.open_sessions import open_sessions
from lms_bridge.selfservice.home import profile_label
from lms_bridge.settings.sections import text_in
from lms_bridge.signin.devices import device_in_words, network_in_words

LATEST = 10
"""Rows of what only the last ones of are shown."""


def _at(moment: datetime | None) -> str | None:
    return short(moment) if moment is not None else None


def _name(account: Account) -> str:
    return Person(account.given_name, account.family_name).display_name or account.username


def _linked(account: Account | None, who: Member) -> dict[str, str | None] | None:
    """Another account as this one names it; its page only for whoever sees it."""
    if account is None:
        return None
    return {"name": _name(account), "url": account_url(account.id) if who.may_see(account.unit) else None}


def verdicts(bridge: Runtime, facts: AccountFacts) -> list[dict[str, Any]]:
    """For each application: whether the gate admits the account now, and everything that stands in the way."""
    found = []
    for service in bridge.registry:
        obstacles = decide(bridge, facts, service, prepare=False).obstacles
        found.append(
            {
                "label": text_in(service.label, current_locale()),
                "admitted": not obstacles,
                "obstacles": words.in_words(obstacles),
            }
        )
    return found


def person(session: Session, bridge: Runtime, account: Account, facts: AccountFacts, who: Member) -> dict[str, Any]:
    """Who it is, and the dates of the account's life."""
    now = bridge.clock()
    policy = bridge.settings.profile(account.profile).policy
    end, months = account.rights_end_at, policy.retention_months
    kept = end_of_retention(end, months, bridge.settings.zone) if end and months is not None else None
    sponsor = session.get(Account, account.sponsor_id) if account.sponsor_id else None
    password = session.get(LocalPassword, account.id)
    return {
        "number": account.id,
        "key": account.key,
        "username": account.username,
        "given_name": account.given_name,
        "family_name": account.family_name,
        "birth_name": account.birth_name,
        "profile": profile_label(bridge, account.profile, current_locale()) or account.profile,
        "unit": account.unit,
        "external_key": account.external_key,
        "sponsor": _linked(sponsor, who),
        "created_at": _at(account.created_at),
        "activated_at": _at(account.activated_at),
        "last_sign_in_at": _at(account.last_sign_in_at),
        "password_set_at": _at(password.set_at) if password else None,
        "directory": bridge.held_in(account),
        "rights_end_at": _at(end),
        "rights_over": end is not None and end <= now,
        "kept_until": _at(kept),
        "suspended": is_suspended(facts, now),
        "suspended_at": _at(account.suspended_at),
        "suspended_until": _at(account.suspended_until),
        "suspension_reason": account.suspension_reason,
        "erasure_asked_at": _at(account.erasure_asked_at),
        "erasure_due_at": _at(account.erasure_due_at),
        "erased_at": _at(account.erased_at),
    }


def addresses(session: Session, account: Account) -> list[dict[str, Any]]:
    """Each address, whether it counts, since when and by what, and what came back from it."""
    rows = of_account(session, account.id)
    returned = session.execute(
        select(OutboxMail.recipient, func.count(), func.max(OutboxMail.bounced_at))
        .where(OutboxMail.account_id == account.id, OutboxMail.bounced_at.is_not(None))
        .group_by(OutboxMail.recipient)
    ).all()
    bounces = {recipient.lower(): (count, last) for recipient, count, last in returned}
    waiting = {
        one.address_id: one.new_email
        for one in session.scalars(
            select(AddressCorrection).where(
                AddressCorrection.account_id == account.id, AddressCorrection.state == "waiting"
            )
        )
    }
    return [
        {
            "email": row.email,
            "role": _("Main address") if row.is_primary else said(ROLES, row.role),
            "confirmed_on": _at(row.confirmed_at),
            "confirmed_by": _("by a link or a code") if row.confirmed_by == "proof" else row.confirmed_by,
            "lost_at": _at(row.lost_at),
            "lost_reason": _("our messages come back") if row.lost_reason == "bounce" else row.lost_reason,
            "bounces": bounces.get(row.email_key, (0, None))[0],
            "bounced_at": _at(bounces.get(row.email_key, (0, None))[1]),
            "correction": waiting.get(row.id),
        }
        for row in rows
    ]


def identities(bridge: Runtime, account: Account) -> list[dict[str, Any]]:
    """The ways in."""
    titles = {upstream.issuer: upstream.title for upstream in bridge.settings.upstreams}
    titles[LOCAL] = bridge.settings.local.title
    return [
        {
            "door": text_in(titles[one.issuer], current_locale()) if one.issuer in titles else one.issuer,
            "subject": one.subject,
            "since": short(one.created_at),
            "refreshed_at": short(one.refreshed_at),
        }
        for one in account.identities
    ]


def commitments(session: Session, bridge: Runtime, account: Account) -> dict[str, Any]:
    """What the person accepted, and their choices about the directory and their university mail."""
    query = select(Engagement).where(Engagement.account_id == account.id).order_by(Engagement.id.desc())
    policy = bridge.settings.profile(account.profile).policy
    forwarding = mailbox.forwarding_of(session, account.id) if policy.mailbox != "none" else None
    return {
        "documents": [
            {
                "title": {
                    engagements.CHARTER: _("Charter"),
                    engagements.LISTING: _("Public directory"),
                }.get(one.document, one.document),
                "version": one.version,
                "accepted_at": short(one.accepted_at),
                "withdrawn_at": _at(one.withdrawn_at),
            }
            for one in session.scalars(query.limit(LATEST))
        ],
        "listed": mailbox.is_listed(session, account.id) if policy.listing else None,
        "forwarded_to": forwarding.address.email if forwarding else None,
        "forwarding_in_force": forwarding is not None and forwarding.in_force,
    }


def mirrors(session: Session, bridge: Runtime, account: Account) -> list[dict[str, Any]]:
    """Where each Moodle stands with this person."""
    urls = {site.name: site.url for site in bridge.settings.sites}
    rows = session.scalars(select(Mirror).where(Mirror.account_id == account.id).order_by(Mirror.site))
    return [
        {
            "site": row.site,
            "mark": marked(words.MIRROR_STATES, row.state),
            "moodle_id": row.moodle_id,
            "profile_url": f"{urls[row.site].rstrip('/')}/user/profile.php?id={row.moodle_id}"
            if row.moodle_id is not None and row.site in urls
            else None,
            "owned": row.owned,
            "suspended_by_us": row.suspended_by_us,
            "due": row.due,
            "seen_at": _at(row.seen_at),
            "next_try_at": _at(row.next_try_at) if row.due else None,
            "tries": row.tries,
            "problem": _(row.problem) if row.problem else "",
            "conflicts": [
                {"field": one["field"], "ours": one.get("ours", ""), "theirs": one.get("theirs", "")}
                for one in row.conflicts
            ],
        }
        for row in rows
    ]


def sessions(session: Session, bridge: Runtime, account: Account) -> dict[str, Any]:
    """Where the person is signed in, in words."""
    rows = open_sessions(session, bridge, account.id)
    campus = bridge.settings.throttle.campus_prefixes
    return {
        "count": len(rows),
        "rows": [
            {
                "device": device_in_words(row.user_agent),
                "network": network_in_words(row.network, campus),
                "since": short(row.created_at),
                "seen_at": short(row.seen_at),
            }
            for row in rows[:LATEST]
        ],
    }


def pending_proofs(session: Session, bridge: Runtime, account: Account) -> list[dict[str, Any]]:
    """The links and codes that could be used now; never what they are."""
    query = select(Proof).where(
        Proof.account_id == account.id,
        Proof.claimed_at.is_(None),
        Proof.cancelled_at.is_(None),
        Proof.expires_at > bridge.clock(),
    )
    return [
        {
            "purpose": said(words.PURPOSES, row.purpose),
            "sent_at": short(row.sent_at),
            "taken_at": _at(row.accepted_at),
            "expires_at": short(row.expires_at),
            "tries_left": max(0, CODE_ATTEMPTS - row.code_attempts),
        }
        for row in session.scalars(query.order_by(Proof.id.desc()).limit(LATEST))
    ]


def mails(session: Session, account: Account) -> list[dict[str, Any]]:
    """The last messages to the person, and what became of them."""
    query = select(OutboxMail).where(OutboxMail.account_id == account.id).order_by(OutboxMail.id.desc()).limit(LATEST)
    return [
        {
            "name": said(words.MAILS, row.template),
            "to": row.recipient,
            "mark": marked(words.MAIL_STATES, row.state),
            "at": short(row.sent_at or row.created_at),
            "why": row.bounce_status or row.last_error,
        }
        for row in session.scalars(query)
    ]


def cases(session: Session, account: Account) -> list[dict[str, Any]]:
    """Requests that concern the account: extensions, registrations of its addresses, its last letter."""
    asked = select(Extension).where(Extension.account_id == account.id).order_by(Extension.id.desc()).limit(LATEST)
    found: list[dict[str, Any]] = [
        {
            "what": _("Extension until %(moment)s", moment=short(one.asked_until)),
            "state": said(words.CASE_STATES, one.state),
            "at": short(one.asked_at),
            "url": f"/helpdesk/extensions/{one.id}",
        }
        for one in session.scalars(asked)
    ]
    keys = [one.email_key for one in account.addresses]
    registered = select(Registration).where(Registration.email_key.in_(keys)).order_by(Registration.id.desc())
    found += [
        {
            "what": _("Invitation of %(email)s", email=one.email)
            if one.mode == "invited"
            else _("Request for an account by %(email)s", email=one.email),
            "state": said(words.CASE_STATES, one.state),
            "at": short(one.created_at),
            "url": f"/helpdesk/registrations/{one.id}" if one.mode == "asked" and one.proved_at else None,
        }
        for one in session.scalars(registered.limit(LATEST))
    ]
    letter = session.get(ActivationLetter, account.id)
    if letter is not None:
        found.append(
            {
                "what": _("Account letter, printed by %(who)s", who=letter.printed_by),
                "state": _("its code is good until %(moment)s", moment=short(letter.expires_at)),
                "at": short(letter.printed_at),
                "url": None,
            }
        )
    return found


def links(session: Session, account: Account, who: Member) -> list[dict[str, Any]]:
    """Accounts that were joined to this one, or this one to, and those that may be the same person's."""
    joined = select(AccountLink).where(or_(AccountLink.kept_id == account.id, AccountLink.other_id == account.id))
    found = []
    for link in session.scalars(joined.order_by(AccountLink.id.desc()).limit(LATEST)):
        other = session.get(Account, link.other_id if link.kept_id == account.id else link.kept_id)
        found.append(
            {
                "what": _("Joined: this one was kept")
                if link.kept_id == account.id
                else _("Joined: the other was kept"),
                "other": _linked(other, who),
                "at": short(link.linked_at),
                "undone_at": _at(link.undone_at),
                "undo_until": _at(link.undo_until) if link.undone_at is None else None,
            }
        )
    alike = select(LikelyPair).where(
        or_(LikelyPair.first_id == account.id, LikelyPair.second_id == account.id),
        LikelyPair.state.in_(["open", "proposed"]),
    )
    for pair in session.scalars(alike.order_by(LikelyPair.points.desc()).limit(LATEST)):
        other = session.get(Account, pair.second_id if pair.first_id == account.id else pair.first_id)
        found.append(
            {
                "what": _("May be the same person"),
                "other": _linked(other, who),
                "at": short(pair.found_at),
                "undone_at": None,
                "undo_until": None,
            }
        )
    return found
