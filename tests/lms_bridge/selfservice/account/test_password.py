"""My password: PWD-05, and what ends with the old one (I10, SES-01)."""

from __future__ import annotations

import pytest
import requests

from tests.bridge_under_test import PASSWORD, heading
from tests.lms_bridge.mailing import in_french
from tests.lms_bridge.selfservice.account.conftest import Home, mail_link, words

BETTER = "sept violons dans la brume"


def change(home: Home, *, current: str = PASSWORD, new: str = BETTER, again: str | None = None) -> requests.Response:
    home.ada.get("/account/password")
    return home.press("/account/password", current_password=current, password=new, password_again=again or new)


def test_pwd_05_a_change_needs_the_current_password(home: Home) -> None:
    refused = change(home, current="not it at all")
    assert (refused.status_code, in_french("This is not your password.") in words(refused)) == (401, True)
    assert home.bridge.browser().sign_in("ext.ada", BETTER).status_code == 401
    done = change(home)
    assert in_french("Your password is changed. You are signed out on every other device.") in words(done)
    assert home.bridge.browser().sign_in("ext.ada", PASSWORD).status_code == 401
    assert home.bridge.browser().sign_in("ext.ada", BETTER).status_code == 200


def test_pwd_05_the_fields_are_masked_and_take_what_managers_fill_in(home: Home) -> None:
    page = home.ada.get("/account/password").text
    assert page.count('type="password"') == 3
    assert page.count('autocomplete="new-password"') == 2
    assert page.count('autocomplete="current-password"') == 1
    assert "onpaste" not in page


@pytest.mark.parametrize(("new", "again"), [("short", None), ("lovelace lovelace", None), (BETTER, "something else")])
def test_a_new_password_is_judged_and_nothing_typed_comes_back(home: Home, new: str, again: str | None) -> None:
    refused = change(home, new=new, again=again)
    assert refused.status_code == 422
    assert new not in refused.text.replace(">", " ").split('name="password"')[1][:400]
    assert home.bridge.browser().sign_in("ext.ada", PASSWORD).status_code == 200


def test_i10_other_sessions_and_pending_proofs_end_and_this_session_has_a_new_secret(home: Home) -> None:
    home.add("ada@new.example", confirm=False)
    confirmation = mail_link(home.mails_to("ada@new.example")[-1], "confirm")
    telephone = home.bridge.browser()
    telephone.sign_in("ext.ada", PASSWORD)
    stolen = home.bridge.browser()
    stolen.session.cookies.update(home.ada.session.cookies)
    change(home)
    for other in (telephone, stolen):
        assert other.get("/account", follow=False).status_code == 303
    assert home.ada.get("/account", follow=False).status_code == 200
    assert home.bridge.browser().get(confirmation).status_code == 410


def test_every_confirmed_address_is_told_and_the_link_that_undoes_a_change_stays(home: Home) -> None:
    home.add("ada@new.example")
    home.add("ada@unproved.example", confirm=False)
    change(home)
    subject = in_french("your password has been changed")
    told = {mail.to for mail in home.mailbox.all() if subject in " ".join(mail.subject.split())}
    assert told == {"ada@mail.example", "ada@new.example"}
    undo = next(mail for mail in home.mails_to("ada@mail.example") if "/account/undo/" in mail.text)
    assert heading(home.bridge.browser().get(mail_link(undo, "undo"))) == in_french("Undo this change?")


def test_guessing_the_current_password_is_throttled(home: Home) -> None:
    answers = [change(home, current="wrong").status_code for _ in range(11)]
    assert answers == [401] * 10 + [429]
