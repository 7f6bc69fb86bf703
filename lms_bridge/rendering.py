"""Templates outside a request: mails and reports."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, FileSystemLoader, select_autoescape

from lms_bridge import i18n
from lms_bridge.runtime import templates_folder


@cache
def outside_requests() -> Environment:
    """The environment of the templates, without anything of Flask's. Texts follow `i18n.use_locale`."""
    environment = Environment(
        loader=FileSystemLoader(templates_folder()),
        autoescape=select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    i18n.install(environment)
    return environment
