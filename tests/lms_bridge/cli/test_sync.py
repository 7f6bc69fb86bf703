"""`lms-bridge sync …` beside a running bridge and its Moodle: exit codes, words, files."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lms_bridge.cli import main, progress
from lms_bridge.cli import sync as sync_command
from lms_bridge.sync import guard
from moodle_ws.simulator.flavours import Version
from tests.bridge_under_test import settings_values
from tests.lms_bridge.sync.conftest import World
from tests.lms_bridge.sync.site_runs import CANARY, add_people, edit, site_world
from tests.served_bridge import to_toml

LMS_BRIDGE = Path(sys.executable).parent / "lms-bridge"
NONE_UNASKED = {"create": {"percent": 0, "floor": 0}}
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("LMS_BRIDGE_")}


@dataclass
class Operator:
    """Somebody at a terminal of the machine; `settings` may be changed before a command."""

    world: World
    settings: dict[str, Any]
    folder: Path

    @property
    def site(self) -> dict[str, Any]:
        found: dict[str, Any] = self.settings["sites"][0]
        return found

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def words(self, *words: str) -> list[str]:
        config = self.folder / "operator.toml"
        config.write_text(to_toml(self.settings), encoding="utf-8")
        return ["--config", str(config), "sync", *words, *(["--out", str(self.out)] if words[0] != "status" else [])]

    def sync(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [LMS_BRIDGE, *self.words(*words)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=ENVIRONMENT)

    def told(self, *words: str) -> dict[str, Any]:
        """What `--json` says of the only site; the exit code of the process is the one it names."""
        answer = self.sync(*words, "--json")
        [found] = json.loads(answer.stdout)
        assert answer.returncode == found["exit_code"], answer.stderr
        result: dict[str, Any] = found
        return result

    def take_away(self, function: str) -> None:
        """The token's service offers the function no more."""
        [token] = [self.world.moodle.site.tokens[self.world.moodle.site.options.token]]
        token.functions = tuple(guard.FUNCTIONS - {function})


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    with site_world(tmp_path) as world:
        settings = world.bridge.runtime.settings
        values = settings_values(
            tmp_path,
            public_url=settings.public_url,
            services=[{"name": "updago", "label": {"fr": "UPdago"}, "url": world.service, "site": "updago"}],
            sites=[{
                "name": "updago", "url": world.moodle.site.wwwroot, "token": world.moodle.site.options.token,
                "canary": CANARY, "connect_timeout": 2, "read_timeout": 2,
            }],
        )  # fmt: skip
        yield Operator(world, values, tmp_path)


# --- 0 and 2: nothing to do, applied, changes pending ---


def test_a_plan_of_changes_ends_with_2_and_writes_nothing(operator: Operator) -> None:
    answer = operator.sync("plan")
    assert answer.returncode == 2
    assert "updago: 1 accounts read, 0 in step, 1 changes, 0 for a human, 0 suspended in Moodle." in answer.stdout
    assert "create" in answer.stdout
    assert "checksum" in answer.stdout
    assert operator.world.writes() == []


def test_applying_ends_with_0_and_leaves_nothing_to_do(operator: Operator) -> None:
    applied = operator.sync("apply")
    assert applied.returncode == 0
    assert "1 of 1 changes made, 0 refused by Moodle." in applied.stdout
    assert "ext.ada" in operator.world.usernames()
    assert operator.sync("plan").returncode == 0
    assert operator.sync("apply").returncode == 0


def test_the_plan_and_its_report_are_for_their_owner_alone(operator: Operator) -> None:
    found = operator.told("plan")
    for name in ("plan", "report"):
        assert stat.S_IMODE(Path(found[name]).stat().st_mode) == 0o600


def test_the_report_says_what_would_change_in_the_language_asked_for(operator: Operator) -> None:
    french = Path(operator.told("plan")["report"]).read_text(encoding="utf-8")
    assert '<html lang="fr">' in french
    assert "Comptes à créer" in french
    assert "ext.ada@mail.example" in french
    english = Path(operator.told("plan", "--lang", "en")["report"]).read_text(encoding="utf-8")
    assert '<html lang="en">' in english
    assert "Users to create" in english


def test_the_plans_file_holds_one_line_of_json_a_change(operator: Operator) -> None:
    lines = Path(operator.told("plan")["plan"]).read_text(encoding="utf-8").splitlines()
    head, action = map(json.loads, lines)
    assert head["plan"]["site"] == "updago"
    assert (action["kind"], action["username"], action["after"]["email"]) == (
        "create", "ext.ada", "ext.ada@mail.example",
    )  # fmt: skip


def test_json_says_the_same_for_machines(operator: Operator) -> None:
    found = operator.told("plan")
    assert found.keys() == {
        "site", "outcome", "exit_code", "checksum", "read", "in_step", "changes", "new_cohorts", "conflicts", "absent",
        "suspended_in_moodle", "stops", "done", "refused", "failure", "plan", "report",
    }  # fmt: skip
    assert (found["outcome"], found["changes"], found["done"]) == ("planned", {"create": 1}, {})
    done = operator.told("apply")
    assert (done["outcome"], done["done"], done["failure"]) == ("done", {"create": 1}, "")


# --- 3: a guard stops it ---


def test_too_many_changes_stop_with_3_until_the_plans_checksum_is_given(operator: Operator) -> None:
    operator.site["guard"] = NONE_UNASKED
    stopped = operator.sync("apply")
    assert stopped.returncode == 3
    assert "STOP TooManyChanges: create: 1 changes (no user is known yet), 0 are allowed" in stopped.stdout
    assert "--checksum" in stopped.stdout
    looked_at = operator.told("plan")
    assert looked_at["exit_code"] == 2, "a dry run is there to be looked at"
    assert operator.told("apply", "--checksum", "0123456789abcdef")["exit_code"] == 3
    assert operator.world.writes() == []
    assert operator.told("apply", "--checksum", looked_at["checksum"])["exit_code"] == 0


def test_a_stop_that_no_checksum_lifts_is_told_with_what_to_do_in_a_dry_run_too(operator: Operator) -> None:
    operator.take_away("core_user_update_users")
    for command in ("plan", "apply"):
        found = operator.told(command)
        assert found["exit_code"] == 3
        [stop] = found["stops"]
        assert (stop["name"], stop["text"]) == ("FunctionsMissing", "the token may not call core_user_update_users")
        assert "External services" in stop["answer"]


def test_a_service_that_lacks_the_look_up_of_people_is_a_matter_of_settings(operator: Operator) -> None:
    operator.take_away("core_user_get_users_by_field")
    found = operator.told("plan")
    assert found["exit_code"] == 5
    assert "core_user_get_users_by_field: access denied" in found["failure"]


def test_the_reports_stop_is_in_the_readers_language(operator: Operator) -> None:
    operator.take_away("core_user_update_users")
    page = Path(operator.told("plan")["report"]).read_text(encoding="utf-8")
    assert "Ce qui arrête ce passage" in page
    assert "may not call" not in page
    assert "core_user_update_users" in page


def test_another_release_of_moodle_stops_with_3_until_it_is_accepted(operator: Operator) -> None:
    assert operator.sync("apply").returncode == 0
    edit(operator.world, "ext.ada", family_name="Byron")
    operator.world.moodle.site.options = replace(operator.world.moodle.site.options, version=Version.V5_2)
    stopped = operator.sync("apply")
    assert stopped.returncode == 3
    assert "--accept-release" in stopped.stdout
    assert operator.sync("apply", "--accept-release").returncode == 0
    assert operator.world.user().lastname == "Byron"
    assert operator.sync("apply").returncode == 0


# --- 4: partial failure ---


def test_a_person_moodle_refuses_ends_with_4_and_stops_nobody_else(operator: Operator) -> None:
    names = add_people(operator.world, 3)
    edit(operator.world, names[1], family_name="<b>")  # Moodle takes no tags in names
    answer = operator.sync("apply")
    assert answer.returncode == 4
    assert "3 of 4 changes made, 1 refused by Moodle." in answer.stdout
    assert names[2] in operator.world.usernames()


# --- 5: configuration ---


def test_a_site_that_settings_do_not_name_ends_with_5_and_says_which_there_are(operator: Operator) -> None:
    for command in ("plan", "apply", "adopt", "status"):
        answer = operator.sync(command, "--site", "elsewhere")
        assert answer.returncode == 5
        assert answer.stderr == "There is no site called `elsewhere` in the settings; there are: updago.\n"


def test_settings_without_a_site_end_with_5(operator: Operator) -> None:
    operator.settings |= {"sites": [], "services": []}
    answer = operator.sync("plan")
    assert (answer.returncode, answer.stderr) == (5, "The settings name no Moodle: add a [[sites]] section.\n")


def test_a_site_that_no_service_uses_ends_with_5(operator: Operator) -> None:
    del operator.settings["services"][0]["site"]
    answer = operator.sync("plan")
    assert answer.returncode == 5
    assert "nobody could enter, everybody would be closed" in answer.stderr


def test_one_checksum_for_several_sites_ends_with_5(operator: Operator) -> None:
    operator.settings["sites"].append({**operator.site, "name": "other"})
    answer = operator.sync("apply", "--checksum", "0123456789abcdef")
    assert answer.returncode == 5
    assert "--site" in answer.stderr


@pytest.mark.parametrize("command", ["plan", "apply"])
def test_a_token_moodle_does_not_know_is_a_matter_of_settings_and_no_outage(operator: Operator, command: str) -> None:
    operator.site["token"] = "another-one"
    answer = operator.sync(command)
    assert answer.returncode == 5
    assert "the token is not valid" in answer.stderr
    assert "nothing was written" in answer.stderr
    assert "Run `lms-bridge doctor`." in answer.stderr
    assert "another-one" not in answer.stdout + answer.stderr


def test_web_services_that_are_switched_off_are_a_matter_of_settings(operator: Operator) -> None:
    operator.world.moodle.faults.at("core_webservice_get_site_info", 1, "403")
    found = operator.told("plan")
    assert found["exit_code"] == 5
    assert "switched off" in found["failure"]


def test_a_right_that_is_missing_for_writing_is_a_matter_of_settings(operator: Operator) -> None:
    operator.world.moodle.faults.at("core_user_create_users", 1, "without=moodle/user:create")
    answer = operator.sync("apply")
    assert answer.returncode == 5
    assert "moodle/user:create" in answer.stdout
    assert "Run `lms-bridge doctor`." in answer.stdout


# --- 6: Moodle unreachable ---


@pytest.mark.parametrize("command", ["plan", "apply", "adopt"])
def test_a_moodle_in_maintenance_ends_with_6_and_nothing_is_written(operator: Operator, command: str) -> None:
    operator.world.down()
    answer = operator.sync(command)
    assert answer.returncode == 6
    assert answer.stderr.startswith("updago: Moodle could not be read, and nothing was written: ")
    assert operator.world.writes() == []


def test_a_moodle_that_goes_away_in_the_middle_ends_with_6_and_the_next_run_goes_on(operator: Operator) -> None:
    operator.world.moodle.faults.at("core_user_create_users", 1, "503")
    answer = operator.sync("apply")
    assert answer.returncode == 6
    assert "Moodle went no further" in answer.stdout
    assert operator.sync("apply").returncode == 0
    assert "ext.ada" in operator.world.usernames()


def test_a_site_that_does_not_answer_leaves_the_other_its_run(operator: Operator) -> None:
    away = "http://127.0.0.1:1"
    operator.settings["sites"].append({**operator.site, "name": "away", "url": away})
    service = {**operator.settings["services"][0], "name": "away", "url": f"{away}/login/index.php", "site": "away"}
    operator.settings["services"].append(service)
    answer = operator.sync("apply", "--json")
    assert answer.returncode == 6
    assert [(one["site"], one["exit_code"]) for one in json.loads(answer.stdout)] == [("updago", 0), ("away", 6)]
    assert "ext.ada" in operator.world.usernames()


# --- adopt ---


def add_manual_ada(operator: Operator) -> None:
    operator.world.moodle.site.add_user(
        "ext.ada", auth="manual", firstname="Ada", lastname="Lovelace", email="ext.ada@mail.example"
    )


def test_adopting_plans_asks_for_the_checksum_and_takes_over(operator: Operator) -> None:
    add_manual_ada(operator)
    assert operator.told("plan")["conflicts"] == 1
    planned = operator.told("adopt")
    assert (planned["exit_code"], planned["changes"]) == (2, {"adopt": 1})
    assert operator.told("adopt", "--apply")["exit_code"] == 3
    assert operator.world.user().auth == "manual"
    done = operator.told("adopt", "--apply", "--checksum", planned["checksum"])
    assert (done["exit_code"], done["done"]) == (0, {"adopt": 1})
    assert operator.world.user().auth == "cas"
    assert operator.told("adopt")["exit_code"] == 0
    assert operator.told("plan")["exit_code"] == 0


def test_a_doubtful_adoption_is_listed_with_both_sides_and_left_alone(operator: Operator) -> None:
    operator.world.moodle.site.add_user("ext.ada", auth="manual", firstname="Adèle", lastname="Autre")
    planned = operator.told("adopt")
    assert (planned["exit_code"], planned["changes"], planned["conflicts"]) == (0, {}, 1)
    page = Path(planned["report"]).read_text(encoding="utf-8")
    assert "ext.ada (Ada Lovelace)" in page
    assert "Adèle Autre" in page


# --- status ---


def test_status_says_where_the_site_stands_and_asks_moodle_nothing(operator: Operator) -> None:
    assert operator.sync("status").stdout.splitlines()[0].startswith("updago: ")
    operator.sync("apply")
    operator.world.down()
    asked = len(operator.world.moodle.calls)
    answer = operator.sync("status")
    assert answer.returncode == 0
    assert "1 in_step; 1 users are ours; 0 accounts wait." in answer.stdout
    assert "the last complete run was at" in answer.stdout
    assert "apply    done" in answer.stdout
    assert len(operator.world.moodle.calls) == asked


def test_status_names_who_is_in_conflict_and_why(operator: Operator) -> None:
    operator.sync("apply")
    operator.world.user().auth = "manual"
    operator.sync("apply")
    answer = operator.sync("status")
    assert "ext.ada: the user has another sign-in method" in answer.stdout
    [found] = json.loads(operator.sync("status", "--json").stdout)
    assert [one["username"] for one in found["problems"]] == ["ext.ada"]
    assert found.keys() >= {"site", "states", "waiting", "unsettled", "complete_run_at", "held_since", "runs"}


# --- progress ---


def test_progress_is_told_in_plain_lines_where_there_is_no_terminal(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SAY_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(sync_command.logs, "configure", lambda *_: None)  # this process has its own
    answer = CliRunner().invoke(main, operator.words("apply"), catch_exceptions=False)
    assert answer.exit_code == 0
    assert answer.stderr.splitlines() == ["updago: read 1/1", "updago: write 1/1"]
