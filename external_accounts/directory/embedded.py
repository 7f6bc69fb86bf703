"""A directory in the bridge's own database: for the demo, for tests, and where a university has none."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from external_accounts.accounts import USERNAME_PATTERN
from external_accounts.database import Database
from external_accounts.directory import DirectoryUnavailable, Entry, EntryMissing
from external_accounts.institution_schema import DirectoryEntry
from external_accounts.passwords import HashingBusy, PasswordHashing


class EmbeddedDirectory:
    """Entries of one directory, told apart by `name`. Passwords are argon2id hashes, as everywhere here."""

    def __init__(self, name: str, database: Database, hashing: PasswordHashing) -> None:
        self.name = name
        self._database = database
        self._hashing = hashing

    def find(self, username: str) -> Entry | None:
        with self._database.read() as session:
            row = self._row(session, username)
            if row is None:
                return None
            return Entry(row.username, row.given_name, row.family_name, row.email, bool(row.password_hash))

    def save(self, entry: Entry) -> None:
        try:
            self._save(entry)
        except IntegrityError:  # somebody else made it a moment ago: now it is there to be brought up to date
            self._save(entry)

    def _save(self, entry: Entry) -> None:
        with self._database.begin() as session:
            row = self._row(session, entry.username)
            if row is None:
                row = DirectoryEntry(directory=self.name, username=entry.username, password_hash="", choices={})
                session.add(row)
            row.given_name, row.family_name, row.email = entry.given_name, entry.family_name, entry.email

    def set_password(self, username: str, password: str) -> None:
        try:
            stored = self._hashing.hash(password)
        except HashingBusy as error:
            raise DirectoryUnavailable from error
        with self._database.begin() as session:
            self._known(session, username).password_hash = stored

    def verify(self, username: str, password: str) -> bool:
        with self._database.read() as session:
            row = self._row(session, username)
            stored = row.password_hash if row is not None else ""
        try:
            return self._hashing.verify(stored or None, password).correct
        except HashingBusy as error:
            raise DirectoryUnavailable from error

    def write_choices(self, username: str, choices: Mapping[str, str]) -> None:
        with self._database.begin() as session:
            self._known(session, username).choices = dict(choices)

    def _known(self, session: Session, username: str) -> DirectoryEntry:
        row = self._row(session, username)
        if row is None:
            raise EntryMissing(username)
        return row

    def _row(self, session: Session, username: str) -> DirectoryEntry | None:
        if not USERNAME_PATTERN.fullmatch(username):  # nobody's, and a database need not be able to hold it
            return None
        return session.scalar(
            select(DirectoryEntry).where(DirectoryEntry.directory == self.name, DirectoryEntry.username == username)
        )
