"""What the doctor says: one finding a line, and the exit code they add up to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from moodle_ws.redaction import redact

LONGEST = 300
_BLANKS = "\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}"

OK = 0
PROBLEMS = 4
MOODLE_UNREACHABLE = 6


class Verdict(StrEnum):
    """`UNSEEN`: cannot be seen from here; `where` says where to look by hand, `fix` what should be found there."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. `area` and `check` are stable names; the other texts are for people, in the language in force."""

    area: str
    check: str
    title: str
    verdict: Verdict
    seen: str
    where: str = ""
    fix: str = ""
    moodle_unreachable: bool = False
    """Whether this problem is a Moodle that does not answer, and nothing that a setting could mend."""

    def public(self) -> dict[str, str]:
        """As `--json` prints it."""
        names = ("area", "check", "verdict", "seen", "where", "fix")
        return {name: str(getattr(self, name)) for name in names}


@dataclass(frozen=True, slots=True)
class Subject:
    """What is looked at: its stable names, its title, and the menu path or setting where it can be changed."""

    area: str
    check: str
    title: str
    where: str = ""

    def ok(self, seen: str) -> Finding:
        return self._finding(Verdict.OK, seen, "")

    def warning(self, seen: str, fix: str) -> Finding:
        return self._finding(Verdict.WARNING, seen, fix)

    def problem(self, seen: str, fix: str, *, moodle_unreachable: bool = False) -> Finding:
        return self._finding(Verdict.PROBLEM, seen, fix, moodle_unreachable=moodle_unreachable)

    def unseen(self, seen: str, fix: str) -> Finding:
        return self._finding(Verdict.UNSEEN, seen, fix)

    def _finding(self, verdict: Verdict, seen: str, fix: str, *, moodle_unreachable: bool = False) -> Finding:
        return Finding(self.area, self.check, self.title, verdict, printable(seen), self.where, fix, moodle_unreachable)


def printable(text: str) -> str:
    """A text as a terminal may show it: one line, no control character, bounded."""
    shown = "".join(character if character.isprintable() or character in _BLANKS else " " for character in text)
    shown = re.sub(" {2,}", " ", shown).strip()
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"


def foreign(text: str) -> str:
    """What another server said, without what looks like a secret. Our own sentences must not pass through here."""
    return printable(redact(text))


def exit_code(findings: Iterable[Finding]) -> int:
    """0: nothing worse than warnings; 6: nothing is wrong but a Moodle that does not answer; 4: anything else."""
    problems = [finding for finding in findings if finding.verdict is Verdict.PROBLEM]
    if not problems:
        return OK
    return MOODLE_UNREACHABLE if all(finding.moodle_unreachable for finding in problems) else PROBLEMS
