"""The help desk never sees or sets a password, never sees a link, and never becomes somebody else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from external_accounts.schema import LocalPassword, Proof
from lms_bridge.app import create_app
from lms_bridge.schema import SsoSession
from lms_bridge.web.cookies import session_name
from tests.bridge_under_test import forms
from tests.lms_bridge.helpdesk.acting import Office, office
from tests.lms_bridge.mailing import link_in

SECRETS = re.compile(r"/account/(?:confirm|reset|activate|undo|keep)/[\w.-]+|ST-\w+|TGT-\w+|\$argon2", re.ASCII)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path) as running:
        yield running


def addresses_of_the_console(app: Flask, number: int) -> list[tuple[str, set[str]]]:
    """Every address of the console, with the number of an account wherever one stands, and its methods."""
    return [
        (re.sub(r"<[^>]+>", str(number), rule.rule), set(rule.methods or ()))
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/helpdesk")
    ]


def test_no_address_of_the_console_takes_a_password_shows_a_secret_or_opens_a_session(desk: Office) -> None:
    """Each is opened, then sent every field that somebody could hope for, as an administrator."""
    ada = desk.person(confirmed=False)
    desk.act("resend", ada, message=f"confirm-{desk.addresses(ada)[0].id}")
    desk.act("reset", ada, reason="forgot it")
    mailed = [link_in(mail).rpartition("/")[2] for mail in desk.mails_to("ext.ada@mail.example")]
    assert len(mailed) == 2
    runtime = desk.bridge.runtime
    with runtime.database.read() as session:
        before = session.get_one(LocalPassword, ada).hash
        hashes = set(session.scalars(select(LocalPassword.hash)))
        proofs = set(session.scalars(select(Proof.link_hash)))
    browser = desk.browser()
    token = forms(browser.get("/account/sign-out"))[0][2]["csrf_token"]
    found = addresses_of_the_console(create_app(runtime), ada)
    assert len(found) > 30
    for path, methods in found:
        answers = []
        if "GET" in methods:
            answers.append(browser.session.get(desk.bridge.url + path, allow_redirects=False, timeout=20))
        if "POST" in methods:
            hoped = {"csrf_token": token, "password": "chosen by the desk", "password_again": "chosen by the desk"}
            hoped |= {
                "new_password": "chosen by the desk",
                "seen": "1-1",
                "username": "ext.ada",
                "account_id": str(ada),
            }
            answers.append(browser.session.post(desk.bridge.url + path, data=hoped, allow_redirects=False, timeout=20))
        for answer in answers:
            assert answer.status_code < 500, path
            assert 'type="password"' not in answer.text, path
            assert not SECRETS.search(answer.text), path
            assert not any(secret in answer.text for secret in [*mailed, *hashes, *proofs]), path
            assert session_name(runtime.settings) not in answer.cookies, path
    with runtime.database.read() as session:
        assert session.get_one(LocalPassword, ada).hash == before
        assert session.scalars(select(SsoSession).where(SsoSession.account_id == ada)).all() == []
    assert "ext.desk" in browser.get("/account").text
