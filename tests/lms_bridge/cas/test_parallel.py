"""I2: of any number of parallel uses of a ticket or a proof exactly one succeeds, with several processes.

The shipped server with two workers, on SQLite and on PostgreSQL. Fifty clients fire together.
"""

from __future__ import annotations

import html
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from sqlalchemy import select

from external_accounts.addresses import primary_address
from external_accounts.proof_keys import handle_token, proof_keys
from external_accounts.proofs import CONFIRM_ADDRESS, about, request_proof
from external_accounts.schema import Account, AuditEvent
from lms_bridge.runtime import build_runtime
from lms_bridge.settings import build
from tests.bridge_under_test import APP, BridgeUnderTest, Browser, Clock, forms, settings_values
from tests.lms_bridge.cas.answers import read
from tests.postgresql_server import PostgresqlServer
from tests.served_bridge import served_bridge

CLIENTS = 50


@dataclass(frozen=True)
class Served:
    """A served bridge, and the world behind it to arrange things in."""

    world: BridgeUnderTest

    @property
    def url(self) -> str:
        return self.world.url

    def new_proof(self, username: str) -> tuple[str, str, str]:
        """An unconfirmed account's pending proof: the link's token, the waiting page's token, the code."""
        account_id = self.world.add_account(username, confirmed=False)
        runtime = self.world.runtime
        with runtime.database.begin() as session:
            address = primary_address(session.get_one(Account, account_id))
            assert address is not None
            proof, _ = request_proof(
                session,
                runtime.keys,
                about(address),
                purpose=CONFIRM_ADDRESS,
                lifetime=timedelta(hours=1),
                service=None,
                locale="fr",
                now=self.world.clock(),
            )
            keys = proof_keys(runtime.keys, proof)
            return keys.link_token, handle_token(runtime.keys, proof), keys.code


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("served")
    values = settings_values(folder)
    if request.param == "postgresql":
        server: PostgresqlServer = request.getfixturevalue("postgresql")
        values["database_url"] = server.create_database()
    with served_bridge(folder, values) as url:
        runtime = build_runtime(build({**values, "public_url": url}), clock=Clock())
        yield Served(BridgeUnderTest(url, runtime, runtime.clock, None))  # type: ignore[arg-type]
        runtime.close()


def together(act: Callable[[int], str]) -> Counter[str]:
    """What `act` says, called by all clients at the same moment."""
    start = threading.Barrier(CLIENTS)

    def one(number: int) -> str:
        start.wait(30)
        return act(number)

    with ThreadPoolExecutor(CLIENTS) as pool:
        return Counter(pool.map(one, range(CLIENTS)))


def sign_in(served: Served, username: str) -> Browser:
    served.world.add_account(username)
    browser = Browser(served.url)
    browser.sign_in(username)
    return browser


def race(served: Served, ticket: str, services: list[str]) -> Counter[str]:
    """All clients validate one ticket, for the `services` in turn."""
    return together(lambda number: read(served.world.validate(ticket, services[number % len(services)])).code or "yes")


def test_cas_19_of_fifty_parallel_validations_exactly_one_succeeds(served: Served) -> None:
    browser = sign_in(served, "ext.race")
    for _round in range(3):
        assert race(served, browser.ticket(), [APP]) == {"yes": 1, "INVALID_TICKET": CLIENTS - 1}


def test_cas_19_one_ticket_at_all_validation_addresses_together_succeeds_once(served: Served) -> None:
    ticket = sign_in(served, "ext.mixed").ticket()
    paths = ["/cas/validate", "/cas/serviceValidate", "/cas/p3/serviceValidate", "/cas/proxyValidate"]

    def validate(number: int) -> str:
        answer = served.world.validate(ticket, path=paths[number % len(paths)])
        assert answer.status_code == 200
        return "yes" if "ext.mixed" in answer.text else "no"

    assert together(validate)["yes"] == 1


def test_cas_18_a_wrong_service_in_the_race_never_leaves_two_winners(served: Served) -> None:
    """Whoever comes first spends the ticket: right services win at most once, and not after a wrong one did."""
    browser = sign_in(served, "ext.wrong")
    for _round in range(3):
        outcomes = race(served, browser.ticket(), [APP, "https://open.example/"])
        assert outcomes["yes"] + outcomes["INVALID_SERVICE"] == 1
        assert outcomes["INVALID_TICKET"] == CLIENTS - 1


def test_cas_24_a_ticket_and_a_sign_out_together_never_leave_a_ticket_behind(served: Served) -> None:
    """After the sign-out was answered no ticket of the session validates, however many were asked for meanwhile."""
    browser = sign_in(served, "ext.leaving")
    cookies = {cookie.name: str(cookie.value) for cookie in browser.session.cookies}
    tickets: list[str] = []

    def act(number: int) -> str:
        path, query = ("/cas/logout", {}) if number == CLIENTS // 2 else ("/cas/login", {"service": APP})
        answer = requests.get(served.url + path, params=query, cookies=cookies, allow_redirects=False, timeout=30)
        location = answer.headers.get("Location", "")
        if "ticket=" in location:
            tickets.append(location.rpartition("ticket=")[2])
        return str(answer.status_code)

    assert set(together(act)) <= {"200", "302", "303"}
    assert [read(served.world.validate(ticket)).code for ticket in tickets] == ["INVALID_TICKET"] * len(tickets)


def claimers(served: Served, token: str) -> list[tuple[requests.Session, dict[str, str]]]:
    """One browser for each client, each with the form of the proof's page before it."""
    found = []
    for _ in range(CLIENTS):
        browser = Browser(served.url)
        page = browser.get(f"/account/confirm/{token}")
        hidden = next(fields for action, _, fields in forms(page) if action.endswith(token))
        found.append((browser.session, hidden))
    return found


def outcome(served: Served, token: str, session: requests.Session, fields: dict[str, str]) -> str:
    """What became of a claim, by the page it led to."""
    answer = session.post(f"{served.url}/account/confirm/{token}", data=fields, timeout=30)
    assert answer.status_code < 500, answer.text[:300]
    return heading_of(answer)


def heading_of(answer: requests.Response) -> str:
    return answer.text.partition("<h1>")[2].partition("</h1>")[0].strip()


def confirmations(served: Served, username: str) -> list[str]:
    """The audit trail's confirmations of this account: what the rest of the product builds on."""
    with served.world.runtime.database.read() as session:
        account_id = session.scalar(select(Account.id).where(Account.username == username))
        events = select(AuditEvent.outcome).where(
            AuditEvent.account_id == account_id, AuditEvent.event == "address.confirmed"
        )
        return list(session.scalars(events))


def test_i2_of_fifty_parallel_uses_of_a_link_exactly_one_confirms(served: Served) -> None:
    link, _, _ = served.new_proof("ext.link")
    browsers = claimers(served, link)
    outcomes = together(lambda number: outcome(served, link, *browsers[number]))
    assert sorted(outcomes.values()) == [1, CLIENTS - 1], outcomes
    assert confirmations(served, "ext.link") == ["ok"]


def test_i2_of_fifty_parallel_uses_of_a_code_exactly_one_confirms(served: Served) -> None:
    _, handle, code = served.new_proof("ext.code")
    browsers = claimers(served, handle)
    together(lambda number: outcome(served, handle, browsers[number][0], browsers[number][1] | {"code": code}))
    assert confirmations(served, "ext.code") == ["ok"]


def test_i2_link_and_code_together_confirm_once(served: Served) -> None:
    link, handle, code = served.new_proof("ext.both")
    by_link, by_code = claimers(served, link), claimers(served, handle)

    def act(number: int) -> str:
        if number % 2:
            return outcome(served, link, *by_link[number])
        return outcome(served, handle, by_code[number][0], by_code[number][1] | {"code": code})

    together(act)
    assert confirmations(served, "ext.both") == ["ok"]


def test_i2_fifty_parallel_wrong_codes_use_five_tries_and_no_more(served: Served) -> None:
    """TOK-04: the try is reserved before the comparison, so a volley guesses no more often than one after another."""
    _, handle, code = served.new_proof("ext.guess")
    wrong = "".join(reversed(code)) if code != code[::-1] else "BBBBBBBB"
    browsers = claimers(served, handle)
    compared = together(
        lambda number: (
            "compared" if "Ce n'est pas le code" in told(served, handle, browsers[number], wrong) else "refused"
        )
    )
    assert compared["compared"] == 5, compared
    session, fields = browsers[0]
    session.post(f"{served.url}/account/confirm/{handle}", data=fields | {"code": code}, timeout=30)
    assert confirmations(served, "ext.guess") == [], "the right code comes too late"


def told(served: Served, token: str, browser: tuple[requests.Session, dict[str, str]], code: str) -> str:
    session, fields = browser
    answer = session.post(f"{served.url}/account/confirm/{token}", data=fields | {"code": code}, timeout=30)
    assert answer.status_code == 422, urlsplit(answer.url).path
    return html.unescape(answer.text)
