"""The browser face of the simulated UPdago: who is signed in, and how one gets in and out."""

import re
from collections.abc import Callable, Iterator

import pytest
import requests
from lxml import html

from moodle_ws import MoodleClient, NewUser, Refused, UserUpdate
from moodle_ws.simulator import SimulatedMoodle, UserKeySettings

Serve = Callable[..., SimulatedMoodle]


@pytest.fixture
def browser() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def whoami(browser: requests.Session, moodle: SimulatedMoodle) -> str | None:
    answer = browser.get(f"{moodle.site.wwwroot}/whoami.json", timeout=5)
    assert answer.headers["Content-Type"] == "application/json"
    return answer.json()["username"]  # type: ignore[no-any-return]


def sign_in(browser: requests.Session, moodle: SimulatedMoodle, username: str, password: str) -> requests.Response:
    page = browser.get(f"{moodle.site.wwwroot}/login/index.php", timeout=5).text
    token = re.search(r'name="logintoken" value="(\w+)"', page)
    assert token is not None
    form = {"username": username, "password": password, "logintoken": token[1]}
    return browser.post(f"{moodle.site.wwwroot}/login/index.php", data=form, timeout=5)


@pytest.fixture
def learner(moodle: SimulatedMoodle) -> str:
    moodle.site.add_user("anne", firstname="Anne", lastname="Durand", email="anne@example.test", password="Abc!23456")
    return "anne"


def test_nobody_is_signed_in_at_first_and_asking_opens_no_session(
    moodle: SimulatedMoodle, browser: requests.Session
) -> None:
    assert whoami(browser, moodle) is None
    assert not browser.cookies


def test_a_page_asked_for_is_reached_after_signing_in(
    moodle: SimulatedMoodle, browser: requests.Session, learner: str
) -> None:
    refused = browser.get(f"{moodle.site.wwwroot}/course/view.php?id=2", timeout=5)
    assert refused.url.endswith("/login/index.php")
    arrived = sign_in(browser, moodle, learner, "Abc!23456")
    assert arrived.url == f"{moodle.site.wwwroot}/course/view.php?id=2"
    assert "Anne Durand" in arrived.text
    assert whoami(browser, moodle) == "anne"


@pytest.mark.parametrize("change", [{"suspended": True}, {"auth": "cas"}, {"password": "other"}])
def test_the_local_form_refuses_with_one_sentence(
    moodle: SimulatedMoodle, browser: requests.Session, learner: str, change: dict[str, object]
) -> None:
    user = moodle.site.user(learner)
    for key, value in change.items():
        setattr(user, key, value)
    refused = sign_in(browser, moodle, learner, "Abc!23456")
    assert "Invalid login, please try again" in refused.text
    assert whoami(browser, moodle) is None


def test_a_form_without_its_token_is_refused(moodle: SimulatedMoodle, browser: requests.Session, learner: str) -> None:
    form = {"username": learner, "password": "Abc!23456"}
    browser.post(f"{moodle.site.wwwroot}/login/index.php", data=form, timeout=5)
    assert whoami(browser, moodle) is None


def test_signing_out_needs_the_key_or_a_confirmation(
    moodle: SimulatedMoodle, browser: requests.Session, learner: str
) -> None:
    sign_in(browser, moodle, learner, "Abc!23456")
    asked = browser.get(f"{moodle.site.wwwroot}/login/logout.php", timeout=5)
    assert "Voulez-vous vraiment vous déconnecter" in asked.text
    assert whoami(browser, moodle) == learner
    (key,) = html.fromstring(asked.text).xpath("//form[@action='/login/logout.php']/input[@name='sesskey']/@value")
    browser.post(f"{moodle.site.wwwroot}/login/logout.php", data={"sesskey": key}, timeout=5)
    assert whoami(browser, moodle) is None


def test_suspending_through_the_web_service_ends_the_session_for_good(
    moodle: SimulatedMoodle, client: MoodleClient, browser: requests.Session, learner: str
) -> None:
    sign_in(browser, moodle, learner, "Abc!23456")
    user = moodle.site.user(learner)
    assert user is not None
    client.update_users([UserUpdate(id=user.id, suspended=True)])
    assert whoami(browser, moodle) is None
    client.update_users([UserUpdate(id=user.id, suspended=False)])
    assert whoami(browser, moodle) is None


@pytest.mark.parametrize(
    "change", [UserUpdate(id=4, auth="cas"), UserUpdate(id=4, username="anna"), UserUpdate(id=4, password="Xyz!98765")]
)
def test_other_changes_leave_the_session_alive(
    moodle: SimulatedMoodle, client: MoodleClient, browser: requests.Session, learner: str, change: UserUpdate
) -> None:
    sign_in(browser, moodle, learner, "Abc!23456")
    assert client.update_users([change])[0].applied
    assert whoami(browser, moodle) in {"anne", "anna"}


def test_visitors_enter_the_open_course_and_only_that(moodle: SimulatedMoodle, browser: requests.Session) -> None:
    page = browser.get(f"{moodle.site.wwwroot}/course/view.php?id=4", timeout=5)
    assert page.url.endswith("/course/view.php?id=4")
    assert "de façon anonyme" in page.text
    assert whoami(browser, moodle) == "guest"
    other = browser.get(f"{moodle.site.wwwroot}/course/view.php?id=2", timeout=5)
    assert other.url.endswith("/login/index.php")


def test_the_login_page_has_a_way_in_for_guests(moodle: SimulatedMoodle, browser: requests.Session) -> None:
    page = html.fromstring(browser.get(f"{moodle.site.wwwroot}/login/index.php", timeout=5).text)
    form = page.get_element_by_id("guestlogin")
    browser.post(f"{moodle.site.wwwroot}/login/index.php", data=dict(form.form_values()), timeout=5)
    assert whoami(browser, moodle) == "guest"


def test_two_sites_on_one_host_keep_their_own_sessions(serve: Serve, browser: requests.Session) -> None:
    one, other = serve(), serve()
    for simulated, name in ((one, "anne"), (other, "bob")):
        simulated.site.add_user(name, firstname="F", lastname="L", email=f"{name}@example.test", password="Abc!23456")
        sign_in(browser, simulated, name, "Abc!23456")
    assert (whoami(browser, one), whoami(browser, other)) == ("anne", "bob")


def test_maintenance_closes_the_pages_but_not_whoami(moodle: SimulatedMoodle, browser: requests.Session) -> None:
    moodle.site.maintenance = True
    assert browser.get(f"{moodle.site.wwwroot}/", timeout=5).status_code == 503
    assert whoami(browser, moodle) is None


def test_an_unknown_page_is_a_404(moodle: SimulatedMoodle, browser: requests.Session) -> None:
    assert browser.get(f"{moodle.site.wwwroot}/nothing.php", timeout=5).status_code == 404


def test_pages_speak_french_and_label_their_fields(
    moodle: SimulatedMoodle, browser: requests.Session, learner: str
) -> None:
    login = browser.get(f"{moodle.site.wwwroot}/login/index.php", timeout=5).text
    arrived = sign_in(browser, moodle, learner, "Abc!23456").text
    for text in (login, arrived):
        page = html.fromstring(text)
        assert page.get("lang") == "fr"
        assert len(page.xpath("//h1")) == 1
        assert "UPdago (simulé)" in page.findtext(".//title")
        labelled = set(page.xpath("//label/@for"))
        assert {field.get("id") for field in page.xpath("//input[not(@type='hidden')]")} <= labelled


def test_names_are_written_as_text(moodle: SimulatedMoodle, browser: requests.Session) -> None:
    values = {"firstname": "<script>x</script>", "lastname": "&", "email": "x@example.test", "password": "Abc!23456"}
    moodle.site.add_user("x", **values)
    assert "<script>x" not in sign_in(browser, moodle, "x", "Abc!23456").text


def test_a_userkey_opens_a_session_once(
    serve: Serve, connect: Callable[..., MoodleClient], browser: requests.Session
) -> None:
    simulated = serve(userkey=UserKeySettings())
    client = connect(simulated)
    client.create_users([NewUser(username="anne", firstname="A", lastname="D", email="anne@example.test", auth="cas")])
    address = client.userkey_login_url({"email": "anne@example.test"})
    browser.get(address, timeout=5)
    assert whoami(browser, simulated) == "anne"
    assert browser.get(address, timeout=5).status_code == 404
    assert whoami(browser, simulated) is None


def test_an_unconfirmed_person_is_told_so(moodle: SimulatedMoodle, browser: requests.Session, learner: str) -> None:
    user = moodle.site.user(learner)
    assert user is not None
    user.confirmed = False
    assert "doit être confirmé" in sign_in(browser, moodle, learner, "Abc!23456").text
    assert whoami(browser, moodle) is None


@pytest.mark.parametrize(
    ("change", "held_at"),
    [({"email": ""}, "/user/edit.php"), ({"preferences": {"auth_forcepasswordchange": "1"}}, "/my/")],
)
def test_somebody_who_owes_moodle_something_is_held(
    moodle: SimulatedMoodle, browser: requests.Session, learner: str, change: dict[str, object], held_at: str
) -> None:
    for key, value in change.items():
        setattr(moodle.site.user(learner), key, value)
    assert sign_in(browser, moodle, learner, "Abc!23456").url.endswith(held_at)
    assert "Vous suivez ce cours" not in browser.get(f"{moodle.site.wwwroot}/course/view.php?id=2", timeout=5).text


def test_a_deleted_person_is_signed_out(moodle: SimulatedMoodle, browser: requests.Session, learner: str) -> None:
    sign_in(browser, moodle, learner, "Abc!23456")
    user = moodle.site.user(learner)
    assert user is not None
    moodle.site.delete_user(user)
    assert whoami(browser, moodle) is None
    for path in ("/user/edit.php", "/user/policy.php", "/enrol/index.php?id=3", "/my/"):
        assert browser.get(f"{moodle.site.wwwroot}{path}", timeout=5).url.endswith("/login/index.php")


@pytest.mark.parametrize("path", ["/course/view.php?id=99", "/course/view.php", "/course/view.php?id=%ff"])
def test_a_course_that_does_not_exist_is_a_404(moodle: SimulatedMoodle, browser: requests.Session, path: str) -> None:
    assert browser.get(moodle.site.wwwroot + path, timeout=5).status_code == 404


def test_a_multipart_form_is_understood_by_the_web_service(moodle: SimulatedMoodle) -> None:
    fields = {"wstoken": moodle.site.options.token, "wsfunction": "core_user_get_users_by_field"}
    fields |= {"moodlewsrestformat": "json", "field": "id", "values[0]": "2"}
    parts = {key: (None, value) for key, value in fields.items()}
    answer = requests.post(f"{moodle.site.wwwroot}/webservice/rest/server.php", files=parts, timeout=5).json()
    assert [user["id"] for user in answer] == [2]


def test_a_fault_may_be_asked_for_by_a_header(moodle: SimulatedMoodle) -> None:
    address = f"{moodle.site.wwwroot}/webservice/rest/server.php"
    assert requests.post(address, headers={"X-Simulate-Fault": "503"}, timeout=5).status_code == 503
    assert requests.post(address, timeout=5).status_code == 200


def test_a_function_the_simulator_lacks_says_so(moodle: SimulatedMoodle, client: MoodleClient) -> None:
    with pytest.raises(Refused) as caught:
        client.call("core_user_get_user_preferences", {"userid": 2}, read=True)
    assert caught.value.code == "notsimulated"
