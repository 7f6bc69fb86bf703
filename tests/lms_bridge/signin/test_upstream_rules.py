"""The CAS door's rules that need no peer: reading an answer, a logout message, and a returning browser."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from external_accounts.keys import Keys
from lms_bridge.settings.sections import Upstream
from lms_bridge.signin.upstream import (
    State,
    StateInvalid,
    UpstreamUnreachable,
    failure_code,
    pack_state,
    read_assertion,
    read_logout_request,
    unpack_state,
)

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
KEYS = Keys(["k" * 40])
NS = 'xmlns:cas="http://www.yale.edu/tp/cas"'
SUCCESS = "<cas:authenticationSuccess><cas:user>jdupont</cas:user></cas:authenticationSuccess>"
FAILURE = '<cas:authenticationFailure code="INVALID_TICKET">no</cas:authenticationFailure>'


def answer(content: str, before: str = "") -> str:
    return f"{before}<cas:serviceResponse {NS}>{content}</cas:serviceResponse>"


# --- the answer ---


def test_a_success_has_no_failure_code_and_a_failure_has_its_own() -> None:
    assert failure_code(answer(SUCCESS)) is None
    assert failure_code(answer(FAILURE)) == "INVALID_TICKET"
    assert failure_code(answer("<cas:authenticationFailure/>")) == "UNKNOWN"
    assert failure_code(answer(f'<cas:authenticationFailure code="{"X" * 500}"/>')) == "X" * 60


BOMB = '<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY a{n} "{("&a" + (str(n - 1) if n else "") + ";") * 10}">' for n in range(1, 10)
)


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        "not XML",
        "<html><body>Maintenance</body></html>",
        "{}",
        answer(""),
        answer(SUCCESS + FAILURE),
        answer(FAILURE + SUCCESS),
        answer(SUCCESS + SUCCESS),
        answer(f"<cas:attributes>{FAILURE}</cas:attributes>{SUCCESS}"),
        answer(SUCCESS)[:-5],
        answer(SUCCESS, '<!DOCTYPE x SYSTEM "file:///etc/passwd">'),
        answer(SUCCESS, '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>').replace("jdupont", "&e;"),
        answer(SUCCESS, '<!DOCTYPE x [<!ENTITY e "admin">]>').replace("jdupont", "&e;"),
        BOMB + "]>" + answer(SUCCESS).replace("jdupont", "&a9;"),
        answer(SUCCESS, '<?xml version="1.0" encoding="utf-16"?>'),
        answer(SUCCESS).replace("jdupont", "a\0b"),
        "<a>" * 20_000,
    ],
    ids=lambda text: text[:40],
)
def test_anything_but_one_plain_answer_is_no_cas_answer(hostile: str) -> None:
    with pytest.raises(UpstreamUnreachable):
        failure_code(hostile)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail_otherwise(data: bytes) -> None:
    with pytest.raises(UpstreamUnreachable):
        failure_code(data)


# --- what is kept of it ---


def upstream(**changes: Any) -> Upstream:
    return Upstream(issuer="sel", cas_url="https://cas.univ.example/cas", **changes)


def test_only_named_attributes_are_kept() -> None:
    raw = {
        "mail": "jean@univ.example",
        "givenName": "Jean",
        "sn": "Dupont",
        "unit": ["maths", "physics"],
        "user": "admin",
        "memberOf": "everything",
    }
    found = read_assertion(upstream(keep=("unit", "absent")), "JDupont", raw, canonical=str.lower)
    assert (found.issuer, found.subject, found.email) == ("sel", "jdupont", "jean@univ.example")
    assert (found.person.given_name, found.person.family_name) == ("Jean", "Dupont")
    assert found.attributes == {"unit": ["maths", "physics"]}


@pytest.mark.parametrize(
    ("raw", "given", "email"),
    [
        ({}, "", ""),
        ({"givenName": None, "mail": None}, "", ""),
        ({"givenName": [], "mail": []}, "", ""),
        ({"givenName": ["Jean", "Paul"], "mail": ["a@univ.example", "b@univ.example"]}, "Jean", "a@univ.example"),
        ({"givenName": [None], "mail": [None, "b@univ.example"]}, "", ""),
        ({"givenName": "  Jean  ", "mail": " a@univ.example\n"}, "Jean", "a@univ.example"),
        ({"givenName": "J" * 500, "mail": "m" * 500}, "J" * 100, "m" * 254),
    ],
)
def test_attributes_of_any_shape_are_read_or_left_out(raw: dict[str, Any], given: str, email: str) -> None:
    found = read_assertion(upstream(), "jdupont", raw, canonical=str)
    assert (found.person.given_name, found.email) == (given, email)


def test_the_first_profile_rule_that_fits_gives_the_profile() -> None:
    rules = [
        {"attribute": "affiliation", "value": "student", "profile": "student"},
        {"attribute": "affiliation", "value": "affiliate", "profile": "vacataire"},
    ]
    door = upstream(profile="staff", profile_rules=rules)

    def profile(affiliation: object) -> str:
        return read_assertion(door, "x", {"affiliation": affiliation}, canonical=str).profile

    assert profile(["affiliate", "student"]) == "student"
    assert profile("affiliate") == "vacataire"
    assert profile("students") == "staff"
    assert profile(None) == "staff"


# --- the state that travels ---

STATE = State("sel", "https://app.example/landing?x=é&y=%20", renew=True, post=False)


def test_the_state_comes_back_as_it_left() -> None:
    packed = pack_state(KEYS, STATE, "secret", NOW)
    assert unpack_state(KEYS, packed, "secret", "sel", NOW + timedelta(minutes=29)) == STATE


@pytest.mark.parametrize(
    ("browser", "issuer", "later"),
    [
        ("another browser", "sel", timedelta()),
        ("", "sel", timedelta()),
        ("secret", "partner", timedelta()),
        ("secret", "sel", timedelta(minutes=31)),
        ("secret", "sel", timedelta(minutes=-5)),
    ],
)
def test_ses_04_a_state_of_another_browser_door_or_time_is_refused(browser: str, issuer: str, later: timedelta) -> None:
    packed = pack_state(KEYS, STATE, "secret", NOW)
    with pytest.raises(StateInvalid):
        unpack_state(KEYS, packed, browser, issuer, NOW + later)


def test_a_state_that_was_altered_or_signed_for_something_else_is_refused() -> None:
    packed = pack_state(KEYS, STATE, "secret", NOW)
    body, _, signature = packed.partition(".")
    forged = [packed[:-4], body, f"{body[:-2]}00.{signature}", f".{signature}", packed * 2, "x" * 20_000, "", "é"]
    forged += [Keys(["o" * 40]).sign("upstream state", body), KEYS.sign("known device", body)]
    for text in forged:
        with pytest.raises(StateInvalid):
            unpack_state(KEYS, text, "secret", "sel", NOW)


@given(st.text(max_size=200))
def test_no_text_passes_for_a_state(text: str) -> None:
    with pytest.raises(StateInvalid):
        unpack_state(KEYS, text, "secret", "sel", NOW)


def test_a_state_survives_a_key_rotation_and_not_a_dropped_key() -> None:
    packed = pack_state(KEYS, STATE, "secret", NOW)
    assert unpack_state(Keys(["n" * 40, "k" * 40]), packed, "secret", "sel", NOW) == STATE
    with pytest.raises(StateInvalid):
        unpack_state(Keys(["n" * 40]), packed, "secret", "sel", NOW)


# --- the logout message ---

LOGOUT = (
    '<samlp:LogoutRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="1" Version="2.0">'
    '<saml:NameID xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">@NOT_USED@</saml:NameID>'
    "<samlp:SessionIndex>{ticket}</samlp:SessionIndex></samlp:LogoutRequest>"
)


def test_the_logout_message_names_its_ticket() -> None:
    assert read_logout_request(LOGOUT.format(ticket="ST-1-abc")) == "ST-1-abc"
    assert read_logout_request("  " + LOGOUT.format(ticket="\n  ST-1-abc\n")) == "ST-1-abc"


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        "x",
        LOGOUT.format(ticket=""),
        LOGOUT.format(ticket="ST-1</samlp:SessionIndex><samlp:SessionIndex>ST-2"),
        LOGOUT.format(ticket="ST-1<!-- -->ST-2"),
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + LOGOUT.format(ticket="&e;"),
        '<!DOCTYPE x [<!ENTITY e "ST-1">]>' + LOGOUT.format(ticket="&e;"),
        BOMB + "]>" + LOGOUT.format(ticket="&a9;"),
        f"<other>{LOGOUT.format(ticket='ST-1')}</other>",
        LOGOUT.format(ticket="x" * 20_000),
        LOGOUT.format(ticket="\ud800"),
        LOGOUT.format(ticket="a\0b"),
    ],
    ids=lambda text: text[:30].encode("ascii", "backslashreplace").decode(),
)
def test_no_other_text_is_a_logout_message(hostile: str) -> None:
    assert read_logout_request(hostile) is None


@given(st.text(max_size=300))
def test_no_text_makes_the_logout_reader_fail(text: str) -> None:
    assert read_logout_request(text) is None
