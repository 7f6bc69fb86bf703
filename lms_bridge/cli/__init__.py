"""The command line: one file a verb, imported when the verb is used.

A server's worker keeps in memory whatever its command imported; the demo's simulators have no business there.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click

COMMANDS = (
    "accounts",
    "api-keys",
    "audit",
    "config",
    "db",
    "demo",
    "doctor",
    "duplicates",
    "hooks",
    "import",
    "invitations",
    "letters",
    "lifecycle",
    "mail",
    "merges",
    "panic",
    "registrations",
    "serve",
    "sync",
    "why",
    "worker",
)
MODULES = {"api-keys": "api_keys", "import": "imports"}
"""Of verbs that are no name for a module."""


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = MODULES.get(cmd_name, cmd_name)
        command: click.Command = getattr(import_module(f"lms_bridge.cli.{name}"), name)
        return command


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="LMS_BRIDGE_CONFIG",
    help="The settings file (TOML). The environment (LMS_BRIDGE_…) wins over it.",
)
@click.version_option(package_name="lms-bridge")
@click.pass_context
def main(context: click.Context, config_path: Path | None) -> None:
    """LMS Bridge: one front door to Moodle."""
    context.obj = config_path
