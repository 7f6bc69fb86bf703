"""The help desk's lists of what came back, what Moodle does not follow, and what waits for a second person."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, insert, select, text

from external_accounts import audit
from external_accounts.confirmation import lose_confirmation
from external_accounts.linking_schema import AddressCorrection
from external_accounts.schema import Account, Address, OutboxMail
from lms_bridge.schema import Mirror
from tests.bridge_under_test import Browser, forms, heading
from tests.lms_bridge.helpdesk.acting import DESK, PATH, Office, office, words
from tests.lms_bridge.mailing import in_french

QUEUES = {
    "/helpdesk/bounces": "Messages that came back",
    "/helpdesk/bounces?list=mails": "Messages nobody received",
    "/helpdesk/conflicts": "Conflicts with Moodle",
    "/helpdesk/corrections": "Corrections of addresses",
}
SITES = [
    {"name": "updago", "url": "https://moodle.example", "token": "x", "nightly": ""},
    {"name": "second", "url": "https://second.example", "token": "x", "nightly": ""},
]
SERVICES = [
    {"name": name, "label": {"fr": name, "en": name}, "url": f"https://{name}.example/", "site": name}
    for name in ("updago", "second")
]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path, sites=SITES, services=SERVICES) as running:
        yield running


def lose(desk: Office, number: int) -> None:
    with desk.bridge.runtime.database.begin() as session:
        address = session.scalars(select(Address).where(Address.account_id == number)).one()
        lose_confirmation(session, address, reason="bounce", now=desk.clock(), origin=audit.SYSTEM)


def mirror(desk: Office, number: int, site: str = "updago", **columns: object) -> None:
    values = {"state": "conflict", "problem": "the user has another sign-in method", "moodle_id": 40 + number}
    with desk.bridge.runtime.database.begin() as session:
        session.add(Mirror(account_id=number, site=site, written={}, due=False, **(values | columns)))


def test_empty_lists_say_what_would_stand_there_and_are_the_desks_alone(desk: Office) -> None:
    desk.person()
    for path, title in QUEUES.items():
        page = desk.browser().get(path)
        assert heading(page) == in_french(title)
        assert page.status_code == 200
        assert desk.browser("ext.ada").get(path).status_code == 403


def test_d19_a_bounced_address_leads_to_its_correction_and_to_sending_again(desk: Office) -> None:
    ada, _bob = desk.person(), desk.person("ext.bob")
    lose(desk, ada)
    page = desk.browser().get("/helpdesk/bounces")
    assert "ext.ada@mail.example" in page.text
    assert "ext.bob@mail.example" not in page.text
    assert f'href="{PATH}/{ada}/correct"' in page.text
    assert f'href="{PATH}/{ada}/resend"' in page.text
    desk.act("correct", ada, address=str(desk.addresses(ada)[0].id), email="ada@right.example", reason="called")
    page = desk.browser().get("/helpdesk/bounces")
    assert 'href="/helpdesk/corrections/1"' in page.text
    assert f'href="{PATH}/{ada}/correct"' not in page.text


def test_a_mail_nobody_received_says_what_the_server_said(desk: Office) -> None:
    ada = desk.person(confirmed=False)
    desk.mailbox.refuse_with("554 5.7.1 <we> do not like you")
    desk.act("resend", ada, message=f"confirm-{desk.addresses(ada)[0].id}")
    assert desk.mailbox.all() == []
    page = desk.browser().get("/helpdesk/bounces?list=mails")
    assert "5.7.1 &lt;we&gt; do not like you" in page.text
    assert "ext.ada@mail.example" in page.text
    assert in_french("confirm your address") in words(page)


def test_a_conflict_is_told_in_words_with_what_to_do(desk: Office) -> None:
    ada, bob, eve = desk.person(), desk.person("ext.bob"), desk.person("ext.eve")
    mirror(desk, ada)
    mirror(desk, bob, "second", state="suspended_elsewhere", problem="suspended in Moodle")
    found = {"field": "email", "ours": "eve@here", "theirs": "eve@<there>", "problem": "changed here and in Moodle"}
    mirror(desk, eve, state="in_step", problem="email: changed here and in Moodle", conflicts=[found])
    page = desk.browser().get("/helpdesk/conflicts")
    for said in ("the user has another sign-in method", "suspended in Moodle", "changed here and in Moodle"):
        assert in_french(said) in words(page)
    assert "eve@&lt;there&gt;" in page.text
    assert in_french("Can enter all the same") in words(page)
    assert f"https://moodle.example/user/profile.php?id={40 + ada}" in page.text
    only = desk.browser().get("/helpdesk/conflicts?site=second")
    assert (f'href="{PATH}/{bob}"' in only.text, f'href="{PATH}/{ada}"' in only.text) == (True, False)
    assert desk.browser().get("/helpdesk/conflicts?site=nowhere").status_code == 404


def test_looking_again_marks_the_user_due_at_once(desk: Office) -> None:
    ada = desk.person()
    mirror(desk, ada, next_try_at=desk.clock() + timedelta(hours=1))
    browser = desk.browser()
    browser.get("/helpdesk/conflicts")
    page = browser.submit()
    asked = "Moodle is being asked again. If the matter is settled, the account is gone from this list within a minute."
    assert in_french(asked) in words(page)
    with desk.bridge.runtime.database.read() as session:
        row = session.scalars(select(Mirror).where(Mirror.site == "updago", Mirror.account_id == ada)).one()
        assert (row.due, row.next_try_at) == (True, None)
    assert [one.actor for one in desk.events(ada, "mirror.look_again")] == [DESK]
    browser.get("/helpdesk/conflicts")
    action, _method, hidden = forms(browser.page)[0]
    assert action.endswith("/again")
    answer = browser.session.post(f"{desk.bridge.url}/helpdesk/conflicts/999/again", data=hidden, timeout=20)
    assert answer.status_code == 404


# --- Full lists ---

MANY = 1_000


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """Each list is long, among as many accounts and mails that are all right."""
    with office(tmp_path_factory.mktemp("full"), sites=SITES, services=SERVICES) as running:
        now = running.clock()
        ids = range(1000, 1000 + 2 * MANY)
        account = {"profile": "learner", "given_name": "Ada", "created_at": now, "activated_at": now}
        with running.bridge.runtime.database.begin() as session:
            names = [account | {"id": n, "username": f"ext.p{n}", "key": f"k{n}", "version": 1} for n in ids]
            session.execute(insert(Account), names)
            address = {"role": "contact", "is_primary": True, "created_at": now, "confirmed_by": ""}
            session.execute(
                insert(Address),
                [
                    address
                    | {"id": n, "account_id": n, "email": f"p{n}@mail.example", "email_key": f"p{n}@mail.example"}
                    | ({"lost_at": now, "lost_reason": "bounce"} if n % 2 else {"lost_at": None, "lost_reason": ""})
                    for n in ids
                ],
            )
            mail = {"template": "confirm_address", "locale": "fr", "context": {}, "created_at": now, "due_at": now}
            states = ("sent", "failed")
            session.execute(
                insert(OutboxMail),
                [
                    mail
                    | {"id": n, "recipient": f"p{n}@mail.example", "account_id": n, "message_id": f"<{n}@x>"}
                    | {"state": states[n % 2], "attempts": 1, "bounce_status": "", "last_error": "550 no"}
                    for n in ids
                ],
            )
            problems = ("", "the user was renamed in Moodle")
            session.execute(
                insert(Mirror),
                [
                    {
                        "account_id": n,
                        "site": "updago",
                        "state": "conflict",
                        "written": {},
                        "conflicts": [],
                        "due": False,
                    }
                    | {"problem": problems[n % 2]}
                    for n in ids
                ],
            )
            asked = {"reason": "r", "asked_at": now, "asked_by": DESK, "asked_by_id": 1, "decided_by": ""}
            session.execute(
                insert(AddressCorrection),
                [
                    asked
                    | {"account_id": n, "address_id": n, "old_email": f"p{n}@mail.example", "new_email": "a@b.example"}
                    | {"state": ("approved", "waiting")[n % 2], "decision_reason": ""}
                    for n in ids
                ],
            )
        with running.bridge.runtime.database.engine.begin() as connection:
            connection.execute(text("ANALYZE"))
        yield running


def follow(browser: Browser) -> str:
    """The address of the next page."""
    found = re.findall(r'href="([^"]*[?&](?:amp;)?after=\d+)"', browser.page.text)
    assert found, browser.page.text[-2000:]
    return found[-1].replace("&amp;", "&")


@pytest.mark.parametrize("path", QUEUES)
def test_a_long_list_is_read_page_by_page_without_sorting_it(full: Office, path: str) -> None:
    browser = full.browser()
    statements: list[tuple[str, object]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_more: object) -> None:
        if "LIMIT" in statement and "count(" not in statement and " ORDER BY " in statement.replace("\n", " "):
            statements.append((statement, parameters))

    engine = full.bridge.runtime.database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        browser.get(path)
        first = set(re.findall(r"p\d+@mail\.example", browser.page.text))
        browser.get(follow(browser))
        second = set(re.findall(r"p\d+@mail\.example", browser.page.text))
    finally:
        event.remove(engine, "before_cursor_execute", note)
    if path != "/helpdesk/conflicts":
        assert len(first) == len(second) == 50
        assert not first & second
    lists = [one for one in statements if "JOIN accounts" in one[0]]
    assert lists
    for statement, parameters in lists:
        with engine.connect() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()  # type: ignore[arg-type]
        steps = [row[3] for row in plan]
        assert not any("TEMP B-TREE" in step for step in steps), steps
        assert any("ix_" in step or "INTEGER PRIMARY KEY (rowid<" in step for step in steps), steps
