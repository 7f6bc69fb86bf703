"""Whether the process lives (`/healthz`) and whether it can serve (`/readyz`)."""

from __future__ import annotations

import structlog
from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from lms_bridge.ops import identification
from lms_bridge.web.request import parameter, runtime

log = structlog.get_logger(__name__)

pages = Blueprint("health", __name__)


@pages.get("/healthz")
def alive() -> ResponseReturnValue:
    """`ok`. To a question signed with our own keys also which bridge this is, and how the request looked on arrival."""
    bridge, question = runtime(), parameter("ask")
    if question is None or not identification.is_ours(bridge.keys, question, bridge.clock()):
        return jsonify(status="ok")
    forwarded = request.environ.get("HTTP_X_FORWARDED_FOR", "")
    facts = {
        "address": request.remote_addr or "",
        "scheme": request.scheme,
        "forwarded": len([part for part in forwarded.split(",") if part.strip()]),
        "trusted_proxies": bridge.settings.throttle.trusted_proxies,
        "at": bridge.clock().timestamp(),
        "database": identification.fingerprint(bridge.keys, bridge.settings.database_url),
    }
    return jsonify(status="ok", bridge=identification.answer(bridge.keys, question, facts))


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
