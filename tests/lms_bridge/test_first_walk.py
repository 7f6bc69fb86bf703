"""The thinnest main job: a person comes in by a door, passes the gate, and an application accepts the ticket."""

from __future__ import annotations

from tests.bridge_under_test import APP, BridgeUnderTest, heading, ticket_in


def test_a_confirmed_learner_gets_a_ticket_that_validates_once(bridge: BridgeUnderTest) -> None:
    bridge.add_account("ext.ada")
    answer = bridge.browser().sign_in("ext.ada", service=APP)
    ticket = ticket_in(answer)
    first, second = bridge.validate(ticket), bridge.validate(ticket)
    assert "<cas:user>ext.ada</cas:user>" in first.text
    assert "INVALID_TICKET" in second.text


def test_an_unconfirmed_learner_gets_an_explanation_and_no_ticket(bridge: BridgeUnderTest) -> None:
    bridge.add_account("ext.ada", confirmed=False)
    page = bridge.browser().sign_in("ext.ada", service=APP)
    assert page.status_code == 403
    assert heading(page) == "E-mail non confirmé"
