"""What the scenarios leave behind on a real site: nobody, or people put out of the way."""

from __future__ import annotations

import pytest

from moodle_ws import AnswerLost
from moodle_ws.simulator.site import ALL_CAPABILITIES
from tests.live.moodle_under_test import LEFTOVER, MoodleUnderTest, simulated_moodle


def living(moodle: MoodleUnderTest) -> list[str]:
    assert moodle.simulated is not None
    return [user.username for user in moodle.simulated.site.living() if user.auth == moodle.auth]


def test_everybody_made_by_a_test_is_deleted() -> None:
    with simulated_moodle() as moodle:
        moodle.create(1)
        moodle.create(2, username=moodle.name("two"))
        moodle.clean_up()
        assert living(moodle) == []


def test_somebody_whose_creation_was_not_answered_is_deleted_too() -> None:
    with simulated_moodle() as moodle:
        assert moodle.simulated is not None
        moodle.simulated.faults.next("lost")
        with pytest.raises(AnswerLost):
            moodle.create()
        assert living(moodle) == [moodle.name(1)]
        moodle.clean_up()
        assert living(moodle) == []


def test_a_token_that_may_not_delete_suspends_and_renames() -> None:
    with simulated_moodle() as moodle:
        assert moodle.simulated is not None
        token = moodle.simulated.site.tokens[moodle.simulated.site.options.token]
        token.capabilities = ALL_CAPABILITIES - {"moodle/user:delete"}
        number = moodle.create(idnumber=moodle.name("key"))
        moodle.clean_up()
        user = moodle.simulated.site.users[number]
        assert (user.username, user.idnumber, user.suspended) == (f"{LEFTOVER}{number}", "", True)
