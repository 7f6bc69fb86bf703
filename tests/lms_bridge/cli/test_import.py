"""`lms-bridge import` as an operator runs it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from click.testing import CliRunner, Result

from external_accounts.database import Database
from external_accounts.spreadsheets import read_table, written
from lms_bridge.cli import main
from lms_bridge.demo.example_file import EXAMPLE
from tests.bridge_under_test import settings_values
from tests.external_accounts.importing import accounts
from tests.lms_bridge.registration.conftest import UPSTREAM
from tests.migrated import migrate
from tests.served_bridge import to_toml

LABEL = {"fr": "Vacataire", "en": "Adjunct"}
PROFILES = [{"name": "vacataire", "label": LABEL, "issuer": "sel", "directory": "sel"}]
COMMAND = [sys.executable, "-c", "from lms_bridge.cli import main; main()"]
Run = Callable[..., Result]


def write_settings(folder: Path, **changes: Any) -> Path:
    values = settings_values(
        folder,
        upstreams=[UPSTREAM],
        directories=[{"name": "sel", "kind": "embedded"}],
        profiles=PROFILES,
        **changes,
    )
    path = folder / "lms-bridge.toml"
    path.write_text(to_toml(values), encoding="utf-8")
    return path


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/bridge.db")
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def run(tmp_path: Path, database: Database) -> Run:
    config = write_settings(tmp_path, imports={"ended": {"percent": 10, "floor": 1}})
    return lambda *words: CliRunner().invoke(main, ["--config", str(config), "import", *map(str, words)])


def file_of(folder: Path, *lines: str, header: str = "matricule;nom;prénom;fin", name: str = "staff.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *lines]), encoding="utf-8")
    return path


def test_the_example_shows_every_verdict_and_comes_back_corrected(run: Run, tmp_path: Path, database: Database) -> None:
    example = run("--example")
    assert (example.exit_code, example.stdout) == (0, EXAMPLE)
    file = tmp_path / "staff.csv"
    file.write_text(example.stdout, encoding="utf-8")
    preview = run(file)
    assert preview.exit_code == 4
    assert "Would be: 4 created" in preview.stdout
    assert accounts(database) == {}
    done = run(file, "--apply")
    assert done.exit_code == 4
    assert "Done: 4 created, 0 updated, 0 ended, 0 opened again; 0 as they should be, 1 refused." in done.stdout
    rejected = tmp_path / "staff.rejected.csv"
    text = rejected.read_text(encoding="utf-8-sig")
    assert text.splitlines()[0].endswith(";motif")
    assert "fin de droits\u00a0: «\u00a031/02/2099\u00a0» est illisible" in text
    rejected.write_text(text.replace("31/02/2099", "28/02/2099").replace("petit@courriel;", "petit@mail.example;"))
    assert run(rejected, "--apply").exit_code == 0
    assert len(accounts(database)) == 5
    assert run(file).exit_code == 4  # the line is still wrong in the first file


def test_exit_codes_say_what_is_to_do(run: Run, tmp_path: Path) -> None:
    file = file_of(tmp_path, "1;Lovelace;Ada;")
    assert run(file, "--profile", "vacataire").exit_code == 2
    assert run(file, "--profile", "vacataire", "--apply").exit_code == 0
    assert run(file, "--profile", "vacataire").exit_code == 0
    assert not (tmp_path / "staff.rejected.csv").exists()


def test_i9_too_many_ends_stop_it_and_only_the_plan_that_was_looked_at_goes_on(
    run: Run, tmp_path: Path, database: Database
) -> None:
    names = ("Ada;Un", "Bob;Deux", "Cléo;Trois", "Dora;Quatre")
    everybody = [f"{number};{name};" for number, name in enumerate(names)]
    run(file_of(tmp_path, *everybody), "--profile", "vacataire", "--apply")
    before = accounts(database)
    few = file_of(tmp_path, everybody[0])
    words = (few, "--profile", "vacataire", "--end-missing", "--apply")
    stopped = run(*words, "--json")
    assert stopped.exit_code == 3
    told = json.loads(stopped.stdout)
    assert [stop["name"] for stop in told["stops"]] == ["too_many_ends"]
    assert accounts(database) == before
    assert run(*words, "--checksum", "0" * 16).exit_code == 3
    # Absent people end now, whenever that is: the sum of the plan is the same a moment later.
    assert run(*words, "--checksum", told["checksum"]).exit_code == 0
    assert [key for key, one in accounts(database).items() if one["end"] is not None] == ["1", "2", "3"]


def test_a_file_that_names_nobody_never_ends_anybody(run: Run, tmp_path: Path, database: Database) -> None:
    run(file_of(tmp_path, "1;Lovelace;Ada;"), "--profile", "vacataire", "--apply")
    for lines in ((), (";Hopper;Grace;",)):
        words = (file_of(tmp_path, *lines), "--profile", "vacataire", "--end-missing", "--apply", "--json")
        told = run(*words)
        assert told.exit_code == 3
        assert run(*words, "--checksum", json.loads(told.stdout)["checksum"]).exit_code == 3
    assert accounts(database)["1"]["end"] is None


def test_homonyms_are_told_with_their_reasons_and_accepted_by_name(run: Run, tmp_path: Path) -> None:
    run(file_of(tmp_path, "1;Lovelace;Ada;"), "--profile", "vacataire", "--apply")
    file = file_of(tmp_path, "2;Ada;Lovelace;")
    told = run(file, "--profile", "vacataire", "--json")
    row = json.loads(told.stdout)["rows"][0]
    assert row["alike"] == [{"username": "ada.lovelace", "points": 60, "facts": ["swapped_names"]}]
    assert "given name and family name swapped" in run(file, "--profile", "vacataire").stdout
    accepted = run(file, "--profile", "vacataire", "--accept-duplicates", "2", "--apply")
    assert accepted.exit_code == 0


def test_an_xlsx_file_gets_its_rejected_lines_as_xlsx(run: Run, tmp_path: Path, database: Database) -> None:
    file = tmp_path / "staff.xlsx"
    rows = [["matricule", "nom", "prénom", "motif"], ["007", "Lovelace", "Ada", ""], ["8", "=1+1", "", "old"]]
    file.write_bytes(written("xlsx", rows))
    assert run(file, "--profile", "vacataire", "--apply").exit_code == 4
    assert list(accounts(database)) == ["007"]
    content = (tmp_path / "staff.rejected.xlsx").read_bytes()
    table = read_table(content)
    assert table.header == ("matricule", "nom", "prénom", "motif")
    assert table.lines[0][1][:3] == ("8", "=1+1", "")
    assert "rien n'est écrit" in table.lines[0][1][3]
    assert openpyxl.load_workbook(BytesIO(content)).active is not None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04", "damaged"),
        (b'nom;matricule\n"1;2\n', "damaged (line 2)"),
        ("nom;prénom".encode(), "key of the staff office"),
        (b"matricule;nom;Nom d'usage", "nom, Nom d'usage"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_words(run: Run, tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "staff.csv"
    file.write_bytes(content)
    refused = run(file)
    assert refused.exit_code == 2
    assert words in refused.stderr


def test_wrong_words_are_refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = file_of(tmp_path)
    assert "--profile" in run(file, "--end-missing").stderr
    assert "vacataire" in run(file, "--profile", "nobody").stderr
    assert "--example" in run().stderr
    assert "no key of a line" in run(file, "--accept-duplicates", "9").stderr
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    (tmp_path / "x.xlsx").write_bytes(written("xlsx", [["matricule"]]))
    assert "lms-bridge[xlsx]" in run(tmp_path / "x.xlsx").stderr


@pytest.mark.parametrize(("answer", "code", "written_then"), [(b"n\n", 1, 0), (b"y\n", 0, 1)])
def test_on_a_terminal_it_asks_before_it_writes_and_shows_how_far_it_is(
    tmp_path: Path, database: Database, answer: bytes, code: int, written_then: int
) -> None:
    config = write_settings(tmp_path)
    file = file_of(tmp_path, "1;Lovelace;Ada;")
    terminal, its_end = pty.openpty()
    command = [*COMMAND, "--config", str(config), "import", str(file), "--profile", "vacataire", "--apply"]
    with subprocess.Popen(
        command, stdin=its_end, stderr=its_end, stdout=subprocess.PIPE, env=_environment()
    ) as process:
        os.close(its_end)
        shown = b""
        while b"Do it?" not in shown:
            shown += os.read(terminal, 1000)
        assert b"staff.csv: looking [##############################] 1/1" in shown
        os.write(terminal, answer)
        assert process.stdout is not None
        told = process.stdout.read()
        assert process.wait() == code
    os.close(terminal)
    assert b"line 2: create 1" in told
    assert len(accounts(database)) == written_then


def test_i8_killed_anywhere_and_run_again_it_comes_to_the_same(tmp_path: Path) -> None:
    """Three runs of a long file end with SIGKILL while they write, the fourth finishes: nothing double or lost."""
    lines = [f"{number:05};Nom{number % 700};Prénom{number};2099-06-30" for number in range(6000)]
    results = []
    for folder, kills in ((tmp_path / "killed", 3), (tmp_path / "whole", 0)):
        folder.mkdir()
        config = write_settings(folder)
        database = Database(f"sqlite:///{folder}/bridge.db")
        migrate(database)
        file = file_of(folder, *lines)
        command = [
            *COMMAND,
            "--config",
            str(config),
            "import",
            str(file),
            "--profile",
            "vacataire",
            "--apply",
            "--json",
        ]
        done = 0
        for _ in range(kills):
            done = _kill_once_more_is_written(command, database, done)
        assert 0 < done < 6000 or not kills
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=_environment())
        results.append(accounts(database))
        database.close()
    assert len(results[0]) == 6000
    assert results[0] == results[1]


def _kill_once_more_is_written(command: list[str], database: Database, before: int) -> int:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=_environment())
    deadline = time.monotonic() + 120
    while _count(database) <= before and process.poll() is None:
        assert time.monotonic() < deadline, "nothing is written"
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    return _count(database)


def _count(database: Database) -> int:
    with database.engine.connect().execution_options(read_only=True) as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM accounts").scalar_one())


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("LMS_BRIDGE_")}
