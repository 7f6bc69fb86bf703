"""Single logout of the simulated university CAS: tell every service of a session, in bounded time."""

from __future__ import annotations

import logging
import threading
import time
from datetime import datetime

import requests

from lms_bridge.demo.sel_answers import logout_request
from lms_bridge.demo.sel_sessions import Session

EACH_SECONDS = 2.0
ALL_SECONDS = 3.0

_log = logging.getLogger(__name__)


def notify(session: Session, now: datetime) -> None:
    """Send a logout message for each ticket of the session (CAS 3.0.3, 2.3.3).

    Returns after ALL_SECONDS at the latest; what a service answers, or that it does not, changes nothing.
    """
    deadline = time.monotonic() + ALL_SECONDS
    senders = [
        threading.Thread(
            target=_send, args=(service, logout_request(session.username, ticket, now)), name="sel-logout", daemon=True
        )
        for ticket, service in session.services
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(max(0.0, deadline - time.monotonic()))


def _send(service: str, message: str) -> None:
    with requests.Session() as web:
        web.trust_env = False  # a proxy of the machine does not reach its loopback
        try:
            # mod_auth_cas wants logoutRequest as the first field.
            web.post(
                service, data={"logoutRequest": message}, timeout=EACH_SECONDS, allow_redirects=False, stream=True
            ).close()
        except (requests.RequestException, ValueError) as failed:
            _log.debug("Logout message not delivered: %s", type(failed).__name__)
