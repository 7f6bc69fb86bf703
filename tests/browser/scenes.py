"""Every page of the service by name: how a browser gets there. The tests look at each in both languages and schemes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page
from sqlalchemy.exc import OperationalError
from werkzeug import Response

from external_accounts.throttle import Throttled
from lms_bridge.selfservice import charter
from tests.bridge_under_test import PASSWORD
from tests.browser.stage import SEL_USER, Stage

Scene = Callable[[Stage, Page], None]

SCENES: dict[str, Scene] = {}
_numbers = itertools.count(1)


def scene(play: Scene) -> Scene:
    SCENES[play.__name__] = play
    return play


def fresh_name() -> str:
    """A user name nobody had yet: scenes share one stage."""
    return f"ext.ada{next(_numbers)}"


def sign_in(stage: Stage, page: Page, username: str, service: str = "") -> None:
    """Come in by the Extérieurs door."""
    page.goto(stage.at("/signin/local", **({"service": service} if service else {})))
    page.fill("#identifier", username)
    page.fill("#password", PASSWORD)
    page.click("main button[type=submit]")


# --- The doors ---


@scene
def doors(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/cas/login", service=stage.updago))


@scene
def doors_used_before(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name()))
    page.goto(stage.at("/cas/logout"))
    page.goto(stage.at("/cas/login", service=stage.updago))


@scene
def doors_without_service(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/"))


@scene
def local_form(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/signin/local", service=stage.updago))


@scene
def local_form_wrong(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/signin/local", service=stage.updago))
    page.fill("#identifier", "nobody@mail.example")
    page.fill("#password", "not the password")
    page.click("main button[type=submit]")


@scene
def local_form_empty(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/signin/local"))
    page.fill("#identifier", "ext.somebody")
    page.fill("#password", "x")
    page.evaluate("document.getElementById('password').value = ''")
    page.evaluate("document.querySelector('main form').noValidate = true")
    page.click("main button[type=submit]")


@scene
def local_form_throttled(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/signin/local", service=stage.updago))
    name = fresh_name()
    for _ in range(11):
        page.fill("#identifier", name)
        page.fill("#password", "not the password")
        page.click("main button[type=submit]")


@scene
def already_signed_in_by_another_door(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name()))
    page.goto(stage.at("/signin/sel", service=stage.updago))


@scene
def sel_unreachable(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/signin/sel", service=stage.updago))
    silent = Response(status=503)
    with patch.object(stage.sel, "_service_validate", return_value=silent):
        page.fill("#username", SEL_USER.username)
        page.fill("#password", SEL_USER.password)
        page.click("button:not(.quiet)")


@scene
def sel_took_too_long(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/signin/sel/callback", state="old", ticket="ST-1"))


@scene
def sel_refused(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/signin/sel", service=stage.updago))
    callback = parse_qs(urlsplit(page.url).query)["service"][0]
    page.goto(f"{callback}&ticket=ST-nobodys")


# --- What stands in the way ---


@scene
def obstacle_unconfirmed(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name(), confirmed=False), stage.updago)


@scene
def obstacle_two_things(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name(), confirmed=False), stage.library)


@scene
def obstacle_suspended(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name(), suspended_at=stage.bridge.clock()), stage.updago)


@scene
def obstacle_suspended_for_a_time(stage: Stage, page: Page) -> None:
    now = stage.bridge.clock()
    name = stage.account(fresh_name(), suspended_at=now, suspended_until=now + timedelta(days=3))
    sign_in(stage, page, name, stage.updago)


@scene
def obstacle_rights_ended(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name(), rights_end_at=stage.bridge.clock() - timedelta(days=2))
    sign_in(stage, page, name, stage.updago)


@scene
def obstacle_not_activated(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name(), activated_at=None), stage.updago)


@scene
def obstacle_not_for_this_profile(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name()), stage.intranet)


@scene
def obstacle_no_address(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name(), confirmed=False)
    stage.forget_address(name)
    sign_in(stage, page, name, stage.updago)


@scene
def obstacle_charter(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name()), stage.library)


@scene
def obstacle_being_prepared(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name())
    stage.moodle.site.maintenance_cli = True
    try:
        sign_in(stage, page, name, stage.updago)
    finally:
        stage.moodle.site.maintenance_cli = False


@scene
def obstacle_moodle_conflict(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name())
    stage.moodle.site.add_user(name, auth="manual", email="other@mail.example")
    sign_in(stage, page, name, stage.updago)


@scene
def obstacle_suspended_in_moodle(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name())
    stage.moodle.site.add_user(name, auth="cas", email=f"{name}@mail.example", suspended=True)
    sign_in(stage, page, name, stage.updago)


@scene
def charter_text(stage: Stage, page: Page) -> None:
    obstacle_charter(stage, page)
    page.click("main .btn-primary")


@scene
def charter_not_ticked(stage: Stage, page: Page) -> None:
    charter_text(stage, page)
    page.evaluate("document.querySelector('main form').noValidate = true")
    page.click("main .btn-primary")


# --- Confirming an address ---


@scene
def address_form(stage: Stage, page: Page) -> None:
    obstacle_no_address(stage, page)
    page.click("main .btn-primary")


@scene
def address_form_wrong(stage: Stage, page: Page) -> None:
    address_form(stage, page)
    page.fill("#email", "somebody@nowhere")
    page.evaluate("document.querySelector('main form').noValidate = true")
    page.click("main .btn-primary")


@scene
def confirm_waiting(stage: Stage, page: Page) -> None:
    obstacle_unconfirmed(stage, page)
    page.click("main .btn-primary")


@scene
def confirm_waiting_code_wrong(stage: Stage, page: Page) -> None:
    confirm_waiting(stage, page)
    page.fill("#code", "BCDF-GHJK")
    page.click("main .btn-primary")


@scene
def confirm_waiting_as_nobody(stage: Stage, page: Page) -> None:
    confirm_waiting(stage, page)
    waiting = page.url
    page.context.clear_cookies()
    page.goto(waiting)


@scene
def confirm_waiting_to_resend(stage: Stage, page: Page) -> None:
    confirm_waiting(stage, page)
    stage.bridge.clock.forward(seconds=61)
    page.reload()


@scene
def confirm_link(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name(), confirmed=False)
    sign_in(stage, page, name, stage.updago)
    page.click("main .btn-primary")
    page.goto(stage.link_mailed_to(name))


@scene
def confirm_done(stage: Stage, page: Page) -> None:
    confirm_link(stage, page)
    page.click("main .btn-primary")


@scene
def confirm_already(stage: Stage, page: Page) -> None:
    confirm_link(stage, page)
    link = page.url
    page.click("main .btn-primary")
    page.goto(link)


@scene
def confirm_expired(stage: Stage, page: Page) -> None:
    confirm_link(stage, page)
    stage.bridge.clock.forward(hours=25)
    page.reload()


@scene
def confirm_invalid(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/account/confirm/cut-in-tw"))


@scene
def confirm_other_account(stage: Stage, page: Page) -> None:
    confirm_link(stage, page)
    link = page.url
    page.context.clear_cookies()
    sign_in(stage, page, stage.account(fresh_name()))
    page.goto(link)


# --- Home and the way out ---


@scene
def home_several_services(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name()))


@scene
def home_unconfirmed(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name(), confirmed=False))


@scene
def sign_out_everywhere_question(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name()), stage.updago)
    page.goto(stage.at("/account/sign-out"))


@scene
def signed_out(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name()), stage.updago)
    page.goto(stage.at("/cas/logout"))


# --- Errors ---


@scene
def error_400_malformed(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/cas/login") + "?service=a&service=b")


@scene
def error_400_form_too_old(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/signin/local", service=stage.updago))
    page.fill("#identifier", "ext.ada")
    page.fill("#password", PASSWORD)
    page.context.clear_cookies()
    page.click("main button[type=submit]")


@scene
def error_403(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/cas/login", service="https://stranger.example/"))


@scene
def error_404(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/nowhere"))


@scene
def error_405(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/account/confirm/x/resend"))


@scene
def error_413(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/signin/local"))
    page.evaluate("document.getElementById('identifier').removeAttribute('maxlength')")
    page.evaluate("document.getElementById('identifier').value = 'x'.repeat(80000)")
    page.fill("#password", PASSWORD)
    page.click("main button[type=submit]")


def _failing_charter(stage: Stage, page: Page, error: Exception) -> None:
    with patch.object(charter, "text_in", side_effect=error):
        page.goto(stage.at("/account/charter"))


@scene
def error_429(stage: Stage, page: Page) -> None:
    _failing_charter(stage, page, Throttled(40))


@scene
def error_500(stage: Stage, page: Page) -> None:
    _failing_charter(stage, page, RuntimeError("broken on purpose"))


@scene
def error_503(stage: Stage, page: Page) -> None:
    _failing_charter(stage, page, OperationalError("select 1", {}, Exception("gone")))


@scene
def error_508_loop(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(fresh_name()))
    for _ in range(12):
        page.goto(stage.at("/cas/login", service=stage.agenda))
        if not page.url.startswith(stage.agenda):
            return
