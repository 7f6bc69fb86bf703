"""A bridge with everything around it, examined by `lms-bridge doctor` as an operator would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic import SecretStr
from structlog.testing import capture_logs

from lms_bridge.cli import main
from lms_bridge.demo.mail_sink import MailSink
from lms_bridge.ops.doctor.database_facts import SiteRows
from lms_bridge.ops.doctor.probes import Page
from lms_bridge.ops.doctor.site_facts import RawCall, SiteFacts
from lms_bridge.settings.moodle_sites import Site
from moodle_ws.simulator import User
from moodle_ws.simulator.site import Token
from moodle_ws.site import SiteInfo
from tests.bridge_under_test import SERVICES, Clock, settings_values
from tests.lms_bridge.sync.conftest import World, running_world
from tests.served_bridge import to_toml

KEY = "0123456789abcdef" * 4
CANARY = "canari"


SITE_INFO = SiteInfo("https://m.example", "svc", 3, "M", "4.5.6 (Build)", "2024", {}, "fr", False, True, False)


def healthy_site(**changes: Any) -> SiteFacts:
    """What is seen of a healthy site, as values, with `changes`."""
    site = Site(name="updago", url="https://m.example", token=SecretStr("t"))
    page = Page(200, {}, b"", 0.05, datetime(2026, 11, 24, 12, tzinfo=UTC))
    return replace(SiteFacts(site, SiteRows(), page, page, None, RawCall(page), SITE_INFO), **changes)


class RunningClock(Clock):
    """A clock that runs; `forward` puts it ahead."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def forward(self, **delta: float) -> None:
        self._ahead += timedelta(**delta)


@dataclass
class Report:
    """What one run of the command said."""

    exit_code: int
    output: str
    errors: str
    lines: list[dict[str, str]] = field(default_factory=list)

    def line(self, check: str, area: str = "site:updago") -> dict[str, str]:
        found = [line for line in self.lines if (line["area"], line["check"]) == (area, check)]
        assert len(found) == 1, (area, check, [(line["area"], line["check"]) for line in self.lines])
        return found[0]

    def verdict(self, check: str, area: str = "site:updago") -> str:
        return self.line(check, area)["verdict"]

    def problems(self) -> list[str]:
        return [
            f"{line['area']} {line['check']}: {line['seen']}" for line in self.lines if line["verdict"] == "problem"
        ]


@dataclass
class Clinic:
    """The world, and the settings file that the command reads; `settings` may be changed before an examination."""

    world: World
    settings: dict[str, Any]
    file: Path

    @property
    def token(self) -> Token:
        moodle = self.world.moodle
        return moodle.site.tokens[moodle.site.options.token]

    @property
    def canary(self) -> User:
        return self.world.user(CANARY)

    @property
    def site(self) -> dict[str, Any]:
        """The settings' only site."""
        found: dict[str, Any] = self.settings["sites"][0]
        return found

    @property
    def service(self) -> dict[str, Any]:
        """The service behind it."""
        found: dict[str, Any] = self.settings["services"][0]
        return found

    @property
    def service_user(self) -> User:
        return self.world.user("svc-bridge")

    def moodle(self, **options: Any) -> None:
        """Change the simulated Moodle's settings."""
        site = self.world.moodle.site
        site.options = replace(site.options, **options)

    def without(self, *rights: str) -> None:
        """Take capabilities from the token's user."""
        assert self.token.capabilities.issuperset(rights)
        self.token.capabilities -= set(rights)

    def run(self, *words: str) -> Report:
        """`lms-bridge doctor WORDS`, as it is."""
        self.file.write_text(to_toml(self.settings), encoding="utf-8")
        with capture_logs():  # the bridge's own, which runs in this process too
            answer = CliRunner().invoke(main, ["--config", str(self.file), "doctor", *words], catch_exceptions=False)
        return Report(answer.exit_code, answer.stdout, answer.stderr)

    def examine(self, *words: str) -> Report:
        """The findings, in English. Whatever was found, nothing was written to Moodle and no secret was printed."""
        before = self.world.writes()
        report = self.run("--json", "--lang", "en", *words)
        report.lines = json.loads(report.output)
        assert self.world.writes() == before
        for secret in (KEY, self.site["token"]):
            assert secret not in report.output + report.errors
        return report


@pytest.fixture
def clinic(tmp_path: Path) -> Iterator[Clinic]:
    """Everything is well: each test spoils one thing."""
    sink = MailSink(lambda: datetime.now(UTC))
    sink.start()
    returns = tmp_path / "returns"
    returns.mkdir()
    mail = {"host": "127.0.0.1", "port": sink.port, "security": "none", "sender": "noreply@univ.example"}
    mail["bounce_folder"] = str(returns)
    try:
        with running_world(
            tmp_path,
            bridge_changes={"secret_keys": [KEY], "mail": mail, "clock": RunningClock()},
            site_changes={"canary": CANARY},
            token="s3cr3t-of-the-service",
        ) as world:
            site = world.moodle.site
            site.add_user(
                CANARY, auth="cas", firstname="Camille", lastname="Narri", email="canari@univ.example", idnumber="C-1"
            )
            running = world.bridge.runtime.settings
            updago = {
                "name": "updago",
                "label": {"fr": "UPdago", "en": "UPdago"},
                "url": world.service,
                "site": "updago",
            }
            settings = settings_values(
                tmp_path,
                public_url=running.public_url,
                secret_keys=[KEY],
                mail=mail,
                services=[updago, *deepcopy(SERVICES)],
                sites=[{"name": "updago", "url": running.sites[0].url, "token": site.options.token, "canary": CANARY}],
            )
            file = tmp_path / "lms-bridge.toml"
            file.touch(0o600)
            clinic = Clinic(world, settings, file)
            # As the guide says: the functions it names and no other.
            clinic.token.functions = (
                "core_webservice_get_site_info", "core_user_get_users", "core_user_get_users_by_field",
                "core_user_create_users",
                "core_user_update_users",
            )  # fmt: skip
            yield clinic
    finally:
        sink.stop()
