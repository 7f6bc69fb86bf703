"""What people do on the pages, in their words: the steps that walks are made of."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.running_demo import RunningDemo

SEL_DOOR = "Enseignant·es, étudiant·es"
LOCAL_DOOR = "Extérieurs"


def press(place: Locator) -> None:
    """Click what leads to another page, and wait until that page is there: going on earlier would cut it off."""
    with place.page.expect_navigation():
        place.click()


def choose_door(page: Page, name: str) -> None:
    press(page.locator("a.door", has_text=name))


def sign_in_at_sel(page: Page, account: dict[str, str]) -> None:
    page.get_by_label("Identifiant SEL").fill(account["identifier"])
    page.get_by_label("Mot de passe").fill(account["password"])
    press(page.get_by_role("button", name="S’authentifier"))


def sign_in_locally(page: Page, account: dict[str, str]) -> None:
    page.get_by_label("Nom d'utilisateur ou adresse courriel").fill(account["identifier"])
    page.locator("#password").fill(account["password"])
    press(page.get_by_role("button", name="Se connecter"))


def expect_heading(page: Page, text: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(text)


def whoami(page: Page, demo: RunningDemo) -> Any:
    """Who is signed in to the simulated UPdago in this browser."""
    return page.context.request.get(f"{demo.moodle}/whoami.json").json()["username"]


def cookie_names(page: Page) -> set[str]:
    return {str(cookie["name"]) for cookie in page.context.cookies()}
