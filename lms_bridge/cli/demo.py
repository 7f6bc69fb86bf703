"""`lms-bridge demo`"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lms_bridge.demo.launch import PortsTaken, run


@click.command()
@click.option(
    "--port", type=click.IntRange(1024, 65532), help="First of four ports. Default: LMS_BRIDGE_DEMO_PORT or 8400."
)
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), help="Keep the demo's files in this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print addresses and accounts as one line of JSON.")
def demo(port: int | None, data: Path | None, as_json: bool) -> None:
    """Start everything on this machine: bridge, simulated Moodle, university CAS, mailbox."""
    try:
        run(port, data, as_json=as_json)
    except PortsTaken as error:
        click.echo(str(error), err=True)
        sys.exit(1)
