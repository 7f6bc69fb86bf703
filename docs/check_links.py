"""Checks that the Markdown files of the repository point at things that exist. Needs no network.

Every relative link must lead to a file, and its anchor to a heading of that file. Every path in backticks that looks
like a file of this repository must exist. Addresses on the web are not looked at.

    python docs/check_links.py [FOLDER]

Exit code 1 when something is wrong, with one line for each: `file:line: what`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
NOT_OURS = frozenset({"node_modules", "dist", "build"})
FOLDERS = frozenset({"benchmarks", "docs", "external_accounts", "lms_bridge", "moodle_ws", "templates", "tests", ".ci"})
"""A path in backticks that begins with one of these is meant as a file of the repository."""
TOP_FILES = frozenset({"README.md", "CHANGELOG.md", "LICENSE", "Makefile", "pyproject.toml", "constraints.txt"})

_FENCE = re.compile(r"^\s*(```+|~~~+)")
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_DEFINITION = re.compile(r"^\s{0,3}\[[^\]]+\]:\s*<?(\S+?)>?(?:\s+\"[^\"]*\")?\s*$")
_HEADING = re.compile(r"^\s{0,3}#{1,6}\s+(.*?)\s*#*\s*$")
_ANCHOR = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")
_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_PATH = re.compile(r"[\w.@*-]+(?:/[\w.@*-]+)*/?")


def markdown_files(root: Path) -> list[Path]:
    """All Markdown files below `root`, without those of hidden folders and of other projects."""
    return sorted(
        path
        for path in root.rglob("*.md")
        if not any(part in NOT_OURS or part.startswith(".") for part in path.relative_to(root).parts[:-1])
    )


def prose_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines outside code blocks, with their numbers from 1."""
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        found = _FENCE.match(line)
        if fence:
            if found and found[1].startswith(fence):
                fence = ""
        elif found:
            fence = found[1]
        else:
            yield number, line


def slug(heading: str) -> str:
    """The anchor that GitHub and GitLab give a heading."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    kept = "".join(letter for letter in text.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")


def anchors(text: str) -> set[str]:
    """All anchors of a Markdown file; a heading that comes again gets `-1`, `-2` …"""
    found: set[str] = set(_ANCHOR.findall(text))
    seen: dict[str, int] = {}
    for _, line in prose_lines(text):
        if heading := _HEADING.match(line):
            name = slug(heading[1])
            count = seen.get(name, 0)
            seen[name] = count + 1
            found.add(f"{name}-{count}" if count else name)
    return found


def problems(root: Path) -> list[str]:
    """What is wrong in the Markdown files below `root`, one line each."""
    found = []
    for file in markdown_files(root):
        lines = dict(prose_lines(file.read_text(encoding="utf-8")))
        # A link's words may run over the end of a line; its code may look like a link.
        text = "\n".join(_CODE.sub("", lines.get(number, "")) for number in range(1, max(lines, default=0) + 1))
        links = [(text.count("\n", 0, match.end()) + 1, match[1]) for match in _LINK.finditer(text)]
        links += [(number, match[1]) for number, line in lines.items() if (match := _DEFINITION.match(line))]
        broken = [(number, what) for number, target in links if (what := _wrong_link(root, file, target))]
        broken += [(number, what) for number, line in lines.items() for what in _missing_paths(root, line)]
        found += [f"{file.relative_to(root)}:{number}: {what}" for number, what in sorted(broken)]
    return found


def _wrong_link(root: Path, file: Path, target: str) -> str | None:
    if _SCHEME.match(target):
        return None
    path, _, anchor = unquote(target).partition("#")
    aim = (file.parent / path).resolve() if path else file
    if not aim.is_relative_to(root):
        return f"{target} leads out of the repository"
    if not aim.exists():
        return f"{target} does not exist"
    if anchor and aim.suffix == ".md" and anchor not in anchors(aim.read_text(encoding="utf-8")):
        return f"{target}: there is no such heading"
    return None


def _missing_paths(root: Path, line: str) -> Iterator[str]:
    for match in _CODE.finditer(line):
        path = match[1].partition("::")[0]
        if not _PATH.fullmatch(path) or (path not in TOP_FILES and path.partition("/")[0] not in FOLDERS):
            continue
        if "/" not in path and path not in TOP_FILES:
            continue  # `docs` alone may be a word, a command, a package
        if not (any(root.glob(path.rstrip("/"))) if "*" in path else (root / path).exists()):
            yield f"`{path}` does not exist"


def main(arguments: list[str]) -> int:
    root = Path(arguments[0]).resolve() if arguments else ROOT
    found = problems(root)
    for line in found:
        sys.stderr.write(f"{line}\n")
    if not found:
        sys.stdout.write(f"{len(markdown_files(root))} Markdown files: all links lead somewhere\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
