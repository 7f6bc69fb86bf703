"""What one process needs, built once from the settings: the only place where the pieces are put together."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from external_accounts.database import Database
from external_accounts.directory import Directory
from external_accounts.directory.embedded import EmbeddedDirectory
from external_accounts.keys import Keys
from external_accounts.passwords import PasswordHashing
from external_accounts.schema import Account
from lms_bridge.cas import outbound
from lms_bridge.cas.services import ServiceRegistry
from lms_bridge.cas.validation import Validator
from lms_bridge.settings import Settings
from lms_bridge.settings.directories import Directory as DirectorySettings
from lms_bridge.sync.sites import MoodleSites

if TYPE_CHECKING:
    from lms_bridge.jobs.distributed import Wakeups

VALIDATION_PATIENCE_SECONDS = 1.5
"""Moodle's CAS client waits for ever: a validation answers or fails within 2 s, whatever the database does."""

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Runtime:
    """The parts of a running bridge."""

    settings: Settings
    database: Database
    keys: Keys
    registry: ServiceRegistry
    hashing: PasswordHashing
    directories: Mapping[str, Directory]
    """By name."""
    sites: MoodleSites
    validator: Validator
    http: requests.Session
    """For calls to what the settings name, and no other address: proxy callbacks, logout messages, hooks."""
    clock: Clock
    local_names: re.Pattern[str]
    """User names reserved for accounts kept here: no CAS may bring one (LNK-06)."""

    wakeups: Wakeups | None
    """With a broker: tells the workers of other machines what this process commits."""

    def held_in(self, account: Account) -> str:
        """The directory that holds the account's password, as the account or else its profile says; empty: not ours."""
        name = account.directory or self.settings.profile(account.profile).directory or ""
        return name if name in self.directories else ""

    def directory_of(self, account: Account) -> Directory | None:
        return self.directories.get(self.held_in(account))

    def close(self) -> None:
        if self.wakeups is not None:
            self.wakeups.close()
        self.hashing.close()
        self.http.close()
        self.sites.close()
        self.database.close()
        self.validator.database.close()


def build_runtime(settings: Settings, *, clock: Clock = utc_now, processes: int = 1) -> Runtime:
    """Put the parts together. `processes` share this machine's cores."""
    database = Database(settings.database_url)
    hasty = Database(settings.database_url, pool_size=4, patience=VALIDATION_PATIENCE_SECONDS)
    registry = ServiceRegistry(settings.services, site_urls={site.name: site.url for site in settings.sites})
    http = outbound.session(settings.services_ca_file)
    # More hashes at once than cores throw each other's memory out of the caches.
    hashing = PasswordHashing(threads=max(1, (os.cpu_count() or 1) // processes))
    return Runtime(
        settings=settings,
        database=database,
        keys=Keys([key.get_secret_value() for key in settings.secret_keys]),
        registry=registry,
        hashing=hashing,
        directories={one.name: _directory(one, database, hashing) for one in settings.directories},
        sites=MoodleSites(settings.sites),
        validator=Validator(settings, registry, hasty, clock, http),
        http=http,
        clock=clock,
        local_names=re.compile(settings.local.username_pattern),
        wakeups=_wakeups(settings, database),
    )


def _directory(settings: DirectorySettings, database: Database, hashing: PasswordHashing) -> Directory:
    if settings.kind == "embedded":
        return EmbeddedDirectory(settings.name, database, hashing)
    from external_accounts.directory.ldap import LdapDirectory  # noqa: PLC0415 (an extra; nobody else carries ldap3)

    return LdapDirectory(settings.name, settings.ldap)


def _wakeups(settings: Settings, database: Database) -> Wakeups | None:
    if not settings.jobs.broker_url:
        return None
    from lms_bridge.jobs.distributed import Wakeups  # noqa: PLC0415 (without a broker nobody carries Celery)

    wakeups = Wakeups(settings.jobs)
    database.on_waiting = wakeups.wake
    return wakeups


def templates_folder() -> Path:
    """Where the Jinja templates are: inside the installed package, or beside it in a source tree."""
    packaged = Path(__file__).parent / "templates"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "templates"
