"""Test that a part of the report that fails is named in a line and costs no other part."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import reports
from bench.errors import UserError
from bench.schema.result import Result
from reports.writing import FILES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(tmp_path: Path, make_result: Callable[..., Result], write_run: Callable[..., Path]) -> Path:
    results = [make_result("A", mask_ap=0.4, model_ms=[10.0]), make_result("B", mask_ap=0.3, model_ms=[20.0])]
    return write_run(tmp_path / "run", results)


def test_a_part_that_fails_is_left_out(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("division\nby zero")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("reports.text.latex.write_latex", fails)
    monkeypatch.setattr("reports.text.markdown.write_markdown", full)
    monkeypatch.setattr("reports.writing.write_json", full)
    page = reports.build([run], tmp_path / "report")
    assert page.exists()
    written = {path.name for path in (tmp_path / "report").iterdir()}
    assert set(FILES) - written == {"comparison.tex", "comparison.md", "comparison.json"}
    assert (tmp_path / "report" / "plots" / "pareto.png").exists()
    assert capsys.readouterr().err.splitlines() == [
        "warning: left out of the report: comparison.json, comparison.md: No space left on device",
        "warning: left out of the report: comparison.tex: ZeroDivisionError: division by zero "
        f"(test_writing.py:{fails.__code__.co_firstlineno + 1})",
    ]


def test_nothing_of_an_earlier_report_stays(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of other rows must not stand beside new tables."""
    out = tmp_path / "report"
    reports.build([run], out)

    def fails(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr("reports.page.comparison_page.write_html", fails)
    (out / "mine.txt").write_text("mine")
    reports.build([run], out)
    assert not (out / "comparison.html").exists()
    assert (out / "mine.txt").exists()


def test_where_nothing_can_be_written_it_is_an_error(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    monkeypatch.setattr("pandas.DataFrame.to_csv", full)
    with pytest.raises(UserError, match="the report cannot be written"):
        reports.build([run], tmp_path / "report")


@pytest.mark.parametrize("setting", ["MPLBACKEND", "MATPLOTLIBRC", "matplotlibrc"])
def test_settings_of_matplotlib_change_nothing(run: Path, tmp_path: Path, setting: str) -> None:
    """A notebook sets a backend that is not installed here, and a person who writes papers lets LaTeX set all text."""
    (tmp_path / "there").mkdir()
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nbackend: TkAgg\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if setting == "MPLBACKEND":
        environment[setting] = "nonsense"
    elif setting == "MATPLOTLIBRC":
        environment[setting] = str(tmp_path / "matplotlibrc")
    else:
        (tmp_path / "there" / "matplotlibrc").write_bytes(b"font.size: \xff\xfe\n")
    command = [sys.executable, "-m", "reports", str(run), "--out", str(tmp_path / "report")]
    done = subprocess.run(command, env=environment, cwd=tmp_path / "there", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "report" / "plots" / "pareto.png").exists()


def test_a_polygon_that_kills_the_decoder_costs_no_more_than_its_pictures(
    tmp_path: Path, make_result: Callable[..., Result], write_run: Callable[..., Path], tiny_dataset: dict[str, Any]
) -> None:
    """pycocotools, which draws where hotcoco is not installed, writes outside of its memory for such a polygon."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "hotcoco.py").write_text("raise ModuleNotFoundError(name='hotcoco')")
    file = Path(tiny_dataset["annotations"])
    data = json.loads(file.read_text())
    data["annotations"][0]["segmentation"] = [[0, 0, 1e9, 0, 1e9, 1e9, 0, 1e9]]
    file.write_text(json.dumps(data))
    run = write_run(tmp_path / "run", [make_result("A", dataset=tiny_dataset), make_result("B", dataset=tiny_dataset)])
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path / 'hidden'}:{ROOT}"}
    command = [sys.executable, "-m", "reports", str(run)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "<h1" in (run / "comparison.html").read_text()
    assert (run / "plots" / "pareto.png").exists()
    assert len(done.stderr.splitlines()) <= 2, done.stderr
