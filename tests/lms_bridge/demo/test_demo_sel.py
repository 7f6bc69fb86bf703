"""SEL, the simulated university CAS, seen from outside."""

from __future__ import annotations

import html
import re
import threading
from urllib.parse import parse_qs, urlsplit

import cas
import pytest
import requests
from lxml import etree

from lms_bridge.demo.sel import SelUser

CAS = {"cas": "http://www.yale.edu/tp/cas"}
PASSWORDS = {"mdupont": "craie-tableau-soleil", "jmartin": "étang-bleu-matin"}


class Browser:
    """A person's browser at SEL: fills in the form it is shown, follows no redirect."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.web = requests.Session()

    def open(self, path: str = "/cas/login", **parameters: str) -> requests.Response:
        return self.web.get(self.base_url + path, params=parameters, allow_redirects=False, timeout=10)

    def sign_in(self, username: str, password: str | None = None, **parameters: str) -> requests.Response:
        page = self.open(**parameters)
        action = html.unescape(re.search(r'<form method="post" action="(/cas/login[^"]*)"', page.text)[1])
        lt = re.search(r'name="lt" value="([^"]+)"', page.text)[1]
        form = {"username": username, "password": password or PASSWORDS[username], "lt": lt}
        return self.web.post(self.base_url + action, data=form, allow_redirects=False, timeout=10)


@pytest.fixture
def browser(sel) -> Browser:
    return Browser(sel.base_url)


def ticket_in(response: requests.Response) -> str:
    return parse_qs(urlsplit(response.headers["Location"]).query)["ticket"][-1]


def validate(sel, path: str = "/cas/p3/serviceValidate", **parameters: str) -> etree._Element:
    response = requests.get(sel.base_url + path, params=parameters, timeout=10)
    assert response.status_code == 200
    return etree.fromstring(response.content)


def code_of(answer: etree._Element) -> str:
    return answer.xpath("string(cas:authenticationFailure/@code)", namespaces=CAS)


def user_of(answer: etree._Element) -> str:
    return answer.xpath("string(cas:authenticationSuccess/*[1][self::cas:user])", namespaces=CAS)


# Signing in


def test_the_form_has_exactly_the_agreed_fields(browser):
    page = browser.open(service="http://127.0.0.1:8400/x")
    form = re.search(r'<form method="post" action="/cas/login.*?</form>', page.text, re.DOTALL)[0]
    assert re.findall(r'name="(\w+)"', form) == ["username", "password", "lt"]
    assert "<script" not in page.text
    assert page.headers["Cache-Control"].startswith("no-store")


def test_signing_in_goes_to_the_service_with_a_get_and_a_ticket(browser, sel):
    service = "http://127.0.0.1:8400/signin/sel/callback"
    response = browser.sign_in("mdupont", service=service)
    assert response.status_code == 303
    assert re.fullmatch(re.escape(service) + r"\?ticket=ST-[A-Za-z0-9]{29}", response.headers["Location"])
    cookie = response.headers["Set-Cookie"]
    assert cookie.startswith(f"TGC-SEL-{urlsplit(sel.base_url).port}=")
    assert {"HttpOnly", "SameSite=Lax", "Path=/cas"} <= set(cookie.split("; "))


def test_the_name_is_asserted_in_its_canonical_form(browser, sel):
    ticket = ticket_in(browser.sign_in(" MDupont ", PASSWORDS["mdupont"], service="http://localhost/a"))
    assert user_of(validate(sel, service="http://localhost/a", ticket=ticket)) == "mdupont"


@pytest.mark.parametrize(("username", "password"), [("mdupont", "wrong"), ("nobody", "wrong"), ("mdupont", "\0")])
def test_wrong_credentials_show_the_form_again(browser, username, password):
    response = browser.sign_in(username, password, service="http://localhost/a")
    assert response.status_code == 401
    assert "Identifiant ou mot de passe incorrect" in response.text
    assert f'value="{username}"' in response.text
    assert password not in re.search(r"<form.*?</form>", response.text, re.DOTALL)[0]
    assert "Set-Cookie" not in response.headers


def test_a_form_is_taken_once(browser, sel):
    lt = re.search(r'name="lt" value="([^"]+)"', browser.open().text)[1]
    form = {"username": "mdupont", "password": PASSWORDS["mdupont"], "lt": lt}
    post = [requests.post(f"{sel.base_url}/cas/login", data=form, allow_redirects=False, timeout=10) for _ in range(2)]
    assert [response.status_code for response in post] == [303, 400]


def test_a_session_gives_tickets_without_a_form_and_says_so(browser, sel):
    service = "http://localhost/b?x=1"
    browser.sign_in("mdupont")
    assert "déjà authentifié" in browser.open().text
    response = browser.open(service=service)
    answer = validate(sel, service=service, ticket=ticket_in(response))
    assert answer.xpath("string(//cas:isFromNewLogin)", namespaces=CAS) == "false"
    assert response.headers["Location"].startswith(service + "&ticket=ST-")


def test_a_ticket_stands_before_the_fragment(browser):
    location = browser.sign_in("mdupont", service="http://localhost/é?a=b#top").headers["Location"]
    assert re.search(r"\?a=b&ticket=ST-\w{29}#top$", location)


def test_renew_asks_again_and_beats_gateway(browser, sel):
    browser.sign_in("mdupont")
    service = "http://localhost/a"
    assert 'name="lt"' in browser.open(service=service, renew="true", gateway="true").text
    old = ticket_in(browser.open(service=service))
    assert code_of(validate(sel, service=service, ticket=old, renew="true")) == "INVALID_TICKET"
    fresh = ticket_in(browser.sign_in("mdupont", service=service, renew="true"))
    assert user_of(validate(sel, service=service, ticket=fresh, renew="true")) == "mdupont"


def test_gateway_without_session_returns_without_ticket(browser):
    response = browser.open(service="http://localhost/a?b=c", gateway="true")
    assert (response.status_code, response.headers["Location"]) == (302, "http://localhost/a?b=c")
    assert 'name="lt"' in browser.open(gateway="true").text


@pytest.mark.parametrize(
    "service",
    [
        "https://evil.example/",
        "http://127.0.0.1.evil.example/",
        "http://evil.example\\@127.0.0.1/",
        "http://127.0.0.1@evil.example/",
        "http://evil.example@127.0.0.1/",
        "//127.0.0.1/",
        "javascript:alert(1)",
        "http://127.0.0.1:99999/",
        "http://[/",
        "http://127.0.0.1/\r\nSet-Cookie: a=b",
        "http://127.0.0.1/\0",
        "http://127.0.0.1/" + "a" * 5000,
    ],
)
def test_nobody_is_sent_to_a_foreign_or_malformed_service(browser, service):
    browser.sign_in("mdupont")
    for extra in ({}, {"gateway": "true"}):
        response = browser.open(service=service, **extra)
        assert response.status_code == 403
        assert "Location" not in response.headers
    assert browser.open("/cas/logout", service=service).status_code == 200


def test_another_person_signing_in_ends_the_first_session(browser, application):
    browser.sign_in("mdupont", service=application.url)
    browser.sign_in("jmartin", service=application.url, renew="true")
    assert [method for method, *_ in application.requests] == ["POST"]
    assert "José Martin" in browser.open().text


# Validation


def test_attributes_are_released_in_cas_3_only_and_escaped(browser, sel):
    service = "http://localhost/a"
    browser.sign_in("mdupont")
    first = validate(sel, "/cas/serviceValidate", service=service, ticket=ticket_in(browser.open(service=service)))
    assert user_of(first) == "mdupont"
    assert not first.xpath("//cas:attributes", namespaces=CAS)
    second = validate(sel, service=service, ticket=ticket_in(browser.open(service=service)))
    names = [etree.QName(element).localname for element in second.find(".//cas:attributes", CAS)]
    assert names[:3] == ["authenticationDate", "longTermAuthenticationRequestTokenUsed", "isFromNewLogin"]
    assert second.xpath("string(//cas:displayName)", namespaces=CAS) == "Marie <Dupont> & fils"
    assert second.xpath("//cas:eduPersonAffiliation/text()", namespaces=CAS) == ["member", "employee", "teacher"]
    assert second.xpath("string(//cas:authenticationDate)", namespaces=CAS) == "2026-11-24T08:00:00Z"


def test_control_characters_in_attributes_leave_the_answer_well_formed(browser, sel, directory):
    directory.add(SelUser("odd", "p", {"note": "a\0b\x1f\ud800]]>&\r\n\ufffe"}))
    ticket = ticket_in(browser.sign_in("odd", "p", service="http://localhost/"))
    assert user_of(validate(sel, service="http://localhost/", ticket=ticket)) == "odd"


def test_a_ticket_is_good_for_one_attempt(browser, sel):
    service = "http://localhost/a"
    ticket = ticket_in(browser.sign_in("mdupont", service=service))
    assert code_of(validate(sel, service=service + "/", ticket=ticket)) == "INVALID_SERVICE"
    assert code_of(validate(sel, service=service, ticket=ticket)) == "INVALID_TICKET"


def test_of_many_parallel_validations_one_succeeds(browser, sel):
    service = "http://localhost/a"
    ticket = ticket_in(browser.sign_in("mdupont", service=service))
    users: list[str] = []
    threads = [
        threading.Thread(target=lambda: users.append(user_of(validate(sel, service=service, ticket=ticket))))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(users) == [""] * 19 + ["mdupont"]


def test_a_ticket_lives_sixty_seconds(browser, sel, clock):
    service = "http://localhost/a"
    browser.sign_in("mdupont")
    for seconds, code in ((59, ""), (60, "INVALID_TICKET")):
        ticket = ticket_in(browser.open(service=service))
        clock.advance(seconds)
        assert code_of(validate(sel, service=service, ticket=ticket)) == code


def test_missing_or_repeated_parameters_are_an_invalid_request(sel):
    base = f"{sel.base_url}/cas/serviceValidate"
    for query in ("", "service=http://localhost/", "ticket=ST-1", "service=&ticket=", "ticket=a&ticket=b&service=c"):
        answer = etree.fromstring(requests.get(f"{base}?{query}", timeout=10).content)
        assert code_of(answer) == "INVALID_REQUEST"


def test_cas_1_answers_in_lines(browser, sel):
    service = "http://localhost/a"
    ticket = ticket_in(browser.sign_in("mdupont", service=service))
    parameters = {"service": service, "ticket": ticket}
    answers = [requests.get(f"{sel.base_url}/cas/validate", params=parameters, timeout=10).text for _ in range(2)]
    assert answers == ["yes\nmdupont\n", "no\n"]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_python_cas_accepts_the_answers(browser, sel, version):
    service = "http://localhost/a?next=%2Fb"
    client = cas.CASClient(version=version, service_url=service, server_url=f"{sel.base_url}/cas/")
    assert urlsplit(client.get_login_url()).path == "/cas/login"
    ticket = ticket_in(browser.sign_in("mdupont", service=service))
    user, attributes, _ = client.verify_ticket(ticket)
    assert user == "mdupont"
    if version == 3:
        assert attributes["eduPersonAffiliation"] == ["member", "employee", "teacher"]
        assert attributes["mail"] == "marie.dupont@univ.example"
    assert client.verify_ticket(ticket)[0] is None


# Signing out


def test_logout_tells_every_service_and_ends_session_and_tickets(browser, sel, application):
    used, unused = (ticket_in(browser.sign_in("mdupont", service=application.url, renew="true")) for _ in range(2))
    validate(sel, service=application.url, ticket=used)
    response = browser.open("/cas/logout", service="http://localhost/bye")
    assert (response.status_code, response.headers["Location"]) == (302, "http://localhost/bye")
    messages = [form["logoutRequest"] for method, _, form in application.requests if method == "POST"]
    assert {cas.SingleLogoutMixin.get_saml_slos(message)[0].text for message in messages} == {used, unused}
    assert all("<samlp:SessionIndex>ST-" in message for message in messages)
    assert code_of(validate(sel, service=application.url, ticket=unused)) == "INVALID_TICKET"
    assert 'name="lt"' in browser.open().text


def test_logout_without_service_says_so(browser):
    browser.sign_in("mdupont")
    assert "Session SEL fermée" in browser.open("/cas/logout").text


def test_a_service_that_does_not_listen_does_not_hold_up_logout(browser):
    browser.sign_in("mdupont", service="http://127.0.0.1:1/nobody")
    assert browser.open("/cas/logout").status_code == 200


# The directory, and an outage


def test_a_new_password_counts_and_is_not_displayed(browser, directory):
    directory.set_password("MDUPONT", "ma nouvelle phrase")
    assert browser.sign_in("mdupont").status_code == 401
    response = browser.sign_in("mdupont", "ma nouvelle phrase")
    assert response.status_code == 303
    browser.web.cookies.clear()
    page = browser.open().text
    assert "ma nouvelle phrase" not in page
    assert "étang-bleu-matin" in page


def test_the_directory_refuses_what_it_cannot_hold(directory):
    with pytest.raises(ValueError, match="already"):
        directory.add(SelUser("MDupont", "x"))
    with pytest.raises(KeyError):
        directory.set_password("nobody", "x")
    with pytest.raises(ValueError, match="XML"):
        SelUser("a", "b", {"bad name": "x"})
    with pytest.raises(ValueError, match="user name"):
        SelUser(" ", "b")


def test_a_person_without_password_cannot_sign_in(directory):
    directory.add(SelUser("nouveau", ""))
    assert directory.verify("nouveau", "") is None


def test_down_answers_503_everywhere_until_it_is_up_again(browser, sel):
    sel.down = True
    for path in ("/", "/cas/login", "/cas/serviceValidate", "/cas/logout", "/nothing"):
        assert browser.open(path).status_code == 503
    page = browser.open().text
    assert 'action="/demo/up"' in page
    assert browser.web.post(f"{sel.base_url}/demo/up", timeout=10).status_code == 200
    assert not sel.down
    assert 'action="/demo/down"' in browser.open().text
    assert browser.web.post(f"{sel.base_url}/demo/down", timeout=10).status_code == 503


def test_another_site_cannot_cause_an_outage(sel):
    foreign = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert requests.post(f"{sel.base_url}/demo/down", headers=foreign, timeout=10).status_code == 403
    assert requests.get(f"{sel.base_url}/demo/down", timeout=10).status_code == 405
    assert not sel.down


def test_the_button_works_with_the_headers_a_browser_sends(sel):
    own = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}  # no-referrer turns the origin into null
    assert requests.post(f"{sel.base_url}/demo/down", headers=own, timeout=10).status_code == 503
    assert sel.down


# Bad input

NASTY = [
    "%00",
    "%ff%fe",
    "%0d%0aX:%20y",
    "a" * 20_000,
    "%F0%9F%92%A9",
    "<script>",
    "'\"&",
    "%",
    "http://[::1",
    "%ed%a0%80",
]


@pytest.mark.parametrize(
    "path", ["login", "logout", "validate", "serviceValidate", "p3/serviceValidate", "%ff", "x%00"]
)
def test_malformed_input_never_breaks_sel(sel, path, caplog):
    names = ("service", "ticket", "renew", "gateway", "username", "lt", "pgtUrl", "%ff")
    with requests.Session() as web:
        for value in NASTY:
            for query in [f"{name}={value}" for name in names] + [f"service={value}&service=b&ticket={value}"]:
                url = f"{sel.base_url}/cas/{path}?{query}"
                assert web.get(url, allow_redirects=False, timeout=10).status_code < 500
        for method in ("POST", "PUT", "DELETE", "HEAD", "OPTIONS", "WEIRD"):
            for kind in (
                "application/x-www-form-urlencoded",
                "multipart/form-data; boundary=x",
                "text/plain",
                "é/\xff",
            ):
                for body in (
                    b"",
                    b"username=%00&password=%ff&lt=\xff\x00",
                    b"username=a&username=b",
                    b"--x\r\n\xff",
                    b"a" * 99_000,
                ):
                    url, headers = f"{sel.base_url}/cas/{path}", {"Content-Type": kind.encode("latin-1")}
                    answer = web.request(method, url, data=body, headers=headers, allow_redirects=False, timeout=10)
                    assert answer.status_code < 500
        cookie = {"Cookie": f"TGC-SEL-{urlsplit(sel.base_url).port}=\xff\x01;;=".encode("latin-1")}
        assert web.get(f"{sel.base_url}/cas/login", headers=cookie, timeout=10).status_code == 200
    assert "failed" not in caplog.text


def test_a_service_is_shown_escaped(browser):
    service = 'http://127.0.0.1/"><script>alert(1)</script>'
    assert "<script" not in browser.open(service=service).text
