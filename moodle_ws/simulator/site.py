"""The state of a simulated Moodle: users, cohorts, tokens, browser sessions, and the questions put to its database."""

import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from moodle_ws.simulator.flavours import RELEASES, Database, Release, equality_key
from moodle_ws.simulator.options import SimulatorOptions
from moodle_ws.simulator.user_table import User, UserTable

GUEST_ID, ADMIN_ID, SERVICE_ID = 1, 2, 3

ALL_CAPABILITIES = frozenset(
    {
        "webservice/rest:use",
        "moodle/user:create",
        "moodle/user:update",
        "moodle/user:delete",
        "moodle/user:viewdetails",
        "moodle/user:viewalldetails",
        "moodle/user:viewhiddendetails",
        "moodle/site:viewuseridentity",
        "moodle/site:viewfullnames",
        "moodle/cohort:manage",
        "moodle/cohort:assign",
        "moodle/cohort:view",
        "enrol/manual:enrol",
        "moodle/course:viewparticipants",
        "auth/userkey:generatekey",
    }
)


@dataclass
class Cohort:
    """A cohort and its members, in the order they were added."""

    id: int
    name: str
    idnumber: str
    description: str = ""
    descriptionformat: int = 1
    visible: bool = True
    contextid: int = 1
    members: list[int] = field(default_factory=list)


@dataclass
class Token:
    """A web service token: whose it is, what its user may do, and what the service offers, in its order (None:
    everything)."""

    value: str
    userid: int
    capabilities: frozenset[str] = ALL_CAPABILITIES
    functions: tuple[str, ...] | None = None
    service_enabled: bool = True
    user_authorised: bool = True
    address_allowed: bool = True
    expired: bool = False


@dataclass(frozen=True)
class ProfileField:
    """A custom profile field of the site."""

    shortname: str
    name: str
    kind: str = "text"


@dataclass
class Session:
    """What Moodle remembers of one browser. `cas_user` is the identity phpCAS keeps even when Moodle refused it."""

    id: str
    sesskey: str
    userid: int | None = None
    wantsurl: str | None = None
    login_error: str | None = None
    login_token: str = ""
    cas_user: str | None = None
    cas_gateway_tried: bool = False
    by_userkey: bool = False
    lost: bool = False
    timed_out: bool = False


@dataclass(frozen=True)
class UserKey:
    """A one-time sign-in key: whose it is, until when (Unix seconds), and from which address (None: any)."""

    userid: int
    valid_until: float
    ip: str | None = None


class Site:
    """One simulated Moodle. Every change happens under `lock`; `options` may be replaced between requests."""

    def __init__(self, options: SimulatorOptions, *, now: Callable[[], float] = time.time) -> None:
        self.options = options
        self.now = now
        self.lock = threading.RLock()
        self.wwwroot = (options.url or "http://127.0.0.1").rstrip("/")
        self.theme_revision = 1795319279
        self.maintenance = False
        self.maintenance_cli = False
        self.web_services_enabled = True
        self.site_policy = False
        self.users = UserTable(options.database)
        self.cohorts: dict[int, Cohort] = {}
        self.tokens: dict[str, Token] = {}
        self.sessions: dict[str, Session] = {}
        self.profile_fields: tuple[ProfileField, ...] = ()
        self.user_keys: dict[str, UserKey] = {}
        self.enrolments: set[tuple[int, int, int]] = set()
        self.mails: list[tuple[str, str]] = []
        self._next_user = 1
        self._next_cohort = 1
        self.add_user("guest", firstname="Guest user", lastname=" ", email="root@localhost")
        self.add_user("admin", firstname="Admin", lastname="User", email="admin@example.test")
        self.add_user("svc-bridge", firstname="Svc", lastname="Bridge", email="svc@example.test")
        self.add_token(options.token, SERVICE_ID)

    @property
    def release(self) -> Release:
        """The facts of the simulated version."""
        return RELEASES[self.options.version]

    # -- users -------------------------------------------------------------------------------------------------------

    def add_user(self, username: str, *, id: int | None = None, **values: object) -> User:  # noqa: A002 - Moodle's name
        """Writes a row as an administrator's script would: no rule is checked. Returns it."""
        with self.lock:
            number = self._next_user if id is None else id
            user = User(id=number, username=username, **values)  # type: ignore[arg-type]
            self.users[number] = user
            self._next_user = max(self._next_user, number + 1)
            return user

    def next_user_id(self, number: int) -> None:
        """The id the next created user gets: a database sequence never goes back and leaves gaps."""
        with self.lock:
            self._next_user = number

    @contextmanager
    def comparing_as(self, database: Database | None) -> Iterator[None]:
        """Texts compare as in this database (None: the one of the options). Hold `lock`."""
        options = self.options
        if database is not None:
            self.options = replace(options, database=database)
        self.users.database = self.options.database
        try:
            yield
        finally:
            self.options = options
            self.users.database = options.database

    def living(self) -> Iterator[User]:
        """Everybody who is not deleted, by id."""
        return (user for user in self.users.values() if not user.deleted)

    def user(self, username: str) -> User | None:
        """The first living user whose name the database calls equal to `username`."""
        return next(self.matching("username", [username]), None)

    def deleted_user(self, username: str) -> User | None:
        """A deleted row that still carries this name; deletion through Moodle mangles names, scripts may not."""
        return next((user for user in self.users.matching("username", [username]) if user.deleted), None)

    def matching(self, column: str, values: Iterable[str]) -> Iterator[User]:
        """The living users whose `username`, `email` or `idnumber` equals one of `values`, as the database compares."""
        return (user for user in self.users.matching(column, values) if not user.deleted)

    def same_email(self, email: str) -> Iterator[User]:
        """The living users with this e-mail in any case: Moodle's own duplicate check (ground truth §3)."""
        return (user for user in self.users.same_email(email) if not user.deleted)

    def delete_user(self, user: User) -> None:
        """What Moodle does instead of deleting: mangles name and e-mail, blanks idnumber, ends the sessions."""
        old_email = user.email
        user.username = f"{old_email}.{int(self.now())}"
        user.email = hashlib.md5(old_email.encode(), usedforsecurity=False).hexdigest()
        user.idnumber = ""
        user.deleted = True
        for cohort in self.cohorts.values():
            if user.id in cohort.members:
                cohort.members.remove(user.id)
        self.kill_sessions(user.id)

    # -- cohorts and tokens ------------------------------------------------------------------------------------------

    def add_cohort(self, name: str, idnumber: str, *, id: int | None = None, **values: object) -> Cohort:  # noqa: A002
        """Writes a cohort without checking any rule. Returns it."""
        with self.lock:
            number = self._next_cohort if id is None else id
            cohort = Cohort(id=number, name=name, idnumber=idnumber, **values)  # type: ignore[arg-type]
            self.cohorts[number] = cohort
            self._next_cohort = max(self._next_cohort, number + 1)
            return cohort

    def add_token(self, value: str, userid: int, **values: object) -> Token:
        """Issues a token. Returns it, to be limited further."""
        token = Token(value, userid, **values)  # type: ignore[arg-type]
        self.tokens[value] = token
        return token

    # -- browser sessions --------------------------------------------------------------------------------------------

    def open_session(self) -> Session:
        """A new anonymous browser session."""
        session = Session(id=secrets.token_hex(13), sesskey=secrets.token_hex(5), login_token=secrets.token_hex(16))
        with self.lock:
            self.sessions[session.id] = session
        return session

    def renew_session(self, session: Session) -> None:
        """Gives the session a new id, as Moodle does at every sign-in."""
        with self.lock:
            self.sessions.pop(session.id, None)
            session.id = secrets.token_hex(13)
            session.sesskey = secrets.token_hex(5)
            self.sessions[session.id] = session

    def end_session(self, session: Session) -> None:
        """Signs a browser out: everything is forgotten, and the session gets a new id."""
        session.userid = session.wantsurl = session.cas_user = session.login_error = None
        session.cas_gateway_tried = session.by_userkey = False
        self.renew_session(session)

    def kill_sessions(self, userid: int) -> None:
        """Ends every browser session of a user at once, as suspension through the web service does."""
        with self.lock:
            for session in [session for session in self.sessions.values() if session.userid == userid]:
                self.sessions.pop(session.id, None)


def equal(one: str, other: str, database: Database) -> bool:
    """Whether the database calls two texts equal."""
    return equality_key(one, database) == equality_key(other, database)
