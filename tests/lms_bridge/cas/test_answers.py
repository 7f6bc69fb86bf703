"""CAS-25: what a success tells about a person, valid against the schema whatever the person is called (also I12)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree
from sqlalchemy import update

from external_accounts.schema import Account, SignInIdentity
from lms_bridge.cas import responses
from lms_bridge.cas.responses import Success
from lms_bridge.settings import SettingsError, build
from tests.bridge_under_test import APP, PASSWORD, BridgeUnderTest, Browser, running_bridge, settings_values
from tests.lms_bridge.cas.answers import CAS, SCHEMA, read

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
OPEN = "https://open.example/"
SERVICES: list[dict[str, Any]] = [
    {
        "name": "app",
        "label": {"fr": "Appli"},
        "url": APP,
        "attributes": {"mail": "mail", "displayName": "cn", "givenName": "given-name", "groups": "memberOf"},
    },
    {"name": "bare", "label": {"fr": "Rien"}, "url": "https://bare.example/"},
    {"name": "open", "label": {"fr": "Ouverte"}, "url": OPEN, "gated": False, "attributes": {"mail": "mail"}},
]


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BridgeUnderTest]:
    campus = {"campus_prefixes": ["127.0.0.0/8"]}  # many wrong sign-ins are wanted here
    with running_bridge(tmp_path_factory.mktemp("answers"), services=SERVICES, throttle=campus) as running:
        running.add_account("ext.ada")
        yield running


@pytest.fixture(scope="module")
def ada(bridge: BridgeUnderTest) -> Browser:
    browser = bridge.browser()
    browser.sign_in("ext.ada")
    return browser


def call_ada(bridge: BridgeUnderTest, given_name: str, family_name: str) -> None:
    with bridge.runtime.database.begin() as session:
        session.execute(update(Account).values(given_name=given_name, family_name=family_name))


def test_cas_25_the_three_attributes_of_cas_come_first_and_in_order(bridge: BridgeUnderTest, ada: Browser) -> None:
    told = read(bridge.validate(ada.ticket()))
    names = list(told.attributes)
    assert names[:3] == ["authenticationDate", "longTermAuthenticationRequestTokenUsed", "isFromNewLogin"]
    assert told.authenticated_at == bridge.clock()


def test_cas_25_the_user_stands_first(bridge: BridgeUnderTest, ada: Browser) -> None:
    """Moodle's client takes the first element called `user`, wherever it stands."""
    root = etree.fromstring(bridge.validate(ada.ticket()).content)
    assert [element.tag for element in root.iter()][2] == CAS + "user"
    assert len(root.findall(f".//{CAS}user")) == 1


def test_cas_25_cas_2_says_who_and_nothing_else(bridge: BridgeUnderTest, ada: Browser) -> None:
    told = read(bridge.validate(ada.ticket(), path="/cas/serviceValidate"))
    assert (told.user, told.attributes) == ("ext.ada", {})


def test_cas_25_a_service_learns_what_it_was_registered_for(bridge: BridgeUnderTest, ada: Browser) -> None:
    call_ada(bridge, "Ada", "Lovelace")
    told = read(bridge.validate(ada.ticket()))
    assert told.attributes["cn"] == ["Ada Lovelace"]
    assert "displayName" not in told.attributes
    assert "profile" not in told.attributes
    bare = read(bridge.validate(ada.ticket("https://bare.example/"), "https://bare.example/"))
    assert len(bare.attributes) == 3


def test_cas_25_an_attribute_with_several_values_repeats_its_element(bridge: BridgeUnderTest, ada: Browser) -> None:
    groups = ["enseignants", "a<b>&c", "étudiants"]
    with bridge.runtime.database.begin() as session:
        session.execute(update(SignInIdentity).values(attributes={"groups": groups}))
    assert read(bridge.validate(ada.ticket())).attributes["memberOf"] == groups
    answer = bridge.validate(ada.ticket(), format="JSON").json()
    assert answer["serviceResponse"]["authenticationSuccess"]["attributes"]["memberOf"] == groups


def test_cas_25_an_address_that_is_not_confirmed_is_not_released(bridge: BridgeUnderTest) -> None:
    """The university would be vouching for an address that nobody has shown to be theirs."""
    bridge.add_account("ext.eve", confirmed=False)
    browser = bridge.browser()
    browser.sign_in("ext.eve")
    told = read(bridge.validate(browser.ticket(OPEN), OPEN))
    assert told.user == "ext.eve"
    assert "mail" not in told.attributes


@pytest.mark.parametrize(
    "name",
    ["user", "proxies", "proxyGrantingTicket", "isFromNewLogin", "authenticationDate", "attributes", "a b", "1a"],
)
def test_cas_25_settings_refuse_names_that_would_be_taken_for_cas_own(tmp_path: Any, name: str) -> None:
    service = {"name": "app", "label": {"fr": "Appli"}, "url": APP, "attributes": {"mail": name}}
    with pytest.raises(SettingsError, match=re.escape(f"`{name}`")):
        build(settings_values(tmp_path, services=[service]))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), st.sampled_from(["</cas:user>", "]]>", "&#0;"]))
@settings(max_examples=40)
@example("\x00\x01\x0b\x1f\x7f\x85\ufffe\uffff", "<!--")
@example("&amp;&lt;<![CDATA[x]]>\r\n\t\"'", "é😀\u202e")
def test_cas_25_names_of_people_never_break_an_answer(
    bridge: BridgeUnderTest, ada: Browser, given_name: str, family_name: str
) -> None:
    call_ada(bridge, given_name, family_name)
    expected = f"{given_name} {family_name}".strip()
    told = read(bridge.validate(ada.ticket()))
    assert told.user == "ext.ada"
    assert told.attributes["cn"] == [NOT_XML.sub("\ufffd", expected)]
    answer = bridge.validate(ada.ticket(), format="JSON").json()
    assert answer["serviceResponse"]["authenticationSuccess"]["attributes"]["cn"] == expected


ANYTHING = st.text(max_size=60)  # lone surrogates too: a driver or an upstream may hand us some


@given(
    ANYTHING,
    st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,20}", fullmatch=True), ANYTHING | st.lists(ANYTHING)),
    st.lists(ANYTHING, max_size=3),
    st.none() | ANYTHING,
)
@settings(max_examples=200)
def test_cas_25_any_text_at_all_makes_a_valid_answer(
    user: str, attributes: dict[str, Any], proxies: list[str], grant_iou: str | None
) -> None:
    success = Success(user, datetime(2026, 11, 22, tzinfo=UTC), True, attributes, proxies, grant_iou)
    for with_attributes in (True, False):
        root = etree.fromstring(responses.success_xml(success, with_attributes=with_attributes).body)
        SCHEMA.assertValid(root)
        assert (root.findtext(f"*/{CAS}user") or "") == NOT_XML.sub("\ufffd", user)
        assert json.loads(responses.success_json(success, with_attributes=with_attributes).body)
    saml = responses.saml_success(success, service=user, issuer="x", request_id=user, now=success.authenticated_at)
    assert etree.fromstring(saml.body) is not None


@given(st.text(max_size=40), st.sampled_from(responses.FailureCode))
def test_cas_17_any_words_make_a_valid_failure(text: str, code: responses.FailureCode) -> None:
    failure = responses.ValidationFailure(code, text)
    for render in (responses.failure_xml, responses.proxy_failure):
        root = etree.fromstring(render(failure).body)
        SCHEMA.assertValid(root)
        assert root[0].get("code") == code.value
    assert json.loads(responses.failure_json(failure).body)


# --- I12: who is asserted ---


@pytest.mark.parametrize(
    "name", ["ext.adá", "EXT.ADA", "ext.ada ", "ext.a\u0307da", "ext.ada\x00", "a" * 101, "", "ＥＸＴ"]
)
def test_i12_a_name_that_moodle_could_take_for_another_is_never_asserted(
    bridge: BridgeUnderTest, ada: Browser, name: str
) -> None:
    """The last door: even when such a row stands in the database, validation refuses rather than fold."""
    rename = update(Account).where(Account.username.in_(["ext.ada", name]))
    ticket = ada.ticket()
    try:
        with bridge.runtime.database.begin() as session:
            session.execute(rename.values(username=name))
        for path in ("/cas/serviceValidate", "/cas/p3/serviceValidate"):
            assert read(bridge.validate(ticket, path=path)).user is None
            ticket = ada.ticket()
        assert bridge.validate(ticket, path="/cas/validate").text == "no\n"
    finally:
        with bridge.runtime.database.begin() as session:
            session.execute(rename.values(username="ext.ada"))


@given(
    st.one_of(
        st.text(max_size=30),
        st.sampled_from(
            ["ext.adá", "EXT.ADA\x00", "ｅｘｔ.ada", "ext.ada\r\nX: y", "ext.a\u200bda", "' OR ''='", "x" * 5000]
        ),
    )
)
@settings(max_examples=15)
def test_i12_whatever_is_typed_as_a_name_signs_in_nobody_else(bridge: BridgeUnderTest, identifier: str) -> None:
    browser = bridge.browser()
    browser.get("/signin/local")
    answer = browser.submit(
        identifier=identifier.encode("utf-8", "replace").decode(), password="not " + PASSWORD, follow=False
    )
    assert answer.status_code in (401, 422)
    assert all("session" not in cookie.name for cookie in browser.session.cookies)


@pytest.mark.parametrize("spelling", ["ext.adá", "ext.ada\u0301", "ｅxt.ada", "ext.ada\u200b", "ext.ad\u0430"])
def test_i12_a_lookalike_name_with_the_right_password_signs_nobody_in(bridge: BridgeUnderTest, spelling: str) -> None:
    browser = bridge.browser()
    browser.get("/signin/local")
    answer: requests.Response = browser.submit(identifier=spelling, password=PASSWORD, follow=False)
    assert answer.status_code == 401
