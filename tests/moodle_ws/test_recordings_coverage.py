"""What is replayed and what is not, so that nothing drops out of sight."""

from pathlib import Path

from moodle_recordings import (
    FLAVOURS,
    IMPLEMENTED,
    OIDC,
    everything,
    not_replayed,
    reason_trace_not_replayed,
    replayed,
    traces,
)

from moodle_ws.simulator import Version
from moodle_ws.simulator.webservice import functions

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "moodle-ws.md"


def test_no_reason_is_left_without_a_recording_and_no_recording_without_a_test() -> None:
    assert [(pattern, len(names)) for pattern, _reason, names in not_replayed()] == [
        ("role-assign-.*", 2),
        ("restv2-.*", 7),
        ("https-.*", 5),
        ("cas-validate-connection-closed", 1),
        ("nocas-(admin-edit-auth-cas-user|live-session-edit-profile)", 2),
    ]


def test_the_page_shows_what_is_not_replayed_and_why() -> None:
    shown = PAGE.read_text("utf-8")
    rows = [
        *((pattern, len(names), reason) for pattern, reason, names in not_replayed()),
        OIDC,
    ]
    for pattern, number, reason in rows:
        line = f"| `{pattern}` | {number} | {reason} |".replace("user|live", "user\\|live")
        assert line in shown


def test_every_recording_of_an_implemented_function_is_replayed() -> None:
    of_implemented = {recording.id for recording in everything() if recording.function in IMPLEMENTED}
    assert of_implemented <= {recording.id for recording in replayed()}
    assert len(everything()) == 712
    assert len(replayed()) == 703


def test_every_function_of_the_simulator_counts_as_implemented() -> None:
    assert functions(Version.V4_5).keys() <= set(IMPLEMENTED)


def test_the_walks_that_are_not_repeated_are_counted_and_have_a_reason() -> None:
    walks = [name for flavour in FLAVOURS for name in traces(flavour)]
    assert len(walks) == 307
    assert len([name for name in walks if reason_trace_not_replayed(name) is not None]) == 8
