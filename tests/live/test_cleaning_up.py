"""What the scenarios leave behind on a real site: nobody, or people put out of the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from moodle_ws import AnswerLost, UserUpdate
from moodle_ws.simulator.site import ALL_CAPABILITIES
from tests.live.kept_site import kept_site
from tests.live.moodle_under_test import LEFTOVER, MoodleUnderTest, simulated_moodle
from tests.lms_bridge.sync.site_runs import edit, run


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


def test_everybody_a_run_made_is_deleted_although_the_scenario_failed(tmp_path: Path) -> None:
    with simulated_moodle() as moodle:
        assert moodle.simulated is not None
        with pytest.raises(ZeroDivisionError):
            _fail_after_two_runs(moodle, tmp_path)
        assert len(living(moodle)) == 4  # the canary
        moodle.clean_up()
        assert living(moodle) == []


def _fail_after_two_runs(moodle: MoodleUnderTest, folder: Path) -> None:
    with kept_site(moodle, folder) as site:
        names = site.add(3)
        run(site)
        edit(site, names[0], username=moodle.name("renamed"))
        run(site)
        raise ZeroDivisionError


def test_a_run_that_wrote_to_somebody_elses_user_is_caught(tmp_path: Path) -> None:
    with simulated_moodle() as moodle, kept_site(moodle, tmp_path) as site:
        stranger = site.stranger("stranger")
        site.client.update_users([UserUpdate(id=stranger.id, suspended=False)])
        with pytest.raises(AssertionError, match="not the bridge's"):
            site.check_strangers()
        site.client.written.clear()
        site.change_there(stranger.username or "", lastname="Changed")
        with pytest.raises(AssertionError):
            site.check_strangers()
        site.strangers.clear()


def test_a_token_that_may_not_delete_suspends_and_renames() -> None:
    with simulated_moodle() as moodle:
        assert moodle.simulated is not None
        token = moodle.simulated.site.tokens[moodle.simulated.site.options.token]
        token.capabilities = ALL_CAPABILITIES - {"moodle/user:delete"}
        number = moodle.create(idnumber=moodle.name("key"))
        moodle.clean_up()
        user = moodle.simulated.site.users[number]
        assert (user.username, user.idnumber, user.suspended) == (f"{LEFTOVER}{number}", "", True)
