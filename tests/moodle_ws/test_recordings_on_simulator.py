"""Every recorded exchange of every implemented function, asked again of the simulator over HTTP.

Status, content type and body are compared byte for byte. What is made equal first, and only that: the random key of
a one-time sign-in address, the service user's private access key, and the SQL behind the first line of a database
error's `debuginfo`. Answers that were recorded shortened are compared up to the cut, and by length and number of
items where these were noted.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection

import pytest
from moodle_lab import lab
from moodle_recordings import SHORTENED, Recording, replayed

from moodle_ws.simulator import SimulatedMoodle


@dataclass(frozen=True)
class Stage:
    """A served simulator and its network address."""

    moodle: SimulatedMoodle
    address: str


ON_POSTGRESQL = tuple(other for recording in replayed() if (other := recording.on_postgresql()) is not None)


@pytest.mark.parametrize("recording", replayed(), ids=lambda recording: recording.id)
def test_the_simulator_answers_as_recorded(recording: Recording, stage: Stage) -> None:
    status, content_type, body = ask(stage, recording)
    expected = recording.body
    shortened = SHORTENED.search(expected)
    if shortened is not None:
        if shortened[2]:
            assert (len(body), len(json.loads(body))) == (int(shortened[1]), int(shortened[2]))
        body, expected = body[: shortened.start()], expected[: shortened.start()]
    assert (status, content_type) == (recording.response["http_status"], recording.response["content_type"])
    assert made_equal(body) == made_equal(expected)


@pytest.mark.parametrize("recording", ON_POSTGRESQL, ids=lambda recording: recording.id)
def test_the_simulator_answers_as_postgresql_did_where_mariadb_differed(recording: Recording, stage: Stage) -> None:
    """The MariaDB recordings note what the PostgreSQL site answered to the same question: with `N` for numbers, and
    often only the beginning of it."""
    _status, _content_type, body = ask(stage, recording)
    expected = numbers_hidden(recording.body).removesuffix("...")
    assert numbers_hidden(body)[: len(expected)] == expected


@pytest.fixture(scope="module")
def stage() -> Iterator["Stage"]:
    """One server for all recordings; each puts its own lab behind it."""
    simulated = SimulatedMoodle()
    with simulated.serve() as handle:
        yield Stage(simulated, handle.url.removeprefix("http://"))


def ask(stage: Stage, recording: Recording) -> tuple[int, str, str]:
    simulated = lab(recording)
    stage.moodle.site, stage.moodle.faults = simulated.site, simulated.faults
    if recording.name.startswith("noise-"):
        stage.moodle.faults.next("noise")
    query, form = recording.encoded
    connection = HTTPConnection(stage.address, timeout=20)
    try:
        path = recording.request["path"] + (f"?{query}" if query else "")
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
        connection.request(recording.request["http_method"], path, body=form or None, headers=headers)
        response = connection.getresponse()
        return response.status, response.headers["Content-Type"], response.read().decode("utf-8")
    finally:
        connection.close()


def made_equal(body: str) -> str:
    body = re.sub(r"login\.php\?key=\w+", "login.php?key=K", body)
    body = re.sub(r'(userprivateaccesskey(?:":"|"><VALUE>))[^"<]*', r"\1K", body)
    return re.sub(r'(\\n(?:INSERT|UPDATE)).*?"}', r'\1"}', body)


def numbers_hidden(body: str) -> str:
    """Every number and every digit reads `N`, as in the note."""
    return re.sub(r"\d+", "N", re.sub(r"\\u[0-9a-f]{4}", "U", body))
