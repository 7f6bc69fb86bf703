"""How many rows fit in one call, and how to find the bad one.

PHP keeps the first `max_input_vars` variables of a form (1,000 unless the site raised it; a client cannot read the
value) and drops the rest without a word: 2,000 new users in, 833 created, HTTP 200 (recording
`bulk-create-2000-six-fields-silent-truncation`). So a batch is bounded by variables, far below the default.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from moodle_ws.wire import CONTROL_FIELDS

Row = TypeVar("Row")

MOST_VARIABLES = 900
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
    fit raises ValueError: it could only be sent cut.
    """
    room = most_variables - CONTROL_FIELDS - fixed
    start = used = 0
    for position, row in enumerate(rows):
        size = variables(row)
        if size > room:
            raise ValueError(f"row {position} takes {size} form variables, at most {room} can be sent")
        if position > start and (used + size > room or position - start >= most_rows):
            yield rows[start:position]
            start, used = position, 0
        used += size
    if start < len(rows):
        yield rows[start:]


def halves(rows: Sequence[Row]) -> tuple[Sequence[Row], Sequence[Row]]:
    """The two halves of a batch that failed as a whole, in order."""
    middle = len(rows) // 2
    return rows[:middle], rows[middle:]
