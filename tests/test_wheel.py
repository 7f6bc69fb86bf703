"""The wheel carries everything the service needs besides code."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this tree and unpacked as an installer would."""
    folder = tmp_path_factory.mktemp("wheel")
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    built = subprocess.run(
        [sys.executable, "-c", build, str(folder)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    with zipfile.ZipFile(folder / built.stdout.split()[-1]) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_carries_templates_translations_static_files_and_migrations(installed: Path) -> None:
    for source, packaged in (
        ("templates", "lms_bridge/templates"),
        ("lms_bridge/static", "lms_bridge/static"),
        ("lms_bridge/translations", "lms_bridge/translations"),
        ("lms_bridge/migrations", "lms_bridge/migrations"),
        ("external_accounts", "external_accounts"),
    ):
        wanted = {path.relative_to(ROOT / source) for path in (ROOT / source).rglob("*.*") if path.suffix != ".pyc"}
        there = {path.relative_to(installed / packaged) for path in (installed / packaged).rglob("*.*")}
        assert wanted, source
        assert wanted <= there, wanted - there


def test_the_wheel_carries_no_tests_and_no_benchmarks(installed: Path) -> None:
    assert {path.name for path in installed.iterdir() if path.suffix != ".dist-info"} == {
        "lms_bridge",
        "moodle_ws",
        "external_accounts",
    }


def test_the_installed_wheel_makes_its_database_and_renders_a_page(installed: Path, tmp_path: Path) -> None:
    code = """
import sys, pathlib
from lms_bridge import app, migrations, runtime, settings
assert pathlib.Path(app.__file__).is_relative_to(sys.argv[1]), app.__file__
bridge = runtime.build_runtime(settings.build({
    "public_url": "http://127.0.0.1:1", "secret_keys": ["k" * 32],
    "database_url": f"sqlite:///{sys.argv[2]}/bridge.db", "institution": {"help_email": "aide@univ.example"},
    "mail": {"host": "127.0.0.1", "sender": "noreply@univ.example"},
}))
migrations.upgrade(bridge.database)
client = app.create_app(bridge).test_client()
page = client.get("/signin/local")
print(page.status_code, "Se connecter" in page.text, client.get("/static/bridge.css").status_code)
bridge.close()
"""
    run = subprocess.run(
        [sys.executable, "-c", code, str(installed), str(tmp_path)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.splitlines()[-1].split() == ["200", "True", "200"], run.stderr
