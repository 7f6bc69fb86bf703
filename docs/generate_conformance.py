"""Writes `docs/reference/conformance.md`: which test stands for which line.

A test carries a line's id in its name (`test_cas_18_…`) or in its docstring (`CAS-18`); a whole file carries it in the
docstring at its top.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator

from generated_page import DOCS, cell, run

SCRIPT = "docs/generate_conformance.py"
TESTS = DOCS.parent / "tests"
LINES = DOCS / "reference" / "conformance-lines.toml"
FAMILIES = {
    "CAS": "CAS server",
    "TOK": "Links, codes and recovery",
    "PWD": "Passwords",
    "SES": "Sessions and web",
    "LNK": "Identities and linking",
    "I": "Invariants",
    "D": "What people ask of such a system",
}
INTRODUCTION = """\
# Conformance

Each line is a requirement from a specification or a standard, shortened; its source is named. Beside it stand the
tests that carry its id in their name or docstring, or in that of their file. Lines without one, and lines that do not
apply yet, are listed too: nothing here is claimed without a test that can fail.

Sources: **CAS** = CAS Protocol 3.0.3 (section) · **ASVS** = OWASP ASVS 5.0 · **NIST** = SP 800-63B-4 ·
**FPCS** = OWASP Forgot Password cheat sheet · **EVCS** = OWASP Email Validation and Verification cheat sheet ·
**PRE** = Sudhodanan & Paverd, *Pre-hijacked accounts*, USENIX Security 2022 · **demands** = what users of comparable
systems complain about.
"""

_IN_DOCSTRING = re.compile(r"\b(?:(CAS|TOK|PWD|SES|LNK)-(\d\d)|(I|D)(\d{1,2}))\b")
_IN_NAME = re.compile(r"_(?:(cas|tok|pwd|ses|lnk)_(\d\d)|(i|d)(\d{1,2}))(?=_|$)")


def tests_by_line() -> dict[str, list[str]]:
    """The tests of each line, as links."""
    found: dict[str, list[str]] = defaultdict(list)
    for file in sorted(TESTS.rglob("test_*.py")):
        module = ast.parse(file.read_text(encoding="utf-8"))
        where = f"../../{file.relative_to(DOCS.parent).as_posix()}"
        for line in _ids("", ast.get_docstring(module)):
            found[line].append(f"[all of `{file.name}`]({where})")
        for test in _tests_in(module):
            for line in _ids(test.name, ast.get_docstring(test)):
                found[line].append(f"[`{test.name}`]({where})")
    return found


def _ids(name: str, docstring: str | None) -> list[str]:
    """The ids that a name and a docstring carry, each once."""
    ids: dict[str, None] = {}
    for text, pattern in ((name, _IN_NAME), (docstring or "", _IN_DOCSTRING)):
        for family, number, invariant, which in pattern.findall(text):
            ids[f"{family.upper()}-{number}" if family else f"{invariant.upper()}{which}"] = None
    return list(ids)


def _tests_in(module: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node


def page() -> str:
    lines = tomllib.loads(LINES.read_text(encoding="utf-8"))
    tests = tests_by_line()
    # Of what people ask for, many tests cite a number; what is listed is what the product is held to.
    unknown = sorted(line for line in tests if line not in lines and not line.startswith("D"))
    if unknown:
        raise SystemExit(f"tests carry ids that {LINES.name} does not know: {', '.join(unknown)}")
    parts = [INTRODUCTION]
    for family, title in FAMILIES.items():
        ids = [line for line in lines if re.fullmatch(family + r"-?\d+", line) and "later" not in lines[line]]
        parts += [f"## {title}", "", "| line | what it asks | source | tests |", "|---|---|---|---|"]
        for line in ids:
            asked = lines[line]
            shown = "<br>".join(tests.get(line, [])) or "**none yet**"
            parts.append(f"| {line} | {cell(asked['asks'])} | {asked['source']} | {shown} |")
        parts.append("")
    without = [line for line in lines if "later" not in lines[line] and line not in tests]
    parts += ["## Not yet", "", "Lines that do not apply yet, because what they are about is not built:", ""]
    parts += ["| line | what it asks | why not yet |", "|---|---|---|"]
    parts += [
        f"| {line} | {cell(asked['asks'])} | {asked['later']} |" for line, asked in lines.items() if "later" in asked
    ]
    parts += ["", "Lines that apply and that no test carries yet:", "", ", ".join(without) or "none", ""]
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(run(SCRIPT, DOCS / "reference" / "conformance.md", page()))
