"""Test that one command writes all files that CI reads."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from literal_findings import gate_report

from bench.errors import UserError
from bench.schema.gate_report import write_report
from bench.schema.result import Result
from reports.ci.__main__ import main
from reports.ci.files import write_all

OF_RESULTS = ["bigger_is_better.json", "smaller_is_better.json", "pytest_benchmark.json"]


@pytest.fixture(autouse=True)
def summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step"))
    return tmp_path / "step"


@pytest.fixture
def run(tmp_path: Path, make_result: Callable[..., Result], write_run: Callable[..., Path]) -> Path:
    """Write one row that ended well, and a file that is no result."""
    folder = write_run(tmp_path / "run", [make_result("SOLOv2")])
    (folder / "jobs" / "unreadable").mkdir()
    (folder / "jobs" / "unreadable" / "result.json").write_text("{")
    return folder


def test_everything(run: Path, summary: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = write_all(gate_report(), run, tmp_path / "ci")
    assert [path.name for path in paths] == ["junit.xml", "summary.md", *OF_RESULTS]
    assert ET.parse(paths[0]).getroot()[0].get("failures") == "1"
    assert paths[1].read_text(encoding="utf-8") == summary.read_text(encoding="utf-8")
    assert json.loads(paths[2].read_text())[0]["name"] == "solov2_torchvision: fps_model"
    assert len(json.loads(paths[4].read_text())["benchmarks"]) == 2
    assert "unreadable" in capsys.readouterr().err


def test_results_alone(run: Path, summary: Path) -> None:
    assert [path.name for path in write_all(None, run, run)] == OF_RESULTS
    assert not summary.exists()
    with pytest.raises(UserError, match="no such file or folder"):
        write_all(None, run / "nowhere", run)


def test_by_hand(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_report(gate_report(), tmp_path / "gate.json")
    assert main([str(run), "--gate", str(tmp_path / "gate.json"), "--out", str(tmp_path / "ci")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert main([str(run), "--gate", str(tmp_path / "absent.json")]) == 2
    assert "absent.json: cannot be read" in capsys.readouterr().err


def test_the_command_has_the_name_that_the_pages_give(run_command: Callable[..., Any]) -> None:
    done = run_command("--help", module="reports.ci")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: python -m reports.ci [-h]")
