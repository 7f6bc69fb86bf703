"""The ceremony with a Moodle behind the bridge: which account it proposes to keep, and what Moodle looks like after it.

Both of a person's accounts have a user in Moodle; whatever is kept, one of the two goes on, renamed in place, and the
person enters with it at once by either door (D27, D28).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import select

from external_accounts.audit import SYSTEM
from lms_bridge.schema import MoodleMerge
from lms_bridge.sync import merge_list
from moodle_ws.simulator import SimulatedMoodle, SimulatorOptions, User
from tests.bridge_under_test import SERVICES
from tests.lms_bridge.mailing import in_french
from tests.lms_bridge.selfservice.account.conftest import words
from tests.lms_bridge.selfservice.links.town import Links, linking_bridge

LEARNER, MEMBER = "ext.ada", "adupont"
ADA = f"{LEARNER}@mail.example"


@dataclass
class School:
    links: Links
    moodle: SimulatedMoodle
    service: str

    def user(self, moodle_id: int) -> User:
        return next(user for user in self.moodle.site.users.values() if user.id == moodle_id)

    def id_of(self, username: str) -> int:
        return next(user.id for user in self.moodle.site.users.values() if user.username == username)

    def settle(self) -> None:
        for _ in range(5):
            self.links.bridge.runner.run_once()
            self.links.bridge.clock.forward(seconds=30)


@contextmanager
def running_school(folder: Path) -> Iterator[School]:
    moodle = SimulatedMoodle(SimulatorOptions())
    with moodle.serve() as handle:
        service = f"{handle.url}/login/index.php"
        updago = {"name": "updago", "label": {"fr": "UPdago", "en": "UPdago"}, "url": service, "site": "updago"}
        site = {"name": "updago", "url": handle.url, "token": moodle.site.options.token, "read_timeout": 2}
        with linking_bridge(folder, services=[updago, *SERVICES], sites=[site]) as links:
            moodle.site.options = replace(moodle.site.options, cas_url=f"{links.bridge.url}/cas", cas_verify=False)
            links.learner(LEARNER)
            links.member(MEMBER)
            links.by_password(LEARNER).ticket(service)
            links.by_cas(MEMBER).ticket(service)
            yield School(links, moodle, service)


@pytest.fixture
def school(tmp_path: Path) -> Iterator[School]:
    with running_school(tmp_path) as running:
        yield running


@pytest.mark.parametrize("more", [LEARNER, MEMBER])
def test_the_one_with_more_courses_is_proposed_and_the_reason_said(school: School, more: str) -> None:
    school.moodle.site.enrolments |= {(school.id_of(more), course, 5) for course in (2, 3)}
    ada = school.links.by_password(LEARNER)
    school.links.begin(ada)
    school.links.show_cas(ada, MEMBER)
    assert in_french("It takes part in more courses.") in words(ada.page)
    chosen = "this" if more == LEARNER else "other"
    assert f'value="{chosen}" id="keep-{chosen}" checked' in ada.page.text


def test_a_moodle_that_is_down_holds_up_nobody(school: School) -> None:
    school.moodle.site.maintenance_cli = True
    ada = school.links.by_password(LEARNER)
    school.links.begin(ada)
    school.links.show_cas(ada, MEMBER)
    assert in_french("It is the older one; which was used more we could not find out.") in words(ada.page)
    school.links.confirm(ada)
    assert school.links.usernames().keys() == {MEMBER}


@pytest.mark.parametrize("keep", ["this", "other"])
def test_d28_one_moodle_user_goes_on_under_the_name_of_the_university_and_by_either_door(
    school: School, keep: str
) -> None:
    learner, member = school.id_of(LEARNER), school.id_of(MEMBER)
    kept, other = (learner, member) if keep == "this" else (member, learner)
    ada = school.links.by_password(LEARNER)
    school.links.begin(ada)
    school.links.show_cas(ada, MEMBER)
    school.links.confirm(ada, keep=keep)
    # One second later, before any background work: at the door.
    for browser in (school.links.by_cas(MEMBER), school.links.by_password(LEARNER)):
        ticket = browser.ticket(school.service)
        assert f"<cas:user>{MEMBER}</cas:user>" in school.links.bridge.validate(ticket, service=school.service).text
    school.settle()
    assert (school.user(kept).username, school.user(kept).suspended) == (MEMBER, False)
    assert school.user(other).suspended
    assert school.user(other).username not in (MEMBER, LEARNER)
    assert not school.user(other).deleted
    assert school.user(kept).email == f"{MEMBER}@univ.example"


def test_d28_an_undo_gives_both_moodle_users_back(school: School) -> None:
    learner, member = school.id_of(LEARNER), school.id_of(MEMBER)
    before = {one: (school.user(one).username, school.user(one).email) for one in (learner, member)}
    ada = school.links.by_password(LEARNER)
    school.links.begin(ada)
    school.links.show_cas(ada, MEMBER)
    school.links.confirm(ada)
    school.settle()
    assert school.links.undo(ADA).status_code == 200
    school.settle()
    for browser in (school.links.by_cas(MEMBER), school.links.by_password(LEARNER)):
        assert browser.ticket(school.service)
    school.settle()
    assert {one: (school.user(one).username, school.user(one).email) for one in (learner, member)} == before
    assert not any(school.user(one).suspended for one in (learner, member))


@pytest.mark.parametrize("moved", [False, True])
def test_an_undo_says_that_moved_course_work_does_not_come_back(school: School, moved: bool) -> None:
    bridge = school.links.bridge
    ada = school.links.by_password(LEARNER)
    school.links.begin(ada)
    school.links.show_cas(ada, MEMBER)
    school.links.confirm(ada)
    with bridge.runtime.database.begin() as session:
        [merge] = session.scalars(select(MoodleMerge))
        if moved:
            merge_list.mark_done(session, merge.id, by="desk", now=bridge.clock(), origin=SYSTEM)
    assert school.links.undo(ADA).status_code == 200
    parted = in_french(
        "Two accounts that had been joined are two again, each as it was before. Everybody was signed out."
    )
    stays = in_french(
        "What was moved from one to the other in Moodle meanwhile stays where it is: for that, write to the help desk."
    )
    told = [" ".join(mail.text.split()) for mail in school.links.mails_to(ADA)]
    [last] = [text for text in told if parted in text]
    assert (stays in last) is moved
