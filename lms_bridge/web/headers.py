"""Security headers of every page (SES-05)."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Flask, g, request
from werkzeug.wrappers import Response

from lms_bridge.settings import Settings


def content_security_policy(form_targets: str) -> str:
    """Nothing inline, nothing from elsewhere, no frame around us. `form_targets` besides ourselves."""
    return (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        f"form-action 'self'{form_targets}; base-uri 'none'; frame-ancestors 'none'"
    )


def form_targets(settings: Settings) -> str:
    """Where a form's answer may redirect: Chromium applies `form-action` to the whole chain of redirects, and that
    chain ends in an application. Any https address is let through, because an application may hand on to another
    host of its own; plain http only to the registered ones."""
    plain = {
        f"{parts.scheme}://{parts.netloc}"
        for url in (*(s.url for s in settings.services), *(u.cas_url for u in settings.upstreams))
        if (parts := urlsplit(url)).scheme == "http"
    }
    return " " + " ".join(["https:", *sorted(plain)])


def install(app: Flask, settings: Settings) -> None:
    strict = content_security_policy("")
    leading_on = content_security_policy(form_targets(settings))

    @app.after_request
    def add_headers(response: Response) -> Response:
        headers = response.headers
        headers["Content-Security-Policy"] = leading_on if g.get("form_leads_on") else strict
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "no-referrer"
        headers["X-Frame-Options"] = "DENY"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
        headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
        if settings.secure:
            headers["Strict-Transport-Security"] = "max-age=31536000"
        if request.endpoint not in ("static", "theme"):
            # Every page may hold a ticket, a name or a form token (CAS-06, TOK-08).
            headers["Cache-Control"] = "no-store"
            headers["Pragma"] = "no-cache"
            headers["Expires"] = "0"
        return response


def form_leads_on() -> None:
    """This page's form may end in a redirect to an application: see `form_targets`."""
    g.form_leads_on = True
