"""The recorded walks of a browser between Moodle and a CAS server, walked again through the simulator.

A small CAS server plays the university's; the browser here follows redirects one by one. Compared for every hop:
method, address, status, target, and whether Moodle opened a new session; at the end the back-channel requests with
their User-Agent, who is signed in, and the message shown. Made equal first: host names and ports, ticket values,
session keys. Moodle's own words are compared, its page titles are not (the simulated pages are French).
"""

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus, urlsplit

import pytest
import requests
from moodle_recordings import FLAVOURS, reason_trace_not_replayed, traces
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from moodle_ws.simulator import (
    AUTH_CASATTRAS,
    Course,
    Database,
    SimulatedMoodle,
    SimulatorOptions,
    Version,
)

REPLAYED = [(flavour, name) for flavour in FLAVOURS for name in traces(flavour) if not reason_trace_not_replayed(name)]


# -- the university's CAS --------------------------------------------------------------------------------------------


@dataclass
class University:
    """A CAS server that says what the test wants. `sso` is whether the browser has a session there already."""

    user: str = "b1"
    sso: bool = True
    ticket: str = "ST-1"
    answer: bytes | None = None
    status: int = 200
    content_type: str = "application/xml"
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    address: str = ""

    def __call__(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        if request.path.endswith("/login"):
            return self._login(request)(environ, start_response)
        if request.path.endswith("alidate"):
            query = request.query_string.decode()
            self.seen.append((request.method, f"{request.path}?{query}", request.headers["User-Agent"]))
            response = Response(self._validation(request.path), self.status, content_type=self.content_type)
            return response(environ, start_response)
        return Response("cas logged out")(environ, start_response)

    def _login(self, request: Request) -> Response:
        service = request.args["service"]
        if request.args.get("gateway") == "true" and not self.sso:
            return Response(status=302, headers={"Location": service})
        mark = "&" if "?" in service else "?"
        return Response(status=302, headers={"Location": f"{service}{mark}ticket={self.ticket}"})

    def _validation(self, path: str) -> bytes:
        if self.answer is not None:
            return self.answer
        if path.endswith("/validate"):
            return f"yes\n{self.user}\n".encode()
        return success(f"<cas:user>{self.user}</cas:user>")


def success(inner: str, namespace: str = 'xmlns:cas="http://www.yale.edu/tp/cas"', prefix: str = "cas:") -> bytes:
    return (
        f"<{prefix}serviceResponse {namespace}><{prefix}authenticationSuccess>{inner}"
        f"</{prefix}authenticationSuccess></{prefix}serviceResponse>"
    ).encode()


def failure(code: str) -> bytes:
    inner = f'<cas:authenticationFailure code="{code}">no</cas:authenticationFailure>'
    return f'<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas">{inner}</cas:serviceResponse>'.encode()


PLAIN = success("<cas:user>b1</cas:user>")
DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'

# What the CAS server answered in the traces about its answer (ground truth §7, "Validation response").
ANSWERS: dict[str, bytes] = {
    "casxml-attr-dtd-entity": b'<!DOCTYPE r [<!ENTITY u "b1">]>' + success("<cas:user>&u;</cas:user>"),
    "casxml-attr-named-user-before": success(
        "<cas:attributes><cas:user>b2</cas:user></cas:attributes><cas:user>b1</cas:user>"
    ),
    "casxml-attributes-cas3": success(
        "<cas:user>b1</cas:user><cas:attributes><cas:mail>b1@example.test</cas:mail></cas:attributes>"
    ),
    "casxml-bom": b"\xef\xbb\xbf" + PLAIN,
    "casxml-bom-with-decl": b"\xef\xbb\xbf" + DECLARATION + PLAIN,
    "casxml-content-type-json-body": b'{"serviceResponse":{"authenticationSuccess":{"user":"b1"}}}',
    "casxml-empty-body": b"",
    "casxml-failure-INTERNAL_ERROR": failure("INTERNAL_ERROR"),
    "casxml-failure-INVALID_TICKET": failure("INVALID_TICKET"),
    "casxml-html-body": b"<html><body>Service unavailable</body></html>",
    "casxml-leading-newline-with-decl": b"\n" + DECLARATION + PLAIN,
    "casxml-no-namespace": success("<user>b1</user>", namespace="", prefix=""),
    "casxml-other-prefix": success("<sel:user>b1</sel:user>", 'xmlns:sel="http://other.example/"', "sel:"),
    "casxml-pretty": success("\n    <cas:user>\n      b1\n    </cas:user>\n  "),
    "casxml-success-and-failure": success("<cas:user>b1</cas:user>").replace(
        b"</cas:serviceResponse>",
        b'<cas:authenticationFailure code="INVALID_TICKET">no</cas:authenticationFailure></cas:serviceResponse>',
    ),
    "casxml-two-users": success("<cas:user>b1</cas:user><cas:user>b2</cas:user>"),
    "casxml-undeclared-prefix": success("<cas:user>b1</cas:user>", namespace=""),
    "casxml-with-proxies": success("<cas:user>b1</cas:user><cas:proxies><cas:proxy>p</cas:proxy></cas:proxies>"),
    "casxml-xml-declaration": DECLARATION + PLAIN,
    "cas-bogus-ticket-then-retry": PLAIN,
    "cas-ticket-replay-fresh-session": failure("INVALID_TICKET"),
    "cas-validate-hangs-25s": b"garbage",
    "casattras-bogus-ticket": failure("INVALID_TICKET"),
    "casversion-1.0-invalid": b"no\n\n",
    "language-french-invalid-ticket": failure("INVALID_TICKET"),
    "login-empty-user": success("<cas:user></cas:user>"),
}
STATUSES = {"casxml-http-404-with-success": 404, "casxml-http-500-with-success": 500}

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

    @property
    def browser_base(self) -> str:
        return self.moodle.site.wwwroot


@pytest.fixture(params=REPLAYED, ids="/".join)
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    flavour, name = request.param
    trace = traces(flavour)[name]
    university = University(sso="no-sso" not in name, answer=ANSWERS.get(name), status=STATUSES.get(name, 200))
    recorded_tickets = re.findall(r"ticket=([^&\"]+)", str(trace["hops"]))
    university.ticket = recorded_tickets[0] if recorded_tickets else "ST-1"
    if name == "casxml-content-type-text-plain":
        university.content_type = "text/plain"
    server = make_server("127.0.0.1", 0, university, threaded=True)
    server.log = lambda *_arguments: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True)
    thread.start()
    university.address = f"http://127.0.0.1:{server.server_port}"
    simulated = SimulatedMoodle(options(flavour, name, trace, university))
    with simulated.serve():
        people(simulated, name, trace, university)
        yield Scene(flavour, name, trace, university, simulated)
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


def options(flavour: str, name: str, trace: dict[str, Any], university: University) -> SimulatorOptions:
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
        cas_version="1.0" if "/validate?" in seen else "3.0" if "/p3/" in seen or "casattras" in name else "2.0",
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


def test_the_simulator_walks_as_recorded(scene: Scene) -> None:
    with requests.Session() as browser:
        browser.trust_env = False
        before(scene, browser)
        scene.university.seen.clear()
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
        if message.startswith(("Invalid", "The user account", "You cannot", "The given"))
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
    parts = urlsplit(first["url"])
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
    text = re.sub(r"https://localhost:8\d\d\d", "C", text)
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
