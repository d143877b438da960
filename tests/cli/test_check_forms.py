"""``maskbench check`` knows YOLO and LVIS by the file, and prints a command that evaluates them."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
from lvis_cases import by_hand
from yolo_sets import TRIANGLE, plain

from bench.cli.dataset import main
from bench.cli.run import compose
from bench.schema.config import BenchConfig


def checked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main(["check", *arguments])
    told = capsys.readouterr()
    return status, told.out + told.err


def printed(text: str) -> BenchConfig:
    _, _, *arguments = shlex.split(text.rstrip().splitlines()[-1])
    return compose(arguments)[0].config


def test_a_yolo_set(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = plain(tmp_path / "it's a [set]", labels=f"1 {TRIANGLE}\n0 {TRIANGLE}\n")
    status, text = checked(capsys, str(file), "dataset.split=val")
    assert status == 0
    assert "Can be evaluated: 2 of 2 annotations, 2 categories, 2 images; mask AP at 100 detections" in text
    assert (printed(text).dataset.format, printed(text).dataset.annotations) == ("yolo", str(file))


def test_all_kinds_of_problems_of_a_yolo_set(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = plain(tmp_path, labels=f"7 {TRIANGLE}\n0 0.5 0.5 0.1 0.1\n0 0.5 0.5 2 2 1 1\n0 1\n")
    status, text = checked(capsys, str(file))
    assert status == 2
    assert "4 kinds of problems:" in text
    for place in ("a.txt:1 class 7 of 2", "a.txt:2", "a.txt:3 2", "a.txt:4 '0 1'"):
        assert place in text


def test_an_lvis_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "lvis.json"
    file.write_text(json.dumps(by_hand()[0]))
    status, text = checked(capsys, str(file))
    assert status == 0
    assert "mask AP at 300 detections of an image, by the rules of LVIS" in text
    config = printed(text)
    assert (config.dataset.format, config.protocol.max_detections) == ("lvis", 300)
    status, text = checked(capsys, str(file), "protocol.max_detections=100")
    assert "it cannot be compared with a published one; give protocol.max_detections=300" in text


def test_the_command_that_lists_the_rest_finds_the_set(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that measures prints the check, whose keys and folder are those of the set."""
    from bench.data.dataset import check_command
    from bench.schema.config import DatasetConfig

    monkeypatch.setattr(sys, "argv", ["maskbench"])
    file = plain(tmp_path)
    config = DatasetConfig(name="x", format="yolo", annotations=str(file), split="train", images=str(tmp_path))
    _, _, *arguments = shlex.split(check_command(file, config))
    status, text = checked(capsys, *arguments)
    assert status == 0
    assert "1 of 1 annotations" in text
