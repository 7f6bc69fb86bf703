"""A real bridge behind a real HTTP server on loopback, and a browser that follows its forms.

Tests speak to it over HTTP only; `runtime` is there to arrange the world (accounts, time), not to look inside.
"""

from __future__ import annotations

import html
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import requests

from external_accounts import audit
from external_accounts.accounts import Person
from external_accounts.addresses import parse_address, primary_address
from external_accounts.identities import create_local_account
from external_accounts.proofs import CONFIRM_ADDRESS, about, claim_by_link, request_proof
from external_accounts.schema import Account
from lms_bridge.app import create_app
from lms_bridge.demo.server import LoopbackServer
from lms_bridge.jobs.embedded import Runner
from lms_bridge.runtime import Runtime, build_runtime
from lms_bridge.settings import build
from tests.migrated import migrate

APP = "https://app.example/landing"
"""A registered service that nobody serves: tests read the redirect to it and do not follow."""
PASSWORD = "correct horse battery"
SERVICES: list[dict[str, Any]] = [
    {
        "name": "app",
        "label": {"fr": "Appli", "en": "App"},
        "url": APP,
        "attributes": {"mail": "mail", "displayName": "displayName", "profile": "profile"},
        "logout_urls": ["https://app.example/bye"],
    },
    {"name": "open", "label": {"fr": "Ouverte", "en": "Open"}, "url": "https://open.example/", "gated": False},
]


@dataclass
class Clock:
    """A clock that tests move. Starts at the real time, so that certificates and cookies stay valid."""

    moment: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def __call__(self) -> datetime:
        return self.moment

    def forward(self, **delta: float) -> None:
        self.moment += timedelta(**delta)


@dataclass
class BridgeUnderTest:
    """A running bridge: its address, and its runtime to arrange the world with."""

    url: str
    runtime: Runtime
    clock: Clock
    runner: Runner

    def browser(self) -> Browser:
        return Browser(self.url)

    def add_account(self, username: str = "ext.ada", *, confirmed: bool = True, email: str | None = None) -> int:
        """A local account with `PASSWORD`; returns its id."""
        runtime = self.runtime
        now = self.clock()
        with runtime.database.begin() as session:
            account = create_local_account(
                session,
                username=username,
                profile="learner",
                person=Person("Ada", "Lovelace"),
                email=parse_address(email or f"{username}@mail.example"),
                password_hash=runtime.hashing.hash(PASSWORD),
                now=now,
                origin=audit.SYSTEM,
            )
            if confirmed:
                self.confirm(session, account)
            return account.id

    def confirm(self, session: Any, account: Account) -> None:
        """Confirm the primary address the only way there is: by a proof."""
        address = primary_address(account)
        assert address is not None
        proof, _ = request_proof(
            session,
            self.runtime.keys,
            about(address),
            purpose=CONFIRM_ADDRESS,
            lifetime=timedelta(hours=1),
            service=None,
            locale="fr",
            now=self.clock(),
        )
        claim_by_link(session, proof.id, now=self.clock(), origin=audit.SYSTEM)

    def validate(self, ticket: str, service: str = APP, path: str = "/cas/p3/serviceValidate", **more: str) -> Any:
        """Validate as an application does; returns the HTTP answer."""
        return requests.get(self.url + path, params={"service": service, "ticket": ticket, **more}, timeout=20)


class Browser:
    """A person's browser: cookies, forms, no surprises. Never follows a redirect off `hosts`."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.session = requests.Session()
        self.hosts = {"127.0.0.1"}
        self.page: requests.Response

    def get(self, path: str, *, follow: bool = True, **options: Any) -> requests.Response:
        return self._travel(
            self.session.get(urljoin(self.base, path), allow_redirects=False, timeout=20, **options), follow
        )

    def submit(self, form: int = 0, *, follow: bool = True, **fields: str) -> requests.Response:
        """Fill the page's form number `form` and press its button."""
        action, method, values = forms(self.page)[form]
        values |= fields
        url = urljoin(self.page.url, action)
        if method == "post":
            answer = self.session.post(url, data=values, allow_redirects=False, timeout=20)
        else:
            answer = self.session.get(url, params=values, allow_redirects=False, timeout=20)
        if answer.status_code == 307 and follow:  # the same form goes on to another address
            url = urljoin(url, answer.headers["Location"])
            answer = self.session.post(url, data=values, allow_redirects=False, timeout=20)
        return self._travel(answer, follow)

    def sign_in(
        self, identifier: str = "ext.ada", password: str = PASSWORD, *, service: str | None = None, follow: bool = True
    ) -> requests.Response:
        """Come in by the Extérieurs door."""
        self.get("/signin/local" + (f"?service={requests.utils.quote(service, safe='')}" if service else ""))
        return self.submit(identifier=identifier, password=password, follow=follow)

    def ticket(self, service: str = APP, **parameters: str) -> str:
        """Ask for a service ticket, being signed in and admitted."""
        answer = self.get("/cas/login", params={"service": service, **parameters}, follow=False)
        return ticket_in(answer)

    def _travel(self, answer: requests.Response, follow: bool) -> requests.Response:
        hops = 0
        while follow and answer.is_redirect:
            target = urljoin(answer.url, answer.headers["Location"])
            if urlsplit(target).hostname not in self.hosts:
                break
            answer = self.session.get(target, allow_redirects=False, timeout=20)
            hops += 1
            assert hops < 15, "redirect loop"
        self.page = answer
        return answer


def ticket_in(answer: requests.Response) -> str:
    """The ticket of a redirect to a service."""
    assert answer.status_code in (302, 303), (answer.status_code, answer.text[:500])
    return parse_qs(urlsplit(answer.headers["Location"]).query)["ticket"][0]


def forms(page: requests.Response) -> list[tuple[str, str, dict[str, str]]]:
    """The forms of a page: action, method, hidden fields."""
    found = []
    for attributes, body in re.findall(r"<form\b([^>]*)>(.*?)</form>", page.text, re.DOTALL):
        action = re.search(r'action="([^"]*)"', attributes)
        method = re.search(r'method="([^"]*)"', attributes)
        hidden = {
            html.unescape(name): html.unescape(value)
            for name, value in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', body)
        }
        found.append(
            (
                html.unescape(action.group(1)) if action else "",
                method.group(1).lower() if method else "get",
                hidden,
            )
        )
    return found


def heading(page: requests.Response) -> str:
    """The page's h1, blanks folded."""
    found = re.search(r"<h1>(.*?)</h1>", page.text, re.DOTALL)
    assert found, page.text[:500]
    return " ".join(html.unescape(found.group(1)).split())


def settings_values(folder: Path, **changes: Any) -> dict[str, Any]:
    """Settings of a small bridge; `changes` replace whole top-level entries."""
    values: dict[str, Any] = {
        "public_url": "http://127.0.0.1:1",
        "secret_keys": [secrets.token_hex(32)],
        "database_url": f"sqlite:///{folder}/bridge.db",
        "log_level": "error",
        "institution": {"name": "Université de test", "short_name": "UT", "help_email": "aide@univ.example"},
        "mail": {"host": "127.0.0.1", "port": 9, "security": "none", "sender": "noreply@univ.example"},
        "services": SERVICES,
    }
    return values | changes


@contextmanager
def running_bridge(
    folder: Path, *, clock: Clock | None = None, port: int = 0, **changes: Any
) -> Iterator[BridgeUnderTest]:
    """Start a bridge with a fresh database, and stop it. Background jobs run only when told to.

    `port` 0 takes a free one."""
    clock = clock or Clock()
    late: dict[str, Any] = {}
    # The port must be known before the settings, the settings before the application.
    server = LoopbackServer(lambda environ, start: late["app"](environ, start), port)  # noqa: PLW0108
    values = settings_values(folder, **{"public_url": server.url, **changes})
    runtime = build_runtime(build(values), clock=clock)
    try:
        migrate(runtime.database)
        app = create_app(runtime)
        late["app"] = app.wsgi_app
        server.start()
        yield BridgeUnderTest(server.url, runtime, clock, Runner(runtime))
    finally:
        server.stop()
        runtime.close()
