"""What became of the rows of a call that writes."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

Row = TypeVar("Row")


class RowStatus(StrEnum):
    """What became of one row.

    APPLIED: written. REFUSED: by Moodle or by a rule known here; nothing written. UNKNOWN: perhaps written; read back
    before anything else, never repeat blindly. NOT_SENT: nothing happened to it, because the site could not go on.
    """

    APPLIED = "applied"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    NOT_SENT = "not sent"


@dataclass(frozen=True)
class RowOutcome(Generic[Row]):
    """A row as it was given, and what became of it. `code` is Moodle's when the row was refused."""

    row: Row
    status: RowStatus
    code: str | None = None

    @property
    def applied(self) -> bool:
        """Whether the row is now as asked for."""
        return self.status is RowStatus.APPLIED
