"""Creating and changing users, in batches, knowing afterwards what happened to every row.

The two functions fail in opposite ways (ground truth §3). Creating is all or nothing: one bad row rolls the batch
back and Moodle does not say which, so a refused batch is bisected. Changing is row by row: a bad row gives a warning
and the others are written, except that a row of the wrong shape refuses the whole call (nothing written; bisected),
and a weak password spoils the answer although every other row was written (unknown; read back).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from moodle_ws import fields, names
from moodle_ws.batches import batches, halves
from moodle_ws.errors import (
    AnswerLost,
    BadRequest,
    BadRow,
    InvalidResponse,
    MoodleError,
    Truncated,
    UnreadableAnswer,
)
from moodle_ws.wire import Parameter, count_variables

if TYPE_CHECKING:
    from moodle_ws.client import MoodleClient

_CREATE = "core_user_create_users"
_UPDATE = "core_user_update_users"


@dataclass(frozen=True, kw_only=True)
class NewUser:
    """A user to create. Moodle always creates users confirmed and not suspended; neither can be asked for.

    `auth` decides about the password: `manual` and other internal methods need one (or `createpassword`, which mails
    a generated one and forces its change); for `cas` it is silently ignored, and `createpassword` would lock the
    person out (trace `createpassword-cas-user-login`), so both are refused here for anything but `manual`.
    An unknown custom field is silently ignored by Moodle (`create-customfields-unknown`): read back if it matters.
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


class UpdateStatus(StrEnum):
    """What became of one row."""

    APPLIED = "applied"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    NOT_SENT = "not sent"


@dataclass(frozen=True)
class UpdateOutcome:
    """What became of one row of an update. `code` is Moodle's warning or error code when it was refused.

    `APPLIED` means that Moodle gave no warning. A form cut short by the server cannot be seen in the answer (ground
    truth §1); batches stay far below the limit for that reason. `UNKNOWN` asks for a read-back.
    """

    id: int
    status: UpdateStatus
    code: str | None = None

    @property
    def applied(self) -> bool:
        """Whether Moodle took the row without a warning."""
        return self.status is UpdateStatus.APPLIED


def create(client: "MoodleClient", rows: Sequence[NewUser]) -> list[Created]:
    """Creates all of `rows`, in order.

    Raises the first BadRow when rows were refused, after the others were created, with `outcomes` as of
    `create_each`. Otherwise as `create_each`.
    """
    outcomes = create_each(client, rows)
    for outcome in outcomes:
        if isinstance(outcome, BadRow):
            outcome.outcomes = tuple(outcomes)
            raise outcome
    return [outcome for outcome in outcomes if isinstance(outcome, Created)]


def create_each(client: "MoodleClient", rows: Sequence[NewUser]) -> list[Created | BadRow]:
    """Creates what can be created of `rows`: one Created or BadRow per row, in order.

    A row that breaks a rule known here is never sent. Raises MoodleError when the site cannot go on; `outcomes` then
    holds what is known so far, shorter than `rows`. After AnswerLost, UnreadableAnswer or Truncated look the rest up
    before creating it again; two simultaneous creates with one e-mail can both succeed (MariaDB page §3), so
    serialise creates per address.
    """
    outcomes: dict[int, Created | BadRow] = {}
    sendable: list[tuple[int, NewUser]] = []
    for index, row in enumerate(rows):
        try:
            _check_new(row, index=index)
            sendable.append((index, row))
        except BadRow as error:
            outcomes[index] = error
    try:
        for batch in batches(sendable, lambda item: count_variables(_new_fields(item[1]))):
            for index, outcome in _create_bisected(client, batch):
                outcomes[index] = outcome
    except MoodleError as error:
        error.outcomes = tuple(outcomes[index] for index in sorted(outcomes)) + error.outcomes
        raise
    return [outcomes[index] for index in range(len(rows))]


def _create_bisected(
    client: "MoodleClient", batch: Sequence[tuple[int, NewUser]]
) -> Iterator[tuple[int, Created | BadRow]]:
    try:
        answer = client.call(_CREATE, {"users": [_new_fields(row) for _index, row in batch]}, read=False)
    except BadRequest as error:
        if len(batch) == 1:
            yield batch[0][0], _bad_row(error, batch[0][0])
            return
        # All or nothing: the refused call created nobody, so its halves may be sent.
        for half in halves(batch):
            yield from _create_bisected(client, half)
        return
    created = _created(answer)
    names_sent = [row.username for _index, row in batch]
    if [row.username for row in created] != names_sent[: len(created)]:
        raise UnreadableAnswer("the rows created are not those that were sent", function=_CREATE)
    if len(created) < len(batch):
        cut = Truncated(f"{len(created)} of {len(batch)} users were created", function=_CREATE)
        cut.outcomes = tuple(created)
        raise cut
    for (index, _row), user in zip(batch, created, strict=True):
        yield index, user


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
    outcomes = {row.id: UpdateOutcome(row.id, UpdateStatus.NOT_SENT) for row in rows}
    sendable: list[UserUpdate] = []
    for index, row in enumerate(rows):
        try:
            _check_update(row, index=index)
            sendable.append(row)
        except BadRow as error:
            outcomes[row.id] = UpdateOutcome(row.id, UpdateStatus.REFUSED, f"badrow/{error.field}")
    try:
        for batch in batches(sendable, lambda row: count_variables(_update_fields(row))):
            _update_bisected(client, batch, outcomes)
    except MoodleError as error:
        error.outcomes = tuple(outcomes[row.id] for row in rows)
        raise
    return [outcomes[row.id] for row in rows]


def _update_bisected(client: "MoodleClient", batch: Sequence[UserUpdate], outcomes: dict[int, UpdateOutcome]) -> None:
    try:
        answer = client.call(_UPDATE, {"users": [_update_fields(row) for row in batch]}, read=False)
    except InvalidResponse as error:
        outcomes.update((row.id, UpdateOutcome(row.id, UpdateStatus.UNKNOWN, error.code)) for row in batch)
        return
    except (AnswerLost, UnreadableAnswer, Truncated):
        outcomes.update((row.id, UpdateOutcome(row.id, UpdateStatus.UNKNOWN)) for row in batch)
        raise
    except BadRequest as error:
        if len(batch) == 1:
            outcomes[batch[0].id] = UpdateOutcome(batch[0].id, UpdateStatus.REFUSED, error.code)
            return
        # A shape error refuses the call before anything is written (`update-batch-one-bad-shape`).
        for half in halves(batch):
            _update_bisected(client, half, outcomes)
        return
    outcomes.update((row.id, UpdateOutcome(row.id, UpdateStatus.APPLIED)) for row in batch)
    for warning in _warnings(answer):
        number = fields.integer(warning, "itemid")
        if number in outcomes:
            refused = replace(outcomes[number], status=UpdateStatus.REFUSED, code=fields.text(warning, "warningcode"))
            outcomes[number] = refused


def _warnings(answer: Any) -> list[Mapping[str, Any]]:
    # Moodle before 4.0 answered null; an answer without warnings is one in which every row was written.
    if answer is None:
        return []
    try:
        return fields.rows(answer["warnings"])
    except (TypeError, KeyError):
        raise UnreadableAnswer("no list of warnings", function=_UPDATE) from None


def _bad_row(error: BadRequest, index: int) -> BadRow:
    return BadRow(
        error.meaning,
        index=index,
        function=error.function,
        kind=error.kind,
        code=error.code,
        debug_visible=error.debug_visible,
    )


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
        names.check_text(key + value, index=index, field=f"customfields[{key}]")
