"""`lms-bridge --help`: complete, and there at once."""

from __future__ import annotations

import subprocess
import sys

from click.testing import CliRunner

from lms_bridge.cli import COMMANDS, main


def test_the_overview_names_every_verb_and_each_has_a_help_of_its_own() -> None:
    overview = CliRunner().invoke(main, ["--help"], terminal_width=80).output
    for verb, summary in COMMANDS.items():
        assert f"  {verb}" in overview
        assert summary in overview, "on one line"
        helped = CliRunner().invoke(main, [verb, "--help"])
        assert helped.exit_code == 0
        assert f"Usage: main {verb}" in helped.output


def test_the_overview_imports_no_verb() -> None:
    program = (
        "import sys; from lms_bridge.cli import main; main(['--help'], standalone_mode=False); "
        "print(sorted(name for name in sys.modules if name.startswith(('lms_bridge', 'sqlalchemy', 'flask'))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "['lms_bridge', 'lms_bridge.cli']"
