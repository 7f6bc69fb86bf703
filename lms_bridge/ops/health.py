"""Whether the process lives (`/healthz`) and whether it can serve (`/readyz`)."""

from __future__ import annotations

import structlog
from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from lms_bridge.web.request import runtime

log = structlog.get_logger(__name__)

pages = Blueprint("health", __name__)


@pages.get("/healthz")
def alive() -> ResponseReturnValue:
    return jsonify(status="ok")


@pages.get("/readyz")
def ready() -> ResponseReturnValue:
    """503 while the database does not answer or its tables are missing. Moodle, CAS and SMTP may be down."""
    try:
        with runtime().database.read() as session:
            session.execute(text("SELECT 1 FROM accounts WHERE id = -1"))
    except SQLAlchemyError as error:
        log.warning("ready", outcome="database", error=type(error).__name__)
        return jsonify(status="unavailable", database="down"), 503
    return jsonify(status="ok", database="ok")
