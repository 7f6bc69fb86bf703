"""The ceremony, page by page: show the other account, see both, choose which one is kept, confirm.

Nothing of the other side is shown before both sides are proved, and what is refused says why without a word about it
(LNK-11).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Blueprint, Response, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from external_accounts import link_ceremonies, link_notices
from external_accounts.accounts import Person
from external_accounts.link_ceremonies import CeremonyOver, Done, Prospect
from external_accounts.linking import LinkRefused, Refusal
from external_accounts.linking_schema import LinkCeremony
from external_accounts.proof_keys import handle_token
from external_accounts.schema import Account, AccountId, SignInIdentity
from external_accounts.throttle import Throttled
from lms_bridge.cas.views import upstream_answers
from lms_bridge.i18n import N_, current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.mail.notices import notices
from lms_bridge.selfservice.account.identity import signed_in
from lms_bridge.selfservice.links import effects, history
from lms_bridge.selfservice.links.history import Proposed
from lms_bridge.selfservice.links.overview import door_of
from lms_bridge.selfservice.proof_pages import deadline, within_budget
from lms_bridge.settings.sections import text_in
from lms_bridge.signin import local, other_side, sessions
from lms_bridge.signin.other_side import CEREMONY, PAGE, bound
from lms_bridge.signin.sessions import CurrentSession
from lms_bridge.web import cookies, headers
from lms_bridge.web.errors import error_page
from lms_bridge.web.request import origin, runtime

pages = Blueprint("link_ceremony", __name__, url_prefix=f"{CEREMONY}/<handle>")

PROOF = f"{PAGE}/proof"

REFUSED = {
    Refusal.SAME: (
        N_("This is already a way in to your account"),
        N_("There is nothing to join: both ways in lead to the account you are signed in with."),
    ),
    Refusal.GONE: (
        N_("This account cannot be joined any more"),
        N_("It was closed, or joined to another account meanwhile. Sign in again by the door you usually take."),
    ),
    Refusal.SUSPENDED: (
        N_("A suspended account cannot be joined"),
        N_("One of the two accounts is suspended. As long as it is, the accounts stay as they are."),
    ),
    Refusal.ENDING: (
        N_("One of the two accounts is about to be deleted"),
        N_("Its deletion was asked for. Take that back first, on its page “My data”, then begin again."),
    ),
    Refusal.NOT_ACTIVATED: (
        N_("One of the two accounts is not activated"),
        N_("Activate it first, with the link of the message that announced it, then begin again."),
    ),
    Refusal.NAME_TAKEN: (
        N_("The help desk must look at this"),
        N_("Another account already bears the user name of your university account. Write to the help desk."),
    ),
    Refusal.STALE: (
        N_("Something changed meanwhile"),
        N_("What you have shown does not hold any more: a password was changed, or a way in. Begin again."),
    ),
}


@pages.errorhandler(CeremonyOver)
def over(_error: CeremonyOver) -> ResponseReturnValue:
    return redirect(f"{PAGE}?done=over", 303)


def _ceremony(session: Session, handle: str, person: CurrentSession, now: datetime) -> LinkCeremony:
    return link_ceremonies.find(session, handle, bound(person), now=now)


@pages.get("")
def look(handle: str) -> ResponseReturnValue:
    """Where the ceremony stands."""
    person = signed_in()
    bridge = runtime()
    now = bridge.clock()
    with bridge.database.read() as session:
        ceremony = _ceremony(session, handle, person, now)
        if not link_ceremonies.is_proved(ceremony):
            return _doors_page(ceremony)
        this_id, other_id = ceremony.account_id, ceremony.other_account_id
    proposed = history.longer(bridge, this_id, other_id) if other_id is not None else None
    with bridge.database.read() as session:
        return _last_page(session, _ceremony(session, handle, person, now), proposed, now)


def _doors_page(
    ceremony: LinkCeremony, *, identifier: str = "", error: str | None = None, throttled: int | None = None
) -> str:
    headers.form_leads_on()  # to the university's CAS
    settings = runtime().settings
    return render_template(
        "links/other_side.html",
        here=f"{CEREMONY}/{ceremony.handle}",
        doors=[{"issuer": door.issuer, "title": text_in(door.title, current_locale())} for door in settings.upstreams],
        local_title=text_in(settings.local.title, current_locale()) if settings.local.enabled else None,
        identifier=identifier,
        error=error,
        throttled=throttled,
        deadline=deadline(ceremony.expires_at),
    )


@pages.post("/cas/<issuer>")
def leave(handle: str, issuer: str) -> ResponseReturnValue:
    """To the university's CAS, to sign in there with the other account."""
    person = signed_in()
    bridge = runtime()
    door = bridge.settings.upstream(issuer)
    with bridge.database.read() as session:
        _ceremony(session, handle, person, bridge.clock())
    if door is None:
        return redirect(f"{CEREMONY}/{handle}", 303)
    if not upstream_answers(issuer):
        return error_page(
            503,
            title=_("The university's sign-in does not answer"),
            what=_("Nothing was changed. Try again in a few minutes."),
            next=[{"label": _("My ways in"), "url": PAGE}],
        )
    return other_side.leave(door, handle, bridge.clock())


@pages.post("/local")
def password(handle: str) -> ResponseReturnValue:
    """User name and password of the other account, and then a message to its confirmed address.

    Unknown, wrong, and right but without a confirmed address get the same page (I3).
    """
    person = signed_in()
    bridge = runtime()
    now = bridge.clock()
    with bridge.database.read() as session:
        ceremony = _ceremony(session, handle, person, now)
    if not bridge.settings.local.enabled:
        return redirect(f"{CEREMONY}/{handle}", 303)
    typed = request.form.get("identifier", "").strip()
    try:
        found = local.recognise(
            bridge,
            typed,
            request.form.get("password", ""),
            device=request.cookies.get(cookies.name(bridge.settings, "device"), ""),
            origin=origin(),
            now=now,
        )
    except Throttled as throttled:
        page = _doors_page(ceremony, identifier=typed[:254], throttled=throttled.retry_after)
        return page, 429, [("Retry-After", str(throttled.retry_after))]
    except local.BadCredentials:
        return _wrong(ceremony, typed)
    with bridge.database.begin() as session:
        proof = _send(session, handle, person, found.account_id, now)
        token = handle_token(bridge.keys, proof) if proof is not None else None
    return redirect(f"{PROOF}/{token}", 303) if token is not None else _wrong(ceremony, typed)


def _send(session: Session, handle: str, person: CurrentSession, account_id: AccountId, now: datetime) -> Any:
    bridge = runtime()
    # The accounts are held in the order of their ids, as by whoever joins them.
    for one in sorted({person.facts.account_id, account_id}):
        session.get_one(Account, one, with_for_update=True, populate_existing=True)
    ceremony = _ceremony(session, handle, person, now)
    mailbox = link_ceremonies.proof_mailbox(session.get_one(Account, account_id))
    return link_ceremonies.send_proof(
        session,
        bridge.keys,
        ceremony,
        account_id,
        may_mail=mailbox is not None and within_budget(session, mailbox.email_key, now),
        locale=current_locale(),
        mail_domain=bridge.settings.public_host,
        now=now,
        origin=origin(),
    )


def _wrong(ceremony: LinkCeremony, typed: str) -> ResponseReturnValue:
    error = _("Wrong identifier or password, or an account without a confirmed address.")
    return _doors_page(ceremony, identifier=typed[:254], error=error), 401


def _last_page(
    session: Session, ceremony: LinkCeremony, proposed: Proposed | None, now: datetime
) -> ResponseReturnValue:
    found = link_ceremonies.prospect(session, ceremony, now=now)
    if found.refusal is not None:
        return refused(found.refusal)
    this = session.get_one(Account, ceremony.account_id)
    sides = [_side(session, this.id, this.username, Person(this.given_name, this.family_name), ceremony.issuer)]
    sides.append(
        _side(
            session,
            found.other.account_id if found.other else None,
            found.other_name,
            found.other_person,
            ceremony.other_issuer,
        )
    )
    return render_template(
        "links/both.html",
        here=f"{CEREMONY}/{ceremony.handle}",
        this=sides[0],
        other=sides[1],
        choice=found.other is not None,
        keep_other=proposed is not None and found.other is not None and proposed.account_id == found.other.account_id,
        because=_(proposed.because) if proposed is not None else None,
        name_afterwards=_name_afterwards(found),
        deadline=deadline(ceremony.expires_at),
        undo_days=7,
    )


def _name_afterwards(found: Prospect) -> str | None:
    """The user name, where it is the same whichever account is kept: the one that the university's CAS asserts."""
    this, other = found.this, found.other
    if other is None:
        return found.other_name if not this.institutional else this.username
    members = [side for side in (this, other) if side.institutional and side.alive(runtime().clock())]
    return members[0].username if len(members) == 1 else None


def _side(session: Session, account_id: AccountId | None, username: str, person: Person, issuer: str) -> dict[str, Any]:
    account = session.get_one(Account, account_id) if account_id is not None else None
    return {
        "username": username,
        "name": person.display_name,
        "door": door_of(runtime(), issuer),
        "since": deadline(account.created_at) if account is not None else None,
        "used": deadline(account.last_sign_in_at) if account is not None and account.last_sign_in_at else None,
        "emails": [one.email for one in account.addresses if one.confirmed_at] if account is not None else [],
    }


def refused(refusal: Refusal) -> ResponseReturnValue:
    title, sentence = REFUSED[refusal]
    return render_template("links/refused.html", heading=_(title), sentence=_(sentence)), 409


@pages.post("/give-up")
def give_up(handle: str) -> ResponseReturnValue:
    person = signed_in()
    bridge = runtime()
    now = bridge.clock()
    with bridge.database.begin() as session:
        ceremony = _ceremony(session, handle, person, now)
        link_ceremonies.give_up(session, ceremony, outcome="given_up", now=now, origin=origin())
    return redirect(f"{PAGE}?done=given_up", 303)


@pages.post("/confirm")
def confirm(handle: str) -> ResponseReturnValue:
    """Join them."""
    person = signed_in()
    bridge = runtime()
    now = bridge.clock()
    try:
        with bridge.database.begin() as session:
            done, secret = _conclude(session, handle, person, now)
    except LinkRefused as error:
        with bridge.database.begin() as session:
            ceremony = _ceremony(session, handle, person, now)
            link_ceremonies.give_up(session, ceremony, outcome=error.refusal.value, now=now, origin=origin())
        return refused(error.refusal)
    response: Response = make_response(redirect(f"{PAGE}?done={'linked' if done.link else 'added'}", 303))
    if secret is not None:
        cookies.put(response, bridge.settings, "session", secret)
    elif done.kept_id != person.facts.account_id:
        response = make_response(render_template("links/sign_in_again.html"))
        cookies.drop(response, bridge.settings, "session")
    return response


def _conclude(session: Session, handle: str, person: CurrentSession, now: datetime) -> tuple[Done, str | None]:
    """Returns what came of it, and the secret of a new session where the old one went with its account."""
    bridge = runtime()
    ceremony = _ceremony(session, handle, person, now)
    this_id, other_id = ceremony.account_id, ceremony.other_account_id
    keep_other = request.form.get("keep") == "other" and other_id is not None
    told = link_notices.confirmed_of(session, {this_id, other_id or this_id})
    door = bridge.settings.upstream(ceremony.other_issuer)
    this_name, other_name = _names(session, ceremony)
    done = link_ceremonies.conclude(
        session,
        ceremony,
        keep_other=keep_other,
        trusted_domains=door.trusted_domains if door is not None else (),
        now=now,
        origin=origin(),
    )
    written = notices(bridge, current_locale())
    if done.link is None:
        link_notices.tell_way_in(session, done.kept_id, "added", ceremony.other_issuer, written, now=now)
        return done, None
    effects.after_join(
        session,
        done.link,
        told,
        written,
        names=(other_name, this_name) if keep_other else (this_name, other_name),
        keep=None if keep_other else person.id,
        now=now,
        origin=origin(),
    )
    return done, _go_on(session, person, done, now)


def _names(session: Session, ceremony: LinkCeremony) -> tuple[str, str]:
    this = session.get_one(Account, ceremony.account_id).username
    if ceremony.other_account_id is None:
        return this, ceremony.other_subject
    return this, session.get_one(Account, ceremony.other_account_id).username


def _go_on(session: Session, person: CurrentSession, done: Done, now: datetime) -> str | None:
    """A session of the kept account in place of this one, which has just proved both sides: the same under a new
    secret, or a new one where the way in went over to the kept account. None where it leads nowhere any more."""
    bridge = runtime()
    if done.kept_id == person.facts.account_id:
        return sessions.renew(session, person, now=now, origin=origin())
    identity = session.get_one(SignInIdentity, person.identity_id)
    if identity.account_id != done.kept_id:
        return None
    return sessions.start(
        session,
        account_id=done.kept_id,
        identity_id=identity.id,
        issuer=person.issuer,
        limits=bridge.settings.sessions,
        now=now,
        origin=origin(),
        user_agent=request.headers.get("User-Agent", ""),
        proved=True,
    )
