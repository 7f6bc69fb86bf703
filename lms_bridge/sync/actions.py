"""One write to Moodle, as a value that can be planned, shown, written down, and made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from external_accounts.schema import AccountId


class Kind(StrEnum):
    """What a write does, in the order in which a run makes them: closing comes before everything else (I6)."""

    CLOSE = "close"
    PARK = "park"
    """A closed user of a joined account gives its name up, and what else the kept one is to have."""
    REFRESH = "refresh"
    TAKE = "take"
    """As a refresh, of what another user gives up first: `Action.needs`."""
    ADOPT = "adopt"
    CREATE = "create"
    OPEN = "open"
    JOIN = "join"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Action:
    """One write for one account at one site.

    `before` is what Moodle showed, `after` what it should hold, by the names of `DesiredUser.fields`; `reason` says
    which fact asks for it. `version` is the account's at the time of the decision.
    """

    kind: Kind
    account_id: AccountId
    username: str
    version: int
    moodle_id: int | None
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    reason: str
    needs: Sequence[int] = ()
    """Moodle ids of users that must be read back as out of the way first; see `lms_bridge.sync.ties`."""
    last: bool = True
    """Whether the account is in step once this is done: nothing follows for it."""

    def line(self) -> str:
        """One line of JSON, the same for the same action: plans are compared by it."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_line(cls, line: str) -> Action:
        values = json.loads(line)
        return cls(**{**values, "kind": Kind(values["kind"])})


@dataclass(frozen=True, slots=True)
class Conflict:
    """Something only a human can decide. Nothing is written for it.

    `blocking` conflicts keep the person from entering: it is not certain that the Moodle user is theirs.
    """

    account_id: AccountId
    username: str
    moodle_id: int | None
    problem: str
    field: str = ""
    ours: str = ""
    theirs: str = ""
    blocking: bool = True

    def line(self) -> str:
        return json.dumps({"conflict": asdict(self)}, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_line(cls, line: str) -> Conflict:
        return cls(**json.loads(line)["conflict"])
