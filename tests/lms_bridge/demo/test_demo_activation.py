"""The account that waits to be activated, in the demo: from its first mail into UPdago."""

from __future__ import annotations

from pathlib import Path

from tests.bridge_under_test import Browser, heading
from tests.lms_bridge.mailing import in_french
from tests.running_demo import RunningDemo, running_demo

CHOSEN = "quatre mots au hasard 27"


def link_in(mail: dict[str, str]) -> str:
    return next(word for word in mail["text"].split() if "/account/activate/" in word)


def activate(demo: RunningDemo, link: str) -> Browser:
    browser = Browser(demo.bridge)
    browser.get(link)
    for _ in range(5):
        browser.submit(charter="1", directory="no", forward="no")
    browser.submit(password=CHOSEN, password_again=CHOSEN)
    return browser


def test_from_the_first_mail_to_the_course(tmp_path: Path) -> None:
    with running_demo(tmp_path) as demo:
        browser = activate(demo, link_in(demo.mail("not_activated")))
        assert heading(browser.page) == in_french("Your account is activated")
        browser.get(f"{demo.moodle}/course/view.php?id=2")
        browser.get(f"{demo.bridge}/signin/sel?service={demo.updago}")
        browser.submit(username="nlopez", password=CHOSEN)
        assert browser.session.get(f"{demo.moodle}/whoami.json", timeout=20).json() == {"username": "nlopez"}


def test_a_link_that_was_asked_for_does_it_as_well(tmp_path: Path) -> None:
    with running_demo(tmp_path) as demo:
        demo.mail("not_activated")
        browser = Browser(demo.bridge)
        browser.get("/account/activate")
        browser.submit(identifier="nlopez@univ-demo.example")
        asked = demo.mail("not_activated", 2)
        assert link_in(asked) != link_in(demo.mail("not_activated"))
        assert heading(activate(demo, link_in(asked)).page) == in_french("Your account is activated")
