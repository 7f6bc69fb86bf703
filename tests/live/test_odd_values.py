"""Values nobody means to send: what a Moodle makes of them, and that the client stops those it would refuse."""

from __future__ import annotations

from typing import Any

import pytest

from moodle_ws import BadRequest, BadRow, UserUpdate
from tests.live.moodle_under_test import MoodleUnderTest

ADDRESSES = [
    ("o'brien{}@c.example", True),
    ("{}a+b@c.example", True),
    ("{}%/=?^`|~!#$&*@c.example", True),
    ("{}A@C.EXAMPLE", True),
    ("{}a@c.e", True),
    ("{}a@c.1a.example", True),
    ("{}a@xn--caf-dma.example", True),
    ("{}" + "l" * 50 + "@c.example", True),
    ("{}" + "l" * 51 + "@c.example", False),
    ("{}a@" + "d" * 63 + ".example", True),
    ("{}a@" + "d" * 64 + ".example", False),
    ("{}", False),
    ("{}a@localhost", False),
    ("{}..a@c.example", False),
    (".{}a@c.example", False),
    ("{}a.@c.example", False),
    ("{}é@c.example", False),
    ("{}a@é.example", False),
    ("{}a@-c.example", False),
    ("{}a@c-.example", False),
    ("{}a@c.-e", False),
    ("{}a@c.e-", False),
    ("{}a@c_d.example", False),
    ("{}a@c.123", False),
    ("{}a@c.1a", False),
    ("{}a@c.example.", False),
    ("{}a,b@c.example", False),
    ("{}a@b@c.example", False),
    ("{}a b@c.example", False),
    (" {}a@c.example", False),
    ("", False),
]
OTHERS = [
    ("firstname", "A &amp; B", True),
    ("firstname", "x < y", True),
    ("firstname", "a<b", False),
    ("firstname", "A\tB", True),
    ("firstname", "a\\b {mlang en}", True),
    ("lastname", "", False),
    ("lastname", " ", False),
    ("idnumber", " k ", True),
    ("idnumber", "<b>k</b>", True),
    ("lang", "", False),
    ("lang", "xx", False),
    ("auth", "", False),
    ("auth", "notthere", False),
    ("auth", "CAS", False),
    ("auth", "shibboleth", True),
    ("username", "", False),
    ("username", "Capital", False),
    ("username", "a b", False),
    ("username", "a+b", False),
    ("username", "é", False),
]


def create_raw(moodle: MoodleUnderTest, **values: str) -> None:
    row: dict[str, Any] = {name: value for name, value in vars(moodle.person()).items() if value is not None}
    moodle.client.call("core_user_create_users", {"users": [row | values]}, read=False)


@pytest.mark.parametrize(("pattern", "taken"), ADDRESSES)
def test_the_client_lets_through_the_addresses_that_moodle_takes(
    moodle: MoodleUnderTest, pattern: str, taken: bool
) -> None:
    email = pattern.format(moodle.prefix.ljust(14, "x"))
    if taken:
        moodle.create(email=email)
        assert moodle.client.users_by_field("email", [email])[0].email == email
        return
    with pytest.raises(BadRequest):
        create_raw(moodle, email=email)
    with pytest.raises(BadRow) as caught:
        moodle.create(email=email)
    assert caught.value.field == "email", "refused before it is sent"


@pytest.mark.parametrize(("field", "value", "taken"), OTHERS)
def test_other_values_are_taken_or_refused(moodle: MoodleUnderTest, field: str, value: str, taken: bool) -> None:
    if taken:
        create_raw(moodle, **{field: value})
        (user,) = moodle.client.users_by_field("username", [moodle.name(1)])
        assert getattr(user, field) in {value, None}, "as sent, or not shown"
        return
    with pytest.raises(BadRequest):
        create_raw(moodle, **{field: value})
    with pytest.raises(BadRow):
        moodle.create(**{field: value})


def test_an_update_would_take_a_user_without_a_sign_in_method_and_the_client_does_not_send_it(
    moodle: MoodleUnderTest,
) -> None:
    number = moodle.create()
    (outcome,) = moodle.client.update_users([UserUpdate(id=number, auth="")])
    assert outcome.code == "badrow/auth"
    assert moodle.user(number).auth == moodle.auth
    row = {"id": number, "auth": ""}
    try:
        assert moodle.client.call("core_user_update_users", {"users": [row]}, read=False) == {"warnings": []}
        assert moodle.user(number).auth in {"", None}
    finally:  # such a user cannot even be deleted
        assert moodle.client.update_users([UserUpdate(id=number, auth=moodle.auth)])[0].applied


def test_a_country_is_changed_and_an_unknown_one_becomes_nought(moodle: MoodleUnderTest) -> None:
    number = moodle.create()
    for sent, stored in (("FR", "FR"), ("ZZ", None)):
        moodle.client.call("core_user_update_users", {"users": [{"id": number, "country": sent}]}, read=False)
        assert moodle.user(number).country in {stored, "0" if stored is None else stored}
