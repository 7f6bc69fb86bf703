"""The canary: an ordinary user by whom a run proves that the token sees what it should.

Whom the token may not see is simply absent from Moodle's answers (ground truth §3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select

from external_accounts.database import Database
from lms_bridge.i18n import N_
from lms_bridge.schema import Mirror
from lms_bridge.settings.moodle_sites import Site
from lms_bridge.sync import guard
from lms_bridge.sync.guard import Stop
from moodle_ws.client import MoodleClient
from moodle_ws.users import MoodleUser

TRIED = 3
"""How many mirrored users are tried when settings name none: one may have been deleted in Moodle."""


def prove(client: MoodleClient, database: Database, site: Site, *, own_user: int) -> list[Stop]:
    """What speaks against trusting what the token sees; empty when an ordinary user was seen in full, whichever way it
    was looked for. Raises MoodleError."""
    names = [site.canary] if site.canary else _mirrored_names(database, site.name)
    if not names:
        return [guard.NoCanary(N_("nobody is known by whom it could be proved what the token sees"))]
    stops: list[Stop] = []
    for name in names:
        stops = guard.check_canary(name, _look_for(client, name), own_user=own_user)
        if not stops:
            break
    return stops


def _look_for(client: MoodleClient, name: str) -> Mapping[str, Sequence[MoodleUser]]:
    """By the one function that the bridge looks for people with, in each way that it does."""
    seen = {"username": client.users_by_field("username", [name])}
    if len(seen["username"]) != 1:
        return seen
    [found] = seen["username"]
    seen["id"] = client.users_by_field("id", [found.id])
    seen["email"] = client.users_by_field("email", [found.email]) if found.email else []
    return seen


def _mirrored_names(database: Database, site: str) -> list[str]:
    query = (
        select(Mirror.written)
        .where(Mirror.site == site, Mirror.owned, Mirror.state == "in_step", Mirror.moodle_id.is_not(None))
        .order_by(Mirror.seen_at.desc())
        .limit(TRIED)
    )
    with database.read() as session:
        return [written["username"] for written in session.scalars(query) if "username" in written]
