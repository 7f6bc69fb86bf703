"""The documentation says what is so: generated pages are in step, links lead somewhere, examples work."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from pydantic import BaseModel

import lms_bridge.schema
from external_accounts import proof_deadlines, proofs, throttle
from external_accounts.database import Base
from external_accounts.proof_keys import CODE_ALPHABET, CODE_LENGTH
from lms_bridge.app import create_app
from lms_bridge.cas.backchannel import GET_PATHS, SAML_PATH
from lms_bridge.cas.responses import FailureCode
from lms_bridge.cli import main
from lms_bridge.gate import Obstacle
from lms_bridge.i18n import read_catalogue
from lms_bridge.settings import Settings, build
from lms_bridge.settings.sections import Sessions
from tests.bridge_under_test import BridgeUnderTest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
GUIDES = sorted((DOCS / "guides").glob("*.md"))
FRENCH = [*GUIDES, *sorted((DOCS / "tutoriel").glob("*.md"))]
WRITTEN_BY_HAND = [ROOT / "README.md", DOCS / "README.md", DOCS / "CONTRIBUTING.md", *FRENCH]
GENERATORS = ["generate_settings_reference.py", "generate_cli_reference.py", "generate_conformance.py"]


def run(script: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, timeout=60, check=False)


def code_blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in these languages, a list's indentation removed."""
    fenced = r"^( *)```(\w+)\n(.*?)^\1```$"
    return [
        re.sub(rf"^{indent}", "", body, flags=re.MULTILINE)
        for indent, language, body in re.findall(fenced, page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
        if language in languages
    ]


# --- Generated pages ---


@pytest.mark.parametrize("generator", GENERATORS)
def test_a_generated_page_is_what_its_generator_writes_now(generator: str) -> None:
    outcome = run(DOCS / generator, "--check")
    assert outcome.returncode == 0, outcome.stderr


def test_a_generated_page_out_of_step_is_named_with_the_command_that_mends_it(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    shutil.copytree(DOCS, docs, ignore=shutil.ignore_patterns("__pycache__"))
    page = docs / "reference" / "settings.md"
    page.write_text(page.read_text("utf-8").replace("`public_url`", "`publique_url`"), "utf-8")
    refused = run(docs / "generate_settings_reference.py", "--check")
    assert refused.returncode == 1
    assert "docs/reference/settings.md" in refused.stderr
    assert "docs/generate_settings_reference.py" in refused.stderr
    assert run(docs / "generate_settings_reference.py").returncode == 0
    assert run(docs / "generate_settings_reference.py", "--check").returncode == 0


# --- Links ---


def test_every_link_and_every_file_named_in_the_documentation_exists() -> None:
    outcome = run(DOCS / "check_links.py")
    assert outcome.returncode == 0, outcome.stderr


def test_the_link_check_names_what_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# A heading, with `code` – and é\n\n## Twice\n\n## Twice\n", "utf-8")
    (tmp_path / "page.md").write_text(
        "[gone](gone.md) and [good](other.md#twice-1) and [web](https://example.org/nowhere)\n"
        "[no heading](other.md#thrice) and [dashes](other.md#a-heading-with-code--and-é)\n"
        "`lms_bridge/nowhere.py` and `lms_bridge` and `a/b`\n"
        "```\n[ignored](nowhere.md) `tests/nowhere.py`\n```\n"
        "[out](../elsewhere.md) and [words over\ntwo lines](gone.md#there)\n",
        "utf-8",
    )
    outcome = run(DOCS / "check_links.py", tmp_path)
    assert outcome.returncode == 1
    assert outcome.stderr.splitlines() == [
        "page.md:1: gone.md does not exist",
        "page.md:2: other.md#thrice: there is no such heading",
        "page.md:3: `lms_bridge/nowhere.py` does not exist",
        "page.md:7: ../elsewhere.md leads out of the repository",
        "page.md:8: gone.md#there does not exist",
    ]


# --- Completeness ---


def child_of(command: click.Command, name: str) -> click.Command | None:
    """The subcommand of that name, loaded as the program loads it."""
    return command.get_command(click.Context(command), name) if isinstance(command, click.Group) else None


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[str]:
    if not isinstance(command, click.Group):
        yield " ".join(path)
        return
    for name in command.list_commands(click.Context(command)):
        child = child_of(command, name)
        assert child is not None
        yield from commands(child, (*path, name))


@pytest.mark.parametrize("command", list(commands(main)))
def test_every_command_is_in_the_reference_and_in_a_guide(command: str) -> None:
    assert f"## `lms-bridge {command}`" in (DOCS / "reference" / "cli.md").read_text("utf-8")
    assert any(re.search(rf"\b{command}\b", page.read_text("utf-8")) for page in FRENCH)


def setting_names(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        for section in sections_in(field.annotation):
            yield from setting_names(section)


def sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from sections_in(part)


def test_every_setting_is_in_the_reference() -> None:
    reference = (DOCS / "reference" / "settings.md").read_text("utf-8")
    names = set(setting_names(Settings))
    assert {"public_url", "cas_url", "trust_minutes"} <= names
    missing = [
        name for name in names if not re.search(rf"^(\| `{name}` \||## `\[+(\w+\.)?{name}\]+`)", reference, re.M)
    ]
    assert missing == []


def test_every_table_is_described() -> None:
    page = (DOCS / "reference" / "database.md").read_text("utf-8")
    assert lms_bridge.schema.Ticket.__tablename__ in Base.metadata.tables
    assert [table for table in Base.metadata.tables if f"| `{table}` |" not in page] == []


def test_every_address_is_in_the_contract(bridge: BridgeUnderTest) -> None:
    page = (DOCS / "reference" / "paths.md").read_text("utf-8")
    rules = {
        rule.rule for rule in create_app(bridge.runtime).url_map.iter_rules() if not rule.rule.startswith("/static/")
    }
    assert "/signin/local" in rules
    assert sorted(path for path in rules | GET_PATHS | {SAML_PATH} if f"`{path}`" not in page) == []


def test_every_obstacle_is_explained_in_the_gates_order() -> None:
    page = (DOCS / "explanation" / "gate.md").read_text("utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == [obstacle.value for obstacle in Obstacle]


def test_cas_17_every_failure_code_is_in_the_reference() -> None:
    page = (DOCS / "reference" / "cas-server.md").read_text("utf-8")
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE)) == {code.value for code in FailureCode}


def test_every_dependency_has_its_reason_and_no_other_has() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras = project["project"]["optional-dependencies"].values()
    wanted = [
        *project["project"]["dependencies"],
        *project["dependency-groups"]["dev"],
        *(d for e in extras for d in e),
    ]
    page = (DOCS / "reference" / "dependencies.md").read_text("utf-8").lower()
    installed, _, _refused = page.partition("## decided against")
    named = {name for cell in re.findall(r"^\| ([a-z].*?) \|", installed, re.MULTILINE) for name in cell.split(", ")}
    assert named - {"package"} | {"psycopg"} == {re.split(r"[\[<>=~!]", line)[0] for line in wanted}


# --- Numbers ---


def test_the_throttling_page_names_every_budget_with_its_numbers() -> None:
    """PWD-07: what is done against guessing is written down, as it is."""
    page = (DOCS / "explanation" / "throttling.md").read_text("utf-8")
    rows = [cells for line in page.splitlines() if len(cells := [cell.strip() for cell in line.split("|")]) > 4]
    shown = {cells[1].replace(",", ""): (cells[2], cells[3]) for cells in rows}
    limits = [limit for limit in vars(throttle).values() if isinstance(limit, throttle.Limit)]
    assert len(limits) >= 6
    for limit in limits:
        assert shown[limit.name] == (f"{limit.burst:,}", f"{limit.every:g} s")


def test_ses_02_the_limits_of_a_session_and_how_sessions_go_together_are_written_down() -> None:
    page = (DOCS / "explanation" / "sessions-and-logout.md").read_text("utf-8")
    limits = Sessions()
    assert f"| bridge | `idle_minutes`, {limits.idle_minutes} | `absolute_hours`, {limits.absolute_hours} |" in page
    for session in ("| university CAS |", "| Moodle |"):
        assert session in page
    for event in ("sign out everywhere", "sign out at the university CAS", "time-out at the bridge", "suspended"):
        assert f"| {event} |" in page


def test_the_page_of_proofs_has_the_numbers_of_the_code() -> None:
    page = (DOCS / "explanation" / "proofs.md").read_text("utf-8")
    assert f"{proof_deadlines.CODE_LIFETIME // timedelta(minutes=1)} minutes; {proofs.CODE_ATTEMPTS} tries" in page
    assert f"{CODE_LENGTH} of {len(CODE_ALPHABET)}:" in page
    assert f"works after {proofs.RESEND_PAUSE // timedelta(seconds=1)} seconds" in page


# --- Examples ---


def settings_in(text: str, folder: Path) -> dict[str, Any]:
    """Settings from a guide, with what they name in `folder` instead of /etc and /var."""
    for name in ("logo.svg", "ca-univ.pem"):
        (folder / name).touch()
    (folder / "retours").mkdir(exist_ok=True)
    return tomllib.loads(re.sub("/(?:etc|var/lib)/lms-bridge/", f"{folder}/", text))


def example(folder: Path) -> dict[str, Any]:
    blocks = code_blocks(DOCS / "guides" / "installer.md", "toml")
    assert len(blocks) == 1
    return settings_in(blocks[0], folder)


def test_the_example_settings_of_the_install_guide_load(tmp_path: Path) -> None:
    settings = build(example(tmp_path))
    assert settings.secure
    assert [service.site for service in settings.services] == ["updago"]


@pytest.mark.parametrize(
    "guide", [guide for guide in GUIDES if guide.name != "installer.md"], ids=lambda page: page.stem
)
def test_the_excerpts_of_settings_in_a_guide_load_inside_the_example(guide: Path, tmp_path: Path) -> None:
    for block in code_blocks(guide, "toml"):
        build(example(tmp_path) | settings_in(block, tmp_path))


def command_lines(page: Path) -> Iterator[list[str]]:
    """What stands after `lms-bridge` in the shell blocks and in backticks of a page."""
    lines = [line for block in code_blocks(page, "sh", "ini") for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`(lms-bridge [^`\n]+)`", page.read_text("utf-8"))
    for line in lines:
        if found := re.search(r"(?:^|/bin/)lms-bridge ((?!-).*|--(?:config|version|help)\b.*)", line):
            yield shlex.split(found[1])


@pytest.mark.parametrize("page", WRITTEN_BY_HAND, ids=lambda page: page.stem)
def test_the_command_lines_of_a_page_are_ones_the_program_takes(page: Path) -> None:
    for words in command_lines(page):
        command: click.Command = main
        options: set[str] = set()
        for word in words:
            if (child := child_of(command, word)) is not None:
                command = child
            elif word.startswith("--"):
                options.add(word)
                known = {text for option in (*command.params, *main.params) for text in option.opts} | {"--help"}
                assert word in known, f"{page.name}: lms-bridge {shlex.join(words)}"
        complete = not isinstance(command, click.Group) or options & {"--version", "--help"} or "…" in words
        assert complete or words[-1] == "FILE", f"{page.name}: lms-bridge {shlex.join(words)}"


@pytest.mark.parametrize("page", WRITTEN_BY_HAND, ids=lambda page: page.stem)
def test_the_make_commands_of_a_page_exist(page: Path) -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert {"run", "test", "check"} <= targets
    text = "\n".join([*code_blocks(page, "sh"), *re.findall(r"`([^`\n]+)`", page.read_text("utf-8"))])
    named = set(re.findall(r"(?:^|\s)make (\w+)", text))
    assert named <= targets
    if page.name == "README.md" and page.parent == ROOT:
        assert {"run", "test"} <= named


# --- French ---


def prose(page: Path) -> str:
    """A page without code, links' targets and web addresses."""
    text = re.sub(r"^( *)```.*?^\1```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]+`|\]\([^)]*\)|<[^>]+>|https?://\S+", "", text)


@pytest.mark.parametrize("page", FRENCH, ids=lambda page: page.stem)
def test_french_pages_keep_their_punctuation_on_the_line(page: Path) -> None:
    assert re.findall(r".{0,20}(?: [;?!»]| :(?!-)|« ).{0,20}", prose(page)) == []


def test_the_titles_that_troubleshooting_quotes_are_the_ones_that_people_see() -> None:
    page = DOCS / "guides" / "que-faire-quand.md"
    quoted = re.findall(r"^## «\s(?:…\s)?(.+?)\s»", page.read_text("utf-8"), re.MULTILINE)
    seen = [str(message.string) for message in read_catalogue("fr")]
    assert len(quoted) >= 4
    assert [title for title in quoted if not any(title in text for text in seen)] == []
