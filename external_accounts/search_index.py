"""The index of words by whose beginning the help desk finds an account: kept with the account, in the same transaction.

What somebody remembers of a person: a piece of a name, of an address, of the department. Words are folded as
`duplicates.words` does it, so accents, capitals and the order of names make no difference. What is known exactly (a
whole address, a user name, a number) has indexes of its own and is not looked for here.

Any session that changes what an account is found by writes its words before it commits; whoever goes round the ORM
(`insert`, `update`, `delete`) writes `rows` himself or calls `refresh`. Erased and merged accounts have no words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, delete, event, exists, func, literal, select, union_all
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import History, get_history
from sqlalchemy.orm.base import PASSIVE_NO_INITIALIZE

from external_accounts.duplicates import words
from external_accounts.linking_schema import SearchWord
from external_accounts.schema import Account, AccountId, Address, SignInIdentity

LONGEST = 64
MOST_LOOKED_AT = 20_000
"""Rows of the rarest word that are gone through. Who looks for a more frequent one is asked for another word."""
_LAST = "\U0010ffff"
"""Sorts behind every letter."""
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_APOSTROPHES = re.compile("['’ʼ]")
_WORDS = "search words"

_SAID_BY: dict[type[Any], tuple[str, ...]] = {
    Account: ("given_name", "family_name", "birth_name", "username", "unit", "erased_at", "merged_into_id"),
    Address: ("email_key", "account_id"),
    SignInIdentity: ("subject", "account_id"),
}
"""What of each kind of row an account is found by."""


# --- What an account is found by ---


def account_words(
    *,
    username: str,
    given_name: str = "",
    family_name: str = "",
    birth_name: str = "",
    unit: str = "",
    emails: Iterable[str] = (),
    subjects: Iterable[str] = (),
) -> set[str]:
    """The words of an account. `emails` in their compared form."""
    found = set(words(username)) | _elided(unit)
    for name in (given_name, family_name, birth_name):
        # `Jean-Luc` is looked for as `jeanluc` too.
        found |= _elided(name) | {"".join(words(name))}
    for subject in subjects:
        found |= set(words(subject))
    for email in emails:
        local, _, domain = email.rpartition("@")
        found |= set(words(local)) | _domains(domain)
    return {word[:LONGEST] for word in found} - {""}


def _elided(text: str) -> set[str]:
    """Its words; `D'Alembert` is looked for as `dalembert` and as `alembert`."""
    return {*words(text), *(word for word in words(_APOSTROPHES.sub(" ", text)) if len(word) > 1)}


def _domains(domain: str) -> set[str]:
    """The domain and those it lies in, whole: as words they would be the same few for everybody."""
    labels = domain.split(".")
    return {".".join(labels[start:]) for start in range(max(1, len(labels) - 1))}


def rows(account_id: AccountId, **said: Any) -> list[dict[str, Any]]:
    """The rows of an account that has none yet, for `insert(SearchWord)`. `said`: as `account_words` takes it."""
    return [{"word": word, "account_id": account_id} for word in sorted(account_words(**said))]


# --- Keeping it ---


@event.listens_for(Session, "after_flush")
def _note(session: Session, _context: object) -> None:
    touched = {one for row in (*session.new, *session.deleted) if type(row) in _SAID_BY for one in _accounts_of(row)}
    for row in session.dirty:
        if any(_history(row, name).has_changes() for name in _SAID_BY.get(type(row), ())):
            touched |= _accounts_of(row)
    if touched:
        session.info.setdefault(_WORDS, set()).update(touched)


def _accounts_of(row: Account | Address | SignInIdentity) -> set[AccountId]:
    if isinstance(row, Account):
        return {row.id}
    former = _history(row, "account_id").deleted or ()
    return {number for number in (row.account_id, *former) if number is not None}


def _history(row: Account | Address | SignInIdentity, name: str) -> History:
    """What became of a column in this transaction, without asking the database in the middle of a flush."""
    return get_history(row, name, PASSIVE_NO_INITIALIZE)


@event.listens_for(Session, "before_commit")
def _keep(session: Session) -> None:
    session.flush()
    for account_id in sorted(session.info.pop(_WORDS, ())):
        _refresh(session.connection(), account_id)


def refresh(session: Session, account_id: AccountId) -> None:
    """Write the words of an account anew before the transaction ends: for whoever changed its rows by statements."""
    session.info.setdefault(_WORDS, set()).add(account_id)


def _refresh(connection: Connection, account_id: AccountId) -> None:
    wanted = _wanted(connection, account_id)
    there = set(connection.scalars(select(SearchWord.word).where(SearchWord.account_id == account_id)))
    if gone := there - wanted:
        connection.execute(delete(SearchWord).where(SearchWord.account_id == account_id, SearchWord.word.in_(gone)))
    if new := wanted - there:
        values = [{"word": word, "account_id": account_id} for word in sorted(new)]
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        # Two sign-ins of the same person at once may bring the same word.
        connection.execute(dialect.insert(SearchWord).on_conflict_do_nothing(), values)


def _wanted(connection: Connection, account_id: AccountId) -> set[str]:
    account = connection.execute(
        select(Account.username, Account.given_name, Account.family_name, Account.birth_name, Account.unit).where(
            Account.id == account_id, Account.erased_at.is_(None), Account.merged_into_id.is_(None)
        )
    ).one_or_none()
    if account is None:
        return set()
    emails = connection.scalars(select(Address.email_key).where(Address.account_id == account_id)).all()
    subjects = connection.scalars(select(SignInIdentity.subject).where(SignInIdentity.account_id == account_id)).all()
    return account_words(**account._mapping, emails=emails, subjects=subjects)


# --- Looking ---


@dataclass(frozen=True, slots=True)
class Hits:
    """Accounts that have every word, the likeliest first."""

    ids: tuple[AccountId, ...]
    more: bool = False
    """There are more than were asked for."""
    cut: bool = False
    """Even the rarest word has so many that not all were gone through."""


def terms(session: Session, text: str) -> list[str]:
    """The beginnings of words that are looked for in what somebody typed. `@gmail` and `univ-nantes.fr` are of domains.

    Eight at most: nobody remembers more, and a text pasted by mistake has thousands.
    """
    found: list[str] = []
    for token in text.lower().replace(",", " ").replace(";", " ").split():
        local, at, domain = token.rpartition("@")
        if at:
            found += [*words(local), *([domain] if domain else [])]
        elif len(parts := words(token)) > 1 and "." in token and _frequencies(session, [token], 1)[token]:
            found.append(token)
        else:
            found += parts
    return list(dict.fromkeys(word[:LONGEST] for word in found))[:8]


def find(session: Session, beginnings: Sequence[str], *, units: frozenset[str] | None = None, limit: int = 50) -> Hits:
    """Accounts that have a word with each of these beginnings, of any or of these units.

    Whoever has the very words comes before whoever has longer ones; then whoever signed in last.
    """
    if not beginnings:
        return Hits(())
    frequencies = _frequencies(session, beginnings, MOST_LOOKED_AT + 1)
    if not all(frequencies.values()):
        return Hits(())
    rarest_first = sorted(beginnings, key=lambda word: (frequencies[word], -len(word)))
    found: dict[AccountId, None] = {}
    for exact in (True, False):
        page = _accounts(rarest_first, units, exact=exact).limit(limit + 1)
        found |= dict.fromkeys(session.scalars(page))
        if len(found) > limit:
            break
    ids = tuple(found)
    return Hits(ids[:limit], more=len(ids) > limit, cut=frequencies[rarest_first[0]] > MOST_LOOKED_AT)


def _accounts(rarest_first: Sequence[str], units: frozenset[str] | None, *, exact: bool) -> Select[Any]:
    rarest, *others = rarest_first
    # The first rows in the order of the index: a frequent word must not be gone through whole.
    first = (
        select(SearchWord.account_id)
        .where(*_matches(rarest, exact=exact))
        .order_by(SearchWord.word, SearchWord.account_id)
        .limit(MOST_LOOKED_AT)
        .subquery()
    )
    query = select(Account.id).where(Account.id.in_(select(first.c.account_id)))
    for word in others:
        query = query.where(exists().where(SearchWord.account_id == Account.id, *_matches(word, exact=exact)))
    if units is not None:
        query = query.where(Account.unit.in_(units))
    return query.order_by(Account.last_sign_in_at.desc().nulls_last(), Account.id)


def _matches(beginning: str, *, exact: bool = False) -> tuple[Any, ...]:
    if exact:
        return (SearchWord.word == beginning,)
    return (SearchWord.word >= beginning, SearchWord.word < beginning + _LAST)


def _frequencies(session: Session, beginnings: Iterable[str], most: int) -> dict[str, int]:
    """How many rows have a word that begins so, for each; counted up to `most`. One statement."""
    counts = [
        select(literal(word), select(func.count()).select_from(rows_of).scalar_subquery())
        for word in beginnings
        for rows_of in (select(SearchWord.account_id).where(*_matches(word)).limit(most).subquery(),)
    ]
    return {row[0]: row[1] for row in session.execute(union_all(*counts))} if counts else {}


def nearly(
    session: Session, beginnings: Sequence[str], *, units: frozenset[str] | None = None, most: int = 3
) -> list[list[str]]:
    """What may have been meant where `find` finds nothing: for each word that nobody has, one that differs by a letter.

    Empty where every word is somebody's: then no spelling is at fault.
    """
    known = _frequencies(session, beginnings, 1)
    wrong = [word for word in beginnings if not known[word]]
    if not wrong:
        return []
    proposals: list[list[str]] = [list(beginnings)]
    for word in wrong:
        spellings = _known(session, misspellings(word))
        proposals = [
            [right if one == word else one for one in proposal] for proposal in proposals for right in spellings[:most]
        ]
    return [one for one in proposals[: most * most] if find(session, one, units=units, limit=1).ids][:most]


def _known(session: Session, spellings: set[str]) -> list[str]:
    """Those that are words of somebody, the most frequent first."""
    ordered = sorted(spellings)
    found = {
        word for start in range(0, len(ordered), 900)
        for word in session.scalars(
            select(SearchWord.word).distinct().where(SearchWord.word.in_(ordered[start : start + 900]))
        )
    }  # fmt: skip
    frequencies = _frequencies(session, sorted(found)[:100], 1000)
    return sorted(frequencies, key=lambda word: (-frequencies[word], word))


def misspellings(word: str) -> set[str]:
    """Everything one letter away: one too many, one missing, one wrong, two exchanged. Of short words, nothing."""
    if len(word) < 3:
        return set()
    cuts = [(word[:place], word[place:]) for place in range(len(word) + 1)]
    fewer = {head + tail[1:] for head, tail in cuts if tail}
    swapped = {head + tail[1] + tail[0] + tail[2:] for head, tail in cuts if len(tail) > 1}
    other = {head + letter + tail[1:] for head, tail in cuts if tail for letter in _ALPHABET}
    longer = {head + letter + tail for head, tail in cuts for letter in _ALPHABET}
    return (fewer | swapped | other | longer) - {word}
