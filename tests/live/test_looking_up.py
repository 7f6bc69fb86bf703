"""Finding people: by every field, byte for byte, and what it means when nobody comes back."""

from __future__ import annotations

from typing import Literal

import pytest

from moodle_ws import BadRequest, MoodleUser
from tests.live.moodle_under_test import MoodleUnderTest, RememberingClient

NOBODY = 2_000_000_000


def test_the_site_says_who_it_is_and_what_may_be_called(moodle: MoodleUnderTest) -> None:
    moodle.offers("core_webservice_get_site_info")
    info = moodle.client.site_info()
    assert info.siteurl == moodle.url
    assert info.branch is not None
    assert info.userissiteadmin is False, "a bridge needs no administrator"
    needed = {"core_user_get_users_by_field", "core_user_create_users", "core_user_update_users"}
    assert info.missing_functions(frozenset(needed)) == frozenset()


@pytest.mark.parametrize("field", ["id", "username", "email", "idnumber"])
def test_people_are_found_by_every_field_among_unknown_values(
    moodle: MoodleUnderTest, field: Literal["id", "username", "email", "idnumber"]
) -> None:
    rows = [moodle.person(number, idnumber=moodle.name(f"key{number}")) for number in range(3)]
    ids = [created.id for created in moodle.client.create_users(rows)]
    values: list[str | int] = list(ids) if field == "id" else [getattr(row, field) for row in rows]
    unknown = NOBODY if field == "id" else moodle.name("nobody") + "@mail.example"
    found = moodle.client.users_by_field(field, [values[2], unknown, values[0], values[1]])
    assert [user.id for user in found] == ids
    assert moodle.client.users_by_field(field, [unknown]) == []


def test_what_the_bridge_decides_by_is_visible_of_other_accounts(moodle: MoodleUnderTest) -> None:
    """The service user sees itself whole whatever it may see of others (`caps-none-sees-itself`)."""
    number = moodle.create()
    user = moodle.user(number)
    assert None not in (user.username, user.auth, user.suspended, user.confirmed, user.email)
    assert user.idnumber is None, "empty and hidden look the same"
    assert user.looks_deleted is False


def test_who_is_not_shown_may_exist_all_the_same(moodle: MoodleUnderTest) -> None:
    if not moodle.blind_token:
        moodle.cannot("no token that sees nobody is named (LMS_BRIDGE_LIVE_MOODLE_BLIND_TOKEN)")
    number = moodle.create()
    with RememberingClient(moodle.url, moodle.blind_token) as blind:
        assert blind.users_by_field("id", [number]) == []
        assert blind.users_by_field("username", [moodle.name(1)]) == []
        assert blind.users_by_field("email", [moodle.email(1)]) == []


def test_keys_are_told_apart_by_case_accent_and_blank(moodle: MoodleUnderTest) -> None:
    keys = [moodle.name(key) for key in ("EMP", "emp", "ÉMP", "EMP.")]
    ids = {key: moodle.create(number, idnumber=key) for number, key in enumerate(keys)}
    for key in keys:
        assert [user.id for user in moodle.client.users_by_field("idnumber", [key])] == [ids[key]]


def test_an_address_in_another_case_finds_its_user_or_nobody(moodle: MoodleUnderTest) -> None:
    """By field PostgreSQL compares with case and MariaDB without; searching ignores it on both."""
    number = moodle.create("Case", username=moodle.name("case"))
    lower = moodle.email("Case").lower()
    assert moodle.client.users_by_field("email", [moodle.email("Case")])[0].id == number
    assert {user.id for user in moodle.client.users_by_field("email", [lower])} <= {number}
    moodle.offers("core_user_get_users")
    assert [user.id for user in moodle.client.search_users({"email": lower})] == [number]


def test_an_address_with_wild_cards_finds_nobody_else(moodle: MoodleUnderTest) -> None:
    moodle.offers("core_user_get_users")
    moodle.create("axb")
    number = moodle.create("a_b")
    assert [user.id for user in moodle.client.search_users({"email": moodle.email("a_b")})] == [number]


@pytest.mark.parametrize("key", ["username", "idnumber", "id"])
def test_searching_by_one_key_finds_exactly_that_person(moodle: MoodleUnderTest, key: str) -> None:
    moodle.offers("core_user_get_users")
    ids = [moodle.create(number, idnumber=moodle.name(f"key{number}")) for number in range(2)]
    value = {"username": moodle.name(1), "idnumber": moodle.name("key1"), "id": str(ids[1])}[key]
    assert [user.id for user in moodle.client.search_users({key: value})] == [ids[1]]


def test_a_deleted_user_is_found_by_id_and_recognised(moodle: MoodleUnderTest) -> None:
    moodle.offers("core_user_delete_users")
    number = moodle.create(idnumber=moodle.name("key"))
    moodle.delete([number])
    assert moodle.user(number).looks_deleted is True
    assert moodle.client.users_by_field("username", [moodle.name(1)]) == []
    assert moodle.client.users_by_field("email", [moodle.email(1)]) == []
    assert moodle.client.users_by_field("idnumber", [moodle.name("key")]) == []
    assert moodle.create(idnumber=moodle.name("key")) != number, "name and address are free again"


def test_an_id_beyond_every_number_of_php_is_refused(moodle: MoodleUnderTest) -> None:
    assert moodle.client.users_by_field("id", [2**63]) == []
    with pytest.raises(BadRequest):
        moodle.client.users_by_field("id", [10**19 - 1])


def test_both_formats_say_the_same(moodle: MoodleUnderTest) -> None:
    with moodle.another_client(answer_format="xml") as xml:
        rows = [moodle.person(number, idnumber=moodle.name(f"key{number}")) for number in range(2)]
        ids = [created.id for created in xml.create_users(rows)]
        in_xml: list[MoodleUser] = xml.users_by_field("id", ids)
        assert in_xml == moodle.client.users_by_field("id", ids)
        assert [user.username for user in in_xml] == [moodle.name(0), moodle.name(1)]
