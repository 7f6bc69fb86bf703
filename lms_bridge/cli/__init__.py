"""The command line: one file a verb."""

from __future__ import annotations

from pathlib import Path

import click

from lms_bridge.cli.accounts import accounts
from lms_bridge.cli.config import config
from lms_bridge.cli.db import db
from lms_bridge.cli.demo import demo
from lms_bridge.cli.serve import serve
from lms_bridge.cli.worker import worker


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
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


for command in (accounts, config, db, demo, serve, worker):
    main.add_command(command)
