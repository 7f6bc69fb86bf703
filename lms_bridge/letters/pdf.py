"""The PDF of account letters: HTML and CSS, drawn by WeasyPrint, tagged for screen readers (PDF/UA-1).

Both libraries belong to the extra `pdf` and are loaded when a letter is drawn. Nothing is fetched while it is: logo and
QR code travel inside the page.
"""

from __future__ import annotations

import base64
import logging
import mimetypes
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from babel.dates import format_date
from markupsafe import Markup

from lms_bridge import i18n
from lms_bridge.rendering import outside_requests
from lms_bridge.settings import Settings
from lms_bridge.web.theme import theme

ACTIVATION_PATH = "/account/activate/letter"


class NoPdf(Exception):
    """PDFs cannot be drawn here. The text says what to install."""


@dataclass(frozen=True, slots=True)
class Page:
    """What one letter says."""

    locale: str
    name: str
    unit: str
    username: str
    code: str
    deadline: str
    """In words."""
    door: str
    """Title of the door to sign in by afterwards."""


def check() -> None:
    """Raises: NoPdf."""
    _libraries()


def document(settings: Settings, pages: Sequence[Page], *, on: datetime) -> bytes:
    """One PDF, a sheet for each letter. `on` is the date that they bear.

    Raises:
        NoPdf: see `check`.
    """
    weasyprint, segno = _libraries()
    address = settings.public_url + ACTIVATION_PATH
    environment = outside_requests()
    shared: dict[str, Any] = {
        "institution": settings.institution,
        "logo": _logo(settings.institution.logo),
        "address": address,
        "host_and_path": address.partition("//")[2],
        "qr_code": segno.make(address, error="m").svg_data_uri(scale=4, border=2),
    }
    sheets = []
    for page in pages:
        with i18n.use_locale(page.locale):
            day = format_date(on.astimezone(settings.zone).date(), "d MMMM y", locale=page.locale)
            sheet = environment.get_template("letters/letter.html").render(shared, page=page, day=day)
            sheets.append(Markup(sheet))  # noqa: S704 (autoescaped when it was rendered)
    with i18n.use_locale(settings.default_language):
        html = environment.get_template("letters/document.html").render(
            shared,
            locale=settings.default_language,
            accent=theme(settings.institution.accent).accent,
            sheets=sheets,
        )
    # It warns of every rule of CSS it does not know; what matters is looked at in the tests.
    logging.getLogger("weasyprint").setLevel(logging.ERROR)
    inside_only = weasyprint.URLFetcher(allowed_protocols=["data"], fail_on_errors=True)
    drawn: bytes = weasyprint.HTML(string=html, url_fetcher=inside_only).write_pdf(pdf_variant="pdf/ua-1")
    return drawn


def _libraries() -> tuple[Any, Any]:
    try:
        return import_module("weasyprint"), import_module("segno")
    except ImportError:
        raise NoPdf("letters need the extra `pdf`: pip install 'lms-bridge[pdf]'") from None
    except OSError:  # what it is linked with is no Python package
        raise NoPdf("letters need the system's Pango: apt install libpango-1.0-0 libpangoft2-1.0-0") from None


def _logo(file: Path | None) -> str:
    """The logo as part of the page; empty without one."""
    if file is None:
        return ""
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"
