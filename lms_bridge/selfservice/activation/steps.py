"""The steps of an activation, behind the link of a mail: each a page with one question, its answer kept at once.

Opening the link changes nothing (I11): answers come by POST. They are kept for the account, so that the same link, or a
later one, goes on where it was, on any device. Going back keeps what was typed too, right or wrong; the password never.
"""

from __future__ import annotations

from flask import Blueprint, abort, redirect, request
from flask.typing import ResponseReturnValue

from external_accounts import activation
from external_accounts.activation_steps import Step, current, may_open, read, steps, wrong
from external_accounts.proofs import ProofUnknown
from lms_bridge.i18n import gettext as _
from lms_bridge.selfservice.activation import last_step, over
from lms_bridge.selfservice.activation.offer import WRONG
from lms_bridge.selfservice.activation.pages import PATH, link_proof, once_more, over_page, state, step_page
from lms_bridge.web.request import runtime

pages = Blueprint("activation_steps", __name__, url_prefix=PATH)


@pages.errorhandler(ProofUnknown)
def unknown(_error: ProofUnknown) -> ResponseReturnValue:
    return over.invalid(404)


@pages.get("/<token>/steps/<step>")
def show(token: str, step: str) -> ResponseReturnValue:
    proof, here = link_proof(token), _read_step(step)
    with runtime().database.read() as session:
        if (page := over_page(session, token, proof)) is not None:
            return page
        account, offer, answers = state(session, proof)
        if not may_open(here, answers, offer):
            return redirect(f"{PATH}/{token}/steps/{current(answers, offer)}", 303)
        return step_page(token, proof, account, offer, answers, here)


@pages.post("/<token>/steps/<step>")
def save(token: str, step: str) -> ResponseReturnValue:
    """Keep the answer and go on; with `back`, keep it and go back. The last step does everything."""
    proof, here, now = link_proof(token), _read_step(step), runtime().clock()
    if here is Step.PASSWORD:
        return last_step.choose(token, proof)
    with runtime().database.begin() as session:
        if (page := over_page(session, token, proof)) is not None:
            return page
        _account, offer, answers = state(session, proof)
        if not may_open(here, answers, offer):
            return redirect(f"{PATH}/{token}/steps/{current(answers, offer)}", 303)
        given = read(here, request.form, offer)
        if here is Step.CHARTER and given["charter"]:
            given["charter_at"] = now.isoformat()
        answers = activation.save_draft(session, proof, given, now=now)
    path = steps(offer)
    if "back" in request.form:
        return redirect(f"{PATH}/{token}/steps/{path[max(0, path.index(here) - 1)]}", 303)
    if (what := wrong(here, answers, offer)) is not None:
        return once_more(token, proof, here, error=_(WRONG[what])), 422
    return redirect(f"{PATH}/{token}/steps/{path[path.index(here) + 1]}", 303)


def _read_step(name: str) -> Step:
    try:
        return Step(name)
    except ValueError:
        abort(404)
