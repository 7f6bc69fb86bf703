"""Creating and changing users, in batches, knowing afterwards what happened to every row.

The two functions fail in opposite ways (ground truth §3). Creating is all or nothing: one bad row rolls the batch
back and Moodle does not say which, so a refused batch is bisected. Changing is row by row: a bad row gives a warning
and the others are written, except that a row of the wrong shape refuses the whole call (nothing written; bisected),
and a weak password spoils the answer although every other row was written (unknown; read back).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moodle_ws import batches, fields, names
from moodle_ws.errors import (
    BadRequest,
    BadRow,
    InvalidResponse,
    MoodleError,
    UnknownOutcome,
    UnreadableAnswer,
)
from moodle_ws.outcomes import RowStatus
from moodle_ws.wire import Parameter, count_variables

if TYPE_CHECKING:
    from moodle_ws.client import MoodleClient

_CREATE = "core_user_create_users"
_UPDATE = "core_user_update_users"

_MOST_CUSTOM_VARIABLES = batches.MOST_VARIABLES_OF_A_ROW - 20  # room for every other field of a row


@dataclass(frozen=True, kw_only=True)
class NewUser:
    """A user to create. Moodle always creates users confirmed and not suspended; neither can be asked for.

    `auth` decides about the password: `manual` and other internal methods need one (or `createpassword`, which mails
    a generated one and forces its change); for `cas` it is silently ignored, and `createpassword` would lock the
    person out (trace `createpassword-cas-user-login`), so both are refused here for anything but `manual`.
    `customfields` maps shortnames to values. Moodle silently ignores an unknown one (`create-customfields-unknown`)
    and does not enforce uniqueness (`create-customfields-unique-violated`): read back if it matters.
    """

    username: str
    firstname: str
    lastname: str
    email: str
    auth: str
    idnumber: str | None = None
    lang: str | None = None
    password: str | None = field(default=None, repr=False)
    createpassword: bool | None = None
    customfields: Mapping[str, str] | None = field(default=None, hash=False)


@dataclass(frozen=True)
class Created:
    """A user that now exists: Moodle's id for the name sent."""

    id: int
    username: str


@dataclass(frozen=True, kw_only=True)
class UserUpdate:
    """A change to one user. None leaves a field as it is; "" empties `idnumber`. Address users by `id` only:
    names are ambiguous on MariaDB (its page §5)."""

    id: int
    username: str | None = None
    auth: str | None = None
    suspended: bool | None = None
    firstname: str | None = None
    lastname: str | None = None
    email: str | None = None
    idnumber: str | None = None
    lang: str | None = None
    password: str | None = field(default=None, repr=False)
    customfields: Mapping[str, str] | None = field(default=None, hash=False)


@dataclass(frozen=True)
class UpdateOutcome:
    """What became of one row of an update. `code` is Moodle's warning or error code when it was refused.

    `APPLIED` means that Moodle gave no warning. A form cut short by the server cannot be seen in the answer (ground
    truth §1); batches stay far below the limit for that reason. `UNKNOWN` asks for a read-back.
    """

    id: int
    status: RowStatus
    code: str | None = None

    @property
    def applied(self) -> bool:
        """Whether Moodle took the row without a warning."""
        return self.status is RowStatus.APPLIED


def create(client: "MoodleClient", rows: Sequence[NewUser]) -> list[Created]:
    """Creates all of `rows`, in order.

    Raises the first BadRow when rows were refused, after the others were created, with the list of `create_each` in
    `outcomes`. Otherwise as `create_each`.
    """
    return batches.made_or_first_bad(create_each(client, rows))


def create_each(client: "MoodleClient", rows: Sequence[NewUser]) -> list[Created | BadRow]:
    """Creates what can be created of `rows`: one Created or BadRow per row, in order.

    A row that breaks a rule known here is never sent. Raises MoodleError when the site cannot go on, with one entry
    for every row in `outcomes`: Created, BadRow, `RowStatus.UNKNOWN` for those of a call that may have taken effect,
    `RowStatus.NOT_SENT` for the rest. Look the unknown ones up before creating them again. Two simultaneous creates
    with one e-mail can both succeed (MariaDB page §3): serialise creates per address.
    """
    return batches.create_each(
        rows,
        lambda row, index: _check_new(row, index=index),
        lambda row: count_variables(_new_fields(row)),
        lambda piece: _create_all(client, piece),
    )


def _create_all(client: "MoodleClient", rows: Sequence[NewUser]) -> list[Created]:
    answer = client.call(_CREATE, {"users": [_new_fields(row) for row in rows]}, read=False)
    sent = [row.username for row in rows]
    return batches.as_sent(_created(answer), lambda user: user.username, sent, what="users", function=_CREATE)


def _created(answer: Any) -> list[Created]:
    try:
        listed = fields.rows(answer)
    except TypeError:
        raise UnreadableAnswer("not a list of created users", function=_CREATE) from None
    created = []
    for row in listed:
        number, name = fields.integer(row, "id"), fields.text(row, "username")
        if number is None or name is None:
            raise UnreadableAnswer("a created user without id or name", function=_CREATE)
        created.append(Created(number, name))
    return created


def update(client: "MoodleClient", rows: Sequence[UserUpdate]) -> list[UpdateOutcome]:
    """Changes `rows`; one outcome per row, in order.

    A row that breaks a rule known here is refused without being sent (`code` then reads `badrow/<field>`). When
    Moodle fails on its own answer the rows of that call are UNKNOWN and the work goes on. Raises MoodleError when the
    site cannot go on, with `outcomes` for all rows: UNKNOWN where the call may have taken effect, NOT_SENT after it.
    The same user in two rows of one call raises ValueError: warnings could not be told apart.
    """
    if len({row.id for row in rows}) != len(rows):
        raise ValueError("the same user twice in one update")
    outcomes = {row.id: UpdateOutcome(row.id, RowStatus.NOT_SENT) for row in rows}
    sendable: list[UserUpdate] = []
    for index, row in enumerate(rows):
        try:
            _check_update(row, index=index)
            sendable.append(row)
        except BadRow as error:
            outcomes[row.id] = UpdateOutcome(row.id, RowStatus.REFUSED, f"badrow/{error.field}")
    try:
        for batch in batches.batches(sendable, lambda row: count_variables(_update_fields(row))):
            _update_batch(client, batch, outcomes)
    except MoodleError as error:
        error.outcomes = tuple(outcomes[row.id] for row in rows)
        raise
    return [outcomes[row.id] for row in rows]


def _update_batch(client: "MoodleClient", batch: Sequence[UserUpdate], outcomes: dict[int, UpdateOutcome]) -> None:
    def send(piece: Sequence[UserUpdate]) -> list[Mapping[str, Any]] | None:
        try:
            return _warnings(client.call(_UPDATE, {"users": [_update_fields(row) for row in piece]}, read=False))
        except UnknownOutcome as error:
            outcomes.update((row.id, UpdateOutcome(row.id, RowStatus.UNKNOWN, error.code)) for row in piece)
            if isinstance(error, InvalidResponse):
                return None
            raise

    # A shape error refuses the call before anything is written (`update-batch-one-bad-shape`).
    for piece, answer in batches.bisected(batch, send, BadRequest):
        if isinstance(answer, BadRequest):
            outcomes[piece[0].id] = UpdateOutcome(piece[0].id, RowStatus.REFUSED, answer.code)
        elif answer is not None:
            outcomes.update(_told_by(answer, [row.id for row in piece]))


def _told_by(warnings: Sequence[Mapping[str, Any]], ids: Sequence[int]) -> dict[int, UpdateOutcome]:
    """The outcome of each user of a call: refused when a warning names it. A warning that names none of them leaves
    the others unknown: it says that somebody was not written."""
    refused = {fields.integer(warning, "itemid"): fields.text(warning, "warningcode") for warning in warnings}
    strange = [code for number, code in refused.items() if number not in set(ids)]
    otherwise = (RowStatus.UNKNOWN, strange[0]) if strange else (RowStatus.APPLIED, None)
    return {
        number: UpdateOutcome(number, *((RowStatus.REFUSED, refused[number]) if number in refused else otherwise))
        for number in ids
    }


def _warnings(answer: Any) -> list[Mapping[str, Any]]:
    # Moodle before 4.0 answered null; an answer without warnings is one in which every row was written.
    if answer is None:
        return []
    try:
        return fields.rows(answer["warnings"])
    except (TypeError, KeyError):
        raise UnreadableAnswer("no list of warnings", function=_UPDATE) from None


def _custom(customfields: Mapping[str, str] | None) -> Parameter:
    return [{"type": key, "value": value} for key, value in customfields.items()] if customfields else None


def _new_fields(row: NewUser) -> dict[str, Parameter]:
    return {
        "username": row.username,
        "firstname": row.firstname,
        "lastname": row.lastname,
        "email": row.email,
        "auth": row.auth,
        "idnumber": row.idnumber,
        "lang": row.lang,
        "password": row.password,
        "createpassword": row.createpassword,
        "customfields": _custom(row.customfields),
    }


def _update_fields(row: UserUpdate) -> dict[str, Parameter]:
    return {
        "id": row.id,
        "username": row.username,
        "auth": row.auth,
        "suspended": row.suspended,
        "firstname": row.firstname,
        "lastname": row.lastname,
        "email": row.email,
        "idnumber": row.idnumber,
        "lang": row.lang,
        "password": row.password,
        "customfields": _custom(row.customfields),
    }


def _check_new(row: NewUser, *, index: int) -> None:
    _check_shared(row, index=index)
    if row.auth != "manual" and (row.password is not None or row.createpassword is not None):
        raise BadRow("only for users of the sign-in method manual", index=index, field="password")


def _check_update(row: UserUpdate, *, index: int) -> None:
    if row.id <= 0:
        raise BadRow("not the id of a user", index=index, field="id")
    _check_shared(row, index=index)


def _check_shared(row: NewUser | UserUpdate, *, index: int) -> None:
    if row.username is not None:
        names.check_username(row.username, index=index)
    if row.auth is not None:
        names.check_auth(row.auth, index=index)
    for key, value in (("firstname", row.firstname), ("lastname", row.lastname)):
        if value is not None:
            names.check_name(value, index=index, field=key)
    if row.email is not None:
        names.check_email(row.email, index=index)
    if row.idnumber is not None:
        names.check_length(row.idnumber, index=index, field="idnumber")
    if row.lang is not None:
        names.check_lang(row.lang, index=index)
    if row.password is not None:
        names.check_text(row.password, index=index, field="password")
    for key, value in (row.customfields or {}).items():
        names.check_customfield(key, value, index=index)
    if 2 * len(row.customfields or {}) > _MOST_CUSTOM_VARIABLES:
        raise BadRow("more fields than one call can carry", index=index, field="customfields")
