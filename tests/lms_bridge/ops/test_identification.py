"""`/healthz` says `ok` to everybody, and which bridge it is to whoever holds its keys."""

from __future__ import annotations

from datetime import timedelta

import pytest
import requests

from external_accounts.keys import Keys
from lms_bridge.ops import identification
from tests.bridge_under_test import BridgeUnderTest


def ask(bridge: BridgeUnderTest, question: str) -> dict[str, object]:
    answer = requests.get(f"{bridge.url}/healthz", params={"ask": question}, timeout=20)
    assert answer.status_code == 200
    document: dict[str, object] = answer.json()
    return document


def test_a_question_signed_with_our_keys_is_answered_with_how_the_request_arrived(bridge: BridgeUnderTest) -> None:
    keys = bridge.runtime.keys
    question = identification.question(keys, bridge.clock())
    told = identification.verified(keys, question, ask(bridge, question))
    assert told is not None
    assert (told["address"], told["scheme"], told["forwarded"]) == ("127.0.0.1", "http", 0)
    assert told["database"] == identification.fingerprint(keys, bridge.runtime.settings.database_url)


@pytest.mark.parametrize("question", ["", "1-2", "x" * 5000, "1790000000-00.signature", "é"])
def test_everybody_else_learns_nothing_but_ok(bridge: BridgeUnderTest, question: str) -> None:
    assert ask(bridge, question) == {"status": "ok"}


def test_a_question_under_other_keys_or_from_another_hour_is_not_answered(bridge: BridgeUnderTest) -> None:
    other = Keys(["another key of thirty-two characters"])
    assert ask(bridge, identification.question(other, bridge.clock())) == {"status": "ok"}
    old = identification.question(bridge.runtime.keys, bridge.clock() - timedelta(minutes=11))
    assert ask(bridge, old) == {"status": "ok"}


def test_nobody_between_can_change_the_answer_or_give_it_to_another_question(bridge: BridgeUnderTest) -> None:
    keys = bridge.runtime.keys
    question = identification.question(keys, bridge.clock())
    document = ask(bridge, question)
    assert identification.verified(keys, identification.question(keys, bridge.clock()), document) is None
    document["bridge"]["facts"]["address"] = "192.0.2.1"  # type: ignore[index]
    assert identification.verified(keys, question, document) is None


@pytest.mark.parametrize(
    "document", [None, [], {}, {"bridge": 1}, {"bridge": {"facts": {}, "key": "unknown", "code": "x"}}, {"bridge": {}}]
)
def test_an_answer_of_another_shape_proves_nothing(document: object) -> None:
    keys = Keys(["k" * 32])
    assert identification.verified(keys, "question", document) is None


def test_during_a_rotation_either_key_vouches(bridge: BridgeUnderTest) -> None:
    serving = [key.get_secret_value() for key in bridge.runtime.settings.secret_keys]
    rotated = Keys(["the newer key, of thirty-two letters", *serving])
    # The bridge still runs with the old key alone: it cannot read what the new one signed.
    assert ask(bridge, identification.question(rotated, bridge.clock())) == {"status": "ok"}
    question = identification.question(Keys(serving), bridge.clock())
    assert identification.verified(rotated, question, ask(bridge, question)) is not None
