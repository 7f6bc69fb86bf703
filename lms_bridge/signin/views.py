"""The pages of the doors."""

from __future__ import annotations

from datetime import datetime

import structlog
from flask import Blueprint, Response, abort, current_app, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import IntegrityError

from external_accounts import audit
from external_accounts.accounts import UsernameTaken
from external_accounts.identities import (
    LOCAL,
    Assertion,
    SubjectRefused,
    canonical_subject,
    sign_in_with_assertion,
)
from external_accounts.throttle import Throttled
from lms_bridge.cas.services import ServiceRefused, header_safe
from lms_bridge.cas.views import read_destination
from lms_bridge.i18n import current_locale
from lms_bridge.i18n import gettext as _
from lms_bridge.settings.sections import Upstream, text_in
from lms_bridge.signin import again, local, other_side, sessions, upstream
from lms_bridge.signin.doors import Door, doors, onward_query, register_url
from lms_bridge.signin.passage import Destination, pass_on
from lms_bridge.signin.upstream import State, StateInvalid, UpstreamCas, UpstreamRefused, UpstreamUnreachable
from lms_bridge.web import cookies, headers, wanted
from lms_bridge.web.errors import error_page
from lms_bridge.web.request import current, origin, parameter, runtime
from lms_bridge.web.shells import shell

log = structlog.get_logger(__name__)

pages = Blueprint("signin", __name__, url_prefix="/signin")


# --- Extérieurs ---


@pages.get("/local")
def local_form() -> ResponseReturnValue:
    _local_enabled()
    try:
        destination = read_destination()
    except ServiceRefused:
        return error_page(403)
    person = current()
    if person is not None and not destination.renew and request.method == "GET":
        if person.issuer == LOCAL:
            return pass_on(person, destination, from_new_login=False)
        return _switch(destination, text_in(runtime().settings.local.title, current_locale()))
    remembered = request.cookies.get(cookies.name(runtime().settings, "username"), "")
    headers.form_leads_on()
    if remembered:
        return _show_form(destination, identifier=remembered, remember=True)
    return shell(
        ("local", request.full_path, current_locale()),
        lambda: _show_form(destination, identifier="", remember=False),
    )


@pages.post("/local")
def local_sign_in() -> ResponseReturnValue:
    _local_enabled()
    try:
        destination = read_destination()
    except ServiceRefused:
        return error_page(403)
    bridge = runtime()
    identifier = request.form.get("identifier", "").strip()
    password = request.form.get("password", "")
    remember = bool(request.form.get("remember"))
    if not identifier or not password:
        error = _("Enter your user name or e-mail address, and your password.")
        return _show_form(destination, identifier=identifier[:254], remember=remember, error=error, missing=True), 422
    now = bridge.clock()
    known_device = request.cookies.get(cookies.name(bridge.settings, "device"), "")
    try:
        account_id, secret = local.sign_in(
            bridge,
            identifier,
            password,
            device=known_device,
            origin=origin(),
            user_agent=request.headers.get("User-Agent", ""),
            now=now,
        )
    except Throttled as throttled:
        page = _show_form(destination, identifier=identifier[:254], remember=remember, throttled=throttled.retry_after)
        return page, 429, [("Retry-After", str(throttled.retry_after))]
    except local.BadCredentials:
        error = _("Wrong identifier or password.")
        return _show_form(destination, identifier=identifier[:254], remember=remember, error=error), 401
    response = _signed_in(secret, destination, LOCAL)
    device = local.device_token(bridge, account_id, identifier, before=known_device)
    cookies.put(response, bridge.settings, "device", device, keep=cookies.YEAR)
    if remember:
        cookies.put(response, bridge.settings, "username", _cookie_text(identifier), keep=cookies.YEAR)
    else:
        cookies.drop(response, bridge.settings, "username")
    return response


def _local_enabled() -> None:
    if not runtime().settings.local.enabled:
        abort(404)


def _doors(destination: Destination) -> list[Door]:
    return doors(
        runtime().settings,
        destination.service,
        destination.url,
        renew=destination.renew,
        post=destination.post,
        locale=current_locale(),
    )


def _cookie_text(identifier: str) -> str:
    return identifier[:254] if identifier.isprintable() else ""


def _show_form(
    destination: Destination,
    *,
    identifier: str,
    remember: bool,
    error: str | None = None,
    missing: bool = False,
    throttled: int | None = None,
) -> str:
    headers.form_leads_on()
    service = destination.service
    return render_template(
        "signin/local.html",
        action=f"/signin/local{destination.onward}",
        service_label=text_in(service.label, current_locale()) if service else None,
        identifier=identifier,
        remember=remember,
        error=error,
        missing=missing,
        throttled=throttled,
        forgot_url=f"/account/forgot{onward_query(destination.url)}",
        register_url=register_url(runtime().settings, service, destination.url),
        # With no other door this would lead back here.
        back_url=f"/cas/login{destination.onward}" if len(_doors(destination)) > 1 else None,
    )


def _signed_in(secret: str, destination: Destination, issuer: str, *, from_new_login: bool = True) -> Response:
    """The answer after a successful sign-in: the new session's cookie, and on."""
    bridge = runtime()
    now = bridge.clock()
    person = sessions.find(bridge.database, secret, limits=bridge.settings.sessions, now=now)
    assert person is not None  # noqa: S101 (it was started in this request)
    before = current()
    if before is not None:
        with bridge.database.begin() as session:
            sessions.replace(session, before, person, now=now, origin=origin())
    response = make_response(pass_on(person, destination, from_new_login=from_new_login))
    cookies.put(response, bridge.settings, "session", secret)
    cookies.put(response, bridge.settings, "door", issuer, keep=cookies.YEAR)
    return response


def _switch(destination: Destination, door_label: str) -> str:
    """Signed in by another door than the one asked for: ask, never guess (D26)."""
    person = current()
    assert person is not None  # noqa: S101 (the caller looked)
    renewed = onward_query(destination.url, renew=True, post=destination.post)
    return render_template(
        "signin/switch.html",
        account=person.facts,
        door_label=door_label,
        service_label=text_in(destination.service.label, current_locale()) if destination.service else None,
        continue_url=f"/cas/login{destination.onward}" if destination.url else "/",
        switch_url=f"{request.path}{renewed}",
    )


# --- Upstream CAS ---


@pages.get("/<issuer>")
def upstream_door(issuer: str) -> ResponseReturnValue:
    """The CAS door; also the address behind the portal's tile: no chooser on the way."""
    door = _upstream(issuer)
    if request.method == "HEAD":
        return ""
    try:
        destination = read_destination()
    except ServiceRefused:
        return error_page(403)
    person = current()
    if person is not None and not destination.renew:
        if person.issuer == issuer:
            return pass_on(person, destination, from_new_login=False)
        return _switch(destination, text_in(door.title, current_locale()))
    bridge = runtime()
    if not _client(issuer).answers(bridge.clock()):
        log.warning("signin.cas", outcome="unreachable", issuer=issuer, reason="at the door")
        return _failed(door, "unreachable", destination, 503)
    browser = request.cookies.get(cookies.name(bridge.settings, "browser"), "") or upstream.new_browser_secret()
    state = State(issuer, destination.url, destination.renew, destination.post)
    packed = upstream.pack_state(bridge.keys, state, browser, bridge.clock())
    callback = upstream.callback_url(bridge.settings.public_url, issuer, packed)
    response = make_response(redirect(upstream.login_url(door, callback, renew=destination.renew), 302))
    cookies.put(response, bridge.settings, "browser", browser)
    return response


@pages.get("/<issuer>/callback")
def upstream_return(issuer: str) -> ResponseReturnValue:
    """Back from the university's CAS with a ticket of its."""
    door = _upstream(issuer)
    if request.method == "HEAD":
        return ""
    bridge = runtime()
    now = bridge.clock()
    packed, ticket = parameter("state") or "", parameter("ticket") or ""
    try:
        browser = request.cookies.get(cookies.name(bridge.settings, "browser"), "")
        state = upstream.unpack_state(bridge.keys, packed, browser, issuer, now)
        destination = _destination(state)
    except (StateInvalid, ServiceRefused):
        return _failed(door, "expired", Destination(), 400)
    if not ticket or len(ticket) > 1000:
        return _failed(door, "expired", destination, 400)
    try:
        callback = upstream.callback_url(bridge.settings.public_url, issuer, packed)
        if state.again:
            return again.came_back(door, _client(issuer), ticket, callback, now)
        if state.ceremony:
            return other_side.came_back(door, _client(issuer), ticket, callback, state.ceremony, now)
        secret, typed = _sign_in(door, ticket, callback, now, renew=state.renew)
    except UpstreamUnreachable as error:
        _note_failure(issuer, "unreachable", str(error), now)
        return _failed(door, "unreachable", destination, 503)
    except UsernameTaken as error:
        _note_failure(issuer, "refused", f"{type(error).__name__} {error}", now)
        return _name_taken(door)
    except (UpstreamRefused, SubjectRefused) as error:
        _note_failure(issuer, "refused", f"{type(error).__name__} {error}", now)
        return _failed(door, "refused", destination, 403)
    return _signed_in(secret, destination, issuer, from_new_login=typed)


def _sign_in(door: Upstream, ticket: str, callback: str, now: datetime, *, renew: bool) -> tuple[str, bool]:
    """Validate the upstream ticket, find or make the account, open a session.

    Returns the cookie's secret, and whether the upstream CAS says that the password was typed just now (CAS-15).
    """
    bridge = runtime()
    subject, attributes = _client(door.issuer).validate(ticket, callback, renew=renew)
    typed = renew or attributes.get("isFromNewLogin") == "true"
    assertion = upstream.read_assertion(
        door, subject, attributes, canonical=lambda text: canonical_subject(text, local_names=bridge.local_names)
    )
    try:
        return _open_session(door, assertion, ticket, now, typed=typed), typed
    except IntegrityError:
        # A first sign-in in two tabs at once: the other one has made the account, now this one finds it.
        return _open_session(door, assertion, ticket, now, typed=typed), typed


def _open_session(door: Upstream, assertion: Assertion, ticket: str, now: datetime, *, typed: bool) -> str:
    bridge = runtime()
    with bridge.database.begin() as session:
        account, identity = sign_in_with_assertion(
            session, assertion, trusted_domains=door.trusted_domains, now=now, origin=origin()
        )
        audit.record(
            session, "signin.cas", outcome="ok", now=now, origin=origin(), account_id=account.id, issuer=door.issuer
        )
        return sessions.start(
            session,
            account_id=account.id,
            identity_id=identity.id,
            issuer=door.issuer,
            limits=bridge.settings.sessions,
            now=now,
            origin=origin(),
            user_agent=request.headers.get("User-Agent", ""),
            upstream_ticket=ticket,
            proved=typed,
        )


@pages.post("/<issuer>/callback")
def upstream_logout(issuer: str) -> ResponseReturnValue:
    """The upstream CAS ends a session: end ours, and tell its services."""
    _upstream(issuer)
    ticket = upstream.read_logout_request(request.form.get("logoutRequest", ""))
    if ticket is None:
        abort(400)
    bridge = runtime()
    with bridge.database.begin() as session:
        sessions.end_by_upstream_ticket(session, issuer, ticket, now=bridge.clock(), origin=origin())
    return "", 200


def _upstream(issuer: str) -> Upstream:
    door = runtime().settings.upstream(issuer)
    if door is None:
        abort(404)
    return door


def _client(issuer: str) -> UpstreamCas:
    client: UpstreamCas = current_app.extensions["lms_bridge_upstreams"][issuer]
    return client


def _destination(state: State) -> Destination:
    service = runtime().registry.find(state.service) if state.service else None
    return Destination(state.service, service, state.renew, state.post)


def _note_failure(issuer: str, outcome: str, code: str, now: datetime) -> None:
    log.warning("signin.cas", outcome=outcome, issuer=issuer, reason=code)
    bridge = runtime()
    with bridge.database.begin() as session:
        audit.record(
            session, "signin.cas", outcome=outcome, now=now, origin=origin(), issuer=issuer, upstream_code=code[:100]
        )


def _name_taken(door: Upstream) -> ResponseReturnValue:
    """An account of that user name is here, and this CAS is no way in to it. Perhaps it is theirs: they can show it.
    Nothing of it is told (LNK-01, LNK-11)."""
    others = [other for other in _doors(Destination()) if other.issuer != door.issuer]
    response = make_response(
        render_template("signin/name_taken.html", door_label=text_in(door.title, current_locale()), doors=others), 403
    )
    return wanted.remember(response, "/account/links")


def _failed(door: Upstream, reason: str, destination: Destination, status: int) -> ResponseReturnValue:
    """The university's CAS brought nobody: say so, and offer the other doors."""
    page = render_template(
        "signin/upstream_failed.html",
        reason=reason,
        door_label=text_in(door.title, current_locale()),
        retry_url=header_safe(f"/signin/{door.issuer}{destination.onward}"),
        doors=[other for other in _doors(destination) if other.issuer != door.issuer],
    )
    return page, status
