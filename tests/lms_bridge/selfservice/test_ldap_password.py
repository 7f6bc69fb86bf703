"""A lost password by the pages, with a real slapd behind: done, refused by its policy, stopped, silent, read-only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from external_accounts.directory import Entry
from external_accounts.institution_schema import DirectoryPassword
from tests.bridge_under_test import heading
from tests.directory_server import PEOPLE, SERVICE, SERVICE_PASSWORD, DirectoryServer, StallingProxy
from tests.lms_bridge.mailing import in_french, mailing_bridge
from tests.lms_bridge.selfservice.account.conftest import words
from tests.lms_bridge.selfservice.forgetting import CHOOSE, DONE, NEW, SEL, Town
from tests.lms_bridge.selfservice.test_directory_password import (
    OLD,
    PROFILES,
    READ_ONLY,
    UNAVAILABLE,
    Office,
    add_vacataire,
)

SHORT = "fjordskarabä"
"""Twelve signs: enough for the bridge, not for this directory."""


@pytest.fixture
def office(tmp_path: Path, slapd: DirectoryServer, proxy: StallingProxy) -> Iterator[Office]:
    """Ada's password is in slapd, which is reached through a proxy."""
    directory: dict[str, Any] = {
        "name": "people",
        "kind": "ldap",
        "urls": [f"ldap://127.0.0.1:{proxy.port}"],
        "start_tls": True,
        "ca_file": slapd.authority.ca_file,
        "timeout_seconds": 1,
        "bind_dn": SERVICE,
        "bind_password": SERVICE_PASSWORD,
        "base": PEOPLE,
        "create": True,
    }
    with mailing_bridge(tmp_path, upstreams=[SEL], profiles=PROFILES, directories=[directory]) as (bridge, mailbox):
        account_id = add_vacataire(bridge, "vada")
        directory_of_ada = bridge.runtime.directories["people"]
        directory_of_ada.save(Entry("vada", "Ada", "Lovelace"))
        directory_of_ada.set_password("vada", OLD)
        yield Office(Town(bridge, mailbox), directory_of_ada, account_id)


def refused(office: Office, link: str, sentence: str, status: int, password: str = NEW) -> requests.Response:
    """The page says it, nothing was changed, and the link still works."""
    told = office.town.reset(link, password=password)
    assert (told.status_code, heading(told)) == (status, CHOOSE)
    assert in_french(sentence) in words(told)
    assert len(office.town.mailbox.all()) == 1, "nobody is told of a change there was not"
    return told


def test_the_mailed_link_sets_the_password_in_ldap(office: Office) -> None:
    link = office.town.mailed(username="vada")
    assert heading(office.town.reset(link)) == DONE
    assert office.works(NEW)
    assert not office.works(OLD)


def test_the_policys_refusal_reaches_the_page_in_plain_words(office: Office) -> None:
    link = office.town.mailed(username="vada")
    too_short = "The university's directory refuses this password: it is too short. Choose a longer one."
    refused(office, link, too_short, 422, password=SHORT)
    again = "The university's directory refuses this password: you have used it before. Choose another one."
    refused(office, link, again, 422, password=OLD)
    assert heading(office.town.reset(link)) == DONE


def test_a_stopped_directory_costs_nobody_their_link(office: Office, restarted: DirectoryServer) -> None:
    link = office.town.mailed(username="vada")
    restarted.stop()
    refused(office, link, UNAVAILABLE, 503)
    restarted.start()
    assert office.works(OLD)
    assert heading(office.town.reset(link)) == DONE
    assert office.works(NEW)


def test_a_silent_directory_costs_nobody_their_link(office: Office, proxy: StallingProxy) -> None:
    link = office.town.mailed(username="vada")
    proxy.stall_after = 0
    refused(office, link, UNAVAILABLE, 503)
    proxy.stall_after = None
    assert office.works(OLD)
    with office.bridge.runtime.database.read() as session:
        assert session.get_one(DirectoryPassword, office.account_id).unfinished_at is None
    assert heading(office.town.reset(link)) == DONE


def test_a_directory_that_is_read_only_is_said(office: Office, restarted: DirectoryServer) -> None:
    link = office.town.mailed(username="vada")
    restarted.stop()
    restarted.start(read_only=True)
    refused(office, link, READ_ONLY, 503)
    assert office.works(OLD)
    restarted.stop()
    restarted.start()
    assert heading(office.town.reset(link)) == DONE


def test_an_entry_that_is_not_there_yet_is_made_first(office: Office, slapd: DirectoryServer) -> None:
    slapd.empty()
    link = office.town.mailed(username="vada")
    assert heading(office.town.reset(link)) == DONE
    assert office.works(NEW)
    assert "mail" not in slapd.entry("vada"), "a private address is not the university's to publish"


def test_the_current_password_is_verified_in_ldap(office: Office) -> None:
    browser = office.signed_in()
    assert office.change(browser, current="not it at all").status_code == 401
    assert in_french("Your password is changed. You are signed out on every other device.") in words(
        office.change(browser)
    )
    assert office.works(NEW)
