"""Writes `docs/reference/cli.md` from the help texts of the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click
from generated_page import DOCS, run

from lms_bridge.cli import main

SCRIPT = "docs/generate_cli_reference.py"
WIDTH = 100
INTRODUCTION = """\
# The command line

`lms-bridge` is the one program. Every command but `demo` reads the settings first, from `--config FILE` or
`LMS_BRIDGE_CONFIG`, and from the environment: see [settings](settings.md).

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | `demo`: one of its four ports is taken |
| 2 | wrong use of the command, or what was asked for is refused; the text says why |
| 4 | `doctor`: at least one problem; `mail test`: the mail server did not take it |
| 5 | the settings cannot be used; the text names each setting and what to write |
| 6 | `doctor`: nothing is wrong but a Moodle that does not answer |
"""


def page() -> str:
    parts = [INTRODUCTION]
    root = click.Context(main, info_name="lms-bridge", terminal_width=WIDTH, **main.context_settings)
    for context in _commands(root):
        parts.append(f"## `{context.command_path}`\n\n```text\n{context.get_help()}\n```\n")
    return "\n".join(parts)


def _commands(context: click.Context) -> Iterator[click.Context]:
    yield context
    command = context.command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None:
                yield from _commands(click.Context(child, parent=context, info_name=name, terminal_width=WIDTH))


if __name__ == "__main__":
    sys.exit(run(SCRIPT, DOCS / "reference" / "cli.md", page()))
