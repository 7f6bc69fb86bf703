"""A likely pair in a browser, from the help desk's list to the person's answer: by keyboard, without JavaScript."""

from __future__ import annotations

from playwright.sync_api import Browser, Page, expect

from tests.browser.scenes import sign_in
from tests.browser.scenes_of_duplicates import DESK, two_accounts
from tests.browser.scenes_of_registration import as_desk
from tests.browser.stage import Stage


def on(page: Page, name: str) -> None:
    expect(page.locator("h1")).to_have_text(name)


def test_a_pair_is_proposed_and_the_person_says_no(chromium: Browser, stage: Stage) -> None:
    person, number = two_accounts(stage)
    context = chromium.new_context(locale="en", java_script_enabled=False)
    page = context.new_page()
    as_desk(stage, page)
    page.goto(stage.at(DESK))
    link = page.locator(f"main a[href='{DESK}/{number}']")
    link.focus()
    link.press("Enter")
    on(page, "One person or two?")
    propose = page.get_by_role("button", name="Propose it to them")
    propose.focus()
    propose.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("The person is asked")
    assert any("two accounts" in mail.subject or "deux comptes" in mail.subject for mail in stage.mails_to(person))
    context.clear_cookies()
    sign_in(stage, page, person)
    decline = page.get_by_role("button", name="I have one account only")
    decline.focus()
    decline.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("We do not ask again")
    page.goto(stage.at("/"))
    expect(page.get_by_role("button", name="I have one account only")).to_have_count(0)
    as_desk(stage, page)
    page.goto(stage.at(f"{DESK}/{number}"))
    expect(page.locator("main")).to_contain_text("The person says no")
    context.close()
