"""What is replayed and what is not: the exact list, so that nothing drops out of sight."""

from moodle_recordings import (
    FLAVOURS,
    IMPLEMENTED,
    everything,
    reason_not_replayed,
    reason_trace_not_replayed,
    replayed,
    traces,
)

from moodle_ws.simulator import Version
from moodle_ws.simulator.webservice import functions

NOT_REPLAYED = {
    "4.4-postgresql/core_course_get_courses": ["courses-get"],
    "4.4-postgresql/core_course_get_courses_by_field": ["courses-get-by-field"],
    "4.4-postgresql/core_enrol_get_enrolled_users": ["enrol-get-enrolled"],
    "4.4-postgresql/core_role_assign_roles": ["role-assign-not-allowed", "role-assign-student-system"],
    "4.4-postgresql/core_user_update_user_preferences": ["preferences-emailstop"],
    "4.4-postgresql/no-function": [
        "debugdisplay-tokenphp",
        "token-php-cas-user",
        "token-php-cas-user-cas-configured",
        "token-php-maintenance",
        "token-php-manual-no-createtoken-cap",
        "token-php-service-user-admin-issued",
        "token-php-suspended",
        "token-php-unconfirmed",
        "token-php-unknown-user",
        "token-php-unknown-user-cas-configured",
        "token-php-unknown-user-cas-enabled-unconfigured",
        "token-php-wrong-password",
    ],
    "4.5-postgresql/core_enrol_get_enrolled_users": ["enrol-get-enrolled"],
    "5.2-postgresql/core_enrol_get_enrolled_users": ["enrol-get-enrolled"],
    "5.2-postgresql/no-function": [
        "nocas-token-php",
        "oauth2-token-php",
        "restv2-openapi",
        "restv2-prefs-apikey",
        "restv2-prefs-bearer",
        "restv2-prefs-other",
        "restv2-templates",
        "restv2-user",
        "restv2-users",
    ],
}


def test_the_recordings_that_are_not_replayed_are_exactly_these() -> None:
    left_out: dict[str, list[str]] = {}
    for recording in everything():
        if reason_not_replayed(recording) is not None:
            left_out.setdefault(f"{recording.flavour}/{recording.function}", []).append(recording.name)
    assert left_out == NOT_REPLAYED


def test_every_recording_of_an_implemented_function_is_replayed() -> None:
    of_implemented = {recording.id for recording in everything() if recording.function in IMPLEMENTED}
    assert of_implemented <= {recording.id for recording in replayed()}
    assert len(everything()) == 712
    assert len(replayed()) == 683


def test_every_function_of_the_simulator_counts_as_implemented() -> None:
    assert functions(Version.V4_5).keys() <= set(IMPLEMENTED)


def test_the_walks_that_are_not_repeated_are_counted_and_have_a_reason() -> None:
    walks = [name for flavour in FLAVOURS for name in traces(flavour)]
    assert len(walks) == 307
    assert len([name for name in walks if reason_trace_not_replayed(name) is not None]) == 49
