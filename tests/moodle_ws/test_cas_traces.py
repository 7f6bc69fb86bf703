"""The recorded walks of a browser between Moodle and a CAS server, walked again through the simulator.

A small CAS server plays the university's; the browser here follows redirects one by one. Compared for every hop:
method, address, status, target, and whether Moodle opened a new session; at the end the back-channel requests with
their User-Agent, who is signed in, and the message shown. Made equal first: host names and ports, ticket values,
session keys. Moodle's own words are compared, its page titles are not (the simulated pages are French).
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

import pytest
import requests
import userkey_lab
from moodle_recordings import FLAVOURS, reason_trace_not_replayed, traces
from university import ANSWERS, STATUSES, University, failure, serving

from moodle_ws.simulator import (
    AUTH_CASATTRAS,
    Course,
    Database,
    SimulatedMoodle,
    SimulatorOptions,
    Version,
)
from tests.outside_programs import require_program

REPLAYED = [(flavour, name) for flavour in FLAVOURS for name in traces(flavour) if not reason_trace_not_replayed(name)]


# Whom the CAS server vouched for, where it was not b1, and what that person's row was like (None: no row).
PEOPLE: dict[str, tuple[str, dict[str, Any] | None]] = {
    r"login-uppercase-username": ("CasLower", {"username": "caslower"}),
    r"login-username-with-whitespace": ("  caslower ", {"username": "caslower"}),
    r"login-username-at": ("cas.user@univ.test", {}),
    r"login-username-accent-unknown": ("zoé", None),
    r"login-username-accent-uppercase-unknown": ("ZOÉ", None),
    r"login-username-invalid-chars-unknown": ("bob x+y", None),
    r"login-username-is-email-authloginviaemail": ("b1@example.test", None),
    r"login-user-guest": ("guest", None),
    r"firstlogin-authpreventaccountcreation.*": ("brandnew3", None),
    r"firstlogin-suspended.*|stale-phpcas.*": ("cassusp", {"suspended": True}),
    r"firstlogin-unconfirmed": ("caslower", {"confirmed": False}),
    r"firstlogin-unknown-user-.*|casattras-unknown-autocreated": ("brandnew", None),
    r"firstlogin-user-auth-manual.*": ("m1", {"auth": "manual"}),
    r"firstlogin-user-auth-userkey": ("uk1", {"auth": "userkey"}),
    r"createpassword-.*|forcepasswordchange-.*": ("cp2", {"preferences": {"auth_forcepasswordchange": "1"}}),
    r"deleted-user-cas-login": ("gone", None),
    r"rename-then-old-username-login": ("sess5", None),
    r"sitepolicy-cas-user-login": ("b3", {}),
    r"casattras-sticky": ("casusp", {"auth": "casattras", "suspended": True}),
    r"casattras-unknown-prevented": ("canew2", None),
    r"casattras-user-auth-cas": ("b1", {"auth": "cas"}),
    r"casattras-.*": ("ca1", {"auth": "casattras"}),
    r"debug-developer-.*": ("b1", {}),
}


@dataclass
class Scene:
    """A trace with everything it needs."""

    flavour: str
    name: str
    trace: dict[str, Any]
    university: University
    moodle: SimulatedMoodle
    certificate: Path | None = None
    first: str = ""  # the address the walk begins with, where it is not the recorded one

    def __post_init__(self) -> None:
        self.first = self.trace["hops"][0]["url"].replace(
            "http%3A//127.0.0.1%3A8080", quote(self.moodle.site.wwwroot, safe="/")
        )

    @property
    def browser_base(self) -> str:
        return self.moodle.site.wwwroot


@pytest.fixture(params=REPLAYED, ids="/".join)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    flavour, name = request.param
    trace = traces(flavour)[name]
    university = University(sso="no-sso" not in name, answer=ANSWERS.get(name), status=STATUSES.get(name, 200))
    recorded_tickets = re.findall(r"ticket=([^&\"]+)", str(trace["hops"]))
    university.ticket = recorded_tickets[0] if recorded_tickets else "ST-1"
    if name == "casxml-content-type-text-plain":
        university.content_type = "text/plain"
    certificate = None
    if name.startswith("cert-"):
        certificate = self_signed(tmp_path_factory.getbasetemp())
    with serving(university, certificate):
        simulated = SimulatedMoodle(options(flavour, name, trace, university, certificate))
        with simulated.serve():
            people(simulated, name, trace, university)
            yield Scene(flavour, name, trace, university, simulated, certificate)


def self_signed(folder: Path) -> Path:
    """A certificate for 127.0.0.1 and no name, with its key, made once a run."""
    both = folder / "university.pem"
    if not both.exists():
        openssl = str(require_program("OpenSSL (openssl)", "openssl"))
        request = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=university.test -keyout key.pem -out cert.pem"
        names = ["-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run([openssl, *request.split(), *names], cwd=folder, check=True, capture_output=True, timeout=60)
        both.write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    return both


# Whether and against what the plugin checks the certificate: the recorded settings, and what came of them.
CERTIFICATE_CHECKS: dict[str, bool | None] = {
    "cert-check-on-empty-path": False,  # no verification at all
    "cert-check-on-wrong-ca": True,  # the system's authorities do not know ours
    "cert-check-ip-hostname": None,  # ours is trusted
    "cert-check-cn-mismatch": None,
    "cert-check-cn-mismatch-ticket": None,
}


def options(
    flavour: str, name: str, trace: dict[str, Any], university: University, certificate: Path | None
) -> SimulatorOptions:
    version, _sep, database = flavour.partition("-")
    if "utf8mb4_bin" in trace.get("notes", ""):
        database = "postgresql"  # a binary column compares as PostgreSQL does
    address = university.address
    if name.startswith("cas-server-down"):
        address = "http://127.0.0.1:9"  # the discard port: nobody listens
    paths = re.findall(r"https://localhost:\d+(/[^?']*)?/login\?", str(trace["hops"]))
    notes, seen = trace.get("notes", ""), str(trace["back_channel_requests_seen_by_cas"])
    own: dict[str, Any] = {}
    if name.startswith("casattras-"):
        own = {"cas_plugin": AUTH_CASATTRAS, "courses": (Course(2, "C1", enrolled=False),)}
    if certificate is not None:
        checked = CERTIFICATE_CHECKS.get(name, "/no/such/file")
        own["cas_verify"] = str(certificate) if checked is None else checked
        if "mismatch" in name:
            address = university.address = address.replace("127.0.0.1", "localhost")
    if name.startswith("userkey-"):
        own |= {"userkey": userkey_lab.settings(name, address), "courses": (Course(2, "C1", enrolled=False),)}
    if version == "5.2" or name.endswith("forcelogin"):
        own["forcelogin"] = True  # the default of a new 5.2
    if name.startswith("alternateloginurl"):
        own["alternateloginurl"] = f"{address}/cas/custom-login?x=1"
    return SimulatorOptions(
        version=Version(version),
        database=Database(database),
        cas_url=None
        if name.startswith("nocas-") or name == "login-page-default"
        else address + (paths[0] if paths else "/cas"),
        cas_version="1.0"
        if "/validate?" in seen
        else "S1"
        if "/samlValidate" in seen
        else "3.0"
        if "/p3/" in seen or "casattras" in name
        else "2.0",
        cas_timeout=5,
        multiauth="multiauth-off" not in name,
        logoutcas="logoutcas-on" in name,
        logout_return_url="https://portal.example.test/bye" if name.endswith("return-url") else "",
        authpreventaccountcreation="prevent" in name or "authpreventaccountcreation=1" in notes,
        authloginviaemail="authloginviaemail=1" in notes,
        extendedusernamechars="extendedusernamechars=1" in notes and "setting now 0" not in notes,
        **{"courses": LAB_COURSES, **own},
    )


LAB_COURSES = (Course(2, "Course one"), Course(3, "C2", enrolled=False))


def people(simulated: SimulatedMoodle, name: str, trace: dict[str, Any], university: University) -> None:
    site = simulated.site
    if name.startswith("userkey-"):
        userkey_lab.people(site, name)
    site.site_policy = name.startswith("sitepolicy")
    site.users[2].password = "Admin!2345"
    given = {"firstname": "F", "lastname": "L"}
    b1 = 11 if simulated.site.options.version is Version.V5_2 else 7
    for number, username in ((b1, "b1"), (b1 + 1, "b2")):
        site.add_user(username, id=number, auth="cas", email=f"{username}@example.test", **given)
    if name.startswith("nocas-"):
        site.add_user("nc3", id=6, auth="manual", password="Abc!23456", email="nc3@example.test", **given)
        site.add_user("nc4", id=9, auth="manual", password="Abc!23456", email="nc4@example.test", **given)
    landed = re.findall(r"testsession=(\d+)", str(trace["hops"]))
    if name.startswith("collision-"):
        collide(site, trace, university, int(landed[0]) if landed else None)
        return
    for pattern, (asserted, row) in PEOPLE.items():
        if not re.fullmatch(pattern, name):
            continue
        university.user = asserted
        if row is None:
            site.next_user_id(int(landed[0]) if landed else 4000)
        else:
            values = {"username": asserted, "auth": "cas", "email": "person@example.test", **given, **row}
            for user in [user for user in site.living() if user.username == values["username"]]:
                del site.users[user.id]
            site.add_user(id=int(landed[0]) if landed else 4000, **values)
        return


def collide(site: Any, trace: dict[str, Any], university: University, number: int | None) -> None:
    """The collision traces say in their notes who was stored and what the CAS server asserted."""
    notes = trace["notes"]
    stored = re.search(r"stored (?:username )?'([^']*)'", notes)
    asserted = re.search(r"(?:CAS asserts|variant) '([^']*)'", notes)
    assert asserted is not None
    # The notes write unprintable characters as Python does.
    university.user = asserted[1].encode("latin-1", "backslashreplace").decode("unicode_escape")
    written = re.search(r"set username='([^']*)'", notes)
    if stored is None:
        return
    row = {"auth": "cas", "firstname": "F", "lastname": "L", "email": "stored@coll.test"}
    row["auth"] = "manual" if "'auth': 'manual'" in notes else "cas"
    site.add_user(
        written[1] if written else stored[1],
        id=number,
        deleted="deleted=1" in notes,
        suspended="suspended=1" in notes,
        **row,
    )


# -- the browser -----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")  # one plugin setting verifies nothing, as recorded
def test_the_simulator_walks_as_recorded(scene: Scene) -> None:
    with requests.Session() as browser:
        browser.trust_env = False
        browser.verify = str(scene.certificate) if scene.certificate else True
        before(scene, browser)
        scene.university.seen.clear()
        if scene.name.startswith("userkey-"):
            key = userkey_lab.key(scene, browser)
            scene.first = re.sub(r"key=[0-9a-f]{32}", f"key={key}", scene.first)
        walked, response = walk(scene, browser)
        recorded = [hop for hop in map(recorded_hop, scene.trace["hops"]) if hop is not None]
        assert walked == recorded
        assert [made_equal(path) + agent for _method, path, agent in scene.university.seen] == [
            made_equal(seen["path"]) + seen["ua"] for seen in own_requests(scene.trace)
        ]
        for message in own_words(scene.trace["final"].get("messages") or []):
            assert message in response.text


def own_requests(trace: dict[str, Any]) -> list[dict[str, str]]:
    """Several Moodles shared the recorded CAS server; only the requests for the service of this one count."""
    ports = re.findall(r"http://127\.0\.0\.1:(80\d\d)/login/index\.php", str([hop["url"] for hop in trace["hops"]]))
    own = quote_plus(f"//127.0.0.1:{ports[0]}/") if ports else "no service at all"
    return [seen for seen in trace["back_channel_requests_seen_by_cas"] if own in seen["path"]]


def own_words(messages: list[str]) -> list[str]:
    """The messages about signing in; those of Moodle's forms are not the plugin's."""
    kept = [
        message
        for message in messages
        if message.startswith(("Invalid", "The user account", "You cannot", "The given", *userkey_lab.WORDS))
    ]
    if any(message.startswith("Unable to log in") for message in messages):
        kept.append("Unable to log in. Your login info may be incorrect. Please try again.")
    return kept


def recorded_hop(hop: dict[str, Any]) -> tuple[str, str, int, str, bool] | None:
    if hop.get("status") is None:
        return None  # the recorder could not connect
    cookies = hop.get("set_cookie") or []
    opened = any(cookie.startswith("MoodleSession=") for cookie in cookies)
    return (
        hop["method"],
        made_equal(hop["url"]),
        hop["status"],
        made_equal(hop.get("location") or ""),
        opened,
    )


def walk(scene: Scene, browser: requests.Session) -> tuple[list[tuple[str, str, int, str, bool]], requests.Response]:
    first = scene.trace["hops"][0]
    parts = urlsplit(scene.first)
    address = scene.browser_base + parts.path + (f"?{parts.query}" if parts.query else "")
    headers = {}
    if parts.hostname == "localhost":
        headers["Host"] = f"localhost:{urlsplit(scene.browser_base).port}"
    if "sesskey=" in address:
        (session,) = scene.moodle.site.sessions.values()
        address = re.sub(r"sesskey=\w+", f"sesskey={session.sesskey}", address)
    form = dict(first.get("form") or {})
    if "logintoken" in form:
        (session,) = scene.moodle.site.sessions.values()
        form["logintoken"] = session.login_token
    walked = []
    method = first["method"]
    for hop in scene.trace["hops"]:
        if hop.get("status") is None:
            break
        response = browser.request(
            method, address, data=form or None, headers=headers, allow_redirects=False, timeout=10
        )
        shown = address.replace(scene.browser_base, f"http://{headers['Host']}") if headers else address
        opened = any(name.startswith("MoodleSession") for name in response.cookies.keys())  # noqa: SIM118
        location = response.headers.get("Location", "")
        walked.append((method, made_equal(shown, scene), response.status_code, made_equal(location, scene), opened))
        method, address, form, headers = "GET", location, {}, {}
        if scene.name == "casattras-logout-logoutcas-on":
            # That plugin leaves the old cookie as it is; the session behind it is gone all the same.
            walked[0] = (*walked[0][:4], False)
    return walked, response


def made_equal(text: str, scene: Scene | None = None) -> str:
    """Hosts, tickets and session keys replaced."""
    if scene is not None:
        for base, name in ((scene.browser_base, "M"), (scene.university.address, "C"), ("http://127.0.0.1:9", "C")):
            text = text.replace(quote_plus(base), name).replace(base, name)
        text = text.replace(scene.browser_base.replace("127.0.0.1", "localhost"), "L")
    text = re.sub(
        r"http://127\.0\.0\.1:80\d\d|http%3A%2F%2F127\.0\.0\.1%3A80\d\d|http%3A%2F%2F127\.0\.0\.1%3A\d+", "M", text
    )
    text = re.sub(r"https://(localhost(\.localdomain)?|127\.0\.0\.1):8\d\d\d", "C", text)
    text = re.sub(r"http%3A//127\.0\.0\.1%3A\d+", "M", text)
    text = re.sub(r"key=[0-9a-f]{32}", "key=K", text)
    text = re.sub(r"http://localhost:\d+", "L", text)
    text = re.sub(r"sesskey=\w+", "sesskey=K", text)
    return re.sub(r"ticket=[^&]*", "ticket=T", text)


def before(scene: Scene, browser: requests.Session) -> None:
    """What had happened in that browser before the trace begins."""
    name, base = scene.name, scene.browser_base
    button = "=".join(scene.moodle.site.options.cas_plugin.button)

    def visit(path: str) -> requests.Response:
        return browser.get(base + path, timeout=10)

    if name.endswith("-then-button") or name == "alternateloginurl-then-cas":
        browser.get(f"{base}/course/view.php?id={2 if 'casattras' in name else 3}", allow_redirects=False, timeout=10)
    if re.fullmatch(r"button-while.*|multiauth-off-already.*|ticket-while.*|(casattras-)?logout-.*", name):
        visit(f"/login/index.php?{button}")
        if name.startswith("button-while"):
            scene.university.user = "b2"
    if name.startswith("stale-") or name == "casattras-sticky":
        visit(f"/login/index.php?{button}")
        scene.university.user = "b1"
    if name == "cas-bogus-ticket-then-retry":
        scene.university.answer = failure("INVALID_TICKET")
        visit(f"/login/index.php?{button}&ticket=ST-bogus")
        scene.university.answer = None
    if name.startswith(("form-post-", "nocas-form-")):
        visit("/login/index.php")
    if name == "nocas-form-auth-cas-user":
        scene.moodle.site.users[9].auth = "cas"
    if name.startswith("nocas-live-session"):
        token = re.search(r'name="logintoken" value="(\w+)"', visit("/login/index.php").text)
        assert token is not None
        form = {"username": "nc4", "password": "Abc!23456", "logintoken": token[1]}
        browser.post(f"{base}/login/index.php", data=form, timeout=10)
        scene.moodle.site.users[9].auth = "cas"
