"""One run over a site at a time, whichever process makes it."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from external_accounts.database import Database
from lms_bridge.schema import SiteState

LEASE = timedelta(seconds=90)


class AlreadyRunning(Exception):
    """Another run over this site is at work, or died a moment ago."""

    def __init__(self, until: datetime) -> None:
        self.until = until
        super().__init__(f"another run is at work on this site, or died a moment ago; try after {until:%H:%M:%S} UTC")


@contextmanager
def run_lease(database: Database, site: str, clock: Callable[[], datetime]) -> Iterator[None]:
    """This site is ours until the end; a killed process's lease ends a minute and a half later.

    Raises:
        AlreadyRunning: somebody else has it.
    """
    token = secrets.token_hex(8)
    ours = (SiteState.site == site, SiteState.run_lease == token)
    now = clock()
    with database.begin() as session:
        free = or_(SiteState.run_lease_until.is_(None), SiteState.run_lease_until <= now)
        taken = session.execute(
            update(SiteState)
            .where(SiteState.site == site, free)
            .values(run_lease=token, run_lease_until=now + LEASE)
            .returning(SiteState.site)
        ).all()
        if not taken:
            until = session.scalar(select(SiteState.run_lease_until).where(SiteState.site == site))
            raise AlreadyRunning(until or now)
    over = threading.Event()

    def stay() -> None:
        while not over.wait(LEASE.total_seconds() / 3):
            with suppress(SQLAlchemyError), database.begin() as session:
                session.execute(update(SiteState).where(*ours).values(run_lease_until=clock() + LEASE))

    holder = threading.Thread(target=stay, name="run-lease", daemon=True)
    holder.start()
    try:
        yield
    finally:
        over.set()
        holder.join()
        with database.begin() as session:
            session.execute(update(SiteState).where(*ours).values(run_lease="", run_lease_until=None))
