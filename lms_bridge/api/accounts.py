"""`/api/v1/accounts`: create, look up, update and end, by the same decisions as an import of a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, request, url_for
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from werkzeug.exceptions import MethodNotAllowed, NotFound

from external_accounts import throttle
from external_accounts.addresses import mask_address
from external_accounts.api_keys import Caller
from external_accounts.audit import Origin
from external_accounts.directory import DirectoryUnavailable
from external_accounts.import_facts import facts_for
from external_accounts.import_rows import Problem, Wish
from external_accounts.import_runs import TRIES, Run, usernames_for, write
from external_accounts.imports import Decision, Facts, decide, end_now
from external_accounts.schema import Account
from lms_bridge import importing
from lms_bridge.api import models, openapi, problems
from lms_bridge.api.problems import ApiProblem
from lms_bridge.api.requests import Repeatable, authorise, body, require
from lms_bridge.i18n import gettext as _
from lms_bridge.web.request import origin, runtime

pages = Blueprint("api", __name__, url_prefix="/api")
problems.install(pages)

DAY_SECONDS = 24 * 3600
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
Answer = tuple[int, dict[str, Any]]


def _route(path: str, **handlers: Callable[..., Response]) -> None:
    """One address and its methods. Flask itself would answer a wrong method with a page."""

    def dispatch(**values: str) -> Response:
        handler = handlers.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            raise MethodNotAllowed(valid_methods=list(handlers))
        return handler(**values)

    name = path.strip("/").replace("/", "_") or "root"
    pages.add_url_rule(path, "".join(c for c in name if c.isalnum() or c == "_"), dispatch, methods=METHODS)


def _look_up(external_key: str) -> Response:
    authorise("accounts:read")
    with runtime().database.read() as session:
        account = _known(session, external_key)
        return _json(200, _document(account, []))


def _create() -> Response:
    caller = authorise("accounts:create")
    asked = body(models.NewAccount)

    def decision(facts: Facts, wish: Wish, run: Run) -> Decision:
        if facts.account is not None and not facts.account.erased:
            raise ApiProblem("exists", _("Change it with PATCH."))
        return decide(wish, facts, run.rules)

    return _change(caller, asked.external_key, asked, decision, done=201)


def _update(external_key: str) -> Response:
    caller = authorise("accounts:update")
    asked = body(models.Fields)

    def decision(facts: Facts, wish: Wish, run: Run) -> Decision:
        if facts.account is None or facts.account.erased:
            raise ApiProblem("not_found")
        return decide(wish, facts, run.rules)

    return _change(caller, external_key, asked, decision)


def _end(external_key: str) -> Response:
    caller = authorise("accounts:end")
    last_day = body(models.End).last_day

    def decision(facts: Facts, wish: Wish, run: Run) -> Decision:
        account, now = facts.account, run.rules.now
        if account is None or account.erased:
            raise ApiProblem("not_found")
        if last_day is not None or account.joined_to:
            return decide(wish, facts, run.rules)
        if account.rights_end_at is not None and account.rights_end_at <= now:
            return Decision("leave", external_key, account.id, notes=("ended",))
        return end_now(account.id, external_key, now)

    asked = models.Fields(rights_end=last_day) if last_day is not None else models.Fields()
    return _change(caller, external_key, asked, decision)


def _change(
    caller: Caller,
    external_key: str,
    asked: models.Fields,
    decision: Callable[[Facts, Wish, Run], Decision],
    *,
    done: int = 200,
) -> Response:
    wish, wrong = asked.wish(external_key)
    if wrong:
        raise _invalid(wrong)
    repeatable = Repeatable(caller)
    bridge = runtime()
    run = importing.run(bridge, importing.rules(bridge), Origin(origin().network, caller.actor))
    for turn in range(TRIES):
        try:
            status, answer = _once(run, caller, wish, decision, repeatable, done)
        except IntegrityError:  # another request took the key, the name or the Idempotency-Key
            if turn == TRIES - 1:
                raise ApiProblem("changed_meanwhile") from None
        except DirectoryUnavailable:
            raise ApiProblem("unavailable", headers={"Retry-After": "60"}) from None
        else:
            break
    response = _json(status, answer)
    if status == 201:
        response.headers["Location"] = url_for("api.v1_accounts_external_key", external_key=external_key)
    return response


def _once(
    run: Run,
    caller: Caller,
    wish: Wish,
    decision: Callable[[Facts, Wish, Run], Decision],
    repeatable: Repeatable,
    done: int,
) -> Answer:
    key = wish.external_key
    with run.database.read() as session:
        if (before := repeatable.before(session)) is not None:
            return before
        wanted = decision(facts_for(session, [wish], alike_lines={})[key], wish, run)
    if wanted.kind == "refuse":
        raise _refused(wanted)
    _check_scope(caller, wanted)
    names = usernames_for(run, [wanted] if wanted.kind == "create" else [])
    wishes = {} if "ends_now" in wanted.notes else {key: wish}
    with run.database.begin() as session:
        if (before := repeatable.before(session)) is not None:
            return before
        if wanted.ends:
            _reserve_end(session, run, caller)
        if wanted.kind != "leave":
            (taken,) = write(run, session, [wanted], wishes, {}, names)
            if wanted.kind == "create" and taken.kind == "leave":  # the same request was a moment earlier
                raise ApiProblem("exists", _("Change it with PATCH."))
            wanted = taken
        if wanted.kind == "refuse":
            raise _refused(wanted)
        session.flush()
        answer = _document(_known(session, key), importing.note_words(wanted))
        repeatable.remember(session, done, answer, run.rules.now)
    return done, answer


def _check_scope(caller: Caller, decision: Decision) -> None:
    """What a request comes to needs its scope too: an end by `PATCH`, or a `POST` that takes an account over."""
    needed = "accounts:end" if decision.ends or decision.kind == "end" else ""
    if "taken_over" in decision.notes:
        needed = "accounts:update"
    if needed:
        require(caller, needed)


def _reserve_end(session: Session, run: Run, caller: Caller) -> None:
    """The guard of programs that end accounts one by one: so many a day, then a human has to look (I9)."""
    most = runtime().settings.imports.api_ends_a_day
    refusal = ApiProblem("too_many_ends", _("%(most)d a day; more are for an operator.", most=most))
    if not most:
        raise refusal
    limit = throttle.Limit("api ends", burst=most, every=DAY_SECONDS / most)
    try:
        throttle.reserve(session, [throttle.Use(limit, str(caller.key_id))], run.rules.now)
    except throttle.Throttled as error:
        refusal.headers["Retry-After"] = str(error.retry_after)
        raise refusal from None


def _known(session: Session, external_key: str) -> Account:
    living = (Account.erased_at.is_(None), Account.merged_into_id.is_(None))
    found = session.scalar(select(Account).where(Account.external_key == external_key, *living))
    if found is None:
        raise ApiProblem("not_found")
    return found


def _invalid(wrong: list[Problem]) -> ApiProblem:
    errors = [{"field": one.column, "reason": one.reason, "text": importing.problem_words(one)} for one in wrong]
    return ApiProblem("invalid", errors=errors)


def _refused(decision: Decision) -> ApiProblem:
    reasons = {problem.reason for problem in decision.problems}
    if "changed_meanwhile" in reasons:
        return ApiProblem("changed_meanwhile")
    if "homonym" not in reasons:
        return _invalid(list(decision.problems))
    alike = [
        {
            "username": one.username,
            "external_key": one.external_key,
            "points": one.likeness.points,
            "facts": list(one.likeness.facts),
            "text": importing.alike_words(one),
        }
        for one in decision.alike
    ]
    return ApiProblem("homonym", _("Look, then send it again with homonym_checked."), alike=alike)


def _document(account: Account, notes: list[str]) -> dict[str, Any]:
    now = runtime().clock()
    suspended = account.suspended_at is not None and (account.suspended_until is None or now < account.suspended_until)
    ended = account.rights_end_at is not None and account.rights_end_at <= now
    shown = models.Account(
        external_key=account.external_key or "",
        username=account.username,
        profile=account.profile,
        given_name=account.given_name,
        family_name=account.family_name,
        birth_name=account.birth_name,
        unit=account.unit,
        state="ended" if ended else "suspended" if suspended else "active" if account.activated_at else "waiting",
        created_at=account.created_at,
        activated_at=account.activated_at,
        rights_end_at=account.rights_end_at,
        addresses=[
            models.HeldAddress(
                role=one.role,
                masked=mask_address(one.email),
                confirmed=one.confirmed_at is not None,
                primary=one.is_primary,
            )
            for one in account.addresses
        ],
        notes=notes,
    )
    return shown.model_dump(mode="json")


def _json(status: int, answer: dict[str, Any]) -> Response:
    return Response(json.dumps(answer, ensure_ascii=False), status, content_type="application/json")


def _openapi() -> Response:
    return _json(200, openapi.document(runtime().settings.public_url))


def _nothing(**_values: str) -> Response:
    raise NotFound


_route("/v1/accounts", POST=_create)
_route("/v1/accounts/<external_key>", GET=_look_up, PATCH=_update)
_route("/v1/accounts/<external_key>/end", POST=_end)
_route("/v1/openapi.json", GET=_openapi)
_route("/<path:rest>", **dict.fromkeys(METHODS, _nothing))
