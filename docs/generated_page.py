"""What the page generators share: write the page, or say whether it is what would be written."""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
NOTE = "<!-- Written by `{script}`: change what it reads, then run it again. -->\n\n"


def run(script: str, page: Path, text: str) -> int:
    """Write `text` to `page`; with `--check` on the command line only compare. Returns the exit code."""
    text = NOTE.format(script=script) + text.rstrip("\n") + "\n"
    shown = page.relative_to(DOCS.parent)
    if "--check" in sys.argv[1:]:
        if page.is_file() and page.read_text(encoding="utf-8") == text:
            return 0
        sys.stderr.write(f"{shown} is not what the code says now. Run: .venv/bin/python {script}\n")
        return 1
    page.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{shown} written\n")
    return 0


def cell(text: str) -> str:
    """`text` as the content of a table cell."""
    return " ".join(text.split()).replace("|", "\\|")
