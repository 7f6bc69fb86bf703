"""A Moodle that scenarios run against: the simulator always, and the real one that the environment names.

On a real Moodle every name carries a random prefix, and everything made is deleted at the end, or suspended and renamed
where the token may not delete. Nothing else is touched: no administrator, no setting, nobody who was there before.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import pytest

from moodle_ws import AccessDenied, MoodleClient, MoodleUser, NewUser, UserUpdate
from moodle_ws.batches import batches
from moodle_ws.simulator import ProfileField, SimulatedMoodle, SimulatorOptions
from tests.outside_programs import REQUIRE

PREFIX = "LMS_BRIDGE_LIVE_"
FIELD = "bridgenote"
"""The custom profile field of the simulated site."""
LEFTOVER = "zz-lms-bridge-test-"
BLIND_TOKEN = "blind-token"


def named(setting: str) -> str:
    """The value of `LMS_BRIDGE_LIVE_<setting>`; "" when it is not given."""
    return os.environ.get(PREFIX + setting, "")


def live_param(*settings: str) -> Any:
    """The parameter `live` of a fixture: skipped, with the reason, unless everything it needs is named. Side by side
    such tests stay in one process: a site has one CAS server, and a test machine's Moodle has few workers."""
    missing = [PREFIX + setting for setting in settings if not named(setting)]
    reason = (
        f"the real half needs a running Moodle: set {', '.join(missing)}, see docs/CONTRIBUTING.md "
        f"({REQUIRE}=1 does not ask for it: a Moodle is no program of the machine's)"
    )
    return pytest.param("live", marks=pytest.mark.skip(reason=reason) if missing else pytest.mark.xdist_group("live"))


class RememberingClient(MoodleClient):
    """A client that knows afterwards whom it may have created, whatever became of the call."""

    def __init__(self, url: str, token: str, **options: Any) -> None:
        super().__init__(url, token, **options)
        self.usernames: set[str] = set()
        self.ids: set[int] = set()
        self.written: set[int] = set()
        """Users that this client was told to change, to put into a cohort or to take out of one."""
        self.cohort_ids: set[int] = set()

    def call(self, function: str, parameters: Mapping[str, Any] | None = None, *, read: bool) -> Any:
        rows: list[Mapping[str, Any]] = (parameters or {}).get("users", [])
        if function in {"core_user_create_users", "core_user_update_users"}:
            self.usernames |= {row["username"] for row in rows if row.get("username")}
        self.written |= {int(number) for number in _targets(function, parameters or {})}
        answer = super().call(function, parameters, read=read)
        if function == "core_user_create_users":
            self.ids |= {int(row["id"]) for row in answer}
        if function == "core_cohort_create_cohorts":
            self.cohort_ids |= {int(row["id"]) for row in answer}
        return answer


def _targets(function: str, parameters: Mapping[str, Any]) -> list[Any]:
    match function:
        case "core_user_update_users":
            return [row["id"] for row in parameters["users"]]
        case "core_cohort_add_cohort_members":
            return [row["usertype"]["value"] for row in parameters["members"]]
        case "core_cohort_delete_cohort_members":
            return [row["userid"] for row in parameters["members"]]
    return []


@dataclass
class MoodleUnderTest:
    """One Moodle for one test."""

    url: str
    client: RememberingClient
    prefix: str
    auth: str
    """The auth method of people who come by CAS."""
    simulated: SimulatedMoodle | None = None
    field: str = ""
    """The short name of a text profile field, where the site has one."""
    blind_token: str = ""
    """A token that may see nobody."""

    def name(self, number: int | str) -> str:
        """A user name nobody has."""
        return f"{self.prefix}{number}"

    def email(self, number: int | str) -> str:
        return f"{self.name(number)}@mail.example"

    def person(self, number: int | str = 1, **values: Any) -> NewUser:
        given = {"username": self.name(number), "firstname": "Zoé", "lastname": f"Test {number}"}
        return NewUser(**{**given, "email": self.email(number), "auth": self.auth, **values})

    def people(self, count: int) -> list[NewUser]:
        return [self.person(number) for number in range(count)]

    def create(self, number: int | str = 1, **values: Any) -> int:
        """Creates one person; returns the id."""
        return self.client.create_users([self.person(number, **values)])[0].id

    def user(self, number: int) -> MoodleUser:
        """The user with this id."""
        (user,) = self.client.users_by_field("id", [number])
        return user

    def another_client(self, **options: Any) -> RememberingClient:
        """A second client of the same token; what it creates is taken away too."""
        other = RememberingClient(self.url, self.client._token, read_timeout=60.0, **options)
        other.usernames, other.ids, other.cohort_ids = self.client.usernames, self.client.ids, self.client.cohort_ids
        return other

    def offers(self, *functions: str) -> None:
        """Skips the test where the token's service lacks a function; site information itself may be one of them."""
        for function in functions:
            if not _offered(self.client, function):
                self.cannot(f"the token's service does not offer {function}")

    @property
    def deletes(self) -> bool:
        """Whether users may be deleted; else they are put out of the way at the end."""
        return _offered(self.client, "core_user_delete_users")

    def cannot(self, reason: str) -> NoReturn:
        """Skips on a real site that is set up in another way; the simulator has no excuse."""
        if self.simulated is not None:
            pytest.fail(f"the simulator should do this: {reason}")
        pytest.skip(reason)

    def delete(self, ids: list[int]) -> None:
        """Deletes through Moodle's own function, which the client does not offer (I7)."""
        for batch in batches(ids, lambda _id: 1):
            self.client.call("core_user_delete_users", {"userids": list(batch)}, read=False)

    def clean_up(self) -> None:
        """Takes away everything this test made. Fails when something stays behind."""
        if self.client.cohort_ids and self.simulated is None:
            self.client.call("core_cohort_delete_cohorts", {"cohortids": sorted(self.client.cohort_ids)}, read=False)
        ours = [name for name in self.client.usernames if name.startswith(self.prefix)]
        found = {user.id for user in self.client.users_by_field("username", ours)} | self.client.ids
        living = [user.id for user in self.client.users_by_field("id", sorted(found)) if not user.looks_deleted]
        try:
            self.delete(living)
        except AccessDenied:
            self._retire(living)
        assert self.client.users_by_field("username", ours) == []

    def _retire(self, ids: list[int]) -> None:
        rows = [
            UserUpdate(
                id=number,
                username=f"{LEFTOVER}{number}",
                email=f"{LEFTOVER}{number}@mail.example",
                idnumber="",
                suspended=True,
            )
            for number in ids
        ]
        assert all(outcome.applied for outcome in self.client.update_users(rows))


def _offered(client: MoodleClient, function: str) -> bool:
    try:
        return function in client.site_info().functions
    except AccessDenied:
        return False


@contextmanager
def simulated_moodle(**options: Any) -> Iterator[MoodleUnderTest]:
    """A simulated Moodle with the profile field and the blind token of a well-equipped site."""
    moodle = SimulatedMoodle(SimulatorOptions(**options))
    moodle.site.profile_fields = (ProfileField(FIELD, "Note"),)
    blind = moodle.site.add_user("svc-blind", firstname="Svc", lastname="Blind", email="blind@example.test")
    moodle.site.add_token(BLIND_TOKEN, blind.id, capabilities=frozenset({"webservice/rest:use"}))
    with moodle.serve() as handle, RememberingClient(handle.url, moodle.site.options.token) as client:
        under_test = MoodleUnderTest(
            handle.url, client, _prefix(), moodle.site.options.cas_plugin.auth, moodle, FIELD, BLIND_TOKEN
        )
        yield under_test
        under_test.clean_up()
        assert [user.username for user in moodle.site.living() if user.username.startswith(under_test.prefix)] == []


@contextmanager
def live_moodle() -> Iterator[MoodleUnderTest]:
    """The real Moodle named by the environment."""
    url = named("MOODLE_URL").rstrip("/")
    # A test machine's Moodle is slow, and this is about what it answers.
    with RememberingClient(url, named("MOODLE_TOKEN"), read_timeout=60.0) as client:
        under_test = MoodleUnderTest(
            url,
            client,
            _prefix(),
            named("MOODLE_PLUGIN") or "cas",
            field=named("MOODLE_FIELD"),
            blind_token=named("MOODLE_BLIND_TOKEN"),
        )
        try:
            yield under_test
        finally:
            under_test.clean_up()


def _prefix() -> str:
    return f"lmsb-{secrets.token_hex(4)}-"
