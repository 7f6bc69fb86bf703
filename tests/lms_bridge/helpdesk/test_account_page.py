"""One account on one page, and what the person sees; read-only, and written down (D57)."""

from __future__ import annotations

import html
import re

import pytest
from sqlalchemy import func, select

from external_accounts import audit, outbox
from external_accounts.confirmation import lose_confirmation
from external_accounts.database import Base
from external_accounts.schema import Account, AuditEvent, OutboxMail, Proof
from lms_bridge.helpdesk.account_page import AccountAction
from lms_bridge.helpdesk.members import Role
from lms_bridge.schema import Mirror
from tests.bridge_under_test import forms
from tests.lms_bridge.helpdesk.conftest import ARTS, LAW, Console, console_with
from tests.lms_bridge.helpdesk.test_search import SITES
from tests.lms_bridge.mailing import in_french


def path(number: int, more: str = "") -> str:
    return f"/helpdesk/accounts/{number}{more}"


def views(console: Console) -> list[tuple[str, str, int | None, str]]:
    with console.bridge.runtime.database.read() as session:
        rows = session.scalars(select(AuditEvent).where(AuditEvent.event == "helpdesk.viewed").order_by(AuditEvent.id))
        return [(row.event, row.actor, row.account_id, row.details["page"]) for row in rows]


def text(console: Console, number: int, more: str = "") -> str:
    page = console.as_("ext.viewer").get(path(number, more))
    assert page.status_code == 200, page.text
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", page.text.split("<main")[1]).split())).replace("\xa0", " ")


def plain(message: str, **values: object) -> str:
    words = in_french(message).replace("\xa0", " ")
    for name, value in values.items():
        words = words.replace(f"%({name})s", str(value))
    return re.sub(r"<[^>]+>", " ", words).replace("  ", " ")


def test_d57_one_page_says_whether_somebody_enters_and_why_not(console: Console) -> None:
    number = console.person("ext.zoe", confirmed=False, given_name="Zoé", family_name="Lemaître", unit=ARTS)
    console.change(number, suspended_at=console.bridge.clock(), suspension_reason="Trois courriers sans réponse")
    words = text(console, number)
    assert "Zoé Lemaître" in words
    assert plain("e-mail not confirmed") in words
    assert plain("suspended") in words
    assert "Trois courriers sans réponse" in words
    assert "ext.zoe@mail.example" in words
    assert f"#{number}" in words
    assert ARTS in words


def test_d57_what_the_person_sees_word_for_word_and_without_a_button(console: Console) -> None:
    number = console.person("ext.zoe", confirmed=False)
    own = console.as_("ext.zoe").get("/").text
    page = console.as_("ext.agent").get(path(number, "/seen"))
    for sentence in re.findall(r"<p>(.*?)</p>", own.split("<main")[1].split("</main")[0]):
        assert sentence in page.text
    assert in_french("Receive the link") in html.unescape(page.text)
    assert forms(page) == []
    assert "/cas/" not in page.text


def test_d57_looking_is_written_down_once_a_view_and_the_person_reads_it(console: Console) -> None:
    number = console.person("ext.zoe")
    agent = console.as_("ext.agent")
    for more in ("", "/timeline", "/timeline?before=1", "/seen"):
        agent.get(path(number, more))
    agent.session.head(console.bridge.url + path(number), timeout=20)
    assert [(actor, who, page) for _event, actor, who, page in views(console)] == [
        ("ext.agent", number, "account"),
        ("ext.agent", number, "timeline"),
        ("ext.agent", number, "as seen"),
    ]
    assert in_french("The help desk looked at your account.") in html.unescape(
        console.as_("ext.zoe").get("/account/activity").text
    )


def test_looking_changes_nothing_else(console: Console) -> None:
    """I11, and no session, ticket or proof of somebody else."""
    number = console.person("ext.zoe")
    before = counts(console)
    viewer = console.as_("ext.viewer")
    signed_in = counts(console)
    for more in ("", "/timeline", "/seen"):
        viewer.get(path(number, more))
    after = counts(console)
    assert {name for name in before if after[name] != signed_in[name]} == {"audit_events"}


def counts(console: Console) -> dict[str, int]:
    with console.bridge.runtime.database.read() as session:
        return {
            table.name: session.scalar(select(func.count()).select_from(table)) or 0
            for table in Base.metadata.tables.values()
        }


@pytest.mark.parametrize("more", ["", "/timeline", "/seen"])
def test_out_of_ones_unit_is_the_same_as_not_there(console: Console, more: str) -> None:
    number = console.person("ext.zoe", unit=LAW)
    arts = console.as_("ext.arts")
    answers = [arts.get(path(one, more)) for one in (number, 99_999)]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].text.replace(f"accounts/{number}", "N") == answers[1].text.replace("accounts/99999", "N")
    assert views(console) == []
    assert console.as_("ext.lawyer").get(path(number, more)).status_code == 200


@pytest.mark.parametrize("number", ["0", "x", "-1", "9" * 30, "1e3", "%00"])
def test_what_is_no_number_is_no_account(console: Console, number: str) -> None:
    assert console.as_("ext.viewer").get(f"/helpdesk/accounts/{number}").status_code == 404


def test_nobody_without_a_role_sees_anything(console: Console) -> None:
    number = console.person("ext.zoe")
    console.person("ext.turing", profile="teacher")
    for username in ("ext.zoe", "ext.turing"):
        assert console.as_(username).get(path(number)).status_code == 403
    assert "ext.zoe@mail" not in console.bridge.browser().get(path(number)).text


def test_a_mail_that_came_back_a_pending_proof_and_a_session_without_any_secret(console: Console) -> None:
    number = console.person("ext.zoe")
    browser = console.as_("ext.zoe")
    bridge = console.bridge
    with bridge.runtime.database.begin() as session:
        account = session.get_one(Account, number)
        lose_confirmation(session, account.addresses[0], reason="bounce", now=bridge.clock(), origin=audit.SYSTEM)
        mail = outbox.enqueue(
            session, "why", "ext.zoe@mail.example", locale="fr", now=bridge.clock(), mail_domain="x", account_id=number
        )
        mail.state, mail.bounced_at, mail.bounce_status = "bounced", bridge.clock(), "5.1.1"
    browser.get("/account/addresses")
    browser.submit()
    console.mailbox.all()
    with bridge.runtime.database.read() as session:
        proof = session.scalars(select(Proof).where(Proof.account_id == number).order_by(Proof.id.desc())).first()
        assert proof is not None
        secrets = (proof.link_hash, proof.handle, proof.nonce.hex())
    words = text(console, number)
    for expected in (
        plain("our messages come back"),
        plain("came back"),
        "5.1.1",
        plain("confirm an address"),
        plain("Signed in on %(count)s device.", count=1),
    ):
        assert expected in words, expected
    page = console.as_("ext.viewer").get(path(number)).text
    assert not [secret for secret in secrets if secret in page]


def test_the_mirror_says_where_moodle_stands_and_leads_to_the_user(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with console_with(tmp_path, sites=SITES) as console:
        number = console.person("ext.zoe")
        with console.bridge.runtime.database.begin() as session:
            for row in session.scalars(select(Mirror).where(Mirror.account_id == number)):
                session.delete(row)
            session.flush()
            session.add(
                Mirror(
                    account_id=number, site="updago", moodle_id=4711, state="conflict", problem="somebody else there",
                    conflicts=[{"field": "email", "ours": "a@x", "theirs": "b@x", "problem": "changed"}],
                )
            )  # fmt: skip
        page = console.as_("ext.viewer").get(path(number))
        assert 'href="https://moodle.example/user/profile.php?id=4711"' in page.text
        words = text(console, number)
        for expected in ("somebody else there", "a@x", "b@x", plain("conflict: somebody must look")):
            assert expected in words


def test_a_merged_account_leads_on_and_an_erased_one_says_so(console: Console) -> None:
    kept, old, gone = console.person("ext.zoe"), console.person("ext.old"), console.person("ext.gone")
    console.change(old, merged_into_id=kept)
    console.change(gone, erased_at=console.bridge.clock())
    viewer = console.as_("ext.viewer")
    assert f'href="{path(kept)}"' in viewer.get(path(old)).text
    assert plain("erased") in text(console, gone)
    assert in_french("Nobody can sign in with this account any more.") in html.unescape(
        viewer.get(path(old, "/seen")).text
    )


def test_the_timeline_pages_by_number_whatever_happens_meanwhile(console: Console) -> None:
    number = console.person("ext.zoe")
    with console.bridge.runtime.database.begin() as session:
        for count in range(60):
            audit.record(
                session, "test.event", outcome="ok", now=console.bridge.clock(), origin=audit.SYSTEM, account_id=number,
                reason=f"n{count}.",
            )  # fmt: skip
    viewer = console.as_("ext.viewer")
    seen: list[str] = []
    page = viewer.get(path(number, "/timeline"))
    while True:
        seen += re.findall(r"n\d+\.", page.text)
        older = re.search(r'href="([^"]+\?before=\d+)"', page.text)
        if older is None:
            break
        page = viewer.get(older[1])
    assert seen == [f"n{count}." for count in reversed(range(60))]


def test_actions_are_offered_by_role_and_never_on_oneself(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "lms_bridge.helpdesk.account_page.ACTIONS",
        [
            AccountAction("Later", "later", Role.ADMINISTRATOR, place=90),
            AccountAction("Suspend it", "suspend", applies=lambda account, _now: account.suspended_at is None),
        ],
    )
    number = console.person("ext.zoe", unit=ARTS)

    def offered(username: str, one: int = number) -> list[str]:
        page = console.as_(username).get(path(one)).text
        return re.findall(rf'href="{path(one)}/(suspend|later)"', page)

    assert offered("ext.viewer") == []
    assert offered("ext.both") == [], "sees the arts, acts in law"
    assert offered("ext.agent") == ["suspend"]
    assert offered("ext.admin") == ["suspend", "later"]
    with console.bridge.runtime.database.read() as session:
        own = session.scalars(select(Account.id).where(Account.username == "ext.admin")).one()
    assert offered("ext.admin", own) == []
    console.change(number, suspended_at=console.bridge.clock())
    assert offered("ext.admin") == ["later"]
    console.change(number, erased_at=console.bridge.clock())
    assert offered("ext.admin") == []


def test_mails_of_the_last_days_are_looked_up_by_an_index(console: Console) -> None:
    """A hundred thousand messages of others must not be gone through for one account."""
    database = console.bridge.runtime.database
    with database.engine.connect() as connection:
        query = select(OutboxMail.id).where(OutboxMail.account_id == 7).order_by(OutboxMail.id.desc()).limit(10)
        compiled = query.compile(connection, compile_kwargs={"literal_binds": True})
        plan = " ".join(str(row) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}"))
    assert "ix_outbox_mails_account_id" in plan
