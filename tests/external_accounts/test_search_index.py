"""Finding an account by pieces of what somebody remembers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import delete, insert, select, text
from sqlalchemy.orm import Session

from external_accounts import search_index
from external_accounts.accounts import Person, create_account
from external_accounts.addresses import parse_address, set_primary_address
from external_accounts.database import Database
from external_accounts.linking_schema import SearchWord
from external_accounts.schema import Account, Address, SignInIdentity
from external_accounts.search_index import account_words, find, misspellings, nearly, terms
from tests.external_accounts.conftest import NOW

ZOE = {
    "username": "ext.zmartin",
    "given": "Anne-Zoé",
    "family": "D'Œuf",
    "birth": "L’Hôpital",
    "unit": "UFR Sciences de l’éducation",
    "email": "z.doeuf@etu.univ-nantes.fr",
}


def add(session: Session, *, username: str, given: str = "", family: str = "", email: str = "", **columns: str) -> int:
    person = Person(given, family)
    account = create_account(session, username=username, profile="staff", person=person, activated=True, now=NOW)
    account.birth_name, account.unit = columns.get("birth", ""), columns.get("unit", "")
    if email:
        set_primary_address(session, account, parse_address(email), role="contact", now=NOW)
    account.identities.append(
        SignInIdentity(issuer="sel", subject=f"s-{username}", attributes={}, created_at=NOW, refreshed_at=NOW)
    )
    return account.id


def found(database: Database, text: str, **options: frozenset[str] | None) -> list[str]:
    with database.read() as session:
        ids = find(session, terms(session, text), **options).ids  # type: ignore[arg-type]
        names = {row.id: row.username for row in session.scalars(select(Account).where(Account.id.in_(ids)))}
    return [names[number] for number in ids]


@pytest.mark.parametrize(
    "text",
    [
        "zoé", "ZOE", "anne zoe", "Anne-Zoé", "annezoe", "oeuf", "d'oeuf", "DŒUF", "D’Œuf anne", "doe zoe", "hopit",
        "l'hôpital", "zmart", "ext.zm", "s-ext.zmartin", "educ", "ufr sci zoe", "z.doeuf", "z.doeuf@",
        "@univ-nantes.fr", "@etu.univ", "univ-nantes.fr zoe", "etu.univ-nantes", "oeuf@etu",
    ],
)  # fmt: skip
def test_a_piece_of_anything_finds_the_person(database: Database, text: str) -> None:
    """Accents, capitals, parts, either order; names, birth name, user name, subject, address, department."""
    with database.begin() as session:
        add(session, **ZOE)
        add(session, username="nobody", given="Nemo", family="Personne", email="nemo@nulle.part.example")
    assert found(database, text) == ["ext.zmartin"]


@pytest.mark.parametrize("text", ["", "  ", "@", "!!!", "zoe martinez", "xyz", "zoe personne"])
def test_every_word_must_be_there(database: Database, text: str) -> None:
    with database.begin() as session:
        add(session, **ZOE)
        add(session, username="nobody", given="Nemo", family="Personne")
    assert found(database, text) == []


def test_the_very_word_first_then_whoever_signed_in_last(database: Database) -> None:
    with database.begin() as session:
        people = {name: add(session, username=name, family=family) for name, family in (
            ("longer", "Martinez"), ("never", "Martin"), ("before", "Martin"), ("lately", "Martin"),
        )}  # fmt: skip
        session.get_one(Account, people["longer"]).last_sign_in_at = NOW
        session.get_one(Account, people["before"]).last_sign_in_at = NOW - timedelta(days=9)
        session.get_one(Account, people["lately"]).last_sign_in_at = NOW - timedelta(days=1)
    assert found(database, "martin") == ["lately", "before", "never", "longer"]


def test_whoever_sees_some_units_finds_in_these_only(database: Database) -> None:
    with database.begin() as session:
        for name, unit in (("a", "Droit"), ("b", "Lettres"), ("c", "")):
            add(session, username=name, family="Martin", unit=unit)
    assert found(database, "martin", units=frozenset({"Droit"})) == ["a"]
    assert found(database, "martin", units=frozenset()) == []


def test_a_page_is_full_and_says_that_there_are_more(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.begin() as session:
        for number in range(6):
            add(session, username=f"p{number}", family="Martin" if number % 2 else "Martinez", given=f"g{number}")
    with database.read() as session:
        hits = find(session, ["martin"], limit=5)
        assert (len(set(hits.ids)), hits.more, hits.cut) == (5, True, False)
        assert not find(session, ["martin"], limit=6).more
        monkeypatch.setattr(search_index, "MOST_LOOKED_AT", 4)
        assert find(session, ["martin"], limit=6).cut
        assert not find(session, ["martin", "g3"], limit=6).cut, "the rarest word leads"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("dupnot", "dupont"),
        ("dupnt", "dupont"),
        ("duppont", "dupont"),
        ("dupomt", "dupont"),
        ("marie dupomt", "marie dupont"),
    ],
)
def test_a_typing_error_is_a_question_and_not_an_answer(database: Database, typed: str, meant: str) -> None:
    with database.begin() as session:
        add(session, username="m", given="Marie", family="Dupont")
    assert found(database, typed) == []
    with database.read() as session:
        assert nearly(session, typed.split()) == [meant.split()]


@pytest.mark.parametrize("typed", [["zzz"], ["dupomt", "louis"], ["marie", "louis"], ["m"]])
def test_nothing_is_proposed_that_would_find_nobody(database: Database, typed: Sequence[str]) -> None:
    with database.begin() as session:
        add(session, username="m", given="Marie", family="Dupont")
        add(session, username="louis", given="Louis", family="Petit")
    with database.read() as session:
        assert nearly(session, typed) == []


def test_the_spellings_near_a_word_are_one_letter_away() -> None:
    near = misspellings("abc")
    assert {"ab", "bac", "abx", "abcd", "xabc"} <= near
    assert "abc" not in near
    assert misspellings("ab") == set()


# --- It follows the account ---


def words_of(database: Database) -> dict[int, set[str]]:
    with database.read() as session:
        rows = session.execute(select(SearchWord.account_id, SearchWord.word)).all()
    found: dict[int, set[str]] = {}
    for number, word in rows:
        found.setdefault(number, set()).add(word)
    return found


def test_a_change_of_anything_changes_the_words_with_it(database: Database) -> None:
    with database.begin() as session:
        one = add(session, **ZOE)
        other = add(session, username="nemo", family="Personne", email="n@mail.example")
    with database.begin() as session:
        account = session.get_one(Account, one)
        account.family_name, account.unit = "Dupont", ""
        address = account.addresses[0]
        address.email, address.email_key = "zoe@mail.example", "zoe@mail.example"
    assert words_of(database)[one] == {
        "ext", "zmartin", "s", "anne", "zoe", "annezoe", "dupont", "lhopital", "hopital", "mail.example",
    }  # fmt: skip
    with database.begin() as session:
        session.get_one(Account, other).identities[0].account_id = one
        session.delete(session.get_one(Account, other).addresses[0])
    assert "nemo" in words_of(database)[one]
    assert words_of(database)[other] == {"nemo", "personne"}


@pytest.mark.parametrize("end", ["erased_at", "merged_into_id"])
def test_who_is_erased_or_merged_has_no_words_and_gets_them_back(database: Database, end: str) -> None:
    with database.begin() as session:
        one, other = add(session, **ZOE), add(session, username="nemo")
    before = words_of(database)
    with database.begin() as session:
        setattr(session.get_one(Account, one), end, NOW if end == "erased_at" else other)
    assert set(words_of(database)) == {other}
    with database.begin() as session:
        setattr(session.get_one(Account, one), end, None)
    assert words_of(database) == before


def test_who_goes_round_the_orm_asks_for_it(database: Database) -> None:
    with database.begin() as session:
        one = add(session, **ZOE)
    with database.begin() as session:
        session.execute(delete(Address))
        search_index.refresh(session, one)
    assert "etu.univ-nantes.fr" not in words_of(database)[one]


def test_a_change_that_is_taken_back_leaves_the_words(database: Database) -> None:
    with database.begin() as session:
        one = add(session, **ZOE)
    before = words_of(database)
    with database.begin() as session:
        session.get_one(Account, one).family_name = "Dupont"
        session.flush()
        session.rollback()
    assert words_of(database) == before


def test_a_longer_name_than_the_column_is_found_by_its_beginning(database: Database) -> None:
    with database.begin() as session:
        add(session, username="long", family="x" * 100)
    assert found(database, "x" * 100) == ["long"]
    assert max(len(word) for word in account_words(username="a", family_name="x" * 100)) == search_index.LONGEST


def test_on_postgresql_a_search_goes_by_the_index(database: Database) -> None:
    """Also with statistics of a full table, and whatever the language of the database: no table is gone through."""
    if database.is_sqlite:
        pytest.skip("SQLite: tests/external_accounts/test_look_ups_are_flat.py")
    with database.begin() as session:
        accounts = [
            {"id": n, "username": f"p{n}", "key": str(n), "profile": "x", "created_at": NOW} for n in range(1, 20_001)
        ]
        session.execute(insert(Account), accounts)
        rows = [
            row
            for n in range(1, 20_001)
            for row in search_index.rows(n, username=f"p{n}", given_name=f"given{n % 900}", family_name=f"Name{n}")
        ]
        session.execute(insert(SearchWord), rows)
    with database.engine.begin() as connection:
        connection.execute(text("ANALYZE"))
    with database.read() as session:
        for question in (["name777"], ["given12", "name912"], ["p"]):
            query = search_index._accounts(question, None, exact=False).limit(51)
            compiled = query.compile(database.engine, compile_kwargs={"literal_binds": True})
            plan = "\n".join(row[0] for row in session.execute(text(f"EXPLAIN {compiled}".replace(":", "\\:"))))
            assert "Seq Scan on search_words" not in plan, plan
            assert find(session, question).ids
