"""Test that whatever ends the process that draws costs one picture, and that it knows no settings of the user."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from python_path import python_path

from reports.drawing.process import MOST_DEATHS, DrawingProcess
from reports.parts import PartFailedError

TOYS = Path(__file__).resolve().parents[2] / "toys"


@pytest.fixture(autouse=True)
def toys_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", python_path(TOYS))


@pytest.fixture
def drawing() -> Iterator[DrawingProcess]:
    with DrawingProcess("toy_drawings:ToyDrawings", limit_seconds=5) as process:
        process.begin("toy")
        yield process


def test_a_death_costs_one_picture(drawing: DrawingProcess) -> None:
    assert [drawing.ask("draw", "a"), drawing.ask("draw", "b")] == ["toy a 1", "toy b 2"]
    with pytest.raises(PartFailedError, match="the process that draws was killed by SIGSEGV"):
        drawing.ask("die")
    assert drawing.ask("draw", "c") == "toy c 1", "a new process, which has the arguments of the first"
    with pytest.raises(PartFailedError, match="the process that draws ended with exit status 3"):
        drawing.ask("leave")
    assert drawing.ask("draw", "d") == "toy d 1"


def test_what_takes_too_much_is_ended_or_refused(drawing: DrawingProcess) -> None:
    with pytest.raises(PartFailedError, match="more than the 8 GiB of memory that a picture may take"):
        drawing.ask("hog")
    assert drawing.ask("draw", "a") == "toy a 1", "the process goes on"
    drawing._seconds = 0.3
    began = time.monotonic()
    with pytest.raises(PartFailedError, match=r"not done after 0\.3 s"):
        drawing.ask("hang")
    assert time.monotonic() - began < 3
    drawing._seconds = 5
    assert drawing.ask("draw", "b") == "toy b 1"


def test_an_error_is_one_line_with_its_place(drawing: DrawingProcess) -> None:
    with pytest.raises(PartFailedError, match=r"^ValueError: no such colour \(toy_drawings.py:\d+\)$"):
        drawing.ask("fail")


def test_it_does_not_die_without_end(drawing: DrawingProcess) -> None:
    for _ in range(MOST_DEATHS):
        with pytest.raises(PartFailedError, match="SIGSEGV"):
            drawing.ask("die")
    with pytest.raises(PartFailedError, match="has died 5 times"):
        drawing.ask("die")
    assert drawing.ask("draw", "a") == "toy a 1", "what has killed no process is still drawn"


def test_an_object_that_cannot_be_made_fails_each_time() -> None:
    with DrawingProcess("toy_drawings:NeverReady", limit_seconds=5) as process:
        for _ in range(2):
            with pytest.raises(PartFailedError, match="RuntimeError: cannot begin"):
                process.ask("draw")
    with DrawingProcess("nowhere:Toy", limit_seconds=5) as process, pytest.raises(PartFailedError, match="exit status"):
        process.ask("draw")


def test_no_setting_of_the_user_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.size: 40\n")
    (tmp_path / ".config" / "matplotlib").mkdir(parents=True)
    (tmp_path / ".config" / "matplotlib" / "matplotlibrc").write_text("lines.linewidth: 20\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MATPLOTLIBRC", str(tmp_path / "matplotlibrc"))
    monkeypatch.setenv("MPLBACKEND", "module://not_installed.backend")
    with DrawingProcess("toy_drawings:ToyDrawings") as process:
        process.begin("toy")
        assert process.ask("settings") == ([], False)
