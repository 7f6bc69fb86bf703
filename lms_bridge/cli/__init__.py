"""The command line: one file a verb, imported when the verb is used.

A server's worker keeps in memory whatever its command imported; the demo's simulators have no business there.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click

COMMANDS = {
    "accounts": "Accounts of the Extérieurs door.",
    "api-keys": "Keys of programs that use the API (/api/v1).",
    "audit": "The audit trail: verify it, hand it on.",
    "config": "The settings.",
    "db": "The database.",
    "demo": "Start everything on this machine, to try it.",
    "doctor": "Look at everything that must be set up.",
    "duplicates": "People who may have two accounts.",
    "hooks": "What other systems were told of accounts.",
    "import": "Create, update and end accounts from a file.",
    "invitations": "Invite people without an account of the university.",
    "letters": "Print account letters.",
    "lifecycle": "Warn, close and erase accounts when their time comes.",
    "mail": "See whether mails arrive, send again, try.",
    "merges": "Course work of people who joined two accounts.",
    "panic": "End every session, ticket and pending link at once.",
    "registrations": "Requests for an account, by people without one.",
    "serve": "Serve the bridge.",
    "sync": "Keep Moodle in step: plan, apply, adopt, status.",
    "why": "Say why somebody can or cannot enter.",
    "worker": "Do the background work: mails, Moodle, life cycle.",
}
"""The verbs, and what the overview says of each: asking them would import everything, for seconds."""
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

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


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
