"""A copy of a run is no second measurement: it counts once, and does not repeat the first."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from literal_results import build_result

from bench.schema.result import Result
from reports.__main__ import main

WriteRun = Callable[[Path, Sequence[Result]], Path]


def _began(*names: str, **figures: Any) -> Result:
    """Give a result that says when its first round began."""
    result = build_result(*names, **figures)
    assert result.speed is not None
    result.speed.rounds[0].started = "2026-11-22T13:00:10+00:00"
    return result


@pytest.fixture
def copies(tmp_path: Path, write_run: WriteRun) -> tuple[str, str]:
    run = write_run(tmp_path / "a", [_began("A", mask_ap=0.3), _began("B", mask_ap=0.2)])
    shutil.copytree(run, tmp_path / "b")
    return str(run), str(tmp_path / "b")


def test_a_copy_counts_once(copies: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*copies, "--best", "mask_ap"]) == 0
    said = capsys.readouterr()
    assert "A R50-FPN" in said.out
    assert "not distinguishable" not in said.out
    assert said.err.count("warning: ") == said.err.count("it counts once") == 2


def test_a_copy_is_no_repetition(copies: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([copies[0], "--again", copies[1]]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "it holds the same measurements as the first run (2 of 2 rows, as job0)" in line


def test_other_samples_are_another_measurement(
    tmp_path: Path, write_run: WriteRun, capsys: pytest.CaptureFixture[str]
) -> None:
    first = write_run(tmp_path / "first", [_began(model_ms=(20.0, 30.0, 50.0))])
    second = write_run(tmp_path / "second", [_began(model_ms=(20.0, 31.0, 50.0))])
    assert main([str(first), "--again", str(second)]) in (0, 1)
    assert main([str(first), str(second), "--best", "fps_model"]) == 0
    assert "it counts once" not in capsys.readouterr().err
