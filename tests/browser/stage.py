"""A bridge with a Moodle, a SEL and a mailbox, all in this process, for pages that a demo cannot show at will.

The settings ask for more than the demo's (a charter, an application for staff only, one that keeps no session), and the
world can be arranged: the clock moves, Moodle closes, accounts change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from werkzeug import Response

from external_accounts import audit, throttle
from external_accounts.confirmation import lose_confirmation
from external_accounts.identities import canonical_identifier
from external_accounts.schema import Account, Address
from external_accounts.throttle import Use
from lms_bridge.demo.mail_sink import Mail, MailSink
from lms_bridge.demo.sel import SelDirectory, SelUser, SimulatedSel
from lms_bridge.demo.server import LoopbackServer
from moodle_ws.simulator import SimulatedMoodle, SimulatorOptions
from tests.bridge_under_test import BridgeUnderTest, Clock, running_bridge

"""An application that keeps no session: tests answer for it in the browser."""
SEL_USER = SelUser(
    "tmartin",
    "teacher-demo-1",
    {
        "mail": "theo.martin@univ.example",
        "givenName": "Théo",
        "sn": "Martin",
        "displayName": "Théo Martin",
        "eduPersonAffiliation": ["faculty", "member"],
    },
)


@dataclass
class Stage:
    """The running world and what tests arrange in it."""

    bridge: BridgeUnderTest
    moodle: SimulatedMoodle
    moodle_url: str
    sel: SimulatedSel
    mails: MailSink
    apps: str
    """Where three plain applications answer, none of which keeps a session."""

    @property
    def url(self) -> str:
        return self.bridge.url

    @property
    def updago(self) -> str:
        """The service that Moodle names."""
        return f"{self.moodle_url}/login/index.php"

    @property
    def agenda(self) -> str:
        """An application open to everybody."""
        return f"{self.apps}/agenda"

    @property
    def library(self) -> str:
        """An application that asks for the charter."""
        return f"{self.apps}/library"

    @property
    def intranet(self) -> str:
        """An application for staff only."""
        return f"{self.apps}/intranet"

    def at(self, path: str, **query: str) -> str:
        return f"{self.url}{path}" + (f"?{urlencode(query)}" if query else "")

    def account(self, username: str, *, confirmed: bool = True, **changes: Any) -> str:
        """A local account with `PASSWORD`, changed as asked for; returns its user name."""
        account_id = self.bridge.add_account(username, confirmed=confirmed)
        if changes:
            with self.bridge.runtime.database.begin() as session:
                account = session.get_one(Account, account_id)
                for name, value in changes.items():
                    setattr(account, name, value)
        return username

    def forget_address(self, username: str) -> None:
        """Take the account's address away, as an import without addresses would leave it."""
        with self.bridge.runtime.database.begin() as session:
            account = session.query(Account).filter_by(username=username).one()
            session.query(Address).filter_by(account_id=account.id).delete()

    def bounce(self, username: str, *, number: int = 0) -> None:
        """An address of the account stops counting: its mailbox sent our messages back."""
        with self.bridge.runtime.database.begin() as session:
            address = session.query(Account).filter_by(username=username).one().addresses[number]
            lose_confirmation(session, address, reason="bounce", now=self.bridge.clock(), origin=audit.SYSTEM)

    def confirm(self, username: str) -> None:
        """Confirm the account's address, as if on another device."""
        with self.bridge.runtime.database.begin() as session:
            self.bridge.confirm(session, session.query(Account).filter_by(username=username).one())

    def exhaust(self, identifier: str) -> None:
        """Use up the tries that strangers have at this identifier."""
        now = self.bridge.clock()
        use = Use(throttle.SIGN_IN_IDENTIFIER, canonical_identifier(identifier))
        with self.bridge.runtime.database.begin() as session:
            for _ in range(use.limit.burst):
                throttle.reserve(session, [use], now)

    def mails_to(self, name: str) -> list[Mail]:
        """The messages to `name`@mail.example, once the jobs have had their turn."""
        self.bridge.runner.run_once()
        return [mail for mail in self.mails.mails() if mail.to == f"{name}@mail.example"]

    def link_mailed_to(self, name: str, family: str = "(?:confirm|register|reset)") -> str:
        """The last link in them that leads to `/account/<family>/…`, or to `/<family>/…`."""
        found = [
            link
            for mail in self.mails_to(name)
            for link in re.findall(rf"http://[^/\s]+/(?:account/)?{family}/\S+", mail.text)
        ]
        assert found, self.mails_to(name)
        return found[-1]


@contextmanager
def raised_stage(folder: Path) -> Iterator[Stage]:
    """Everything on free ports of loopback; nothing is left behind."""
    with ExitStack() as stack:
        mails = MailSink(Clock())
        stack.callback(mails.stop)
        mails.start()
        # The ports must be known before the settings, and the settings before the applications.
        late: dict[str, Any] = {}
        sel_server = LoopbackServer(lambda environ, start: late["sel"](environ, start), 0)  # noqa: PLW0108
        moodle_server = LoopbackServer(lambda environ, start: late["moodle"](environ, start), 0)  # noqa: PLW0108
        apps = LoopbackServer(Response("<title>Application</title>", mimetype="text/html"), 0)
        for server in (sel_server, moodle_server, apps):
            stack.callback(server.stop)
        directory = SelDirectory()
        directory.add(SEL_USER)
        sel = SimulatedSel(directory, sel_server.url)
        late["sel"] = sel.wsgi_app
        settings = _settings(sel_server.url, moodle_server.url, apps.url, mails.port)
        bridge = stack.enter_context(running_bridge(folder, **settings))
        moodle = SimulatedMoodle(SimulatorOptions(url=moodle_server.url, cas_url=f"{bridge.url}/cas", multiauth=False))
        late["moodle"] = moodle.wsgi_app
        for server in (sel_server, moodle_server, apps):
            server.start()
        yield Stage(bridge, moodle, moodle_server.url, sel, mails, apps.url)


def _settings(sel: str, moodle: str, apps: str, smtp_port: int) -> dict[str, Any]:
    return {
        "institution": {
            "name": "Université de démonstration",
            "short_name": "Univ. Démo",
            "help_email": "assistance@univ-demo.example",
            "help_phone": "+33 5 00 00 00 00",
        },
        "mail": {"host": "127.0.0.1", "port": smtp_port, "security": "none", "sender": "noreply@univ.example"},
        "charter": {"version": "2026-09", "url": "https://univ.example/charte"},
        "profiles": [
            {"name": "staff", "label": {"fr": "Personnel", "en": "Staff"}},
            {"name": "learner", "label": {"fr": "Apprenant·e extérieur·e", "en": "External learner"}},
            {
                "name": "vacataire",
                "label": {"fr": "Vacataire", "en": "Adjunct teacher"},
                "issuer": "sel",
                "directory": "sel",
                "whom_to_see": {"fr": "le service des ressources humaines", "en": "the personnel office"},
            },
            {
                "name": "hosted",
                "label": {"fr": "Hébergé·e", "en": "Hosted"},
                "mailbox": "box",
                "listing": True,
                "antispam": True,
                "retention_months": 6,
                "extension_months": 6,
            },
            {
                "name": "student",
                "label": {"fr": "Étudiant·e", "en": "Student"},
                "issuer": "sel",
                "directory": "sel",
                "mailbox": "forward",
                "listing": False,
            },
            {"name": "library_reader", "label": {"fr": "Lecteur·rice de la bibliothèque", "en": "Library reader"}},
        ],
        "directories": [{"name": "sel", "kind": "embedded"}],
        "mailbox": {
            "url": "https://webmail.univ.example",
            "antispam_levels": [{"name": "strict", "label": {"fr": "Strict", "en": "Strict"}}],
        },
        "mfa": {
            "text": {"fr": "Il protège votre compte.", "en": "It protects an account."},
            "url": "https://mfa.example",
        },
        "upstreams": [{"issuer": "sel", "cas_url": f"{sel}/cas", "trusted_domains": ["univ.example"]}],
        "sites": [
            {"name": "updago", "url": moodle, "token": SimulatorOptions().token, "registration": "moderated"},
            {"name": "closed", "url": f"{moodle}/closed", "token": "nobody", "nightly": ""},
        ],
        "registration": {"sponsors": ["staff"], "rights_months": 12},
        "help_desk": {
            "members": [
                {"role": "administrator", "usernames": ["ext.desk"]},
                {"role": "viewer", "usernames": ["ext.viewer"], "units": ["Lettres", "Droit"]},
            ]
        },
        "services": [
            {
                "name": "updago",
                "label": {"fr": "UPdago", "en": "UPdago"},
                "url": f"{moodle}/login/index.php",
                "anonymous_url": f"{moodle}/course/view.php?id=4",
                "site": "updago",
            },
            {
                "name": "chartered",
                "label": {"fr": "Bibliothèque numérique", "en": "Digital library"},
                "url": f"{apps}/library",
                "charter": True,
            },
            {
                "name": "staff",
                "label": {"fr": "Intranet", "en": "Intranet"},
                "url": f"{apps}/intranet",
                "profiles": ["staff"],
            },
            {
                "name": "shut",
                "label": {"fr": "Moodle fermé", "en": "Closed Moodle"},
                "url": f"{apps}/shut",
                "site": "closed",
                "profiles": ["staff"],
            },
            {
                "name": "agenda",
                "label": {"fr": "Agenda", "en": "Calendar"},
                "url": f"{apps}/agenda",
                "gated": False,
            },
        ],
    }
