"""The doctor says which other systems do not take what they are told."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from external_accounts.handover_deliveries import Figures
from lms_bridge.ops.doctor.findings import Verdict
from lms_bridge.ops.doctor.hook_checks import check
from lms_bridge.settings import build
from tests.bridge_under_test import Clock, settings_values
from tests.lms_bridge.hooks.conftest import SECRET


def test_each_hook_and_directory_has_a_line(tmp_path: Path) -> None:
    hooks = [
        {"name": name, "url": "https://mail.univ.example/hook", "secrets": [SECRET]}
        for name in ("new", "well", "away", "refusing")
    ]
    settings = build(settings_values(tmp_path, hooks=hooks))
    now = Clock()()
    long_ago = now - timedelta(hours=2)
    told = [
        Figures("directory:sel", 0, 0, None, 0, 7, ""),
        Figures("hook:well", 3, 1, now - timedelta(minutes=5), 0, 40, "no answer: ConnectTimeout"),
        Figures("hook:away", 3, 3, long_ago, 0, 40, "no answer: ConnectTimeout"),
        Figures("hook:refusing", 0, 0, None, 2, 40, "answered 404"),
    ]
    findings = {one.check: one for one in check(settings, told, now)}
    assert {name: one.verdict for name, one in findings.items()} == {
        "hook:new": Verdict.OK,
        "hook:well": Verdict.OK,
        "hook:away": Verdict.WARNING,
        "hook:refusing": Verdict.PROBLEM,
        "directory:sel": Verdict.OK,
    }
    assert "answered 404" in findings["hook:refusing"].seen
    assert "hooks retry --to hook:refusing" in findings["hook:refusing"].fix
