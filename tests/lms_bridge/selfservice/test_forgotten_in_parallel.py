"""I2 over HTTP: one link, pressed many times at once, on each database."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.bridge_under_test import forms, heading
from tests.lms_bridge.mailing import code_in, in_french, link_in, mailing_bridge
from tests.postgresql_server import PostgresqlServer

MANY = 64


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "sqlite":
        return {}
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    return {"database_url": server.create_database()}


def test_64_presses_at_once_set_one_of_the_passwords_tok_04_i2(tmp_path: Path, where: dict[str, Any]) -> None:
    """Who is not the first is told that the link was used; who finds the hashing queue full, to come back."""
    with mailing_bridge(tmp_path, **where) as (bridge, mailbox):
        bridge.add_account("ext.ada")
        browser = bridge.browser()
        browser.get("/account/forgot")
        browser.submit(username="ext.ada")
        link = link_in(mailbox.newest())
        browser.get(link)
        _, _, fields = forms(browser.page)[0]
        cookies = browser.session.cookies.get_dict()

        def press(number: int) -> tuple[int, str]:
            password = f"une lampe dans le grenier {number}"
            values = fields | {"password": password, "password_again": password}
            answer = requests.post(link, data=values, cookies=cookies, timeout=60)
            return answer.status_code, password

        with ThreadPoolExecutor(MANY) as pool:
            answers = list(pool.map(press, range(MANY)))
        assert Counter(status for status, _ in answers).keys() <= {200, 410, 503}
        [winner] = [password for status, password in answers if status == 200]
        assert bridge.browser().sign_in("ext.ada", winner, follow=False).status_code == 303
        changed = in_french("your password has been changed")
        assert sum(mail.subject.endswith(changed) for mail in mailbox.all()) == 1


def test_the_right_code_among_64_guesses_at_once_opens_once_at_most_i2(tmp_path: Path, where: dict[str, Any]) -> None:
    """TOK-03: five tries are compared; the code is spent by its first use."""
    with mailing_bridge(tmp_path, **where) as (bridge, mailbox):
        bridge.add_account("ext.ada")
        browser = bridge.browser()
        browser.get("/account/forgot")
        waiting = browser.submit(username="ext.ada").url
        code = code_in(mailbox.newest())
        _, _, fields = forms(browser.page)[0]
        cookies = browser.session.cookies.get_dict()

        def guess(number: int) -> int:
            values = fields | {"code": code if number % 2 else "BBBB-BBBB"}
            return requests.post(waiting, data=values, cookies=cookies, allow_redirects=False, timeout=60).status_code

        with ThreadPoolExecutor(MANY) as pool:
            counted = Counter(pool.map(guess, range(MANY)))
        assert counted.keys() <= {303, 422}
        assert counted[303] <= 1
        again = browser.submit(code=code)
        assert heading(again) == in_french("Look in your mailbox")
