"""The pages: my extension request, the link of the sponsor's mail, the console of the help desk."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pytest
import requests
from sqlalchemy import select

from external_accounts.institution_schema import Extension
from external_accounts.local_calendar import add_months, end_of_day, local_day
from external_accounts.schema import Proof
from tests.bridge_under_test import APP, PASSWORD, forms, heading
from tests.lms_bridge.lifecycle.conftest import Town, words
from tests.lms_bridge.mailing import in_french, path_of

PAGE = "/account/extension"
DESK = "/helpdesk/extensions"


def today(town: Town) -> date:
    return local_day(town.clock(), town.bridge.runtime.settings.zone)


def ends(town: Town, days: int) -> date:
    return today(town) + timedelta(days=days)


def adjunct(town: Town, *, days: int = 20, sponsor: bool = True, username: str = "ext.ada") -> int:
    """Somebody whose rights end in so many days, and who answers for them."""
    zone = town.bridge.runtime.settings.zone
    turing = 2
    return town.person(
        username, rights_end_at=end_of_day(ends(town, days), zone), sponsor_id=turing if sponsor else None
    )


def asked(town: Town, username: str = "ext.ada", *, days: int = 60) -> requests.Response:
    browser = town.browser(username)
    browser.get(PAGE)
    return browser.submit(until=ends(town, days).isoformat(), reason="L2 physics")


def extension(town: Town) -> Extension:
    with town.bridge.runtime.database.read() as session:
        found = session.scalars(select(Extension).order_by(Extension.id.desc())).first()
        assert found is not None
        return found


def test_a_person_asks_sees_the_state_and_takes_it_back(town: Town) -> None:
    adjunct(town)
    page = asked(town)
    assert in_french("Your request waits for an answer") in words(page)
    assert "L2 physics" in words(page)
    browser = town.browser("ext.ada")
    page = browser.get(PAGE)
    assert [action for action, *_ in forms(page)] == ["/account/extension/withdraw"]
    page = browser.submit()
    assert in_french("Your request is withdrawn.") in words(page)
    assert extension(town).state == "withdrawn"
    assert in_french("Send my request") in words(page)


@pytest.mark.parametrize("typed", ["", "soon", "2027-02-31"])
def test_what_is_no_day_is_said_and_nothing_typed_is_lost(town: Town, typed: str) -> None:
    adjunct(town)
    browser = town.browser("ext.ada")
    browser.get(PAGE)
    page = browser.submit(until=typed, reason="L2 <b>physics</b>")
    assert page.status_code == 422
    assert in_french("This is not a date. It looks like 2027-06-30.") in words(page)
    assert "L2 &lt;b&gt;physics&lt;/b&gt;" in page.text


def test_a_day_too_far_away_is_refused_with_the_last_one_possible(town: Town) -> None:
    adjunct(town)
    page = asked(town, days=400)
    assert page.status_code == 422
    assert str(add_months(ends(town, 20), 6).year) in words(page)


def test_without_an_end_or_a_policy_the_page_says_whom_to_see(town: Town) -> None:
    town.person("ext.kept")
    assert in_french("Your access does not end by itself: there is nothing to extend.") in words(
        town.browser("ext.kept").get(PAGE)
    )
    town.person("ext.guest", profile="learner", rights_end_at=town.clock() + timedelta(days=3))
    page = town.browser("ext.guest").get(PAGE)
    assert "la formation continue" in words(page)
    assert forms(page) == []


def test_nobody_reaches_the_page_without_signing_in(town: Town) -> None:
    assert town.bridge.browser().get(PAGE, follow=False).status_code in (302, 303)


def test_the_sponsor_decides_by_one_click_from_the_mail_without_signing_in_i11(town: Town) -> None:
    number = adjunct(town)
    asked(town)
    link = path_of(town.link("ext.turing@mail.example"))
    sponsor = town.bridge.browser()
    for _ in range(2):
        page = sponsor.get(link)
        assert extension(town).state == "waiting"
        assert heading(page) == "Prolongation pour Ada Lovelace"
    head = requests.head(town.bridge.url + link, timeout=20)
    assert (head.status_code, extension(town).state) == (200, "waiting")
    page = sponsor.submit(decision="accept", until=ends(town, 60).isoformat())
    assert in_french("Granted") in words(page)
    zone = town.bridge.runtime.settings.zone
    assert town.account(number).rights_end_at == end_of_day(ends(town, 60), zone)
    assert in_french("Your access is extended") in town.mails_to("ext.ada@mail.example")[-1].html
    assert sponsor.get("/account", follow=False).status_code == 303, "a link signs nobody in"


def test_a_refusal_carries_its_reason_to_the_mail_and_the_page(town: Town) -> None:
    adjunct(town)
    asked(town)
    sponsor = town.bridge.browser()
    sponsor.get(path_of(town.link("ext.turing@mail.example")))
    sponsor.submit(1, decision="refuse", reason="no course <next> year")
    assert "no course <next> year" in town.mails_to("ext.ada@mail.example")[-1].text
    assert "no course &lt;next&gt; year" in town.browser("ext.ada").get(PAGE).text


def test_the_link_shows_what_became_of_the_request_after_it_was_used(town: Town) -> None:
    adjunct(town)
    asked(town)
    link = path_of(town.link("ext.turing@mail.example"))
    sponsor = town.bridge.browser()
    sponsor.get(link)
    sponsor.submit(1, decision="refuse")
    page = sponsor.get(link)
    assert (page.status_code, forms(page)) == (200, [])
    assert in_french("Refused") in words(page)


def test_a_link_that_was_overtaken_says_so(town: Town) -> None:
    adjunct(town)
    asked(town)
    link = path_of(town.link("ext.turing@mail.example"))
    desk = town.browser("ext.desk")
    desk.get(f"{DESK}/{extension(town).id}")
    assert in_french("Granted") in words(desk.submit(decision="accept"))
    page = town.bridge.browser().get(link)
    assert in_french("Somebody decided before you, or the request was withdrawn.") in words(page)
    assert forms(page) == []


def test_a_strange_a_changed_and_an_old_link_open_nothing(town: Town) -> None:
    adjunct(town)
    asked(town)
    link = path_of(town.link("ext.turing@mail.example"))
    handle, _, token = link.rpartition("/")
    changed = ("a" if token[0] != "a" else "b") + token[1:]
    assert town.bridge.browser().get(f"{handle}/{changed}").status_code == 404
    assert town.bridge.browser().get("/extension/nothing").status_code == 404
    assert town.bridge.browser().get(link.replace("/extension/", "/account/keep/")).status_code == 404
    town.clock.forward(days=15)
    assert town.bridge.browser().get(link).status_code == 410


def test_two_deciders_at_once_one_wins_and_the_other_reads_it(town: Town) -> None:
    adjunct(town)
    asked(town)
    link = path_of(town.link("ext.turing@mail.example"))
    sponsor, desk = town.bridge.browser(), town.browser("ext.desk")
    sponsor.get(link)
    desk.get(f"{DESK}/{extension(town).id}")
    with ThreadPoolExecutor(2) as pool:
        answers = [
            pool.submit(sponsor.submit, decision="accept", until=ends(town, 60).isoformat()),
            pool.submit(desk.submit, 1, decision="refuse", reason="no"),
        ]
        pages = [answer.result() for answer in answers]
    decided = in_french("Granted" if extension(town).state == "accepted" else "Refused")
    assert all(decided in words(page) for page in pages)
    assert len([mail for mail in town.mails_to("ext.ada@mail.example") if "prolong" in mail.subject]) == 1


def test_the_desk_sees_all_and_a_sponsor_sees_theirs(town: Town) -> None:
    adjunct(town)
    adjunct(town, sponsor=False, username="ext.grace")
    asked(town)
    asked(town, "ext.grace")
    desk = town.browser("ext.desk").get(DESK)
    assert desk.text.count('class="card door"') == 2
    sponsor = town.browser("ext.turing")
    assert sponsor.get(DESK).text.count('class="card door"') == 1
    assert sponsor.get(f"{DESK}/{extension(town).id}").status_code == 404
    assert town.mails_to("aide@univ.example")
    assert town.browser("ext.ada").get(DESK).status_code == 403


def test_the_mail_to_the_desk_leads_through_the_sign_in_to_the_request(town: Town) -> None:
    adjunct(town, sponsor=False)
    asked(town)
    path = f"{DESK}/{extension(town).id}"
    assert path in town.mails_to("aide@univ.example")[-1].text
    browser = town.bridge.browser()
    browser.get(path)
    browser.get("/signin/local")
    page = browser.submit(identifier="ext.desk", password=PASSWORD)
    assert heading(page) == "Prolongation pour Ada Lovelace"


def test_nobody_decides_on_their_own_request(town: Town) -> None:
    town.change(1, rights_end_at=town.clock() + timedelta(days=20))
    asked(town, "ext.desk")
    desk = town.browser("ext.desk")
    assert 'class="card door"' not in desk.get(DESK).text
    assert desk.get(f"{DESK}/{extension(town).id}").status_code == 404


def test_a_decider_who_types_no_day_or_one_too_late_decides_nothing(town: Town) -> None:
    adjunct(town)
    asked(town)
    desk = town.browser("ext.desk")
    for typed in ("soon", "2099-01-01"):
        desk.get(f"{DESK}/{extension(town).id}")
        page = desk.submit(decision="accept", until=typed)
        assert (page.status_code, extension(town).state) == (422, "waiting")
        assert f'value="{typed}"' in page.text
    desk.get(f"{DESK}/{extension(town).id}")
    assert desk.submit(decision="perhaps").status_code == 400


def test_a_form_without_its_token_changes_nothing(town: Town) -> None:
    adjunct(town)
    asked(town)
    link = town.bridge.url + path_of(town.link("ext.turing@mail.example"))
    assert requests.post(link, data={"decision": "accept"}, timeout=20).status_code == 400
    assert extension(town).state == "waiting"


def test_whose_rights_ended_signs_in_reads_why_and_comes_back_by_an_extension(town: Town) -> None:
    adjunct(town, days=1)
    town.clock.forward(days=3)
    assert town.run() == {"closed": 1}
    browser = town.browser("ext.ada")
    home = words(browser.get("/"))
    assert in_french("Your access has ended") in home
    assert in_french("Ask for an extension") in home
    assert "La page de votre compte reste ouverte" in home
    refused = browser.get("/cas/login", params={"service": APP}, follow=False)
    assert refused.status_code == 403
    asked(town)
    sponsor = town.bridge.browser()
    sponsor.get(path_of(town.link("ext.turing@mail.example")))
    sponsor.submit(decision="accept", until=ends(town, 60).isoformat())
    assert town.browser("ext.ada").ticket()
    assert town.handovers() == ["account.ended", "account.revived"]


def test_a_password_can_be_recovered_after_the_end_of_rights(town: Town) -> None:
    adjunct(town, days=-1)
    town.run()
    browser = town.bridge.browser()
    browser.get("/account/forgot")
    browser.submit(username="ext.ada")
    assert "/account/reset/" in town.mails_to("ext.ada@mail.example")[-1].text


def test_the_warning_leads_to_the_page(town: Town) -> None:
    adjunct(town)
    town.run()
    assert f"{town.bridge.url}{PAGE}" in town.mails_to("ext.ada@mail.example")[-1].text


def test_my_data_holds_my_requests(town: Town) -> None:
    adjunct(town)
    asked(town)
    browser = town.browser("ext.ada")
    browser.get("/account/data")
    action, _method, hidden = next(form for form in forms(browser.page) if form[0].endswith("/download"))
    answer = browser.session.post(town.bridge.url + action, data=hidden | {"format": "json"}, timeout=20)
    assert answer.json()["extensions"][0]["reason"] == "L2 physics"


def test_i2_the_proof_is_used_up(town: Town) -> None:
    adjunct(town)
    asked(town)
    sponsor = town.bridge.browser()
    sponsor.get(path_of(town.link("ext.turing@mail.example")))
    sponsor.submit(decision="accept")
    with town.bridge.runtime.database.read() as session:
        proof = session.scalars(select(Proof).where(Proof.purpose == "decide extension")).one()
        assert (proof.claimed_with, proof.account_id) == ("link", 2)
