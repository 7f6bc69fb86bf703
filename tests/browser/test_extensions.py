"""An extension in the demo, from the account page through the sponsor's mailbox to the answer, in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.steps import expect_heading, press, sign_in_locally, whoami
from tests.running_demo import RunningDemo, running_demo

pytestmark = pytest.mark.xdist_group("browser walks")


@pytest.fixture(params=[True, False], ids=["with JavaScript", "without JavaScript"])
def any_page(request: pytest.FixtureRequest, open_page: OpenPage) -> Page:
    """A browser, once with JavaScript and once without."""
    return open_page(java_script_enabled=request.param)


def decision_link(demo: RunningDemo, number: int = 1) -> str:
    found = re.search(r"http://\S+/extension/\S+", demo.mail("sponsor", number)["text"])
    assert found
    return found.group(0)


def ask(demo: RunningDemo, page: Page) -> None:
    page.goto(f"{demo.bridge}/account")
    press(page.get_by_role("link", name="Gérer ma demande de prolongation"))
    page.get_by_label("Pour quelle raison ?").fill("Le cours continue")
    press(page.get_by_role("button", name="Envoyer ma demande"))
    expect(page.get_by_role("heading", name="Votre demande attend une réponse")).to_be_visible()


def test_access_that_ended_comes_back_by_one_click_in_the_sponsors_mail(any_page: Page, open_page: OpenPage) -> None:
    with running_demo() as demo:
        any_page.goto(f"{demo.moodle}/course/view.php?id=2")
        press(any_page.locator("a.door", has_text="Extérieurs"))
        sign_in_locally(any_page, demo.account("learner_ended"))
        expect_heading(any_page, "Votre accès est terminé")
        ask(demo, any_page)
        sponsor = open_page()
        sponsor.goto(decision_link(demo))
        expect_heading(sponsor, "Prolongation pour Noé Fabre")
        press(sponsor.get_by_role("button", name="Accorder la prolongation"))
        expect(sponsor.get_by_role("heading", name="Accordée")).to_be_visible()
        assert "votre accès est prolongé" in demo.mail("learner_ended")["subject"]
        any_page.goto(f"{demo.moodle}/course/view.php?id=2")
        expect(any_page).to_have_url(f"{demo.moodle}/course/view.php?id=2")
        assert whoami(any_page, demo) == "ext.noe.fabre"


def test_a_refusal_is_read_on_the_page_with_its_reason(page: Page, open_page: OpenPage) -> None:
    with running_demo() as demo:
        page.goto(f"{demo.bridge}/signin/local")
        sign_in_locally(page, demo.account("learner_ending"))
        ask(demo, page)
        sponsor = open_page()
        sponsor.goto(decision_link(demo))
        sponsor.get_by_label("Motif").fill("Le cours n'a pas lieu.")
        press(sponsor.get_by_role("button", name="Refuser la prolongation"))
        expect(sponsor.get_by_role("heading", name="Refusée")).to_be_visible()
        page.reload()
        expect(page.get_by_role("heading", name="Votre demande a été refusée")).to_be_visible()
        expect(page.locator("main")).to_contain_text("Le cours n'a pas lieu.")
