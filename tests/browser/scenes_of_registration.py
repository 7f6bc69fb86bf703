"""The pages of registration and of the help desk: how a browser gets there."""

from __future__ import annotations

import itertools
import re

from playwright.sync_api import Page
from sqlalchemy import update

from external_accounts.schema import Account, Registration
from tests.browser.scenes import scene, sign_in
from tests.browser.stage import Stage
from tests.browser.steps import press

DESK = "ext.desk"
_numbers = itertools.count(1)


def fresh_guest() -> str:
    """The part before `@mail.example` of an address nobody had yet."""
    return f"guest{next(_numbers)}"


def fill_request(stage: Stage, page: Page, guest: str, *, sponsor: str = "") -> None:
    page.goto(stage.at("/account/register", service=stage.updago))
    page.fill("#given_name", "Grace")
    page.fill("#family_name", f"Hopper-{guest}")
    page.fill("#email", f"{guest}@mail.example")
    page.fill("#reason", "Le cours de compilation")
    if sponsor:
        page.fill("#sponsor", sponsor)
    page.check("#charter")


def send(page: Page) -> None:
    press(page.locator("main .btn-primary"))


def ask(stage: Stage, page: Page) -> str:
    guest = fresh_guest()
    fill_request(stage, page, guest)
    send(page)
    return guest


def prove(stage: Stage, page: Page) -> str:
    guest = ask(stage, page)
    page.goto(stage.link_mailed_to(guest))
    send(page)
    return guest


def as_desk(stage: Stage, page: Page) -> None:
    """Sign in as the help desk, on the home page."""
    with stage.bridge.runtime.database.read() as session:
        known = session.query(Account).filter_by(username=DESK).one_or_none()
    if known is None:
        stage.account(DESK)
    page.context.clear_cookies()
    sign_in(stage, page, DESK)


def open_request(stage: Stage, page: Page) -> str:
    """The help desk looks at the request of somebody who proved their address."""
    guest = prove(stage, page)
    as_desk(stage, page)
    page.goto(stage.at("/helpdesk/registrations"))
    while page.get_by_role("link", name=f"{guest}@").count() == 0:
        press(page.locator("main .more a").last)
    press(page.get_by_role("link", name=f"{guest}@"))
    return guest


def accept(stage: Stage, page: Page) -> str:
    guest = open_request(stage, page)
    send(page)
    return guest


def last_step(stage: Stage, page: Page) -> str:
    guest = accept(stage, page)
    page.context.clear_cookies()
    page.goto(stage.link_mailed_to(guest))
    return guest


@scene("Demander un compte", "Ask for an account")
def register_form(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/account/register", service=stage.updago))


@scene("Demander un compte", "Ask for an account", alert=True)
def register_form_wrong(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/account/register"))
    page.evaluate("document.querySelector('main form').noValidate = true")
    page.fill("#email", "somebody@mailinator.com")
    page.fill("#sponsor", "Mme Martin")
    send(page)


@scene("Regardez votre messagerie", "Look in your mailbox")
def register_waiting(stage: Stage, page: Page) -> None:
    ask(stage, page)


@scene("Est-ce bien votre adresse ?", "Is this your address?")
def register_link(stage: Stage, page: Page) -> None:
    page.goto(stage.link_mailed_to(ask(stage, page)))


@scene("Votre demande est examinée", "Your request is being looked at")
def register_looked_at(stage: Stage, page: Page) -> None:
    prove(stage, page)


@scene("Votre demande est acceptée", "Your request was accepted")
def register_accepted(stage: Stage, page: Page) -> None:
    guest = ask(stage, page)
    link = stage.link_mailed_to(guest)
    page.goto(link)
    send(page)
    as_desk(stage, page)
    page.goto(stage.at("/helpdesk/registrations"))
    press(page.get_by_role("link", name=f"{guest}@"))
    send(page)
    page.context.clear_cookies()
    page.goto(link)


@scene("Votre demande n'est pas acceptée", "Your request was not accepted")
def register_refused(stage: Stage, page: Page) -> None:
    guest = ask(stage, page)
    link = stage.link_mailed_to(guest)
    page.goto(link)
    send(page)
    as_desk(stage, page)
    page.goto(stage.at("/helpdesk/registrations"))
    press(page.get_by_role("link", name=f"{guest}@"))
    press(page.locator("main .btn-outline"))
    page.context.clear_cookies()
    page.goto(link)


@scene("Créez votre compte", "Create your account")
def register_last_step(stage: Stage, page: Page) -> None:
    last_step(stage, page)


@scene("Créez votre compte", "Create your account", alert=True)
def register_last_step_wrong(stage: Stage, page: Page) -> None:
    last_step(stage, page)
    page.evaluate("document.querySelector('main form').noValidate = true")
    page.fill("#username", "Élodie !")
    page.fill("#password", "court")
    page.fill("#password_again", "courte")
    send(page)


@scene("Votre compte est prêt", "Your account is ready")
def register_done(stage: Stage, page: Page) -> None:
    last_step(stage, page)
    page.fill("#password", "seven green kettles sing")
    page.fill("#password_again", "seven green kettles sing")
    send(page)


@scene("Vous avez un compte", "You have an account")
def register_done_before(stage: Stage, page: Page) -> None:
    last_step(stage, page)
    link = page.url
    page.fill("#password", "seven green kettles sing")
    page.fill("#password_again", "seven green kettles sing")
    send(page)
    page.goto(link)


@scene("Ce lien est trop ancien", "This link is too old")
def register_last_step_too_old(stage: Stage, page: Page) -> None:
    last_step(stage, page)
    stage.bridge.clock.forward(days=15)
    page.reload()


@scene("Ce lien ne fonctionne pas", "This link does not work")
def register_link_cut(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/account/register/cut-in-tw"))


@scene("On ne peut pas demander de compte ici", "Accounts cannot be asked for here")
def register_closed(stage: Stage, page: Page) -> None:
    page.goto(stage.at("/account/register", service=f"{stage.apps}/shut"))


@scene("Demandes de compte", "Requests for accounts")
def desk_requests(stage: Stage, page: Page) -> None:
    prove(stage, page)
    as_desk(stage, page)
    page.goto(stage.at("/helpdesk/registrations"))


@scene("Demandes de compte", "Requests for accounts")
def desk_requests_none(stage: Stage, page: Page) -> None:
    with stage.bridge.runtime.database.begin() as session:
        session.execute(update(Registration).where(Registration.state == "waiting").values(state="refused"))
    as_desk(stage, page)
    page.goto(stage.at("/helpdesk/registrations"))


@scene("Grace Hopper-guest", "Grace Hopper-guest")
def desk_request(stage: Stage, page: Page) -> None:
    open_request(stage, page)
    rename(page)


@scene("Grace Hopper-guest", "Grace Hopper-guest")
def desk_request_accepted(stage: Stage, page: Page) -> None:
    accept(stage, page)
    rename(page)


@scene("Grace Hopper-guest", "Grace Hopper-guest", alert=True)
def desk_request_date_over(stage: Stage, page: Page) -> None:
    open_request(stage, page)
    page.fill("#until", "2020-01-01")
    send(page)
    rename(page)


def rename(page: Page) -> None:
    """Let the heading be the same in every scene."""
    page.evaluate(
        """() => { const strip = (text) => text.replace(/guest[0-9]+(?!@)/g, 'guest');
            document.querySelector('h1').textContent = strip(document.querySelector('h1').textContent);
            document.title = strip(document.title); }"""
    )


@scene("Inviter des personnes", "Invite people")
def desk_invitations(stage: Stage, page: Page) -> None:
    as_desk(stage, page)
    page.goto(stage.at("/helpdesk/invitations"))
    page.fill("#given_name", "Kurt")
    page.fill("#family_name", "Gödel")
    page.fill("#email", f"{fresh_guest()}@mail.example")
    send(page)


@scene("Inviter des personnes", "Invite people", alert=True)
def desk_invitations_wrong(stage: Stage, page: Page) -> None:
    as_desk(stage, page)
    page.goto(stage.at("/helpdesk/invitations"))
    page.evaluate("document.querySelector('main form').noValidate = true")
    page.fill("#email", "theo.martin@univ.example")
    send(page)


@scene("Inviter des personnes", "Invite people", alert=True)
def desk_invitations_no_file(stage: Stage, page: Page) -> None:
    as_desk(stage, page)
    page.goto(stage.at("/helpdesk/invitations"))
    page.set_input_files("#file", {"name": "x.csv", "mimeType": "text/csv", "buffer": b"a;b\n1;2\n"})
    press(page.get_by_role("button", name=re.compile("Examiner|Look at")))


def upload(stage: Stage, page: Page) -> None:
    as_desk(stage, page)
    page.goto(stage.at("/helpdesk/invitations"))
    guest = fresh_guest()
    rows = f"Prénom;Nom;Courriel\nÉmile;Borel;{guest}@mail.example\nX;Y;nowhere\nZ;Z;ext.desk@mail.example\n"
    page.set_input_files("#file", {"name": "x.csv", "mimeType": "text/csv", "buffer": rows.encode("cp1252")})
    press(page.get_by_role("button", name=re.compile("Examiner|Look at")))


@scene("Voici ce qui va se passer", "This is what will happen")
def desk_import(stage: Stage, page: Page) -> None:
    upload(stage, page)


@scene("Les invitations sont parties", "The invitations are on their way")
def desk_import_sent(stage: Stage, page: Page) -> None:
    upload(stage, page)
    send(page)


@scene("Ces pages sont réservées à l'assistance", "These pages are for the help desk")
def desk_not_for_you(stage: Stage, page: Page) -> None:
    sign_in(stage, page, stage.account(f"ext.nobody{next(_numbers)}"))
    page.goto(stage.at("/helpdesk/registrations"))
