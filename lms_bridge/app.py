"""The application: pages by Flask, with the CAS back channel in front of them."""

from __future__ import annotations

import mimetypes
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import structlog
from flask import Flask, Response, abort, g, render_template, request, send_file
from flask_wtf.csrf import CSRFProtect
from werkzeug.middleware.proxy_fix import ProxyFix

from lms_bridge import i18n
from lms_bridge.api import accounts as api_accounts
from lms_bridge.cas import views as cas_views
from lms_bridge.cas.backchannel import BackChannel, MalformedQuery, parse_query
from lms_bridge.helpdesk import (
    account_page,
    account_pages,
    bounces,
    bulk,
    conflicts,
    corrections,
    duplicates,
    extension_link,
    extensions,
    invitations,
    letters,
    merges,
    registrations,
    several_duplicates,
    start,
    stray_users,
)
from lms_bridge.helpdesk import assistance as assistance_desk
from lms_bridge.ops import health
from lms_bridge.runtime import Runtime, templates_folder
from lms_bridge.selfservice import assistance, charter, confirm, forgot, home, lost, register, reset, why
from lms_bridge.selfservice.account import (
    activity,
    addresses,
    data,
    deletion,
    extension,
    identity,
    listing,
    mailbox,
    open_sessions,
    overview,
    password,
    second_account,
    second_factor,
    undo,
)
from lms_bridge.selfservice.activation import asking, letter
from lms_bridge.selfservice.activation import steps as activation_steps
from lms_bridge.selfservice.links import ceremony, proof, receipt, ways
from lms_bridge.selfservice.links import overview as links_overview
from lms_bridge.selfservice.links import undo as links_undo
from lms_bridge.settings import Settings
from lms_bridge.signin import views as signin_views
from lms_bridge.signin.upstream import UpstreamCas
from lms_bridge.web import cookies, errors, headers
from lms_bridge.web.shells import Shells, form_token
from lms_bridge.web.theme import theme

log = structlog.get_logger("lms_bridge.request")

ACCOUNT_PAGES = (
    overview,
    identity,
    password,
    addresses,
    mailbox,
    listing,
    second_account,
    second_factor,
    undo,
    open_sessions,
    activity,
    extension,
    data,
    deletion,
)
LINK_PAGES = (links_overview, ceremony, proof, links_undo, ways, receipt)
LARGEST_FORM = 64 * 1024
STATIC_SECONDS = 7 * 24 * 3600


def create_app(runtime: Runtime) -> Flask:
    """The WSGI application of a running bridge."""
    settings = runtime.settings
    app = Flask("lms_bridge", template_folder=str(templates_folder()), static_folder="static")
    app.extensions["lms_bridge"] = runtime
    app.extensions["lms_bridge_upstreams"] = {upstream.issuer: UpstreamCas(upstream) for upstream in settings.upstreams}
    app.extensions["lms_bridge_shells"] = Shells()
    _configure(app, runtime)
    csrf: Any = CSRFProtect(app)  # type: ignore[no-untyped-call]
    # The university's CAS posts its logout message there; it names a ticket nobody else knows.
    csrf.exempt(signin_views.upstream_logout)
    # Programs bring a key with each request, and no cookie that another site could use.
    csrf.exempt(api_accounts.pages)
    i18n.install(app.jinja_env)
    _languages(app, settings)
    _template_context(app, settings)
    _assets(app, settings)
    headers.install(app, settings)
    errors.install(app)
    _request_log(app)
    for pages in (
        home.pages,
        cas_views.pages,
        signin_views.pages,
        confirm.pages,
        register.pages,
        forgot.pages,
        why.pages,
        reset.pages,
        lost.pages,
        assistance.pages,
        start.pages,
        account_page.pages,
        assistance_desk.pages,
        letters.pages,
        merges.pages,
        asking.pages,
        activation_steps.pages,
        letter.pages,
        charter.pages,
        registrations.pages,
        duplicates.pages,
        several_duplicates.pages,
        stray_users.pages,
        invitations.pages,
        extensions.pages,
        extension_link.pages,
        account_pages.pages,
        bounces.pages,
        bulk.pages,
        conflicts.pages,
        corrections.pages,
        health.pages,
        api_accounts.pages,
    ):
        app.register_blueprint(pages)
    for family in (*ACCOUNT_PAGES, *LINK_PAGES):
        app.register_blueprint(family.pages)
    app.wsgi_app = BackChannel(runtime.validator, app.wsgi_app)  # type: ignore[method-assign]
    if settings.throttle.trusted_proxies:
        hops = settings.throttle.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops)  # type: ignore[method-assign]
    return app


def _configure(app: Flask, runtime: Runtime) -> None:
    settings = runtime.settings
    app.config.update(
        SECRET_KEY=runtime.keys.derive("form session", b"").hex(),
        SESSION_COOKIE_NAME=cookies.name(settings, "form"),
        SESSION_COOKIE_SECURE=settings.secure,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        MAX_CONTENT_LENGTH=LARGEST_FORM,
        MAX_FORM_PARTS=50,
        SEND_FILE_MAX_AGE_DEFAULT=STATIC_SECONDS,
        # A form stays good as long as the browser's session; a time limit only punishes slow readers.
        WTF_CSRF_TIME_LIMIT=None,
        # Our pages send no Referer at all (no-referrer), so there is none to compare.
        WTF_CSRF_SSL_STRICT=False,
    )
    app.url_map.strict_slashes = False
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True


def _languages(app: Flask, settings: Settings) -> None:
    @app.before_request
    def choose() -> None:
        asked = request.args.get("lang")
        cookie = request.cookies.get(cookies.name(settings, "language"))
        accepted = request.headers.get("Accept-Language")
        i18n.activate(i18n.choose_locale(asked, cookie, accepted, settings.default_language))

    @app.after_request
    def remember(response: Response) -> Response:
        asked = request.args.get("lang")
        if asked in i18n.LOCALES:
            cookies.put(response, settings, "language", asked, keep=cookies.YEAR)
        response.headers["Content-Language"] = i18n.current_locale()
        return response


def language_links() -> list[dict[str, Any]]:
    """The language switch: this page in the other languages."""
    try:
        here = [(name, value) for name, value in parse_query(request.environ.get("QUERY_STRING", "")) if name != "lang"]
    except MalformedQuery:
        here = []
    # The return from an upstream CAS spends a ticket: it cannot be asked for twice.
    again = request.method in ("GET", "HEAD") and request.endpoint != "signin.upstream_return"
    path = quote(request.path) if again else "/"  # a backslash would lead the browser to another host
    return [
        {
            "code": code,
            "label": i18n.LANGUAGE_NAMES[code],
            "url": f"{path}?{urlencode([*(here if again else []), ('lang', code)])}",
            "current": code == i18n.current_locale(),
        }
        for code in i18n.LOCALES
    ]


def _template_context(app: Flask, settings: Settings) -> None:
    institution = settings.institution
    shown = {
        "name": institution.name,
        "short_name": institution.short_name,
        "logo_url": "/logo" if institution.logo else None,
        "help_email": institution.help_email,
        "help_phone": institution.help_phone,
        "help_url": institution.help_url,
    }
    # A changed file gets a changed address, so browsers may keep it for long.
    folder = Path(app.static_folder or "")
    versions = {path.name: f"{path.stat().st_mtime_ns:x}"[-8:] for path in folder.glob("*.*")}

    def static(filename: str) -> str:
        return f"/static/{filename}?v={versions.get(filename, '')}"

    @app.context_processor
    def context() -> dict[str, Any]:
        return {
            "institution": shown,
            "locale": i18n.current_locale(),
            "languages": language_links(),
            "static": static,
            "csrf_token": form_token,
        }


def _assets(app: Flask, settings: Settings) -> None:
    colours = theme(settings.institution.accent)
    logo = settings.institution.logo

    @app.get("/theme.css", endpoint="theme")
    def stylesheet() -> Response:
        text = render_template(
            "theme.css.j2",
            accent=colours.accent,
            on_accent=colours.on_accent,
            accent_dark=colours.accent_dark,
            on_accent_dark=colours.on_accent_dark,
        )
        response = Response(text, mimetype="text/css")
        response.cache_control.max_age = 3600
        return response

    @app.get("/logo", endpoint="logo")
    def institution_logo() -> Response:
        if logo is None:
            abort(404)
        kind = mimetypes.guess_type(logo.name)[0] or "application/octet-stream"
        return send_file(logo.resolve(), mimetype=kind, max_age=3600)


def _request_log(app: Flask) -> None:
    """One line a page request: method, path, status, time. Never the query: tickets and addresses travel there."""

    @app.before_request
    def started() -> None:
        g.started = time.perf_counter()

    @app.after_request
    def line(response: Response) -> Response:
        if request.endpoint not in ("static", "theme", "logo") and "started" in g:
            log.info(
                "request",
                method=request.method,
                path=request.path,
                status=response.status_code,
                ms=round((time.perf_counter() - g.started) * 1000, 1),
            )
        return response
