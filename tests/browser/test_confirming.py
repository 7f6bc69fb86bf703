"""From "e-mail not confirmed" to the application: by the link, by the code, again, too late, and on two devices."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from tests.bridge_under_test import PASSWORD
from tests.browser import scenes
from tests.browser.conftest import OpenPage
from tests.browser.scenes import fresh_name, sign_in
from tests.browser.stage import SEL_USER, Stage
from tests.browser.steps import LOCAL_DOOR, choose_door, expect_heading, sign_in_locally, whoami
from tests.lms_bridge import mailing
from tests.running_demo import RunningDemo, code_in, link_in

pytestmark = pytest.mark.xdist_group("browser walks")


def ask_for_the_message(page: Page, demo: RunningDemo) -> None:
    """From UPdago's deep link to the page that waits for the mail."""
    page.goto(f"{demo.moodle}/course/view.php?id=2")
    choose_door(page, LOCAL_DOOR)
    sign_in_locally(page, demo.account("learner_unconfirmed"))
    expect_heading(page, "E-mail non confirmé")
    page.get_by_role("button", name="Recevoir le lien").click()
    expect_heading(page, "Regardez votre messagerie")


def test_the_link_opened_elsewhere_lets_the_waiting_page_move_on_by_itself(
    own_demo: RunningDemo, open_page: OpenPage
) -> None:
    computer, phone = open_page(), open_page(viewport={"width": 390, "height": 844})
    ask_for_the_message(computer, own_demo)
    phone.goto(link_in(own_demo.mail("learner_unconfirmed")))
    expect_heading(phone, "Est-ce bien votre adresse ?")
    expect_heading(computer, "Regardez votre messagerie")
    phone.get_by_role("button", name="Confirmer mon adresse").click()
    expect_heading(phone, "E-mail confirmé")
    expect(computer).to_have_url(f"{own_demo.moodle}/course/view.php?id=2", timeout=15_000)
    assert whoami(computer, own_demo) == "ext.karim.haddad"
    assert whoami(phone, own_demo) is None, "a link signs nobody in"


def test_the_typed_code_confirms_and_leads_on_to_updago(own_demo: RunningDemo, page: Page) -> None:
    ask_for_the_message(page, own_demo)
    page.get_by_label("Code reçu dans le message").fill(code_in(own_demo.mail("learner_unconfirmed")).lower())
    page.get_by_role("button", name="Confirmer mon adresse").click()
    expect_heading(page, "E-mail confirmé")
    page.get_by_role("link", name="Continuer vers UPdago").click()
    expect(page).to_have_url(f"{own_demo.moodle}/course/view.php?id=2")
    assert whoami(page, own_demo) == "ext.karim.haddad"


def test_the_link_confirms_and_leads_on_without_javascript(own_demo: RunningDemo, open_page: OpenPage) -> None:
    page = open_page(java_script_enabled=False)
    ask_for_the_message(page, own_demo)
    expect(page.get_by_role("link", name="Lien ouvert sur un autre appareil ? Continuer")).to_be_visible()
    page.goto(link_in(own_demo.mail("learner_unconfirmed")))
    page.get_by_role("button", name="Confirmer mon adresse").click()
    page.get_by_role("link", name="Continuer vers UPdago").click()
    expect(page).to_have_url(f"{own_demo.moodle}/course/view.php?id=2")
    assert whoami(page, own_demo) == "ext.karim.haddad"


def test_the_mail_as_people_see_it_leads_to_the_page_that_confirms(own_demo: RunningDemo, page: Page) -> None:
    ask_for_the_message(page, own_demo)
    own_demo.mail("learner_unconfirmed")
    page.goto(own_demo.mailbox)
    page.get_by_role("link", name=re.compile("UPdago – confirmer votre adresse")).click()
    with page.context.expect_page() as opened:
        page.frame_locator("iframe").get_by_role("link", name="Confirmer mon adresse").click()
    expect_heading(opened.value, "Est-ce bien votre adresse ?")


def test_a_wrong_code_says_how_many_tries_are_left(stage: Stage, page: Page) -> None:
    scenes.confirm_waiting_code_wrong(stage, page)
    expect(page.get_by_role("alert")).to_contain_text("Ce n'est pas le code. Il reste 4 essais.")


def test_the_message_can_be_sent_again_after_a_minute(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name(), confirmed=False)
    sign_in(stage, page, name, stage.updago)
    page.get_by_role("button", name="Recevoir le lien").click()
    first = stage.link_mailed_to(name)
    again = page.get_by_role("button", name="Renvoyer le message")
    expect(again).to_be_disabled()
    stage.bridge.clock.forward(seconds=61)
    page.reload()
    expect(again).to_be_enabled()
    again.click()
    expect_heading(page, "Regardez votre messagerie")
    assert stage.link_mailed_to(name) == first, "the same proof again"
    assert len(stage.mails_to(name)) == 2


def test_the_countdown_opens_the_button_when_it_is_over(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name(), confirmed=False)
    sign_in(stage, page, name, stage.updago)
    page.get_by_role("button", name="Recevoir le lien").click()
    expect_heading(page, "Regardez votre messagerie")
    stage.bridge.clock.forward(seconds=53)
    page.reload()
    expect(page.get_by_role("button", name="Renvoyer le message")).to_be_disabled()
    expect(page.get_by_role("button", name="Renvoyer le message")).to_be_enabled(timeout=20_000)


def test_an_expired_link_gives_a_new_one_with_one_click(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name(), confirmed=False)
    sign_in(stage, page, name, stage.updago)
    page.get_by_role("button", name="Recevoir le lien").click()
    old = stage.link_mailed_to(name)
    stage.bridge.clock.forward(hours=25)
    page.goto(old)
    expect_heading(page, "Ce lien est trop ancien")
    page.get_by_role("button", name="Recevoir un nouveau lien").click()
    expect_heading(page, "Regardez votre messagerie")
    new = stage.link_mailed_to(name)
    assert new != old
    page.goto(new)
    page.get_by_role("button", name="Confirmer mon adresse").click()
    expect_heading(page, "E-mail confirmé")
    page.get_by_role("link", name="Continuer vers UPdago").click()
    choose_door(page, LOCAL_DOOR)  # the session is over after a day
    sign_in_locally(page, {"identifier": name, "password": PASSWORD})
    expect(page).to_have_url(f"{stage.moodle_url}/my/")


def test_an_account_without_an_address_gives_one_and_confirms_it(stage: Stage, page: Page) -> None:
    scenes.address_form(stage, page)
    page.get_by_label("Adresse courriel").fill("new.address@mail.example")
    page.get_by_role("button", name="Recevoir le lien").click()
    expect_heading(page, "Regardez votre messagerie")
    page.goto(stage.link_mailed_to("new.address"))
    page.get_by_role("button", name="Confirmer mon adresse").click()
    page.get_by_role("link", name="Continuer vers UPdago").click()
    expect(page).to_have_url(f"{stage.moodle_url}/my/")


def test_accepting_the_charter_leads_on_to_the_application(stage: Stage, page: Page) -> None:
    scenes.charter_text(stage, page)
    page.get_by_label("Je l'ai lue et je l'accepte").check()
    page.get_by_role("button", name="Accepter et continuer").click()
    expect(page).to_have_url(re.compile(f"^{re.escape(stage.library)}"))


@pytest.mark.parametrize("start", ["/", "/cas/login"])
def test_asking_for_a_message_no_longer_needed_leads_on(stage: Stage, open_page: OpenPage, start: str) -> None:
    """The page was left open, and the address confirmed on another device meanwhile."""
    page = open_page()
    name = stage.account(fresh_name(), confirmed=False)
    sign_in(stage, page, name)
    page.goto(stage.at(start, service=stage.updago))
    stage.confirm(name)
    page.get_by_role("button", name="Recevoir le lien").first.click()
    expect_heading(page, "Bonjour Ada Lovelace" if start == "/" else "Tableau de bord")


def test_a_page_being_prepared_moves_on_by_itself_when_moodle_is_back(stage: Stage, page: Page) -> None:
    scenes.obstacle_being_prepared(stage, page)
    expect(page).to_have_url(f"{stage.moodle_url}/my/", timeout=15_000)


def test_sel_silent_at_the_last_step_is_explained_and_the_other_door_works(stage: Stage, page: Page) -> None:
    scenes.sel_unreachable(stage, page)
    expect_heading(page, "La porte « Enseignant·es, étudiant·es » ne répond pas")
    name = stage.account(fresh_name())
    choose_door(page, LOCAL_DOOR)
    sign_in_locally(page, {"identifier": name, "password": PASSWORD})
    expect(page).to_have_url(f"{stage.moodle_url}/my/")


def test_sel_back_again_lets_the_same_person_try_again(stage: Stage, page: Page) -> None:
    scenes.sel_unreachable(stage, page)
    page.get_by_role("link", name="Réessayer").click()
    expect(page).to_have_url(f"{stage.moodle_url}/my/")
    assert page.context.request.get(f"{stage.moodle_url}/whoami.json").json()["username"] == SEL_USER.username


def test_sel_down_from_the_start_leaves_the_other_door_open(own_demo: RunningDemo, page: Page) -> None:
    page.context.request.post(f"{own_demo.sel}/demo/down")
    page.goto(f"{own_demo.bridge}/signin/sel?{urlencode({'service': own_demo.updago})}")
    expect_heading(page, "La porte « Enseignant·es, étudiant·es » ne répond pas")
    choose_door(page, LOCAL_DOOR)
    sign_in_locally(page, own_demo.account("learner_confirmed"))
    expect(page).to_have_url(f"{own_demo.moodle}/my/")


def test_a_message_delivered_late_offers_a_code_that_still_works(stage: Stage, page: Page) -> None:
    name = stage.account(fresh_name(), confirmed=False)
    sign_in(stage, page, name, stage.updago)
    page.get_by_role("button", name="Recevoir le lien").click()
    expect_heading(page, "Regardez votre messagerie")
    stage.bridge.clock.forward(minutes=11)
    mail = stage.mails_to(name)[-1]
    for part in (mail.text, mail.html):
        assert "/account/confirm/" in part
        assert "saisissez ce code" in part
        assert "None" not in part
    page.reload()
    page.get_by_label("Code reçu dans le message").fill(mailing.code_in(mail))
    page.get_by_role("button", name="Confirmer mon adresse").click()
    expect_heading(page, "E-mail confirmé")


def test_d18_a_waiting_page_says_that_mail_is_slow_and_takes_it_back(stage: Stage, page: Page) -> None:
    scenes.confirm_waiting(stage, page)
    notice = page.get_by_role("status").filter(has_text="Notre serveur de courriel est lent")
    stage.bridge.runner.run_once()
    page.reload()
    expect(notice).to_be_hidden()
    stage.mails.refuse_with = "451 4.3.2 not now"
    try:
        page.context.clear_cookies()
        scenes.confirm_waiting(stage, page)
        stage.bridge.runner.run_once()
        stage.bridge.clock.forward(seconds=31)
        page.reload()
        expect(notice).to_be_visible()
    finally:
        stage.mails.refuse_with = None
    stage.bridge.runner.run_once()
    expect(notice).to_be_hidden(timeout=15_000)
