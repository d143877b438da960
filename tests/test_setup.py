"""Test which libraries setup.sh installs; a script that notes its arguments takes the place of pip."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

SetUp = Callable[..., list[str]]


@pytest.fixture
def set_up(tmp_path: Path) -> SetUp:
    """A function that calls setup.sh with these LIBS and gives the command lines for pip."""
    python, calls = tmp_path / "bin" / "python", tmp_path / "calls"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\necho "$*" >>{calls}\n')
    python.chmod(0o755)

    def call(*libs: str) -> list[str]:
        calls.write_text("")
        command = [str(ROOT / "setup.sh"), str(tmp_path), *libs]
        subprocess.run(command, env={**os.environ, "PYTHON": sys.executable}, check=True, capture_output=True)
        return calls.read_text().splitlines()

    return call


def _of(calls: list[str], word: str) -> list[str]:
    return [call for call in calls if word in call]


def test_a_part_compiles_nothing_and_is_made_whole_later(set_up: SetUp) -> None:
    first = set_up("torchvision,transformers")
    assert len(_of(first, "-e " + str(ROOT) + "[dev,torchvision,transformers]")) == 1
    assert _of(first, "mmcv.txt") == []
    assert set_up("transformers") == []  # it is there already
    assert set_up("torchvision,transformers") == []
    whole = set_up()
    assert len(_of(whole, "mmcv.txt")) == 1
    assert len(_of(whole, "-r " + str(ROOT / "requirements" / "all.txt"))) == 1
    assert set_up() == []
    assert set_up("torchvision") == []


def test_one_part_after_another(set_up: SetUp) -> None:
    set_up("torchvision")
    assert len(_of(set_up("transformers"), "[dev,torchvision,transformers]")) == 1
    assert len(_of(set_up("mmdet,onnxruntime,openvino"), "mmcv.txt")) == 1
    assert set_up() == []


@pytest.mark.parametrize("stamped", ["0-0 torchvision transformers mmdet\n", "1234567 890"], ids=["line", "no newline"])
def test_what_other_requirements_installed_counts_for_nothing(set_up: SetUp, tmp_path: Path, stamped: str) -> None:
    set_up()
    stamp = tmp_path / ".maskbench-ready"
    stamp.write_text(stamped)
    assert len(_of(set_up("torchvision"), "[dev,torchvision]")) == 1


def test_an_unknown_library(tmp_path: Path) -> None:
    command = [str(ROOT / "setup.sh"), str(tmp_path / "venv"), "torchvison"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    known = "torchvision,transformers,mmdet,onnxruntime,openvino"
    assert f"LIBS=torchvison: unknown, must be some of {known}" in done.stderr
    assert not (tmp_path / "venv").exists()
