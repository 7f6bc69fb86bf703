"""Asking again, too late, too often, with what is not ours; what stands in links and codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import requests

from external_accounts import throttle
from tests.bridge_under_test import APP, forms, heading
from tests.lms_bridge.mailing import code_in, link_in, mailing_bridge
from tests.lms_bridge.selfservice.forgetting import CODE_REFUSED, DONE, EXPIRED, INVALID, SEL, WAITING, Town, plain


def test_d06_a_resend_is_the_same_proof(town: Town) -> None:
    browser = town.search(username="ext.ada")
    first = town.mailbox.newest()
    town.bridge.clock.forward(minutes=2)
    browser.get(browser.page.url)
    browser.submit(1)
    second = town.mailbox.newest()
    assert second.id != first.id
    assert (link_in(second), code_in(second)) == (link_in(first), code_in(first))


def test_d07_an_expired_link_sends_a_new_one_with_one_click_and_names_nobody(town: Town) -> None:
    link = town.mailed(username="ext.ada")
    town.bridge.clock.forward(minutes=30)
    browser = town.bridge.browser()
    page = browser.get(link)
    assert (page.status_code, heading(page)) == (410, EXPIRED)
    shown = re.sub(r"[\w.-]{40,}", "", page.text)  # a random token may spell a short name
    for private in ("ada", "Ada", "mail.example"):
        assert private not in shown
    assert heading(browser.submit()) == WAITING
    second = link_in(town.mailbox.newest())
    assert second != link
    assert heading(town.reset(second)) == DONE


def test_d12_one_mailbox_is_not_flooded_however_it_is_asked_for(town: Town) -> None:
    for _minute in range(12):
        for typed in ({"username": "ext.ada"}, {"email": "ada@mail.example"}, {"username": "ada@mail.example"}):
            assert heading(town.search(**typed).page) == WAITING
        town.bridge.clock.forward(seconds=61)
        town.mailbox.all()
    assert len(town.mailbox.all()) <= throttle.PROOF_MAIL_ADDRESS.burst + 1


def test_d16_whoever_asks_twice_has_one_pending_proof(town: Town) -> None:
    first = town.mailed(username="ext.ada")
    town.bridge.clock.forward(minutes=5)
    assert town.mailed(username="EXT.ADA") == first


def test_d13_a_network_that_asks_too_often_is_told_so_whatever_it_asks_for(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "PROOF_MAIL_NETWORK", throttle.Limit("proof mail network", burst=2, every=60))
    codes = {}
    for name in ("ext.ada", "ext.nobody"):
        codes[name] = [town.search(username=name).page.status_code for _ in range(3)]
        town.bridge.clock.forward(minutes=5)
    assert codes["ext.ada"] == codes["ext.nobody"] == [200, 200, 429]


def test_d21_d10_no_address_stands_in_any_link_or_address_bar(town: Town) -> None:
    town.bridge.add_account("ext.plus", email="ada+moodle%40x@mail.example")
    browser = town.search(email="ada+moodle%40x@mail.example")
    mail = town.mailbox.newest()
    assert mail.to == "ada+moodle%40x@mail.example"
    for url in (browser.page.url, link_in(mail)):
        assert "ada" not in url
        assert re.fullmatch(r"[A-Za-z0-9_.-]+", url.rpartition("/")[2].partition("?")[0])
    page = browser.get(link_in(mail))
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"


def test_d11_tok_07_the_link_ignores_the_host_header(town: Town) -> None:
    browser = town.bridge.browser()
    browser.get("/account/forgot")
    _, _, fields = forms(browser.page)[0]
    # As a browser sends it: the jar would keep the cookies back from another host.
    cookie = "; ".join(f"{one.name}={one.value}" for one in browser.session.cookies)
    for header in ({"Host": "evil.example"}, {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}):
        town.bridge.clock.forward(minutes=2)
        answer = requests.post(
            f"{town.bridge.url}/account/forgot",
            data=fields | {"username": "ext.ada"},
            headers={"Cookie": cookie, **header},
            allow_redirects=False,
            timeout=20,
        )
        assert answer.headers["Location"].startswith("/account/forgot/")
        mail = town.mailbox.newest()
        assert "evil" not in mail.text + mail.html
        assert link_in(mail).startswith(town.bridge.url)


def test_five_wrong_codes_spend_the_code_and_the_link_still_works_tok_03(town: Town) -> None:
    browser = town.search(username="ext.ada")
    mail = town.mailbox.newest()
    for _ in range(5):
        assert CODE_REFUSED in plain(browser.submit(code="BBBB-BBBB").text)
    right = browser.submit(code=code_in(mail))
    assert (right.status_code, heading(right)) == (422, WAITING)
    assert heading(town.reset(link_in(mail))) == DONE


def test_tok_06_the_code_lasts_ten_minutes(town: Town) -> None:
    browser = town.search(username="ext.ada")
    code = code_in(town.mailbox.newest())
    town.bridge.clock.forward(seconds=600)
    assert browser.submit(code=code).status_code == 422
    assert heading(browser.page) == WAITING


def test_tok_17_a_code_opens_only_the_search_it_was_mailed_for(town: Town) -> None:
    town.search(username="ext.ada")
    code = code_in(town.mailbox.newest())
    other = town.search(username="ext.nobody")
    assert other.submit(code=code).status_code == 422


def test_a_link_or_name_that_is_not_ours_is_explained(town: Town) -> None:
    link = town.mailed(username="ext.ada")
    for broken in (f"{link}x", link[:-4], f"{town.bridge.url}/account/forgot/nothing"):
        page = requests.get(broken, timeout=20)
        assert (page.status_code, heading(page)) == (404, INVALID)


def test_without_local_accounts_there_is_no_such_page(tmp_path: Path) -> None:
    with mailing_bridge(tmp_path, upstreams=[SEL], local={"enabled": False}) as (bridge, _mailbox):
        assert requests.get(f"{bridge.url}/account/forgot", timeout=20).status_code == 404
        assert requests.get(f"{bridge.url}/account/reset/x", timeout=20).status_code == 404


@pytest.mark.parametrize(
    ("form", "typed"), [(0, {"username": "  "}), (1, {"email": ""}), (1, {"email": "ada at home"})]
)
def test_an_empty_or_impossible_search_is_said_to_be_so_and_kept(town: Town, form: int, typed: dict[str, str]) -> None:
    browser = town.bridge.browser()
    browser.get("/account/forgot", params={"service": APP})
    page = browser.submit(form, **typed)
    assert page.status_code == 422
    assert APP in page.text
    assert typed.get("email", "") in page.text
