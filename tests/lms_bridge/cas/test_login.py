"""`/cas/login` (CAS 3.0.3, 2.1 and 2.2): who gets a ticket at once, who is asked, and what travels back."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
import requests

from external_accounts.schema import Account
from tests.bridge_under_test import APP, PASSWORD, BridgeUnderTest, Browser, forms, heading, running_bridge, ticket_in
from tests.lms_bridge.cas.conftest import ON_BOTH_DATABASES

CAS_PATHS = [
    "/cas/login",
    "/cas/logout",
    "/cas/validate",
    "/cas/serviceValidate",
    "/cas/proxyValidate",
    "/cas/proxy",
    "/cas/p3/serviceValidate",
    "/cas/p3/proxyValidate",
]


@pytest.fixture
def signed_in(bridge: BridgeUnderTest) -> Browser:
    bridge.add_account("ext.ada")
    browser = bridge.browser()
    browser.sign_in("ext.ada")
    return browser


def login(browser: Browser, query: str) -> requests.Response:
    """Ask `/cas/login` with exactly this query and follow nothing."""
    return browser.get(f"/cas/login?{query}", follow=False)


def asks_for_credentials(answer: requests.Response, browser: Browser) -> bool:
    """Whether this answer, or the page it leads to on the bridge, has a password field."""
    if answer.is_redirect:
        assert answer.headers["Location"].startswith("/signin/local"), answer.headers["Location"]
        answer = browser.get(answer.headers["Location"])
    return 'type="password"' in answer.text


@pytest.mark.parametrize("path", CAS_PATHS)
def test_cas_01_every_address_of_the_protocol_is_there(bridge: BridgeUnderTest, path: str) -> None:
    answer = requests.get(bridge.url + path, timeout=20, allow_redirects=False)
    assert answer.status_code in (200, 303)
    if path not in ("/cas/login", "/cas/logout"):
        assert answer.headers["Content-Type"].startswith(("application/xml", "text/plain"))


def test_cas_02_somebody_without_a_session_is_asked_for_credentials(bridge: BridgeUnderTest) -> None:
    browser = bridge.browser()
    assert asks_for_credentials(login(browser, f"service={quote(APP, safe='')}"), browser)


def test_cas_02_without_a_service_a_signed_in_person_is_told_so(signed_in: Browser) -> None:
    page = signed_in.get("/cas/login")
    assert page.status_code == 200
    assert "Ada Lovelace" in page.text
    assert 'type="password"' not in page.text


@pytest.mark.parametrize("name", ["Service", "SERVICE", "service ", "service[]", "_service"])
def test_cas_02_names_of_parameters_are_case_sensitive(signed_in: Browser, name: str) -> None:
    answer = login(signed_in, f"{quote(name, safe='')}={quote(APP, safe='')}")
    assert "app.example" not in answer.headers.get("Location", "")


@pytest.mark.parametrize("flag", ["Renew=true", "RENEW=true", "renew=", "renew=false"])
def test_cas_02_a_flag_counts_by_its_own_name_and_a_value(signed_in: Browser, flag: str) -> None:
    assert ticket_in(login(signed_in, f"service={quote(APP, safe='')}&{flag}"))


def test_cas_02_parameters_that_nobody_knows_change_nothing(signed_in: Browser) -> None:
    assert ticket_in(login(signed_in, f"foo=bar&service={quote(APP, safe='')}&warn=true&username=x&password=y"))


@pytest.mark.parametrize("value", ["true", "TRUE", "1", "yes"])
def test_cas_03_renew_asks_for_the_password_again(signed_in: Browser, value: str) -> None:
    assert asks_for_credentials(login(signed_in, f"service={quote(APP, safe='')}&renew={value}"), signed_in)


def test_cas_03_renew_wins_over_gateway(signed_in: Browser) -> None:
    answer = login(signed_in, f"service={quote(APP, safe='')}&gateway=true&renew=true")
    assert asks_for_credentials(answer, signed_in)


def test_cas_03_renew_without_a_session_asks_once_and_leads_on(bridge: BridgeUnderTest) -> None:
    bridge.add_account("ext.ada")
    browser = bridge.browser()
    browser.get(f"/cas/login?renew=true&service={quote(APP, safe='')}")
    assert ticket_in(browser.submit(identifier="ext.ada", password=PASSWORD, follow=False))


def test_cas_04_gateway_without_a_session_goes_back_without_a_ticket(bridge: BridgeUnderTest) -> None:
    answer = login(bridge.browser(), f"gateway=true&service={quote(APP + '?a=1&b=é', safe='')}")
    assert answer.status_code == 302
    assert answer.headers["Location"] == APP + "?a=1&b=%C3%A9"


def test_cas_04_gateway_opens_no_session(bridge: BridgeUnderTest) -> None:
    """SES-04: nothing is started that nobody asked for."""
    answer = login(bridge.browser(), f"gateway=true&service={quote(APP, safe='')}")
    assert "session" not in "".join(cookie.name for cookie in answer.cookies)


def test_cas_04_gateway_with_a_session_gives_a_ticket(bridge: BridgeUnderTest, signed_in: Browser) -> None:
    ticket = ticket_in(login(signed_in, f"gateway=true&service={quote(APP, safe='')}"))
    assert "<cas:user>ext.ada</cas:user>" in bridge.validate(ticket).text


def test_cas_04_gateway_before_an_obstacle_goes_back_without_a_ticket(bridge: BridgeUnderTest) -> None:
    """I1: the application asks again without `gateway`, and the person is told."""
    bridge.add_account("ext.ada", confirmed=False)
    browser = bridge.browser()
    browser.sign_in("ext.ada")
    answer = login(browser, f"gateway=true&service={quote(APP, safe='')}")
    assert answer.headers["Location"] == APP


def test_cas_04_gateway_without_a_service_asks_for_credentials(bridge: BridgeUnderTest) -> None:
    browser = bridge.browser()
    assert asks_for_credentials(login(browser, "gateway=true"), browser)


@pytest.mark.parametrize("extra", ["", "&gateway=true", "&renew=true", "&method=POST"])
def test_cas_05_an_unregistered_service_gets_a_page_and_never_a_redirect(signed_in: Browser, extra: str) -> None:
    answer = login(signed_in, f"service={quote('https://evil.example/landing', safe='')}{extra}")
    assert answer.status_code == 403
    assert "Location" not in answer.headers
    assert heading(answer)
    assert "evil.example" not in "".join(action for action, _, _ in forms(answer))


def test_cas_05_a_registered_service_over_plain_http_is_refused(signed_in: Browser) -> None:
    assert login(signed_in, f"service={quote(APP.replace('https', 'http'), safe='')}").status_code == 403


def test_cas_06_after_the_password_the_browser_makes_a_get_with_the_ticket(bridge: BridgeUnderTest) -> None:
    bridge.add_account("ext.ada")
    answer = bridge.browser().sign_in("ext.ada", service=APP, follow=False)
    assert answer.status_code == 303  # 307 would send the password on to the application
    assert PASSWORD.replace(" ", "+") not in answer.headers["Location"]
    assert [name for name, _ in parse_qsl(urlsplit(answer.headers["Location"]).query)] == ["ticket"]


def test_cas_06_answers_that_carry_a_ticket_are_not_kept_anywhere(bridge: BridgeUnderTest, signed_in: Browser) -> None:
    bridge.add_account("ext.bob")
    for answer in (
        login(signed_in, f"service={quote(APP, safe='')}"),
        login(signed_in, f"service={quote(APP, safe='')}&method=POST"),
        bridge.browser().sign_in("ext.bob", service=APP, follow=False),
        bridge.validate("ST-unknown"),
    ):
        assert "no-store" in answer.headers["Cache-Control"]
        assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_cas_06_method_post_carries_the_ticket_in_a_form(bridge: BridgeUnderTest, signed_in: Browser) -> None:
    service = APP + "?a=1&b=<x>'\""
    page = login(signed_in, f"service={quote(service, safe='')}&method=POST")
    assert page.status_code == 200
    (action, method, fields), *_ = forms(page)
    assert (action, method, list(fields)) == (service, "post", ["ticket"])
    assert "<cas:user>" in bridge.validate(fields["ticket"], service).text


def test_cas_06_method_post_survives_the_sign_in(bridge: BridgeUnderTest) -> None:
    bridge.add_account("ext.ada")
    browser = bridge.browser()
    browser.get(f"/cas/login?method=POST&service={quote(APP, safe='')}")
    page = browser.submit(identifier="ext.ada", password=PASSWORD)
    assert (forms(page)[0][0], list(forms(page)[0][2])) == (APP, ["ticket"])


def test_cas_06_method_post_survives_an_obstacle(bridge: BridgeUnderTest) -> None:
    bridge.add_account("ext.ada", confirmed=False)
    browser = bridge.browser()
    browser.get(f"/cas/login?method=POST&service={quote(APP, safe='')}")
    answer = browser.submit(identifier="ext.ada", password=PASSWORD, follow=False)
    assert dict(parse_qsl(urlsplit(answer.headers["Location"]).query)) == {"service": APP, "method": "POST"}


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        (APP, f"{APP}?ticket="),
        (f"{APP}?", f"{APP}?ticket="),
        (f"{APP}?a=1", f"{APP}?a=1&ticket="),
        (f"{APP}?a=1&", f"{APP}?a=1&&ticket="),
        (f"{APP}?a&&b=", f"{APP}?a&&b=&ticket="),
        (f"{APP}?q=a%20b+c%2Bd", f"{APP}?q=a%20b+c%2Bd&ticket="),
        (f"{APP}?q={{x}}|^`[y]", f"{APP}?q={{x}}|^`[y]&ticket="),
        (f"{APP}?q=é", f"{APP}?q=%C3%A9&ticket="),
        (f"{APP}/é", f"{APP}/%C3%A9?ticket="),
        (f"{APP}?url=https://x/?y", f"{APP}?url=https://x/?y&ticket="),
        (f"{APP}?ticket=ST-old", f"{APP}?ticket="),
        (f"{APP}?ticket=ST-old&a=1", f"{APP}?a=1&ticket="),
        (f"{APP}?%74icket=ST-old&a=1", f"{APP}?a=1&ticket="),
        (f"{APP}?tickets=2&myticket=3", f"{APP}?tickets=2&myticket=3&ticket="),
    ],
)
def test_cas_07_the_ticket_joins_whatever_query_there_is(signed_in: Browser, service: str, expected: str) -> None:
    answer = login(signed_in, f"service={quote(service, safe='')}")
    ticket = ticket_in(answer)
    assert answer.headers["Location"] == expected + ticket


def test_cas_07_the_ticket_stands_before_the_fragment(signed_in: Browser) -> None:
    answer = login(signed_in, f"service={quote(APP + '?a=1#top?x', safe='')}")
    assert answer.headers["Location"] == f"{APP}?a=1&ticket={ticket_in(answer)}#top?x"


@pytest.mark.parametrize("service", [APP, APP + "?a=1&b=é", APP + "?ticket=ST-old", APP + "/%2B?x=%20#f"])
def test_cas_07_the_ticket_is_bound_to_the_service_as_it_was_given(
    bridge: BridgeUnderTest, signed_in: Browser, service: str
) -> None:
    ticket = ticket_in(login(signed_in, f"service={quote(service, safe='')}"))
    assert "<cas:user>ext.ada</cas:user>" in bridge.validate(ticket, service).text


def test_cas_08_a_form_without_its_token_signs_nobody_in(bridge: BridgeUnderTest) -> None:
    bridge.add_account("ext.ada")
    answer = requests.post(
        f"{bridge.url}/signin/local", data={"identifier": "ext.ada", "password": PASSWORD}, timeout=20
    )
    assert answer.status_code == 400
    assert not answer.cookies


def test_cas_08_a_form_filled_for_another_browser_signs_nobody_in(bridge: BridgeUnderTest) -> None:
    """Login CSRF: a stranger's form token is worth nothing here."""
    bridge.add_account("ext.ada")
    stranger, victim = bridge.browser(), bridge.browser()
    token = forms(stranger.get("/signin/local"))[0][2]["csrf_token"]
    victim.get("/signin/local")
    answer = victim.submit(identifier="ext.ada", password=PASSWORD, csrf_token=token, follow=False)
    assert answer.status_code == 400


def test_cas_22_the_cookie_uses_only_letters_digits_and_dashes(signed_in: Browser) -> None:
    (cookie,) = (cookie for cookie in signed_in.session.cookies if "session" in cookie.name)
    assert cookie.value
    assert set(cookie.value) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-")


def test_cas_23_the_ticket_granting_cookie_ends_with_the_browser(bridge: BridgeUnderTest) -> None:
    bridge.add_account("ext.ada")
    header = session_cookie(bridge.browser().sign_in("ext.ada", follow=False))
    assert "Max-Age" not in header
    assert "Expires" not in header
    assert "HttpOnly" in header
    assert "SameSite=Lax" in header
    assert "Domain" not in header


def test_cas_23_over_https_the_cookie_is_bound_to_this_very_host(tmp_path: Path) -> None:
    """`__Host-` instead of the `TGC-` that CAS proposes: browsers refuse such a cookie from a neighbour."""
    with running_bridge(tmp_path, public_url="https://bridge.example") as bridge:
        bridge.add_account("ext.ada")
        page = requests.get(f"{bridge.url}/signin/local", timeout=20)
        given = "; ".join(value.partition(";")[0] for value in page.raw.headers.getlist("Set-Cookie"))
        answer = requests.post(
            f"{bridge.url}/signin/local",
            data=forms(page)[0][2] | {"identifier": "ext.ada", "password": PASSWORD},
            headers={"Cookie": given},
            allow_redirects=False,
            timeout=20,
        )
    (header,) = (value for value in answer.raw.headers.getlist("Set-Cookie") if "-session=" in value)
    assert header.startswith("__Host-lms-bridge-session=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(header.split("; "))
    assert "Domain" not in header


def test_cas_23_every_sign_in_makes_a_new_unguessable_cookie(bridge: BridgeUnderTest) -> None:
    bridge.add_account("ext.ada")
    values = {session_cookie(bridge.browser().sign_in("ext.ada", follow=False)).split(";")[0] for _ in range(3)}
    assert len(values) == 3
    assert all(len(value.partition("=")[2]) >= 40 for value in values)


def test_cas_23_a_cookie_chosen_by_somebody_else_is_not_taken_over(bridge: BridgeUnderTest) -> None:
    """Session fixation (SES-01)."""
    bridge.add_account("ext.ada")
    browser = bridge.browser()
    name = f"lms-bridge-session-{urlsplit(bridge.url).port}"
    browser.session.cookies.set(name, "a" * 43, domain="127.0.0.1", path="/")
    browser.sign_in("ext.ada")
    assert {cookie.value for cookie in browser.session.cookies if cookie.name == name} != {"a" * 43}
    fixed = requests.get(f"{bridge.url}/cas/login?service={APP}", cookies={name: "a" * 43}, timeout=20)
    assert "ticket=" not in fixed.url


def test_cas_27_remembering_the_user_name_is_no_long_term_session(bridge: BridgeUnderTest) -> None:
    bridge.add_account("ext.ada")
    browser = bridge.browser()
    page = browser.get(f"/signin/local?service={quote(APP, safe='')}")
    assert 'name="remember"' in page.text
    assert "checked" not in page.text
    answer = browser.submit(identifier="ext.ada", password=PASSWORD, remember="1", follow=False)
    assert "Max-Age" not in session_cookie(answer)
    told = bridge.validate(ticket_in(answer)).text
    assert "<cas:longTermAuthenticationRequestTokenUsed>false</cas:" in told


def test_d47_the_ticket_is_issued_at_the_last_redirect_and_not_before_a_page(bridge: BridgeUnderTest) -> None:
    """Somebody reads the obstacle's page for longer than a ticket lives, and enters all the same."""
    account_id = bridge.add_account("ext.ada", confirmed=False)
    browser = bridge.browser()
    page = browser.sign_in("ext.ada", service=APP)
    assert page.status_code == 403
    assert "ST-" not in page.text + page.url
    bridge.clock.forward(minutes=20)
    confirm(bridge, account_id)
    assert "<cas:user>" in bridge.validate(browser.ticket(APP)).text


@ON_BOTH_DATABASES
def test_i1_a_person_before_an_obstacle_gets_no_ticket(bridge: BridgeUnderTest) -> None:
    bridge.add_account("ext.ada", confirmed=False)
    browser = bridge.browser()
    browser.sign_in("ext.ada")
    answer = login(browser, f"service={quote(APP, safe='')}")
    assert answer.status_code == 403
    assert heading(answer) == "E-mail non confirmé"


@ON_BOTH_DATABASES
@pytest.mark.parametrize("identifier", ["ext.ada\x00", "\x00", "ada\x00@mail.example", "\ufffe", "a" * 20_000])
def test_i12_what_a_database_cannot_hold_is_a_wrong_name_like_any_other(
    bridge: BridgeUnderTest, identifier: str
) -> None:
    bridge.add_account("ext.ada")
    browser = bridge.browser()
    browser.get("/signin/local")
    assert browser.submit(identifier=identifier, password=PASSWORD).status_code == 401


def test_d49_an_application_that_keeps_sending_people_back_is_named_on_a_page(signed_in: Browser) -> None:
    answers = [
        signed_in.get("/cas/login", params={"service": APP}, headers={"Sec-Fetch-Mode": "navigate"}, follow=False)
        for _ in range(12)
    ]
    assert [answer.status_code for answer in answers[:10]] == [302] * 10
    assert answers[11].status_code == 508
    assert "Appli" in heading(answers[11])


def test_d49_the_loop_page_lets_go_after_half_a_minute(bridge: BridgeUnderTest, signed_in: Browser) -> None:
    navigate = {"Sec-Fetch-Mode": "navigate"}
    for _ in range(12):
        signed_in.get("/cas/login", params={"service": APP}, headers=navigate, follow=False)
    bridge.clock.forward(seconds=31)
    assert ticket_in(signed_in.get("/cas/login", params={"service": APP}, headers=navigate, follow=False))


def test_d49_a_program_that_fetches_many_tickets_is_left_alone(signed_in: Browser) -> None:
    assert len({signed_in.ticket() for _ in range(15)}) == 15


def test_i11_head_gives_no_ticket(signed_in: Browser) -> None:
    answer = signed_in.session.head(f"{signed_in.base}/cas/login", params={"service": APP}, timeout=20)
    assert answer.status_code == 200
    assert "Location" not in answer.headers


def session_cookie(answer: requests.Response) -> str:
    """The whole Set-Cookie header of the ticket-granting cookie."""
    found = [value for value in answer.raw.headers.getlist("Set-Cookie") if value.startswith("lms-bridge-session")]
    assert len(found) == 1, found
    return found[0]


def confirm(bridge: BridgeUnderTest, account_id: int) -> None:
    with bridge.runtime.database.begin() as session:
        bridge.confirm(session, session.get_one(Account, account_id))
