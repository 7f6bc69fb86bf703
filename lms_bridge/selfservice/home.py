"""Home: who am I, what may I enter, what stands in the way."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, redirect, render_template
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from external_accounts import audit, pair_decisions, reminders
from external_accounts.accounts import AccountFacts
from external_accounts.addresses import mask_address
from external_accounts.schema import Account
from lms_bridge.cas.admission import decide
from lms_bridge.cas.views import show_doors, upstream_answers
from lms_bridge.helpdesk import members
from lms_bridge.i18n import current_locale, format_deadline
from lms_bridge.runtime import Runtime
from lms_bridge.schema import SsoSession, Ticket
from lms_bridge.settings.sections import Service, text_in
from lms_bridge.signin import sessions
from lms_bridge.signin.passage import Destination
from lms_bridge.signin.upstream import logout_url
from lms_bridge.sync.mirrors import ask_for_sign_out
from lms_bridge.web import cookies, headers, wanted
from lms_bridge.web.obstacles import explain
from lms_bridge.web.request import current, origin, runtime

pages = Blueprint("home", __name__)


@pages.get("/")
def home() -> ResponseReturnValue:
    person = current()
    if person is None:
        return show_doors(Destination())
    desk = members.current_member()
    page = wanted.wanted_page()
    if page is not None:
        return wanted.go_to("/" if page.startswith(members.DESK) and not desk else page)
    headers.form_leads_on()
    bridge = runtime()
    locale = current_locale()
    facts = person.facts
    with bridge.database.read() as session:
        reminder = reminders.of_account(session, facts.account_id, bridge.settings.reminders.periods, bridge.clock())
        second_account = pair_decisions.offer_for(session, facts.account_id)
        due_at = session.scalar(select(Account.erasure_due_at).where(Account.id == facts.account_id))
    return render_template(
        "home.html",
        reminder=reminder,
        second_account=second_account,
        erasure_deadline=format_deadline(due_at, bridge.settings.zone, locale) if due_at else None,
        account={
            "display_name": facts.display_name,
            "username": facts.username,
            "profile_label": profile_label(bridge, facts.profile, locale),
            "email_masked": mask_address(facts.email) if facts.email else None,
            "email_confirmed": facts.email_confirmed_at is not None,
        },
        entries=[service_entry(bridge, facts, service, locale) for service in bridge.registry],
        logout_url="/cas/logout",
        everywhere_url="/account/sign-out",
        desk_url=members.DESK if desk else None,
    )


def profile_label(bridge: Runtime, profile: str, locale: str) -> str | None:
    found = next((known for known in bridge.settings.profiles if known.name == profile), None)
    return text_in(found.label, locale) if found else None


def service_entry(bridge: Runtime, facts: AccountFacts, service: Service, locale: str) -> dict[str, Any]:
    """One application as the pages show it: the gate's verdict and the next step."""
    decision = decide(bridge, facts, service, prepare=False)
    label = text_in(service.label, locale)
    url = service.home_url or service.url
    if decision.admitted:
        return {"label": label, "state": "open", "sentence": None, "action": None, "enter_url": url}
    explanation = explain(decision.first, facts, bridge.settings, service_url=None, now=bridge.clock(), locale=locale)
    return {
        "label": label,
        "state": "preparing" if explanation.refresh_seconds else "closed",
        "sentence": f"{explanation.title}. {' '.join([explanation.sentence, *explanation.details])}",
        "action": explanation.action,
        "enter_url": None,
    }


@pages.get("/account/sign-out")
def sign_out_form() -> ResponseReturnValue:
    person = current()
    if person is None:
        return redirect("/", 303)
    headers.form_leads_on()  # by way of the university's CAS
    bridge = runtime()
    with bridge.database.read() as session:
        names = session.scalars(
            select(Ticket.service_name)
            .distinct()
            .join(SsoSession, SsoSession.id == Ticket.session_id)
            .where(SsoSession.account_id == person.facts.account_id, SsoSession.ended_at.is_(None), Ticket.validated)
        ).all()
    labels = [text_in(found.label, current_locale()) for name in names if (found := bridge.registry.by_name(name))]
    return render_template("logout_confirm.html", action="/account/sign-out", services=sorted(labels), back_url="/")


@pages.post("/account/sign-out")
def sign_out_everywhere() -> ResponseReturnValue:
    """End all sessions of the account, on every device, in every application, in Moodle too."""
    person = current()
    if person is None:
        return redirect("/", 303)
    bridge = runtime()
    account_id = person.facts.account_id
    with bridge.database.begin() as session:
        sessions.end_all_of(
            session,
            account_id,
            reason="signed out everywhere",
            now=bridge.clock(),
            origin=origin(),
        )
        ask_for_sign_out(session, account_id)
        audit.record(
            session, "session.everywhere", outcome="ok", now=bridge.clock(), origin=origin(), account_id=account_id
        )
    response = redirect("/cas/logout", 303)
    door = bridge.settings.upstream(person.issuer)
    if door is not None and door.logout and upstream_answers(door.issuer):
        response = redirect(logout_url(door, f"{bridge.settings.public_url}/cas/logout"), 303)
    cookies.drop(response, bridge.settings, "session")
    return response
