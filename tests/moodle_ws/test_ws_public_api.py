"""The package as a stranger meets it: the names it offers, their types, and the job on its page."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import moodle_ws
from moodle_ws import MoodleClient, MoodleError
from moodle_ws.simulator import SimulatedMoodle

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "moodle-ws.md"


@pytest.fixture(scope="module")
def job() -> str:
    """The script on the page."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return next(block for block in blocks if "def provision" in block)


def test_the_script_on_the_page_uses_only_what_the_package_offers_and_passes_the_strictest_types(
    job: str, tmp_path: Path
) -> None:
    script = tmp_path / "provision.py"
    script.write_text(job + '\nreveal_type(MoodleClient("https://m.example.org", "t").site_info().version)\n', "utf-8")
    (names,) = re.findall(r"^from moodle_ws import (.*)$", job, re.MULTILINE)
    assert set(names.split(", ")) <= set(moodle_ws.__all__)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", script.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        'Revealed type is "str | None"' in done.stdout or 'Revealed type is "Union[builtins.str, None]"' in done.stdout
    )


def test_the_script_on_the_page_does_its_job(job: str, moodle: SimulatedMoodle, tmp_path: Path) -> None:
    script = tmp_path / "provision.py"
    script.write_text(job, "utf-8")

    def run(token: str) -> tuple[int, str]:
        command = [sys.executable, str(script), moodle.site.wwwroot, token]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stderr

    assert run(moodle.site.options.token) == (0, "")
    assert moodle.site.user("anne") is not None
    moodle.calls.clear()
    assert run(moodle.site.options.token) == (0, ""), "a second run finds nothing to do"
    assert moodle.calls == ["core_user_get_users_by_field"]
    moodle.faults.next("503")
    assert run(moodle.site.options.token) == (
        1,
        "try later: core_user_get_users_by_field: Moodle is under maintenance: HTTP 503\n",
    )


def test_types_travel_with_the_package() -> None:
    assert (Path(moodle_ws.__file__).parent / "py.typed").exists()


def test_every_name_offered_is_there_described_and_on_the_page() -> None:
    page = PAGE.read_text("utf-8")
    assert sorted(moodle_ws.__all__) == sorted(set(moodle_ws.__all__))
    for name in moodle_ws.__all__:
        assert inspect.getdoc(getattr(moodle_ws, name)), name
    for name in vars(MoodleClient):
        assert name.startswith("_") or name in page, name
    for name in moodle_ws.__all__:
        thing = getattr(moodle_ws, name)
        if inspect.isclass(thing) and issubclass(thing, MoodleError):
            assert name in page, name


def test_every_method_of_the_client_says_its_types() -> None:
    for name, method in inspect.getmembers(MoodleClient, inspect.isfunction):
        signature = inspect.signature(method)
        missing = [key for key, value in signature.parameters.items() if value.annotation is value.empty]
        assert missing in (["self"], ["self", "_exception"]) or name == "__exit__", name
        assert signature.return_annotation is not signature.empty, name
