"""The user table of a simulated Moodle, indexed by what Moodle looks people up by.

A site of 100,000 people must answer a look-up without reading them all. Rows are plain objects that anybody may
change; a change of an indexed column moves the row in its indexes at once.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache

from moodle_ws.simulator.flavours import Database, equality_key

# Stored instead of a password for users who sign in elsewhere (ground truth §3).
NOT_CACHED = "not cached"

_INDEXED = frozenset({"username", "email", "idnumber"})


@dataclass
class User:
    """A row of the user table. `password` is kept in clear: nobody real signs in here."""

    id: int
    username: str
    auth: str = "manual"
    firstname: str = ""
    lastname: str = ""
    email: str = ""
    idnumber: str = ""
    suspended: bool = False
    confirmed: bool = True
    deleted: bool = False
    password: str = NOT_CACHED
    secret: str = ""
    lang: str = "en"
    theme: str = ""
    timezone: str = "99"
    mailformat: int = 1
    description: str = ""
    department: str = ""
    institution: str = ""
    phone1: str = ""
    phone2: str = ""
    address: str = ""
    city: str = ""
    country: str = ""
    policyagreed: bool = False
    firstaccess: int = 0
    lastaccess: int = 0
    customfields: dict[str, str] = field(default_factory=dict)
    preferences: dict[str, str] = field(default_factory=dict)

    @property
    def fullname(self) -> str:
        """First and last name as Moodle's default format joins them."""
        return f"{self.firstname} {self.lastname}"

    def __setattr__(self, name: str, value: object) -> None:
        table: UserTable | None = self.__dict__.get("_table")
        if table is None or name not in _INDEXED:
            object.__setattr__(self, name, value)
            return
        table.unindex(self)
        object.__setattr__(self, name, value)
        table.index(self)


class UserTable(MutableMapping[int, User]):
    """Users by id, in the order of their ids, with indexes as the database compares. `database` may be changed: the
    index of another one is made when it is first compared as."""

    def __init__(self, database: Database) -> None:
        self._rows: dict[int, User] = {}
        self._ids: list[int] | None = []
        self._indexes: dict[Database, dict[tuple[str, str], set[int]]] = {}
        self.database = database

    @property
    def database(self) -> Database:
        """The database whose way of comparing counts."""
        return self._database

    @database.setter
    def database(self, database: Database) -> None:
        self._database = database
        if database not in self._indexes:
            index = self._indexes[database] = defaultdict(set)
            for user in self._rows.values():
                for key in _keys(user, database):
                    index[key].add(user.id)

    def __getitem__(self, key: int) -> User:
        return self._rows[key]

    def __setitem__(self, key: int, user: User) -> None:
        if key in self._rows:
            del self[key]
        if self._ids is not None and (not self._ids or key > self._ids[-1]):
            self._ids.append(key)
        else:
            self._ids = None
        self._rows[key] = user
        user.__dict__["_table"] = self
        self.index(user)

    def __delitem__(self, key: int) -> None:
        user = self._rows.pop(key)
        self._ids = None
        self.unindex(user)
        user.__dict__.pop("_table", None)

    def __iter__(self) -> Iterator[int]:
        if self._ids is None:
            self._ids = sorted(self._rows)
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._rows)

    def index(self, user: User) -> None:
        """Enters a row under its present values."""
        for database, index in self._indexes.items():
            for key in _keys(user, database):
                index[key].add(user.id)

    def unindex(self, user: User) -> None:
        """Takes a row out from under its present values."""
        for database, index in self._indexes.items():
            for key in _keys(user, database):
                index[key].discard(user.id)
                if not index[key]:
                    del index[key]

    def matching(self, column: str, values: Iterable[str]) -> list[User]:
        """The rows whose `username`, `email` or `idnumber` equals one of `values` for this database, by id."""
        index = self._indexes[self._database]
        keys = [(column, _cached_key(value, self._database)) for value in values]
        found = {number for key in keys for number in index.get(key, ())}
        return [self._rows[number] for number in sorted(found)]

    def same_email(self, email: str) -> list[User]:
        """The rows with this e-mail in any case, by id."""
        index = self._indexes[self._database]
        return [self._rows[number] for number in sorted(index.get(("lower(email)", email.lower()), ()))]


def _keys(user: User, database: Database) -> Iterator[tuple[str, str]]:
    for column in sorted(_INDEXED):
        yield column, _cached_key(str(getattr(user, column)), database)
    yield "lower(email)", user.email.lower()


@lru_cache(maxsize=65536)
def _cached_key(text: str, database: Database) -> str:
    return equality_key(text, database)
