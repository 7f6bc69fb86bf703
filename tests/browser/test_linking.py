"""Two accounts of one person in the demo: joined, in UPdago by either door, two again. And a member who leaves."""

from __future__ import annotations

from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from external_accounts import audit
from external_accounts.addresses import parse_address
from external_accounts.proofs import CONFIRM_ADDRESS, about, claim_by_link, request_proof
from external_accounts.schema import Account, Address, SignInIdentity
from tests.browser.conftest import OpenPage
from tests.browser.scenes import fresh_name
from tests.browser.stage import SEL_USER, Stage
from tests.browser.steps import (
    LOCAL_DOOR,
    SEL_DOOR,
    choose_door,
    expect_heading,
    press,
    sign_in_at_sel,
    sign_in_locally,
    whoami,
)
from tests.browser.test_my_account import mailed_link, open_account
from tests.running_demo import RunningDemo

pytestmark = pytest.mark.xdist_group("browser walks")

PASSWORD_AFTER = "sept violons dans la brume"


def enter_updago(page: Page, demo: RunningDemo, door: str, case: str) -> None:
    page.goto(f"{demo.moodle}/course/view.php?id=2")
    choose_door(page, door)
    (sign_in_at_sel if door == SEL_DOOR else sign_in_locally)(page, demo.account(case))


@pytest.mark.parametrize("script", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_a_learner_who_became_a_student_is_one_person_by_either_door_and_two_again_by_the_receipt(
    own_demo: RunningDemo, open_page: OpenPage, script: bool
) -> None:
    page = open_page(java_script_enabled=script)
    open_account(page, own_demo)
    press(page.get_by_role("link", name="Mes moyens de connexion"))
    press(page.get_by_role("button", name="Réunir un autre compte"))
    press(page.get_by_role("button", name="S'y connecter"))
    sign_in_at_sel(page, own_demo.account("student"))
    expect_heading(page, "Réunir ces deux comptes ?")
    expect(page.locator("main")).to_contain_text("sdiallo")
    press(page.get_by_role("button", name="Réunir les deux comptes"))
    expect(page.get_by_role("status")).to_contain_text("Les deux comptes n'en font qu'un")
    for door, case in ((LOCAL_DOOR, "learner_confirmed"), (SEL_DOOR, "student")):
        other = open_page(java_script_enabled=script)
        enter_updago(other, own_demo, door, case)
        assert whoami(other, own_demo) == "sdiallo"
    owner = open_page(java_script_enabled=script)
    owner.goto(mailed_link(own_demo, own_demo.account("learner_confirmed")["email"], "links/undo"))
    expect_heading(owner, "Séparer de nouveau les deux comptes ?")
    press(owner.get_by_role("button", name="Annuler"))
    expect_heading(owner, "Les comptes sont de nouveau séparés")
    page.reload()
    expect_heading(page, "Se connecter")
    enter_updago(owner, own_demo, LOCAL_DOOR, "learner_confirmed")
    assert whoami(owner, own_demo) == "ext.alice.moreau"


def test_a_member_who_leaves_goes_on_with_the_same_account_with_the_keyboard(stage: Stage, page: Page) -> None:
    """D31: the password is added while the CAS still knows them."""
    page.goto(stage.at("/signin/sel"))
    page.fill("#username", SEL_USER.username)
    page.fill("#password", SEL_USER.password)
    press(page.get_by_role("button", name="S’authentifier"))
    private = parse_address(f"{fresh_name()}@mail.example")
    now = stage.bridge.clock()
    with stage.bridge.runtime.database.begin() as session:
        account = session.scalars(
            select(Account).join(SignInIdentity).where(SignInIdentity.subject == SEL_USER.username)
        ).one()
        account.rights_end_at = now + timedelta(days=30)
        row = Address(email=private.email, email_key=private.key, role="recovery", created_at=now, confirmed_by="")
        account.addresses.append(row)
        session.flush()
        proof, _ = request_proof(
            session,
            stage.bridge.runtime.keys,
            about(row),
            purpose=CONFIRM_ADDRESS,
            lifetime=timedelta(hours=1),
            service=None,
            locale="fr",
            now=now,
        )
        claim_by_link(session, proof.id, now=now, origin=audit.SYSTEM)
    page.goto(stage.at("/account/links"))
    page.get_by_role("button", name="Ajouter un mot de passe").focus()
    with page.expect_navigation():
        page.keyboard.press("Enter")
    if page.locator("h1").inner_text().startswith("C'est bien vous"):
        press(page.locator("main .btn-primary"))
        page.fill("#username", SEL_USER.username)
        page.fill("#password", SEL_USER.password)
        press(page.get_by_role("button", name="S’authentifier"))
        press(page.locator("main .btn-primary"))
    page.fill("#password", PASSWORD_AFTER)
    page.fill("#password_again", PASSWORD_AFTER)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Vous pouvez désormais vous connecter aussi par cette porte")
    page.context.clear_cookies()
    page.goto(stage.at("/signin/local"))
    page.fill("#identifier", private.email)
    page.fill("#password", PASSWORD_AFTER)
    press(page.get_by_role("button", name="Se connecter"))
    page.goto(stage.at("/account"))
    expect(page.locator("main")).to_contain_text(SEL_USER.username)
