"""The audit trail as a file that proves itself: JSON lines, with a head, checkpoints and a signed end.

A stretch of the chain is written without a gap, so that the file shows by itself that nothing is missing. For one
account the events stand far apart in the chain: each then carries the hash before it, and shows itself alone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from external_accounts.audit_chain import GENESIS, Finding, Link, Walk
from external_accounts.audit_schema import AuditCheckpoint
from external_accounts.audit_sealing import is_genuine
from external_accounts.audit_verification import Report, checkpoints_after, links
from external_accounts.keys import Keys, UnknownKey
from external_accounts.schema import AccountId, AuditEvent

FORMAT = "lms-bridge audit 1"
_PURPOSE = "audit export"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the chain: what stands after one position, through another."""

    after: int
    through: int
    account_id: AccountId | None = None

    def links(self, session: Session) -> Iterator[Link]:
        return links(session, after=self.after, through=self.through, account_id=self.account_id)


def stretch(
    session: Session, *, since: datetime | None, until: datetime | None, account_id: AccountId | None
) -> Stretch:
    """The shortest part of the chain that holds every sealed event of this time.

    Events of two transactions may be sealed the other way round, so a few of just before or after may lie within.
    """
    bounds = select(func.min(AuditEvent.position), func.max(AuditEvent.position))
    if since is not None:
        bounds = bounds.where(AuditEvent.at >= since)
    if until is not None:
        bounds = bounds.where(AuditEvent.at < until)
    first, last = session.execute(bounds).one()
    if first is None or last is None:
        return Stretch(0, 0, account_id)
    return Stretch(first - 1, last, account_id)


def write(session: Session, keys: Keys, part: Stretch) -> Iterator[str]:
    """The lines of the file, without their ends."""
    digest = hashlib.sha256()

    def line(values: dict[str, Any]) -> str:
        text = _written(values)
        digest.update(text.encode("utf-8", "surrogatepass") + b"\n")
        return text

    previous = _hash_at(session, part.after)
    alone = part.account_id is not None
    yield line(
        {
            "format": FORMAT,
            "after": part.after,
            "previous": previous,
            "through": part.through,
            "account_id": part.account_id,
        }
    )
    checkpoints = [] if alone else checkpoints_after(session, part.after)
    count = 0
    for link in part.links(session):
        values = asdict(link) | {"at": link.at.isoformat(timespec="microseconds")}
        if alone:
            values["previous"] = _hash_at(session, link.position - 1)
        yield line(values)
        count += 1
        while checkpoints and checkpoints[0].position <= link.position:
            checkpoint = checkpoints.pop(0)
            yield line({"checkpoint": {name: getattr(checkpoint, name) for name in _CHECKPOINT}})
            checkpoints = checkpoints or checkpoints_after(session, checkpoint.position, checkpoint.id)
    text = digest.hexdigest()
    signature = keys.derive(_PURPOSE, text.encode()).hex()
    yield line({"end": {"events": count, "digest": text, "key_id": keys.current_id, "signature": signature}})


_END = {"events", "digest", "key_id", "signature"}
_CHECKPOINT = ("position", "hash", "key_id", "signature")


def _written(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def _hash_at(session: Session, position: int) -> str:
    if position == 0:
        return GENESIS
    return session.scalar(select(AuditEvent.hash).where(AuditEvent.position == position)) or ""


class _BrokenLine(Exception):
    """The line is none that `write` wrote."""


def verify(lines: Iterable[bytes], keys: Keys | None) -> Report:
    """Verify an exported file, line by line. Without keys its signatures stay unchecked."""
    report, reading = Report(), _Reading(keys)
    for number, line in enumerate(lines, 1):
        try:
            for finding in reading.take(line):
                report.add(Finding(finding.kind, finding.position, f"line {number}: {finding.text}"))
        except _BrokenLine as error:
            report.add(Finding("edited", reading.walk.position, f"line {number}: {error}"))
    for finding in reading.finish():
        report.add(finding)
    report.events, report.pseudonymous = reading.walk.seen, reading.walk.pseudonymous
    report.checkpoints, report.unchecked = reading.checked, reading.unchecked
    report.position, report.hash = reading.walk.position, reading.walk.previous or ""
    return report


class _Reading:
    """Where the reader of a file stands."""

    def __init__(self, keys: Keys | None) -> None:
        self.walk = Walk(previous=None)
        self.checked = self.unchecked = 0
        self._keys, self._digest = keys, hashlib.sha256()
        self._head: dict[str, Any] | None = None
        self._ended = False

    def take(self, line: bytes) -> Iterator[Finding]:
        before = self._digest.hexdigest()
        self._digest.update(line.rstrip(b"\n") + b"\n")
        values = _read(line)
        if self._ended:
            raise _BrokenLine("stands after the end")
        if self._head is None:
            self._begin(values)
        elif "end" in values:
            yield from self._end(_part(values, "end"), before)
            # The digest covers the lines before: this one is held to the very bytes that `write` gives it.
            if set(values["end"]) != _END or _written(values).encode("utf-8", "surrogatepass") != line.rstrip(b"\n"):
                yield Finding("edited", self.walk.position, "the end is not as it was written")
        elif "checkpoint" in values:
            yield from self._checkpoint(_part(values, "checkpoint"))
        else:
            yield from self._link(values)

    def _begin(self, values: dict[str, Any]) -> None:
        self._head = values
        if values.get("format") != FORMAT or not isinstance(values.get("after"), int):
            raise _BrokenLine(f"no head of a file in the format `{FORMAT}`")
        self.walk = Walk(position=values["after"], previous=str(values.get("previous")))

    def _link(self, values: dict[str, Any]) -> Iterator[Finding]:
        alone = self._head is not None and self._head.get("account_id") is not None
        previous = values.pop("previous", None)
        try:
            link = Link(**values | {"at": datetime.fromisoformat(values["at"])})
            if alone:
                self.walk.previous = str(previous)
                self.walk.position = max(self.walk.position, link.position - 1)
            yield from self.walk.take(link)
        except (TypeError, ValueError, KeyError, AttributeError, UnicodeError):
            raise _BrokenLine("no event") from None

    def _checkpoint(self, values: dict[str, Any]) -> Iterator[Finding]:
        if values.get("position") != self.walk.position or values.get("hash") != self.walk.previous:
            yield Finding("checkpoint", self.walk.position, "the trail up to there is not the one that was signed")
            return
        checkpoint = AuditCheckpoint(**{name: values.get(name) for name in _CHECKPOINT})
        yield from self._judge(lambda keys: is_genuine(keys, checkpoint))

    def _end(self, values: dict[str, Any], digest: str) -> Iterator[Finding]:
        self._ended = True
        head = self._head or {}
        if values.get("digest") != digest or values.get("events") != self.walk.seen:
            yield Finding("edited", self.walk.position, "the end speaks of another file")
        if head.get("account_id") is None and self.walk.position != head.get("through"):
            yield Finding("missing", self.walk.position + 1, f"nothing up to position {head.get('through')}")

        def signed(keys: Keys) -> bool:
            made = keys.derive(_PURPOSE, str(values.get("digest")).encode(), key_id=str(values.get("key_id")))
            return hmac.compare_digest(made.hex().encode(), str(values.get("signature")).encode())

        unchecked = self.unchecked
        yield from self._judge(signed)
        if self._keys is not None and self.unchecked > unchecked:
            # Whoever writes a whole file anew can name any key: what only such a key vouches for, nobody does.
            yield Finding(
                "unsigned",
                self.walk.position,
                f"signed with a key that is not configured ({str(values.get('key_id'))[:16]!r}): nothing vouches for "
                "the file. If that key was replaced, put it back behind the others in `secret_keys`, then verify again",
            )

    def _judge(self, genuine: Any) -> Iterator[Finding]:
        if self._keys is None:
            self.unchecked += 1
            return
        try:
            if genuine(self._keys):
                self.checked += 1
            else:
                yield Finding("checkpoint", self.walk.position, "a signature is not the server's")
        except UnknownKey:
            self.unchecked += 1

    def finish(self) -> Iterator[Finding]:
        if not self._ended:
            yield Finding("cut", self.walk.position + 1, "the file has no end")


def _read(line: bytes) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        raise _BrokenLine("no JSON") from None
    if not isinstance(values, dict):
        raise _BrokenLine("no JSON object")
    return values


def _part(values: dict[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(values[name], dict) or len(values) != 1:
        raise _BrokenLine(f"no {name}")
    part: dict[str, Any] = values[name]
    return part
