"""Looking people up: by one field exactly, or by search.

Three facts shape this module. On MariaDB every lookup ignores case, accents and more, so that a lookup of one name
returns somebody else's row (MariaDB page §2): every result is filtered again, byte for byte. One row unfit for the
site's rules fails the whole list (ground truth §3, "poison rows"): lookups go in batches and are bisected. And a
person who is not returned may exist and merely be invisible to the token: absence proves nothing until a known
account was found the same way.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from moodle_ws import fields
from moodle_ws.batches import MOST_ROWS, batches, bisected
from moodle_ws.errors import BadRow, FieldHidden, InvalidResponse, UnreadableAnswer
from moodle_ws.names import check_text, check_username

if TYPE_CHECKING:
    from moodle_ws.client import MoodleClient

LookupField: TypeAlias = Literal["id", "username", "email", "idnumber"]

_BY_FIELD = "core_user_get_users_by_field"
_SEARCH = "core_user_get_users"

# What delete_users leaves behind: `<old e-mail>.<unix time>` and an md5 (`get-by-id-deleted`).
_DELETED_USERNAME = re.compile(r".+\.\d{9,11}\Z")
_DELETED_EMAIL = re.compile(r"[0-9a-f]{32}\Z")

_ASCII_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


@dataclass(frozen=True)
class MoodleUser:
    """A user as the token may see it, with Moodle's names.

    None means unknown: the value is empty, or the token may not see it; the answer does not tell which (ground
    truth §3). Never read None as False or as "". Times are Unix seconds, 0 for never. `customfields` maps shortnames
    to stored values.
    """

    id: int
    username: str | None = None
    auth: str | None = None
    suspended: bool | None = None
    confirmed: bool | None = None
    firstname: str | None = None
    lastname: str | None = None
    fullname: str | None = None
    email: str | None = None
    idnumber: str | None = None
    lang: str | None = None
    timezone: str | None = None
    institution: str | None = None
    department: str | None = None
    city: str | None = None
    country: str | None = None
    firstaccess: int | None = None
    lastaccess: int | None = None
    customfields: Mapping[str, str] | None = field(default=None, hash=False)

    @property
    def looks_deleted(self) -> bool | None:
        """Whether this is a deleted user, which look-ups by id return without a flag (`get-by-id-deleted`). None when
        user name or e-mail are not visible."""
        if self.username is None or self.email is None:
            return None
        return bool(_DELETED_USERNAME.match(self.username) and _DELETED_EMAIL.match(self.email))


def same_email(one: str, other: str) -> bool:
    """Whether two addresses are the same: ASCII letters without case, everything else byte for byte."""
    return one.translate(_ASCII_LOWER) == other.translate(_ASCII_LOWER)


@dataclass(frozen=True)
class UserBatch:
    """What one batch of a look-up found: `values` as they were asked for, the users found among them, by id, and the
    values whose rows are unfit for Moodle's own rules (ground truth §3, "poison rows"): those people exist and cannot
    be read. A value that is in neither has no user the token may see."""

    values: tuple[str, ...]
    users: tuple[MoodleUser, ...]
    poisoned: tuple[str, ...] = ()


def iter_by_field(client: "MoodleClient", name: LookupField, values: Iterable[str | int]) -> Iterator[UserBatch]:
    """Looks people up as a stream: one batch for at most 50 values, in the order given, read as it is needed, so that
    memory stays flat however many there are.

    Poisoned values are told in their batch instead of raised; everything else is as `by_field` says. A value that is
    given twice within 50 is asked once; further apart, twice. Raises BadRow (its `index` counts from the first value)
    when it comes to the value, FieldHidden, MoodleError; what was yielded before stays true.
    """
    remaining = iter(values)
    first = 0
    while chunk := list(islice(remaining, MOST_ROWS)):
        yield _look_up(client, name, _wanted(name, chunk, first))
        first += len(chunk)


def by_field(client: "MoodleClient", name: LookupField, values: Iterable[str | int]) -> list[MoodleUser]:
    """The users whose `name` is one of `values`, each once, by id; at most one call per 50 values when all is well.

    Values nobody has are simply absent. A value can have several users (`idnumber`, shared `email`). Results are
    compared again byte for byte (`email`: ASCII case ignored; on PostgreSQL Moodle itself compares e-mails with case,
    so send the address as stored, or use `search`). Look-ups by id return deleted users: see `looks_deleted`.

    Raises BadRow before any call for a value that can never be found or would fail the call; InvalidResponse when
    rows are poisoned, after everything else was looked up, with the other users in `outcomes` and their values in
    `poisoned`; FieldHidden; MoodleError. For many values, or to go on in spite of poison, see `iter_by_field`.
    """
    found: dict[int, MoodleUser] = {}
    poisoned: list[str] = []
    for batch in batches(_wanted(name, values), lambda _value: 1, fixed=1):
        result = _look_up(client, name, batch)
        found.update((user.id, user) for user in result.users)
        poisoned.extend(result.poisoned)
    people = tuple(found[key] for key in sorted(found))
    if poisoned:
        failure = InvalidResponse(
            f"unfit rows behind {len(poisoned)} value(s) of {name}",
            function=_BY_FIELD,
            kind="invalid_response_exception",
            code="invalidresponse",
        )
        failure.outcomes, failure.poisoned = people, tuple(poisoned)
        raise failure
    return list(people)


def _look_up(client: "MoodleClient", name: LookupField, values: Sequence[str]) -> UserBatch:
    def send(piece: Sequence[str]) -> list[MoodleUser]:
        answer = client.call(_BY_FIELD, {"field": name, "values": list(piece)}, read=True)
        return from_rows(answer, _BY_FIELD)

    found: dict[int, MoodleUser] = {}
    poisoned: list[str] = []
    for piece, answer in bisected(values, send, InvalidResponse):
        if isinstance(answer, InvalidResponse):
            poisoned.extend(piece)
        else:
            found.update((user.id, user) for user in _kept(name, piece, answer))
    return UserBatch(tuple(values), tuple(found[key] for key in sorted(found)), tuple(poisoned))


def search(client: "MoodleClient", criteria: Mapping[str, str]) -> list[MoodleUser]:
    """The users that match every one of `criteria` (keys: id, username, email, idnumber, auth, firstname, lastname).

    `email`, `firstname` and `lastname` are compared by Moodle without case and with `%` and `_` as wild cards, which
    cannot be escaped (`get-users-by-email-underscore-wildcard`): results are compared again here, `email` without
    ASCII case, the exact keys byte for byte, the names left as Moodle matched them. Deleted users never appear.
    There is no paging: keep the criteria narrow.

    Raises ValueError for no or an unknown criterion (Moodle drops an unknown one and returns everybody,
    `get-users-only-unknown-key-clean`), BadRow, FieldHidden, MoodleError.
    """
    unknown = criteria.keys() - {"id", "username", "email", "idnumber", "auth", "firstname", "lastname"}
    if unknown or not criteria:
        raise ValueError(f"not a criterion: {', '.join(sorted(unknown)) or 'none given'}")
    for position, (key, value) in enumerate(criteria.items()):
        check_text(value, index=position, field=key)
    sent = [{"key": key, "value": value} for key, value in criteria.items()]
    answer = client.call(_SEARCH, {"criteria": sent}, read=True)
    people = from_rows(answer.get("users") if isinstance(answer, dict) else None, _SEARCH)
    for key in ("id", "username", "email", "idnumber", "auth"):
        if key in criteria:
            people = [user for user in people if _matches(user, key, {criteria[key]}, _SEARCH)]
    return people


def _wanted(name: LookupField, values: Iterable[str | int], first: int = 0) -> list[str]:
    given = [str(value) for value in values]
    for position, value in enumerate(given, first):
        check_text(value, index=position, field=name)
        if name == "username":
            check_username(value, index=position)
        elif name == "id" and not (value.isascii() and value.isdigit()):
            raise BadRow("an id is a whole number", index=position, field="id")
        elif name == "idnumber" and value in {"", "0"}:
            # PHP takes "0" for empty: stored, but never found (`get-by-idnumber-zero`).
            raise BadRow("Moodle never finds this value", index=position, field="idnumber")
        elif not value or value != value.strip():
            raise BadRow("blank, or blanks around the value", index=position, field=name)
    return list(dict.fromkeys(given))


def _kept(name: LookupField, values: Sequence[str], people: Iterable[MoodleUser]) -> Iterator[MoodleUser]:
    asked = {value.translate(_ASCII_LOWER) for value in values} if name == "email" else set(values)
    return (user for user in people if _matches(user, name, asked, _BY_FIELD))


def _matches(user: MoodleUser, key: str, asked: set[str], function: str) -> bool:
    value = getattr(user, key)
    if value is None:
        raise FieldHidden(key, function=function)
    if key == "email":
        return str(value).translate(_ASCII_LOWER) in {item.translate(_ASCII_LOWER) for item in asked}
    return str(value) in asked


def from_rows(answer: Any, function: str) -> list[MoodleUser]:
    """The users of a list answer. Raises UnreadableAnswer for anything else."""
    try:
        return [_user(row, function) for row in fields.rows(answer)]
    except TypeError:
        raise UnreadableAnswer("not a list of users", function=function) from None


def _user(row: Mapping[str, Any], function: str) -> MoodleUser:
    number = fields.integer(row, "id")
    if number is None:
        raise UnreadableAnswer("a user without an id", function=function)
    custom = row.get("customfields")
    return MoodleUser(
        id=number,
        username=fields.text(row, "username"),
        auth=fields.text(row, "auth"),
        suspended=fields.flag(row, "suspended"),
        confirmed=fields.flag(row, "confirmed"),
        firstname=fields.text(row, "firstname"),
        lastname=fields.text(row, "lastname"),
        fullname=fields.text(row, "fullname"),
        email=fields.text(row, "email"),
        idnumber=fields.text(row, "idnumber"),
        lang=fields.text(row, "lang"),
        timezone=fields.text(row, "timezone"),
        institution=fields.text(row, "institution"),
        department=fields.text(row, "department"),
        city=fields.text(row, "city"),
        country=fields.text(row, "country"),
        firstaccess=fields.integer(row, "firstaccess"),
        lastaccess=fields.integer(row, "lastaccess"),
        customfields=_customfields(custom),
    )


def _customfields(listed: Any) -> dict[str, str] | None:
    # By shortname, never by position: the order differs between databases (MariaDB page §3).
    # XML says an empty list where JSON says nothing: both mean unknown.
    if not isinstance(listed, list) or not listed:
        return None
    return {str(item.get("shortname")): str(item.get("value") or "") for item in listed if isinstance(item, Mapping)}
