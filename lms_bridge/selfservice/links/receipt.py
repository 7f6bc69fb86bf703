"""Checking a receipt: whether the university's service signed it, and what it says. For anybody who has one."""

from __future__ import annotations

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from external_accounts.link_notices import read_receipt
from lms_bridge.signin.other_side import PAGE
from lms_bridge.web.request import runtime

pages = Blueprint("link_receipt", __name__, url_prefix=f"{PAGE}/receipt")


@pages.get("")
def form() -> ResponseReturnValue:
    return render_template("links/receipt.html", typed="", said=None, error=False)


@pages.post("")
def check() -> ResponseReturnValue:
    typed = request.form.get("receipt", "")
    said = read_receipt(runtime().keys, typed)
    page = render_template("links/receipt.html", typed=typed[:2000], said=said, error=said is None)
    return page, 200 if said is not None else 422
