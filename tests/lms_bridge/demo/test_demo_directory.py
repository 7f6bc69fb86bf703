"""The demo's adjunct teacher: a password set by the bridge is the one that works at the SEL's form."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from external_accounts.directory import Entry
from external_accounts.directory.embedded import EmbeddedDirectory
from lms_bridge.demo.accounts import described
from lms_bridge.demo.sel import SelDirectory, SelUser
from tests.bridge_under_test import BridgeUnderTest, Browser, forms, heading
from tests.lms_bridge.mailing import in_french
from tests.running_demo import RunningDemo, link_in, running_demo

pytestmark = pytest.mark.xdist_group("demo launch")


@pytest.fixture
def embedded_entries(bridge: BridgeUnderTest) -> EmbeddedDirectory:
    runtime = bridge.runtime
    return EmbeddedDirectory("sel", runtime.database, runtime.hashing)


NEW = "une lampe dans le grenier"


def signs_in_at_the_sel(demo: RunningDemo, username: str, password: str) -> bool:
    web = requests.Session()
    page = web.get(f"{demo.sel}/cas/login", timeout=20)
    hidden = next(fields for action, _method, fields in forms(page) if action.startswith("/cas/login"))
    answer = web.post(f"{demo.sel}/cas/login", data=hidden | {"username": username, "password": password}, timeout=20)
    return answer.status_code == 200


def test_people_the_bridge_wrote_to_the_directory_are_known_to_the_sel(embedded_entries: EmbeddedDirectory) -> None:
    """Somebody who was imported, and whom nobody told the SEL about."""
    sel = SelDirectory()
    sel.add(SelUser("tmartin", "teacher-demo-1"))
    sel.put_behind(embedded_entries, described)
    embedded_entries.save(Entry("vnew", "Noé", "Nguyen"))
    assert sel.verify("vnew", "") is None
    embedded_entries.set_password("vnew", NEW)
    found = sel.verify("VNEW ", NEW)
    assert found is not None
    assert (found.username, found.attributes["displayName"]) == ("vnew", "Noé Nguyen")
    assert found.attributes["mail"] == "vnew@univ-demo.example"
    assert sel.verify("vnew", "teacher-demo-1") is None
    assert sel.verify("tmartin", "teacher-demo-1") is not None
    assert sel.verify("no\0body", NEW) is None
    assert not sel.shows_password("vnew")


def test_a_password_set_by_the_bridge_works_at_the_sel_and_survives_a_restart(tmp_path: Path) -> None:
    with running_demo(tmp_path) as demo:
        vacataire = demo.account("vacataire")
        name, former = vacataire["identifier"], vacataire["password"]
        assert signs_in_at_the_sel(demo, name, former)
        assert not signs_in_at_the_sel(demo, demo.account("not_activated")["identifier"], "")
        browser = Browser(demo.bridge)
        browser.get("/account/forgot")
        browser.submit(0, username=name)
        browser.get(link_in(demo.mail("vacataire")))
        done = browser.submit(password=NEW, password_again=NEW)
        assert heading(done) == in_french("Your new password is set")
        assert signs_in_at_the_sel(demo, name, NEW)
        assert not signs_in_at_the_sel(demo, name, former)
        assert former not in requests.get(f"{demo.sel}/cas/login", timeout=20).text
    with running_demo(tmp_path) as demo:
        assert signs_in_at_the_sel(demo, name, NEW)
        assert not signs_in_at_the_sel(demo, name, former)
