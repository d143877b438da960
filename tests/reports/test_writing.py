"""Test that a part of the report that fails is named in a line and costs no other part."""

from __future__ import annotations

import errno
import functools
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from literal_results import with_worst_images
from PIL import Image
from python_path import python_path

import reports
from bench.errors import UserError
from bench.schema.result import Result
from reports.drawing.process import DrawingProcess
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

    monkeypatch.setattr("bench.files.json_file.os.replace", full)
    with pytest.raises(UserError, match="the report cannot be written"):
        reports.build([run], tmp_path / "report")


def test_no_file_is_written_in_part(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The beginning of a table of which the disk had no more room stood there as a table of fewer rows."""
    before, out = resource.getrlimit(resource.RLIMIT_FSIZE), tmp_path / "report"
    resource.setrlimit(resource.RLIMIT_FSIZE, (2, before[1]))  # bytes of each file: "[]" of no pair
    try:
        with pytest.raises(UserError, match="the report cannot be written"):
            reports.build([run], out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not [path for path in out.iterdir() if path.is_file()]
    assert "comparison.csv" in capsys.readouterr().err


@pytest.mark.parametrize("setting", ["MPLBACKEND", "MATPLOTLIBRC", "matplotlibrc"])
def test_settings_of_matplotlib_change_nothing(run: Path, tmp_path: Path, setting: str) -> None:
    """A notebook sets a backend that is not installed here, and a person who writes papers lets LaTeX set all text."""
    (tmp_path / "there").mkdir()
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nbackend: TkAgg\n")
    environment = {**os.environ, "PYTHONPATH": python_path(ROOT)}
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
    environment = {**os.environ, "PYTHONPATH": python_path(tmp_path / "hidden", ROOT)}
    command = [sys.executable, "-m", "reports", str(run)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "<h1" in (run / "comparison.html").read_text()
    assert (run / "plots" / "pareto.png").exists()
    assert len(done.stderr.splitlines()) <= 2, done.stderr


@pytest.fixture
def three(tmp_path: Path, make_result: Callable[..., Result], write_run: Callable[..., Path]) -> Callable[..., Path]:
    def write(dataset: dict[str, Any]) -> Path:
        """Write a run of three models with worst images, and their empty predictions."""
        results = [with_worst_images(make_result(name, dataset=dataset), [1]) for name in ("A", "B", "C")]
        run = write_run(tmp_path / "run", results)
        for number in range(3):
            (run / f"jobs/job{number}/predictions.json").write_text("[]")
        return run

    return write


def _pages(out: Path) -> list[str]:
    return [path.read_text() for path in sorted((out / "models").iterdir())]


def test_where_memory_runs_out_the_pages_have_no_pictures(
    tmp_path: Path,
    three: Callable[..., Path],
    tiny_dataset: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Reading an image of 81 megapixels takes 600 MB more than the process has."""
    file, image = Path(tiny_dataset["annotations"]), Path(tiny_dataset["images"]) / "1.jpg"
    data = json.loads(file.read_text())
    data["images"] = [{"id": 1, "file_name": "1.jpg", "height": 9000, "width": 9000}]
    data["annotations"] = [a for a in data["annotations"] if a["image_id"] == 1]
    file.write_text(json.dumps(data))
    Image.new("L", (9000, 9000)).save(image, "PNG", compress_level=1)
    run = three(tiny_dataset)
    monkeypatch.setattr("reports.writing.DrawingProcess", functools.partial(DrawingProcess, limit_bytes=800 << 20))
    page = reports.build([run], tmp_path / "report")
    assert "<h1" in page.read_text()
    assert len(_pages(tmp_path / "report")) == 3
    assert all("The images could not be drawn." in text for text in _pages(tmp_path / "report"))
    assert (tmp_path / "report" / "plots" / "pareto.png").exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "warning: left out of the report: plots/panel_tiny_1.png, plots/masks_tiny.js, images of models/a-"
    )
    assert line.endswith(": more than the 1 GiB of memory that a picture may take")


def test_where_the_process_is_killed_each_time_the_pages_have_no_pictures(
    tmp_path: Path,
    three: Callable[..., Path],
    tiny_dataset: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = three(tiny_dataset)
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "hotcoco.py").write_text("import os\n\ndef __getattr__(name):\n    os.kill(os.getpid(), 9)\n")
    monkeypatch.setenv("PYTHONPATH", python_path(tmp_path / "first"))
    monkeypatch.setattr("reports.drawing.process.MOST_DEATHS", 1)
    reports.build([run], tmp_path / "report")
    assert len(_pages(tmp_path / "report")) == 3
    assert all("The images could not be drawn." in text for text in _pages(tmp_path / "report"))
    first, then = capsys.readouterr().err.splitlines()
    assert first.endswith("the process that draws was killed by SIGKILL, as a system does where memory runs out")
    assert then.endswith("not drawn, since the process that draws has died 1 times")


def test_annotations_alone_give_a_report_without_panels_and_one_line(
    tmp_path: Path, three: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing has failed: replayed results need no image files."""
    run = three({"name": "mine", "images": None, "annotations": str(tmp_path / "truth.json")})
    text = reports.build([run], tmp_path / "report").read_text()
    assert text.count("No panels of mine: the dataset was evaluated without image files.") == 1
    assert capsys.readouterr().err == ""
    assert list((tmp_path / "report" / "plots").glob("panel_*")) == []
    for page in _pages(tmp_path / "report"):
        assert "The dataset was evaluated without its image files, so no image can be shown." in page
