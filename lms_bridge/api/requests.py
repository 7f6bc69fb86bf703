"""One request of the API: whose key it is, what it may, and whether it came before."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from typing import Any, TypeVar

from flask import request
from pydantic import BaseModel, ValidationError
from sqlalchemy.orm import Session

from external_accounts import api_keys, throttle
from external_accounts.api_keys import Caller
from external_accounts.institution_schema import ApiAnswer
from lms_bridge.api.problems import ApiProblem
from lms_bridge.i18n import N_
from lms_bridge.i18n import gettext as _
from lms_bridge.web.budgets import of_network
from lms_bridge.web.request import runtime

Model = TypeVar("Model", bound=BaseModel)
UNREADABLE = N_("cannot be read")
WORDS = {
    "missing": N_("is missing"),
    "extra_forbidden": N_("is not known here"),
    "string_too_short": N_("is empty"),
    "string_too_long": N_("is too long"),
}
"""What is wrong with a field, by pydantic's word for it."""
_IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,100}")


def authorise(scope: str) -> Caller:
    """The caller, if their key is good for `scope`.

    Raises:
        ApiProblem: no key, no good one, or not for this.
        Throttled: too many requests.
    """
    bridge = runtime()
    now = bridge.clock()
    scheme, _blank, token = request.headers.get("Authorization", "").partition(" ")
    with bridge.database.read() as session:
        caller = api_keys.find(session, token.strip() if scheme.lower() == "bearer" else "", now=now)
    with bridge.database.begin() as session:
        if caller is None:
            throttle.reserve(session, [of_network(throttle.API_REFUSED, campus=throttle.API_REFUSED)], now)
        else:
            throttle.reserve(session, [throttle.Use(throttle.API_KEY, str(caller.key_id))], now)
            api_keys.note_use(session, caller, now)
    if caller is None:
        raise ApiProblem("unauthorised", headers={"WWW-Authenticate": 'Bearer realm="lms-bridge"'})
    require(caller, scope)
    return caller


def require(caller: Caller, scope: str) -> None:
    """Raises: ApiProblem: the key is not for this."""
    if scope not in caller.scopes:
        raise ApiProblem("forbidden", _("It needs the scope %(scope)s.", scope=scope))


def body(model: type[Model]) -> Model:
    """The request's body.

    Raises:
        ApiProblem: no JSON, or not what the model says; all that is wrong at once.
    """
    if request.mimetype != "application/json":
        raise ApiProblem("malformed", _("Send JSON, with Content-Type: application/json."))
    try:
        return model.model_validate_json(request.get_data())
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
    if any(one["type"] == "json_invalid" for one in found):
        raise ApiProblem("malformed", _("The body is not JSON."))
    errors = [
        {
            "field": ".".join(map(str, one["loc"])) or None,
            "reason": one["type"],
            "text": f"{'.'.join(map(str, one['loc']))}: {_(WORDS.get(one['type'], UNREADABLE))}",
        }
        for one in found
    ]
    raise ApiProblem("invalid", errors=errors)


class Repeatable:
    """A request with an `Idempotency-Key`, or without one."""

    def __init__(self, caller: Caller) -> None:
        """Raises: ApiProblem: the header is no key."""
        self._caller = caller
        self._key = request.headers.get("Idempotency-Key")
        if self._key is not None and not _IDEMPOTENCY_KEY.fullmatch(self._key):
            raise ApiProblem("malformed", _("Idempotency-Key: 1 to 100 visible ASCII characters."))
        said = b"\0".join((request.method.encode(), request.path.encode(), request.get_data()))
        self._hash = hashlib.sha256(said).hexdigest()

    def before(self, session: Session) -> tuple[int, dict[str, Any]] | None:
        """What it was answered when it came before.

        Raises:
            ApiProblem: the key came with another request.
        """
        if self._key is None:
            return None
        row = session.get(ApiAnswer, (self._caller.key_id, self._key))
        if row is None:
            return None
        if row.request_hash != self._hash:
            raise ApiProblem("idempotency")
        return row.status, row.body

    def remember(self, session: Session, status: int, answer: dict[str, Any], now: datetime) -> None:
        """Write down what is answered, in the transaction of what was done (I8). A refusal did nothing: not kept."""
        if self._key is None:
            return
        session.add(
            ApiAnswer(
                key_id=self._caller.key_id,
                idempotency_key=self._key,
                request_hash=self._hash,
                status=status,
                body=json.loads(json.dumps(answer)),
                created_at=now,
            )
        )
        session.flush()
