"""Requests for assistance: somebody who cannot help themselves writes to the help desk, without signing in.

Nothing is looked up when they do (I3), and what they say of themselves proves nothing: a human reads it.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.institution_schema import AssistanceRequest
from external_accounts.proof_keys import CODE_ALPHABET

WAITING, CLOSED = "waiting", "closed"
SUBJECTS = ("lost_identifier", "activation", "sign_in", "other")
REFERENCE_LENGTH = 8
LINE, CONTACT, MESSAGE, NOTE = 100, 254, 4000, 500
"""Most characters of a name, of where to answer, of the text, and of the note that closes a request."""
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u2028\u2029]")


class AlreadyClosed(Exception):
    """Somebody else closed the request before."""


@dataclass(frozen=True, slots=True)
class Words:
    """What somebody writes to the help desk. Free text, but for what databases and terminals cannot hold."""

    subject: str
    given_name: str
    family_name: str
    identifier: str
    contact: str
    profile: str
    message: str


def one_line(text: str) -> str:
    """Free text for a line: without control characters, blanks folded."""
    return " ".join(_CONTROLS.sub(" ", text).split())


def paragraphs(text: str) -> str:
    """Free text of several lines, without control characters."""
    return _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def ask(session: Session, words: Words, *, locale: str, now: datetime, origin: audit.Origin) -> AssistanceRequest:
    """Write the request down. Its `reference` is for the person, its number for the help desk."""
    request = AssistanceRequest(
        asked_at=now,
        state=WAITING,
        reference="".join(secrets.choice(CODE_ALPHABET) for _ in range(REFERENCE_LENGTH)),
        subject=words.subject,
        given_name=words.given_name,
        family_name=words.family_name,
        identifier=words.identifier,
        contact=words.contact,
        profile=words.profile,
        message=words.message,
        locale=locale,
        closed_by="",
        closing_note="",
    )
    session.add(request)
    session.flush()
    audit.record(
        session, "assistance.asked", outcome="ok", now=now, origin=origin, request=request.id, subject=words.subject
    )
    return request


def close(
    session: Session, request_id: int, *, note: str, by: str, now: datetime, origin: audit.Origin
) -> AssistanceRequest:
    """Say that a request is dealt with, and how.

    Raises:
        AlreadyClosed: of two people at once, one closes it.
    """
    request = session.scalars(
        select(AssistanceRequest).where(AssistanceRequest.id == request_id).with_for_update()
    ).one()
    if request.state != WAITING:
        raise AlreadyClosed
    request.state, request.closed_at, request.closed_by, request.closing_note = CLOSED, now, by, note
    audit.record(session, "assistance.closed", outcome="ok", now=now, origin=origin, request=request_id)
    return request


def purge(session: Session, *, keep: timedelta, now: datetime) -> None:
    """Drop what was closed long ago."""
    over = (AssistanceRequest.state == CLOSED, AssistanceRequest.closed_at < now - keep)
    session.execute(delete(AssistanceRequest).where(*over))
