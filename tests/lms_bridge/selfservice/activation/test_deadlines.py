"""D08: each deadline over HTTP, a second before, at it, and after; what the mail says is what holds."""

from __future__ import annotations

import re

import pytest

from tests.bridge_under_test import heading
from tests.lms_bridge.mailing import in_french, link_in
from tests.lms_bridge.selfservice.activation.town import (
    CHOSEN,
    DONE,
    EXPIRED,
    LAST,
    SECOND,
    WAITING,
    Town,
    at_paris,
)

IDENTITY = in_french("Is this you?")


def stated(text: str) -> str:
    """The deadline of a mail, in its words."""
    found = re.search(r"jusqu'au (.*?), heure de Paris", text)
    assert found, text
    return found.group(1).replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("announced", "ends", "words"),
    [
        ("2026-11-24 10:00", "2026-11-25 23:59", "mercredi 25 novembre 2026 à 23 h 59"),
        # The nights in which the clock is changed, and the leap day.
        ("2026-03-28 12:00", "2026-03-29 23:59", "dimanche 29 mars 2026 à 23 h 59"),
        ("2026-10-24 12:00", "2026-10-25 23:59", "dimanche 25 octobre 2026 à 23 h 59"),
        ("2028-02-28 12:00", "2028-02-29 23:59", "mardi 29 février 2028 à 23 h 59"),
    ],
)
def test_d08_tok_13_the_first_link_lasts_until_the_next_day_23_59(
    town: Town, announced: str, ends: str, words: str
) -> None:
    at_paris(town, announced)
    link = town.first_link()
    assert stated(town.mailbox.newest().text) == words
    at_paris(town, ends)
    town.bridge.clock.moment -= SECOND
    assert heading(town.open(link).page) == IDENTITY
    for _ in range(2):
        town.bridge.clock.moment += SECOND
        page = town.open(link).page
        assert (page.status_code, heading(page)) == (410, EXPIRED)


@pytest.mark.parametrize(
    ("asked", "ends", "words"),
    [
        ("2026-11-24 10:00", "2026-11-24 23:59", "mardi 24 novembre 2026 à 23 h 59"),
        ("2026-11-24 21:00", "2026-11-25 03:00", "mercredi 25 novembre 2026 à 3 h 00"),
        ("2026-10-24 22:00", "2026-10-25 03:00", "dimanche 25 octobre 2026 à 3 h 00"),
    ],
)
def test_d08_a_link_that_was_asked_for_lasts_until_23_59_of_the_day_or_six_hours(
    town: Town, asked: str, ends: str, words: str
) -> None:
    at_paris(town, asked)
    town.announce(mail=False)
    link = town.asked_link()
    assert stated(town.mailbox.newest().text) == words
    at_paris(town, ends)
    town.bridge.clock.moment -= SECOND
    assert heading(town.open(link).page) == IDENTITY
    town.bridge.clock.moment += SECOND
    assert heading(town.open(link).page) == EXPIRED


def test_d07_a_link_that_is_too_old_sends_a_new_one_with_one_click_and_names_nobody(town: Town) -> None:
    link = town.first_link()
    town.bridge.clock.forward(days=3)
    browser = town.open(link)
    assert heading(browser.page) == EXPIRED
    shown = re.sub(r"[\w.-]{40,}", "", browser.page.text)
    assert not any(private in shown for private in ("nlopez", "Nora", "mail.example"))
    assert heading(browser.submit()) == WAITING
    again = link_in(town.mailbox.newest())
    assert again != link
    assert heading(town.finish(again).page) == DONE


def test_d06_asking_twice_sends_the_same_link_and_the_first_mail_stays_good(town: Town) -> None:
    first = town.first_link()
    asked = town.asked_link()
    town.bridge.clock.forward(minutes=5)
    assert town.asked_link("nlopez@univ.example") == asked
    assert asked != first
    assert heading(town.open(first).page) == IDENTITY
    assert heading(town.finish(asked).page) == DONE
    assert heading(town.open(first).page) == in_french("This account is already activated")


def test_the_deadline_passes_in_the_middle_and_the_answers_stay(town: Town) -> None:
    browser = town.up_to_password(town.first_link(), directory="yes")
    town.bridge.clock.forward(days=3)
    assert heading(browser.submit(password=CHOSEN, password_again=CHOSEN)) == EXPIRED
    assert not town.directory.verify("nlopez", CHOSEN)
    browser.submit()
    new = town.open(link_in(town.mailbox.newest()))
    assert heading(new.page) == LAST


def test_greylisting_leaves_the_23_59_where_it_is(town: Town) -> None:
    at_paris(town, "2026-11-24 10:00")
    town.announce(mail=False)
    town.mailbox.refuse_with("451 4.7.1 greylisted")
    town.ask()
    town.mailbox.all()
    town.bridge.clock.forward(hours=1)
    town.mailbox.refuse_with(None)
    mail = town.mailbox.newest()
    assert stated(mail.text) == "mardi 24 novembre 2026 à 23 h 59"
    at_paris(town, "2026-11-24 23:59")
    assert heading(town.open(link_in(mail)).page) == EXPIRED


def test_a_mail_that_is_taken_in_the_last_hours_still_leaves_six(town: Town) -> None:
    at_paris(town, "2026-11-24 10:00")
    town.announce(mail=False)
    town.mailbox.refuse_with("451 4.7.1 greylisted")
    town.ask()
    town.mailbox.all()
    at_paris(town, "2026-11-24 23:00")
    town.mailbox.refuse_with(None)
    mail = town.mailbox.newest()
    assert stated(mail.text) == "mercredi 25 novembre 2026 à 5 h 00"
    at_paris(town, "2026-11-25 05:00")
    town.bridge.clock.moment -= SECOND
    assert heading(town.open(link_in(mail)).page) == IDENTITY
    town.bridge.clock.moment += SECOND
    assert heading(town.open(link_in(mail)).page) == EXPIRED


def test_hours_are_counted_from_the_moment_the_mail_is_taken(town: Town) -> None:
    at_paris(town, "2026-11-24 10:00")
    town.announce("sdiallo", profile="student")
    town.mailbox.refuse_with("451 4.7.1 greylisted")
    town.mailbox.all()
    town.bridge.clock.forward(hours=1)
    town.mailbox.refuse_with(None)
    assert stated(town.mailbox.newest().text) == "jeudi 26 novembre 2026 à 11 h 00"
