"""How many rows fit in one call, how to find the bad one, and what to say of the others.

PHP keeps the first `max_input_vars` variables of a form (1,000 unless the site raised it; a client cannot read the
value) and drops the rest without a word: 2,000 new users in, 833 created, HTTP 200 (recording
`bulk-create-2000-six-fields-silent-truncation`). So a batch is bounded by variables, far below the default.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from moodle_ws.errors import BadRequest, BadRow, MoodleError, Truncated, UnknownOutcome, UnreadableAnswer
from moodle_ws.outcomes import RowOutcome, RowStatus
from moodle_ws.wire import CONTROL_FIELDS

Row = TypeVar("Row")
Answer = TypeVar("Answer")
Made = TypeVar("Made")
Refusal = TypeVar("Refusal", bound=MoodleError)

MOST_VARIABLES = 900
MOST_VARIABLES_OF_A_ROW = MOST_VARIABLES - CONTROL_FIELDS
# Beyond 50 rows little is gained and failures cost more (ground truth §9).
MOST_ROWS = 50


def batches(
    rows: Sequence[Row],
    variables: Callable[[Row], int],
    *,
    most_rows: int = MOST_ROWS,
    most_variables: int = MOST_VARIABLES,
    fixed: int = 0,
) -> Iterator[Sequence[Row]]:
    """`rows` in order, cut so that no piece passes `most_rows` rows or `most_variables` form variables.

    `variables` counts those of one row, `fixed` those of the call beside rows and control fields. A row too large to
    fit raises ValueError before the first piece: it could only be sent cut.
    """
    room = most_variables - CONTROL_FIELDS - fixed
    sizes = [variables(row) for row in rows]
    if max(sizes, default=0) > room:
        position = next(position for position, size in enumerate(sizes) if size > room)
        raise ValueError(f"row {position} takes {sizes[position]} form variables, at most {room} can be sent")
    start = used = 0
    for position, size in enumerate(sizes):
        if position > start and (used + size > room or position - start >= most_rows):
            yield rows[start:position]
            start, used = position, 0
        used += size
    if start < len(rows):
        yield rows[start:]


def bisected(
    batch: Sequence[Row], send: Callable[[Sequence[Row]], Answer], *refusals: type[Refusal]
) -> Iterator[tuple[Sequence[Row], Answer | Refusal]]:
    """The batch in one call; refused as a whole, its halves, down to the single rows that are refused alone.

    Only for calls that change nothing when they are refused. Yields each piece, in order, with its answer or, for a
    single row, its refusal. Other errors pass. `bad` rows among `rows` cost at most 1 + 2 × bad × ⌈log2 rows⌉ calls.
    """
    try:
        answer = send(batch)
    except refusals as error:
        if len(batch) == 1:
            yield batch, error
            return
    else:
        yield batch, answer
        return
    middle = len(batch) // 2
    for half in (batch[:middle], batch[middle:]):
        yield from bisected(half, send, *refusals)


def write_each(
    rows: Sequence[Row],
    variables: Callable[[Row], int],
    send: Callable[[Sequence[Row]], object],
    *refusals: type[MoodleError],
) -> list[RowOutcome[Row]]:
    """Writes `rows` by a function that is all or nothing and answers nothing about its rows: one outcome per row.

    Raises MoodleError when the site cannot go on, with an outcome for every row in `outcomes`: UNKNOWN for those of a
    call that may have taken effect, NOT_SENT for those after it.
    """
    outcomes: list[RowOutcome[Row]] = []
    sending: list[Row] = []

    def remembering(piece: Sequence[Row]) -> object:
        sending[:] = piece
        return send(piece)

    try:
        for batch in batches(rows, variables):
            for piece, answer in bisected(batch, remembering, *refusals):
                if isinstance(answer, MoodleError):
                    outcomes.append(RowOutcome(piece[0], RowStatus.REFUSED, answer.code))
                else:
                    outcomes.extend(RowOutcome(row, RowStatus.APPLIED) for row in piece)
    except MoodleError as error:
        lost = len(sending) if isinstance(error, UnknownOutcome) else 0
        doubtful = [RowOutcome(row, RowStatus.UNKNOWN) for row in rows[len(outcomes) : len(outcomes) + lost]]
        after = [RowOutcome(row, RowStatus.NOT_SENT) for row in rows[len(outcomes) + lost :]]
        error.outcomes = (*outcomes, *doubtful, *after)
        raise
    return outcomes


def create_each(
    rows: Sequence[Row],
    check: Callable[[Row, int], None],
    variables: Callable[[Row], int],
    send: Callable[[Sequence[Row]], list[Made]],
) -> list[Made | BadRow]:
    """Creates `rows` by a function that is all or nothing and answers what it made, row for row.

    `check` raises BadRow for a row that must not be sent, given its index. `send` makes one call and gives what
    `as_sent` let pass. Raises MoodleError when the site cannot go
    on, with one entry for every row in `outcomes`: what was made, BadRow, `RowStatus.UNKNOWN` for those of a call that
    may have taken effect, `RowStatus.NOT_SENT` for the rest.
    """
    outcomes: dict[int, Made | BadRow] = {}
    sendable: list[tuple[int, Row]] = []
    for index, row in enumerate(rows):
        try:
            check(row, index)
            sendable.append((index, row))
        except BadRow as error:
            outcomes[index] = error
    sending: list[int] = []

    def remembering(piece: Sequence[tuple[int, Row]]) -> list[Made]:
        sending[:] = [index for index, _row in piece]
        return send([row for _index, row in piece])

    try:
        for batch in batches(sendable, lambda item: variables(item[1])):
            # A refused call made nothing, so its halves may be sent.
            for piece, answer in bisected(batch, remembering, BadRequest):
                if isinstance(answer, BadRequest):
                    outcomes[piece[0][0]] = BadRow.refused(answer, index=piece[0][0])
                else:
                    outcomes.update(zip((index for index, _row in piece), answer, strict=True))
    except MoodleError as error:
        known: dict[int, Made | BadRow | RowStatus] = dict(zip(sending, error.outcomes, strict=False))
        if isinstance(error, UnknownOutcome):
            known = dict.fromkeys(sending, RowStatus.UNKNOWN) | known
        known |= outcomes
        error.outcomes = tuple(known.get(index, RowStatus.NOT_SENT) for index in range(len(rows)))
        raise
    return [outcomes[index] for index in range(len(rows))]


def as_sent(
    made: list[Made], name: Callable[[Made], str | None], sent: Sequence[str], *, what: str, function: str
) -> list[Made]:
    """What one call made, held against the names sent. Raises UnreadableAnswer when it is something else, Truncated
    with what was made in `outcomes` when it is less."""
    if [name(item) for item in made] != list(sent[: len(made)]):
        raise UnreadableAnswer(f"the {what} created are not those that were sent", function=function)
    if len(made) < len(sent):
        cut = Truncated(f"{len(made)} of {len(sent)} {what} were created", function=function)
        cut.outcomes = tuple(made)
        raise cut
    return made


def made_or_first_bad(outcomes: Sequence[Made | BadRow]) -> list[Made]:
    """What was made of every row. Raises the first BadRow, with all of `outcomes`."""
    made: list[Made] = []
    for outcome in outcomes:
        if isinstance(outcome, BadRow):
            outcome.outcomes = tuple(outcomes)
            raise outcome
        made.append(outcome)
    return made
