"""The demo: an adjunct teacher, a library reader and a technical account get their identifiers back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import requests

from tests.bridge_under_test import Browser, heading
from tests.lms_bridge.demo.test_demo_directory import NEW, signs_in_at_the_sel
from tests.lms_bridge.mailing import in_french
from tests.running_demo import RunningDemo, eventually, running_demo

pytestmark = pytest.mark.xdist_group("demo launch")


def mailed_link(demo: RunningDemo, to: str) -> str:
    """The link of the mail about lost identifiers that reaches this mailbox."""

    def found() -> str | None:
        mails = requests.get(f"{demo.mailbox}/api/messages", timeout=20).json()
        texts = [mail["text"] for mail in mails if mail["to"] == to and "/perte-identifiant/" in mail["text"]]
        return re.findall(r"http://\S+/perte-identifiant/\S+", texts[-1])[0] if texts else None

    return str(eventually(found))


def test_each_kind_of_account_gets_a_new_password_where_it_is_kept(tmp_path: Path) -> None:
    with running_demo(tmp_path) as demo:
        people = {case: demo.account(case) for case in ("vacataire", "library_reader", "technical", "helpdesk")}
        mailbox = {case: person["email"] for case, person in people.items()} | {
            "technical": people["helpdesk"]["email"]
        }
        for case in ("vacataire", "library_reader", "technical"):
            browser = Browser(demo.bridge)
            browser.get("/perte-identifiant")
            browser.submit(profile=case, email=people[case]["email"])
            page = browser.get(mailed_link(demo, mailbox[case]))
            assert people[case]["identifier"] in page.text
            done = browser.submit(password=NEW, password_again=NEW)
            assert heading(done) == in_french("Your new password is set")
            if people[case]["door"] == "sel":
                assert signs_in_at_the_sel(demo, people[case]["identifier"], NEW)
            else:
                assert browser.sign_in(people[case]["identifier"], NEW).status_code == 200
