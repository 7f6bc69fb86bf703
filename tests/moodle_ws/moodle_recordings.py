"""The recorded exchanges of real Moodles, as the tests read them.

`recordings/<version>-<database>/<function>.json` holds one exchange a line: what was asked, what was answered, and
the notes of whoever recorded it. Tokens were replaced by `TOKEN`, other secrets by `KEY`.
"""

import json
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from lxml import etree

FOLDER = Path(__file__).parent / "recordings"
FLAVOURS = ("4.4-postgresql", "4.5-postgresql", "5.2-postgresql", "4.4-mariadb")
# Long answers were kept shortened, with their length and sometimes the number of items.
SHORTENED = re.compile(r"\.\.\.\[(\d+) chars(?:, (\d+) items)?\]\Z")

ENDPOINT = "/webservice/rest/server.php"

# Functions of the client and the simulator, and the questions about the gate itself.
IMPLEMENTED = (
    "core_webservice_get_site_info",
    "core_user_create_users",
    "core_user_update_users",
    "core_user_delete_users",
    "core_user_get_users_by_field",
    "core_user_get_users",
    "core_cohort_create_cohorts",
    "core_cohort_get_cohorts",
    "core_cohort_search_cohorts",
    "core_cohort_get_cohort_members",
    "core_cohort_add_cohort_members",
    "core_cohort_delete_cohort_members",
    "core_course_get_courses",
    "core_course_get_courses_by_field",
    "core_enrol_get_enrolled_users",
    "core_enrol_get_users_courses",
    "core_user_update_user_preferences",
    "enrol_manual_enrol_users",
    "core_auth_request_password_reset",
    "core_auth_confirm_user",
    "auth_userkey_request_login_url",
    "core_nosuch",
    "core_course_create_courses",
)

# What is not replayed, each group with its reason. Everything else is. Patterns match a whole name; the docs page shows
# this table (`test_recordings_coverage`).
EXCHANGES_NOT_REPLAYED: dict[str, str] = {
    r"role-assign-.*": "roles outside an enrolment: nothing here gives them, and a service account must not be able to",
    r"restv2-.*": "REST v2 holds no users, cohorts or sign-in and does not take the token (versions page, section 3)",
}
TRACES_NOT_REPLAYED: dict[str, str] = {
    r"https-.*": "proxy tickets and cookie flags of a Moodle behind TLS: the simulator serves plain HTTP on loopback",
    r"cas-validate-connection-closed": "the recording has no end: Moodle never answered",
    r"nocas-(admin-edit-auth-cas-user|live-session-edit-profile)": "Moodle's own profile and user forms fail there",
}
# Recorded, and never brought into `recordings/`: 46 walks on 5.2 and 7 on 4.5 named `oidc-*`.
OIDC = ("oidc-*", 53, "sign-in by OpenID Connect: the bridge speaks CAS to Moodle and is no OpenID provider")


@dataclass(frozen=True)
class Recording:
    """One recorded exchange."""

    flavour: str
    function: str
    name: str
    request: dict[str, Any]
    response: dict[str, Any]
    notes: str = ""

    @property
    def id(self) -> str:
        return f"{self.flavour}/{self.name}"

    @property
    def version(self) -> str:
        return self.flavour.partition("-")[0]

    @property
    def database(self) -> str:
        return self.flavour.partition("-")[2]

    @property
    def body(self) -> str:
        return str(self.response["body"])

    @property
    def answer(self) -> Any:
        """The JSON answer; None for XML, for a page, and for JSON null."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The parameters sent, in order, without control fields."""
        sent = self.request.get("params")
        if not isinstance(sent, list):
            return []
        if sent and sent[-1][0] == "...":
            return _bulk_fields(self.name, sent[-1][1])
        return [(key, value) for key, value in sent]

    @property
    def encoded(self) -> tuple[str, bytes]:
        """Query string and body as they were sent."""
        control = [(key, value) for key, value in self.request.get("control") or [] if key != "..."]
        fields = self.fields
        where = "ctl-first"
        if self.name.startswith("bulk-"):
            where = str(self.request["params"][-1][1]).rpartition(" ")[2]
            control = [("wstoken", "TOKEN"), ("wsfunction", self.function), ("moodlewsrestformat", "json")]
        if self.name == "form-invalid-utf8":
            control = [("wstoken", "TOKEN"), ("wsfunction", self.function), ("moodlewsrestformat", "json")]
            fields = [("users[0][username]", "badutf8"), ("users[0][lastname]", "L")]
            fields += [("users[0][email]", "badutf8@example.test"), ("users[0][auth]", "cas")]
            raw = _encode(control + fields) + b"&users[0][firstname]=A%FFB"
            return "", raw
        if where == "ctl-in-query":
            return _encode(control).decode(), _encode(fields)
        if where == "ctl-last":
            return "", _encode(fields + control)
        if self.request.get("http_method") == "GET":
            return _encode(control + fields).decode(), b""
        return "", _encode(control + fields)

    def on_postgresql(self) -> "Recording | None":
        """What the PostgreSQL site answered to the same question, where the note says it (`N` for any number)."""
        match = re.search(r"PostgreSQL answers:? (.+)\Z", self.notes, re.DOTALL)
        if self.database != "mariadb" or match is None or not match[1].startswith(("{", "[")):
            return None
        return replace(
            self,
            flavour="4.4-postgresql",
            name=f"{self.name} (PostgreSQL)",
            response={**self.response, "body": match[1]},
        )


def _encode(fields: list[tuple[str, str]]) -> bytes:
    return "&".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in fields).encode("ascii")


_BULK_PREFIX = {
    "bulk-create-200-exact-1000-vars-in-query": "be",
    "bulk-create-2000-overflow-ctl-first": "bb",
    "bulk-create-2000-overflow-ctl-last": "bc",
    "bulk-create-2000-six-fields-silent-truncation": "bi",
    "bulk-create-250-overflow-default-ctl-first": "bg",
    "bulk-create-250-overflow-default-ctl-in-query": "bf",
    "bulk-create-500": "ba",
}


def _bulk_fields(name: str, summary: str) -> list[tuple[str, str]]:
    """The bulk recordings keep the first rows and the number of fields; the others follow the same pattern."""
    prefix = _BULK_PREFIX[name]
    match = re.search(r"(\d+) users\[..\] pairs \((\d+) users\)", summary)
    if match is None:
        raise ValueError(f"{name}: {summary}")
    pairs, people = int(match[1]), int(match[2])
    fields = []
    for number in range(people):
        row = f"users[{number}]"
        username = f"{prefix}{number:05d}"
        fields += [(f"{row}[username]", username), (f"{row}[firstname]", "F"), (f"{row}[lastname]", "L")]
        fields += [(f"{row}[email]", f"{username}@example.test"), (f"{row}[auth]", "cas")]
        if pairs == 6 * people:
            fields.append((f"{row}[idnumber]", f"N{username}"))
    return fields


def recorded_rows(recording: Recording) -> Any:
    """The recorded answer as plain values, whatever its format, what stands before it, and how it was shortened."""
    body = recording.body
    if "<RESPONSE>" in body:
        return _rows_of_xml(body)
    start = max(body.find("\n[{"), 0) if body.startswith("<br") else 0
    shortened = SHORTENED.search(body)
    if shortened is None:
        return json_or_none(body[start:])
    decoder, at, rows = json.JSONDecoder(), body.find("[") + 1, []
    while at < shortened.start():
        try:
            row, at = decoder.raw_decode(body, at)
        except ValueError:
            break
        rows.append(row)
        at += 1
    return {"users": rows} if body.startswith('{"users"') else rows


def json_or_none(text: str) -> Any:
    """The value of a JSON text; None when it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _rows_of_xml(body: str) -> Any:
    root = etree.fromstring(body[body.find("<?xml") :].encode())
    return _element(root[0]) if len(root) else None


def _element(element: Any) -> Any:
    if element.tag == "MULTIPLE":
        return [_element(child) for child in element]
    if element.tag == "SINGLE":
        return {child.get("name"): _element(child[0]) for child in element}
    return None if element.get("null") else element.text or ""


@cache
def everything() -> tuple[Recording, ...]:
    """Every recorded web service exchange."""
    found = []
    for flavour in FLAVOURS:
        for path in sorted((FOLDER / flavour).glob("*.json")):
            if path.name == "cas-traces.json":
                continue
            for name, exchange in json.loads(path.read_text("utf-8")).items():
                function = exchange["request"].get("wsfunction") or path.stem
                found.append(
                    Recording(
                        flavour, function, name, exchange["request"], exchange["response"], exchange.get("notes", "")
                    )
                )
    return tuple(found)


def reason_not_replayed(recording: Recording) -> str | None:
    """Why an exchange is not replayed; None when it is."""
    return _reason(recording.name, EXCHANGES_NOT_REPLAYED)


def reason_trace_not_replayed(name: str) -> str | None:
    """Why a walk is not repeated; None when it is."""
    return _reason(name, TRACES_NOT_REPLAYED)


def not_replayed() -> tuple[tuple[str, str, list[str]], ...]:
    """Every reason, with the pattern it is for and what it leaves out (`flavour/name`), in the order of the tables."""
    exchanges = [recording.id for recording in everything()]
    walks = [f"{flavour}/{name}" for flavour in FLAVOURS for name in traces(flavour)]
    return tuple(
        (pattern, reason, [name for name in names if re.fullmatch(pattern, name.rpartition("/")[2])])
        for table, names in ((EXCHANGES_NOT_REPLAYED, exchanges), (TRACES_NOT_REPLAYED, walks))
        for pattern, reason in table.items()
    )


def _reason(name: str, table: dict[str, str]) -> str | None:
    return next((reason for pattern, reason in table.items() if re.fullmatch(pattern, name)), None)


def replayed() -> tuple[Recording, ...]:
    """The exchanges of the implemented functions, and those about the gate before any function."""
    return tuple(recording for recording in everything() if reason_not_replayed(recording) is None)


def traces(flavour: str) -> dict[str, dict[str, Any]]:
    """The recorded walks of a browser between Moodle and a CAS server."""
    return dict(json.loads((FOLDER / flavour / "cas-traces.json").read_text("utf-8")))
