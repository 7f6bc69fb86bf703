"""Accounts over the API. Every exchange is held against the OpenAPI document (`Program.check`)."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from external_accounts import api_keys, audit, throttle
from external_accounts.accounts import Person, create_account
from external_accounts.institution_schema import ApiAnswer, ApiKey
from external_accounts.schema import Account, AuditEvent, SignInIdentity
from lms_bridge.jobs.functions import purge
from tests.bridge_under_test import BridgeUnderTest
from tests.lms_bridge.api.program import ADA, Program

ACCOUNTS = "/api/v1/accounts"


def count(bridge: BridgeUnderTest) -> int:
    with bridge.runtime.database.read() as session:
        return session.scalar(select(func.count()).select_from(Account)) or 0


def test_an_account_is_created_looked_up_changed_and_ended(program: Program, university: BridgeUnderTest) -> None:
    made = program.call("POST", ACCOUNTS, ADA)
    assert made.status_code == 201
    assert made.headers["Location"] == f"{ACCOUNTS}/V1"
    assert made.json() == program.call("GET", f"{ACCOUNTS}/V1").json() | {"notes": []}
    assert made.json()["username"] == "ada.lovelace"
    assert made.json()["state"] == "waiting"
    changed = program.call("PATCH", f"{ACCOUNTS}/V1", {"family_name": "King", "rights_end": None}).json()
    assert (changed["family_name"], changed["given_name"], changed["rights_end_at"]) == ("King", "Ada", None)
    assert program.call("POST", f"{ACCOUNTS}/V1/end", {"last_day": "2099-07-31"}).json()["state"] == "waiting"
    assert program.call("POST", f"{ACCOUNTS}/V1/end", {}).json()["state"] == "ended"
    again = program.call("POST", f"{ACCOUNTS}/V1/end", {})
    assert (again.status_code, again.json()["state"]) == (200, "ended")
    university.clock.forward(days=1)
    back = program.call("PATCH", f"{ACCOUNTS}/V1", {"rights_end": "2099-06-30"}).json()
    assert (back["state"], back["username"]) == ("waiting", "ada.lovelace")
    with university.runtime.database.read() as session:
        events = session.execute(select(AuditEvent.event, AuditEvent.actor).where(AuditEvent.account_id.is_not(None)))
        assert [tuple(row) for row in events] == [
            ("account.created", "api:rh"),
            *[("rights.moved", "api:rh"), ("account.updated", "api:rh")] * 2,
            *[("rights.moved", "api:rh"), ("account.ended", "api:rh")],
            *[("rights.moved", "api:rh"), ("account.revived", "api:rh")],
        ]


def test_i4_an_address_is_neither_confirmed_nor_told_in_full(program: Program) -> None:
    held = program.call("POST", ACCOUNTS, ADA).json()["addresses"]
    assert held == [{"role": "recovery", "masked": "a•••@mail.example", "confirmed": False, "primary": True}]


def test_i10_an_account_that_is_ended_is_signed_out(program: Program, university: BridgeUnderTest) -> None:
    number = university.add_account()
    with university.runtime.database.begin() as session:
        session.get_one(Account, number).external_key = "V7"
    browser = university.browser()
    browser.sign_in()
    assert browser.get("/account", follow=False).status_code == 200
    assert program.call("POST", f"{ACCOUNTS}/V7/end", {}).status_code == 200
    assert browser.get("/account", follow=False).status_code == 303


def test_homonyms_are_told_with_their_reasons_and_released(program: Program, university: BridgeUnderTest) -> None:
    program.call("POST", ACCOUNTS, ADA)
    other = {**ADA, "external_key": "V2", "given_name": "Lovelace", "family_name": "Ada"}
    refused = program.call("POST", ACCOUNTS, other)
    assert refused.status_code == 409
    assert refused.json()["type"] == "urn:lms-bridge:problem:homonym"
    alike = refused.json()["alike"][0]
    assert (alike["external_key"], alike["facts"]) == ("V1", ["swapped_names", "same_birth_name", "same_address"])
    assert count(university) == 1
    assert program.call("POST", ACCOUNTS, {**other, "homonym_checked": True}).status_code == 201


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"profile": "nobody"}, "profile", "unknown"),
        ({"private_email": "nobody"}, "private_email", "unreadable"),
        ({"rights_end": "2020-01-01"}, "rights_end", "past"),
        ({"rights_end": "31/02/2027"}, "rights_end", "date_from_datetime_parsing"),
        ({"sponsor": "nobody"}, "sponsor", "unknown"),
        ({"username": "ext.ada"}, "username", "not_here"),
        ({"external_key": "a/b"}, "external_key", "string_pattern_mismatch"),
        ({"given_name": ""}, "given_name", "string_too_short"),
        ({"nickname": "x"}, "nickname", "extra_forbidden"),
    ],
)
def test_what_is_wrong_is_told_by_field(
    program: Program, university: BridgeUnderTest, change: dict[str, str], field: str, reason: str
) -> None:
    refused = program.call("POST", ACCOUNTS, ADA | change)
    assert refused.status_code == 422
    assert [(one["field"], one["reason"]) for one in refused.json()["errors"]] == [(field, reason)]
    assert count(university) == 0


def test_what_is_no_request_is_refused(program: Program) -> None:
    json = {"Content_Type": "application/json"}
    for raw, headers in ((b"{", json), (b"\xff", json), (b"{}", {"Content_Type": "text/plain"}), (b"", {})):
        assert program.call("POST", ACCOUNTS, raw=raw, **headers).status_code == 400
    assert program.call("POST", ACCOUNTS, raw=b" " * 70_000, **json).status_code == 413
    assert program.call("POST", ACCOUNTS, ADA, Idempotency_Key="a b").status_code == 400


def test_a_known_key_is_not_created_again_and_an_unknown_one_not_changed(program: Program) -> None:
    program.call("POST", ACCOUNTS, ADA)
    assert program.call("POST", ACCOUNTS, ADA).json()["type"] == "urn:lms-bridge:problem:exists"
    for method, path, body in (("GET", "", None), ("PATCH", "", {}), ("POST", "/end", {})):
        assert program.call(method, f"{ACCOUNTS}/V9{path}", body).status_code == 404


def test_wrong_addresses_and_methods_are_problems_too(program: Program) -> None:
    assert program.call("GET", "/api/v2/accounts").status_code == 404
    wrong = program.call("DELETE", f"{ACCOUNTS}/V1")
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "GET, PATCH")


def test_a_key_opens_what_its_scopes_say_until_it_is_revoked_or_expires(university: BridgeUnderTest) -> None:
    reader = Program(university, "accounts:read", name="reader")
    assert reader.call("POST", ACCOUNTS, ADA).status_code == 403
    assert reader.call("GET", f"{ACCOUNTS}/V1").status_code == 404
    other = reader.token[:-1] + ("A" if reader.token[-1] != "A" else "B")
    for token in (other, reader.token.replace("lmsb_", "lmsb_x"), "x", "é"):
        refused = reader.call("GET", f"{ACCOUNTS}/V1", token=token.encode("latin-1").decode("latin-1"))
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, 'Bearer realm="lms-bridge"')
    with university.runtime.database.begin() as session:
        key = session.scalars(select(ApiKey)).one()
        assert reader.token.rpartition("_")[2] not in (key.secret_hash, key.prefix)
        assert key.last_used_at == university.clock()
        key.expires_at = university.clock() + timedelta(hours=1)
    university.clock.forward(hours=1)
    assert reader.call("GET", f"{ACCOUNTS}/V1").status_code == 401
    with university.runtime.database.begin() as session:
        session.scalars(select(ApiKey)).one().expires_at = None
        api_keys.revoke(session, "reader", now=university.clock(), origin=audit.SYSTEM)
    assert reader.call("GET", f"{ACCOUNTS}/V1").status_code == 401


def test_what_a_request_comes_to_needs_its_scope_too(program: Program, university: BridgeUnderTest) -> None:
    program.call("POST", ACCOUNTS, ADA)
    tomorrow = (university.clock() + timedelta(days=1)).date().isoformat()
    changer = Program(university, "accounts:update", name="changer")
    assert changer.call("PATCH", f"{ACCOUNTS}/V1", {"rights_end": tomorrow}).status_code == 403
    assert changer.call("PATCH", f"{ACCOUNTS}/V1", {"rights_end": "2099-01-01"}).status_code == 200
    now = university.clock()
    with university.runtime.database.begin() as session:
        person = Person("Grace", "Hopper")
        here = create_account(session, username="ghopper", profile="vacataire", person=person, activated=True, now=now)
        here.identities.append(
            SignInIdentity(issuer="sel", subject="ghopper", attributes={}, created_at=now, refreshed_at=now)
        )
    grace = {"external_key": "V2", "given_name": "Grace", "family_name": "Hopper", "profile": "vacataire"}
    creator = Program(university, "accounts:create", name="creator")
    assert creator.call("POST", ACCOUNTS, {**grace, "username": "ghopper"}).status_code == 403
    assert program.call("POST", ACCOUNTS, {**grace, "username": "ghopper"}).json()["username"] == "ghopper"
    assert count(university) == 2


def test_a_browser_that_is_signed_in_gains_nothing(university: BridgeUnderTest) -> None:
    university.add_account()
    browser = university.browser()
    browser.sign_in()
    assert browser.get(f"{ACCOUNTS}/V1", follow=False).status_code == 401


def test_guessing_keys_is_slowed_down_and_a_good_key_is_not(program: Program) -> None:
    answers = [program.call("GET", f"{ACCOUNTS}/V1", token="x").status_code for _ in range(31)]
    assert answers == [401] * 30 + [429]
    assert program.call("GET", f"{ACCOUNTS}/V1").status_code == 404


def test_too_many_requests_of_one_key_wait(program: Program, university: BridgeUnderTest) -> None:
    with university.runtime.database.begin() as session:
        caller = session.scalars(select(ApiKey.id)).one()
        for _ in range(throttle.API_KEY.burst):
            throttle.reserve(session, [throttle.Use(throttle.API_KEY, str(caller))], university.clock())
    slow = program.call("GET", f"{ACCOUNTS}/V1")
    assert (slow.status_code, slow.headers["Retry-After"]) == (429, "1")
    university.clock.forward(seconds=1)
    assert program.call("GET", f"{ACCOUNTS}/V1").status_code == 404


def test_i9_a_key_ends_so_many_accounts_a_day_and_no_more(program: Program, university: BridgeUnderTest) -> None:
    names = ("Ada Un", "Bob Deux", "Cléo Trois")
    for number, name in enumerate(names):
        given_name, family_name = name.split()
        account = {"given_name": given_name, "family_name": family_name, "profile": "vacataire"}
        program.call("POST", ACCOUNTS, {"external_key": str(number), **account})
    tomorrow = (university.clock() + timedelta(days=1)).date().isoformat()
    assert program.call("POST", f"{ACCOUNTS}/0/end", {}).status_code == 200
    # An end brought forward is one, by whatever way it comes.
    assert program.call("PATCH", f"{ACCOUNTS}/1", {"rights_end": tomorrow}).status_code == 200
    refused = program.call("POST", f"{ACCOUNTS}/2/end", {})
    assert refused.json()["type"] == "urn:lms-bridge:problem:too_many_ends"
    assert program.call("GET", f"{ACCOUNTS}/2").json()["state"] == "waiting"
    university.clock.forward(hours=12)
    assert program.call("POST", f"{ACCOUNTS}/2/end", {}).status_code == 200


def test_a_repeated_request_is_answered_the_same_and_does_nothing(
    program: Program, university: BridgeUnderTest
) -> None:
    first = program.call("POST", ACCOUNTS, ADA, Idempotency_Key="k1")
    again = program.call("POST", ACCOUNTS, ADA, Idempotency_Key="k1")
    assert (again.status_code, again.json(), again.headers["Location"]) == (201, first.json(), f"{ACCOUNTS}/V1")
    other = program.call("POST", ACCOUNTS, {**ADA, "unit": "Droit"}, Idempotency_Key="k1")
    assert (other.status_code, other.json()["type"]) == (422, "urn:lms-bridge:problem:idempotency")
    elsewhere = Program(university, name="other").call("POST", ACCOUNTS, ADA, Idempotency_Key="k1")
    assert elsewhere.json()["type"] == "urn:lms-bridge:problem:exists"
    university.clock.forward(hours=25)
    purge(university.runtime)
    with university.runtime.database.read() as session:
        assert session.scalars(select(ApiAnswer)).all() == []


def test_a_refused_request_is_tried_again(program: Program) -> None:
    assert program.call("PATCH", f"{ACCOUNTS}/V1", {"unit": "Droit"}, Idempotency_Key="k").status_code == 404
    program.call("POST", ACCOUNTS, ADA)
    assert program.call("PATCH", f"{ACCOUNTS}/V1", {"unit": "Droit"}, Idempotency_Key="k").status_code == 200


@pytest.mark.parametrize("same", [True, False])
def test_i2_of_many_at_once_one_creates_the_account(program: Program, university: BridgeUnderTest, same: bool) -> None:
    """With one Idempotency-Key all are told of the same account; without, all but one that it exists."""
    headers = {"Idempotency_Key": "k"} if same else {}
    answers: list[int] = []
    barrier = threading.Barrier(8)

    def create() -> None:
        barrier.wait()
        answers.append(program.call("POST", ACCOUNTS, ADA, **headers).status_code)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ([201] * 8 if same else [201] + [409] * 7)
    assert count(university) == 1


def test_problems_are_told_in_the_callers_language(program: Program) -> None:
    answer = program.call("GET", f"{ACCOUNTS}/V9", Accept_Language="fr")
    assert answer.json()["title"] == "Il n'y a rien de tel ici"


@settings(max_examples=80)
@given(data=st.data())
def test_the_document_says_what_the_api_does_whatever_is_sent(program: Program, data: st.DataObject) -> None:
    """Requests made from the document: every answer is one of those it names, and none is an error of ours."""
    schema = schemathesis.openapi.from_dict(program.document)
    operation = data.draw(st.sampled_from([result.ok() for result in schema.get_all_operations()]))
    case = data.draw(operation.as_strategy())
    case.headers["Authorization"] = f"Bearer {program.token}"
    answer = case.call(base_url=f"{program.bridge.url}/api/v1")
    assert answer.status_code < 500
    case.validate_response(answer, checks=[schemathesis.checks.CHECKS.get_one("response_schema_conformance")])
