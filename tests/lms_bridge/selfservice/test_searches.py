"""The background half of a forgotten password: it may die, wait, or run twice; every search has its mails once (I8)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from external_accounts import outbox, recovery
from external_accounts.schema import OutboxMail, Proof
from lms_bridge.jobs import functions
from lms_bridge.selfservice import searches
from tests.bridge_under_test import BridgeUnderTest, running_bridge
from tests.postgresql_server import PostgresqlServer


@pytest.fixture(params=["sqlite", "postgresql"])
def bridge(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BridgeUnderTest]:
    changes: dict[str, Any] = {}
    if request.param == "postgresql":
        server: PostgresqlServer = request.getfixturevalue("postgresql")
        changes["database_url"] = server.create_database()
    with running_bridge(tmp_path, **changes) as bridge:
        bridge.add_account("ext.ada")
        bridge.add_account("ext.bob")
        yield bridge


def ask(bridge: BridgeUnderTest, *names: str) -> None:
    for name in names:
        with bridge.runtime.database.begin() as session:
            recovery.ask(
                session,
                bridge.runtime.keys,
                recovery.sought_text("username", name),
                may_mail=True,
                service=None,
                locale="fr",
                now=bridge.clock(),
            )


def queued(bridge: BridgeUnderTest) -> list[str]:
    with bridge.runtime.database.read() as session:
        return [mail.recipient for mail in session.query(OutboxMail).order_by(OutboxMail.id)]


def waiting(bridge: BridgeUnderTest) -> int:
    with bridge.runtime.database.read() as session:
        return session.query(Proof).filter(Proof.search_due_at.is_not(None)).count()


def test_many_runners_at_once_write_each_mail_once_i8(bridge: BridgeUnderTest) -> None:
    names = [f"ext.p{number}" for number in range(20)]
    for name in names:
        bridge.add_account(name)
    ask(bridge, *names, "ext.nobody")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(functions.answer_searches, [bridge.runtime] * 8))
    assert sorted(queued(bridge)) == sorted(f"{name}@mail.example" for name in names)
    assert waiting(bridge) == 0


def test_a_runner_that_dies_between_the_mail_and_the_end_leaves_nothing_half_done_i8(
    bridge: BridgeUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(bridge, "ext.ada")

    class Killed(BaseException):
        """As kill -9: nothing after it is run."""

    def die(*_values: object, **_more: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(searches.audit, "record", die)  # the mail is written, the transaction is not over
        with pytest.raises(Killed):
            functions.answer_searches(bridge.runtime)
    assert (queued(bridge), waiting(bridge)) == ([], 1)
    functions.answer_searches(bridge.runtime)
    functions.answer_searches(bridge.runtime)
    assert (queued(bridge), waiting(bridge)) == (["ext.ada@mail.example"], 0)


def test_a_search_that_cannot_be_answered_holds_up_no_other_and_is_tried_again(
    bridge: BridgeUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(bridge, "ext.ada", "ext.bob")
    enqueue = outbox.enqueue

    def fail_for_ada(session: Any, template: str, recipient: str, **values: Any) -> OutboxMail:
        if recipient.startswith("ext.ada"):
            raise RuntimeError("broken on purpose")
        return enqueue(session, template, recipient, **values)

    with monkeypatch.context() as patched:
        patched.setattr(outbox, "enqueue", fail_for_ada)
        functions.answer_searches(bridge.runtime)
    assert (queued(bridge), waiting(bridge)) == (["ext.bob@mail.example"], 1)
    functions.answer_searches(bridge.runtime)
    assert waiting(bridge) == 1, "not in a tight circle"
    bridge.clock.forward(minutes=1)
    functions.answer_searches(bridge.runtime)
    assert sorted(queued(bridge)) == ["ext.ada@mail.example", "ext.bob@mail.example"]
