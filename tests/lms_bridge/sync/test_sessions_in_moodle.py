"""SES-01: what ends a person's sessions here ends them in Moodle too, as soon as the worker looks."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from external_accounts import audit, outbox
from external_accounts.bounces import Patience, Refusal, Severity, note_bounce
from external_accounts.schema import Address
from tests.lms_bridge.sync.conftest import World
from tests.lms_bridge.sync.test_in_the_background import (
    enter_moodle,
    round_of_jobs,
    sign_out_everywhere,
    signed_in_to_moodle,
)

LMS_BRIDGE = Path(sys.executable).parent / "lms-bridge"
SECONDS = 15
"""For something that takes one or two, on a busy machine."""


def suspend_by_command(world: World) -> None:
    """As an operator on the same machine does: another process, which wakes nobody here."""
    settings = world.bridge.runtime.settings
    config = world.folder / "operator.toml"
    config.write_text(
        f'public_url = {json.dumps(settings.public_url)}\nsecret_keys = ["{"k" * 32}"]\n'
        f"database_url = {json.dumps(settings.database_url)}\n"
        '[institution]\nhelp_email = "aide@univ.example"\n'
        '[mail]\nhost = "127.0.0.1"\nsender = "noreply@univ.example"\n',
        encoding="utf-8",
    )
    command = [LMS_BRIDGE, "--config", config, "accounts", "suspend", "ext.ada", "--reason", "stolen"]
    subprocess.run(command, check=True, timeout=60, capture_output=True)


@pytest.mark.parametrize("end", [suspend_by_command, sign_out_everywhere])
def test_ses_01_a_running_worker_ends_moodle_s_sessions_by_itself(world: World, end: object) -> None:
    enter_moodle(world)
    world.bridge.runner.start()
    try:
        assert callable(end)
        end(world)
        ended = time.monotonic()
        while signed_in_to_moodle(world) is not None:
            assert time.monotonic() - ended < SECONDS
            time.sleep(0.05)
    finally:
        world.bridge.runner.stop()
    print(f"Moodle's session ended {time.monotonic() - ended:.2f} s after the command")
    assert world.user().suspended is (end is suspend_by_command)


def test_i6_an_address_that_lost_its_confirmation_closes_moodle_until_it_is_proved_again(world: World) -> None:
    enter_moodle(world)
    with world.bridge.runtime.database.begin() as session:
        address, now = session.scalars(select(Address)).one(), world.bridge.clock()
        mail = outbox.enqueue(session, "test", address.email, locale="fr", now=now, mail_domain="univ.example")
        said = Refusal("5.1.1", Severity.NO_SUCH_MAILBOX, "unknown", "folder")
        session.flush()
        note_bounce(session, mail, said, patience=Patience(), now=now, origin=audit.SYSTEM)
    round_of_jobs(world)
    assert signed_in_to_moodle(world) is None
    assert world.user().suspended is True
    with world.bridge.runtime.database.begin() as session:
        world.bridge.clock.forward(minutes=1)
        world.bridge.confirm(session, session.scalars(select(Address)).one().account)
    round_of_jobs(world)
    assert world.user().suspended is False
