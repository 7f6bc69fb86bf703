"""I2 over HTTP: one last step, sent many times at once, on each database; and two links of one account."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import func, select

from external_accounts.handovers import ACTIVATED
from external_accounts.institution_schema import Handover
from external_accounts.schema import AuditEvent, LocalPassword
from tests.bridge_under_test import Browser, forms, heading
from tests.lms_bridge.mailing import link_in, mailing_bridge
from tests.lms_bridge.selfservice.activation.town import SETTINGS, Town
from tests.lms_bridge.selfservice.test_forgotten_in_parallel import where

__all__ = ["where"]  # the fixture

MANY = 64


def press(page: Browser, number: int) -> tuple[int, str, str]:
    """The last step with a password of its own: status, where it leads, the password."""
    action, _, fields = forms(page.page)[0]
    password = f"une lampe dans le grenier {number}"
    answer = requests.post(
        page.base + action,
        data=fields | {"password": password, "password_again": password},
        cookies=page.session.cookies.get_dict(),
        allow_redirects=False,
        timeout=60,
    )
    return answer.status_code, answer.headers.get("Location", ""), password


@pytest.mark.parametrize("username", ["nlopez", "ext.nora"])
def test_64_last_steps_at_once_activate_once_i2_tok_04(tmp_path: Path, where: dict[str, Any], username: str) -> None:
    """Behind a directory and kept here. Who is not the first is told that it is done, or to come back in a moment."""
    with mailing_bridge(tmp_path, **(SETTINGS | where)) as (bridge, mailbox):
        town = Town(bridge, mailbox)
        account_id = town.announce(username, profile="library_reader" if username == "ext.nora" else "vacataire")
        link = link_in(mailbox.newest())
        page = town.up_to_password(link)
        with ThreadPoolExecutor(MANY) as pool:
            answers = list(pool.map(lambda number: press(page, number), range(MANY)))
        assert Counter(status for status, *_ in answers).keys() <= {200, 303, 410, 503}
        with bridge.runtime.database.read() as session:
            kept_here = session.get(LocalPassword, account_id)
        right = [password for *_, password in answers if _opens(town, username, kept_here, password)]
        assert len(right) == 1
        account = town.account(account_id)
        assert account.activated_at is not None
        with bridge.runtime.database.read() as session:
            told = session.scalars(select(Handover.event)).all()
            done = session.scalar(
                select(func.count()).where(AuditEvent.event == "account.activated", AuditEvent.outcome == "ok")
            )
        assert told.count(ACTIVATED) == 1
        assert done == 1


def _opens(town: Town, username: str, kept_here: LocalPassword | None, password: str) -> bool:
    """Whether this is the account's password, asked where it is kept: the door would throttle so many tries."""
    if kept_here is None:
        return town.directory.verify(username, password)
    return town.bridge.runtime.hashing.verify(kept_here.hash, password).correct


def test_two_links_at_once_activate_once_i2(tmp_path: Path, where: dict[str, Any]) -> None:
    with mailing_bridge(tmp_path, **(SETTINGS | where)) as (bridge, mailbox):
        town = Town(bridge, mailbox)
        town.announce()
        pages = [town.up_to_password(link_in(mailbox.newest())), town.open(town.asked_link())]
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda number: press(pages[number % 2], number), range(16)))
        with bridge.runtime.database.read() as session:
            done = session.scalar(select(func.count()).where(AuditEvent.event == "account.activated"))
        assert done == 1
        for page in pages:
            assert heading(town.open(page.page.url).page) in {
                "Votre compte est activé",
                "Ce compte est déjà activé",
            }
