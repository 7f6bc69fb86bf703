"""What the help desk finds before two accounts are joined, while they are one, and after they were parted again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from external_accounts.institution_schema import NameKey
from external_accounts.linking_schema import SearchWord
from tests.lms_bridge.selfservice.links.town import Links, linking_bridge

ADA = "ext.ada@mail.example"


@pytest.fixture
def links(tmp_path: Path) -> Iterator[Links]:
    desk = {"members": [{"role": "agent", "usernames": ["ext.desk"]}]}
    with linking_bridge(tmp_path, help_desk=desk) as found:
        found.learner("ext.desk")
        yield found


def indexes(links: Links) -> tuple[set[tuple[str, int]], set[tuple[int, int]]]:
    with links.bridge.runtime.database.read() as session:
        words = {(word, number) for word, number in session.execute(select(SearchWord.word, SearchWord.account_id))}
        names = {(key, number) for key, number in session.execute(select(NameKey.key, NameKey.account_id))}
    return words, names


@pytest.mark.parametrize("keep", ["this", "other"])
def test_the_kept_account_is_found_by_the_words_of_both_and_an_undo_parts_them(links: Links, keep: str) -> None:
    links.learner()
    links.member("adupont")
    links.by_cas("adupont")
    desk = links.by_password("ext.desk")
    before = indexes(links)
    ada = links.by_password("ext.ada")
    links.begin(ada)
    links.show_cas(ada, "adupont")
    links.confirm(ada, keep=keep)
    kept = links.usernames()["adupont"]
    for question in ("adupont", "ext.ada", ADA, "adupont@univ.example", "lovelace"):
        page = desk.get(f"/helpdesk?q={question}").text
        assert f'href="/helpdesk/accounts/{kept}"' in page, question
    assert links.undo(ADA).status_code == 200
    assert indexes(links) == before
