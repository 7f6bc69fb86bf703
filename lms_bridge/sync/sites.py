"""The Moodle sites of the settings, each with its clients, its circuit breaker, and what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import exists, insert, literal, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from external_accounts.database import Database
from external_accounts.schema import Account
from lms_bridge.gate import Policy, policy_of
from lms_bridge.schema import Mirror, SiteState
from lms_bridge.settings import Settings
from lms_bridge.settings.moodle_sites import Site
from lms_bridge.sync.mirrors import fresh_row
from moodle_ws.breaker import Breaker
from moodle_ws.client import MoodleClient


class MoodleSites:
    """The clients of each site, shared by all threads of the process: a hasty one for people who wait, and a patient
    one for runs, whose batches take Moodle seconds."""

    def __init__(self, sites: Sequence[Site]) -> None:
        self._sites = {site.name: site for site in sites}
        self._clients = {site.name: _client(site, site.read_timeout, Breaker()) for site in sites}
        self._patient = {site.name: _client(site, site.batch_timeout, None) for site in sites}

    @property
    def names(self) -> Sequence[str]:
        return list(self._sites)

    def site(self, name: str) -> Site:
        return self._sites[name]

    def client(self, name: str) -> MoodleClient:
        return self._clients[name]

    def patient_client(self, name: str) -> MoodleClient:
        return self._patient[name]

    def close(self) -> None:
        for client in (*self._clients.values(), *self._patient.values()):
            client.close()


def _client(site: Site, patience: float, breaker: Breaker | None) -> MoodleClient:
    return MoodleClient(
        site.url,
        site.token.get_secret_value(),
        connect_timeout=site.connect_timeout,
        read_timeout=patience,
        answer_timeout=patience,
        breaker=breaker,
    )


class NoServiceBehind(Exception):
    """No service in settings names the site: there is no policy by which people could be let in or shut out."""

    def __init__(self, site: str) -> None:
        super().__init__(f"no [[services]] entry has site = {site!r}: nobody could enter, everybody would be closed")


def policy_behind(settings: Settings, site: str) -> Policy:
    """The gate policy of the service behind a site.

    Raises:
        NoServiceBehind: settings name none (any more).
    """
    service = next((service for service in settings.services if service.site == site), None)
    if service is None:
        raise NoServiceBehind(site)
    return policy_of(service, charter_version=settings.charter.version if settings.charter else None)


def enrol_sites(database: Database, sites: MoodleSites) -> int:
    """Make the database know the sites of the settings, and give every account a mirror row at each.

    From then on a trigger does it for new accounts, and marks the rows of changed ones. Returns how many rows were
    missing: those of accounts older than the site. They are not due: a run over the whole site looks at them first.
    """
    added = 0
    with database.begin() as session:
        names = list(sites.names)
        session.execute(update(SiteState).where(SiteState.site.not_in(names)).values(active=False))
        upsert = sqlite_insert if database.is_sqlite else postgresql_insert
        for name in names:
            row = upsert(SiteState).values(site=name, active=True, cohort_ids={})
            session.execute(row.on_conflict_do_update(index_elements=["site"], set_={"active": True}))
    for name in names:
        with database.begin() as session:
            fixed = fresh_row(0, name)
            del fixed["account_id"]
            missing = select(
                Account.id, *(literal(value, Mirror.__table__.c[column].type) for column, value in fixed.items())
            ).where(~exists().where(Mirror.account_id == Account.id, Mirror.site == name))
            made = session.execute(insert(Mirror).from_select(["account_id", *fixed], missing).returning(Mirror.id))
            added += len(made.all())
    return added


def note_trouble(database: Database, site: str, error: str, *, now: datetime) -> None:
    """Remember since when Moodle does not do what is asked, for `sync status` and the doctor."""
    with database.begin() as session:
        session.execute(
            update(SiteState).where(SiteState.site == site, SiteState.failing_since.is_(None)).values(failing_since=now)
        )
        session.execute(update(SiteState).where(SiteState.site == site).values(last_error=error[:300]))


def note_success(database: Database, site: str) -> None:
    with database.read() as session:
        failing = session.scalar(select(SiteState.failing_since).where(SiteState.site == site))
    if failing is not None:
        with database.begin() as session:
            session.execute(update(SiteState).where(SiteState.site == site).values(failing_since=None))
