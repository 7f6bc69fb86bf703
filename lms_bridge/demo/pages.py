"""Pages of the simulated peers: templates beside this file, one style sheet each, no script."""

from __future__ import annotations

from http import HTTPStatus
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

_environment = Environment(
    loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)

# No form-action: Chromium applies it to every redirect that follows a form, and a sign-in form ends at another origin.
_PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; frame-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


def page(template: str, status: int = 200, **values: object) -> Response:
    """Render a template of this package; never cached, never framed, without script."""
    response = Response(_environment.get_template(template).render(**values), status, mimetype="text/html")
    response.headers["Content-Security-Policy"] = _PAGE_POLICY
    return guard(response)


def style_sheet(name: str) -> Response:
    """The style sheet `name` of this package."""
    text = (files(__package__) / "templates" / name).read_text("utf-8")
    return guard(Response(text, mimetype="text/css"))


def guard(response: Response) -> Response:
    """Add the headers that every answer of a simulated peer carries.

    CAS 3.0.3 Appendix B: answers around credentials are not kept by caches.
    """
    response.headers["Cache-Control"] = "no-store, no-cache"
    response.headers["Pragma"] = "no-cache"
    response.headers["Expires"] = "Thu, 01 Jan 1970 00:00:00 GMT"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def refusal(error: HTTPException) -> Response:
    """A plain answer for a request the application has no page for, keeping headers such as Allow."""
    status = HTTPStatus(error.code or 500)
    response = guard(Response(f"{status.value} {status.phrase}\n", status.value, mimetype="text/plain"))
    for name, value in error.get_headers():
        if name.lower() == "allow":
            response.headers[name] = value
    return response
