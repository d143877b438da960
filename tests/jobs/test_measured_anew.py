"""Tests through the command, in a user's folder, when a result is measured anew and what becomes of the old one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.schema.result import Result, read_result, results_under

ROOT = Path(__file__).resolve().parents[2]

NET = """
import torch
from beside import DELAY_MS
from toy_models import Blobs


class Net(Blobs):
    def __init__(self, settings, checkpoint, parts):
        assert settings.config == "net.yaml"
        super().__init__(settings, DELAY_MS + open(parts[0]["file"]).read().count("slow"))
"""

QUICK = ["passes=[speed]", "protocol.rounds=1", "protocol.min_samples=4", "protocol.precision=10"]
GIVEN = ["model=custom", "model._target_=net.py:Net", "+model.options.checkpoint=w.pt", *QUICK]
GIVEN += ["+model.options.parts=[{file: part.txt}]", "protocol.warmup_batches=1", "out=out", "model.config=net.yaml"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    texts = {"net.py": NET, "beside.py": "DELAY_MS = 0\n", "w.pt": "w", "part.txt": "fast"}
    texts |= {"net.yaml": "_BASE_: base.yaml\n", "base.yaml": "width: 1\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_code_and_files_that_have_changed(folder: Path, environment: dict[str, str], bright_squares: list[str]) -> None:
    """A class edited beside its file was "measured before", and the row of an old checkpoint stayed in the report."""

    def run() -> tuple[str, Result]:
        command = [sys.executable, str(ROOT / "run_bench.py"), *GIVEN, *bright_squares]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        [path] = results_under(folder / "out")
        return done.stdout, read_result(path)

    _, first = run()
    assert {"net.py", "beside.py"} <= first.sources.keys()
    files = {"file of model.options.checkpoint", "file of model.options.parts.0.file"}
    assert first.contents.keys() == {"dataset", "file of model.config", *files}
    (folder / "beside.py").write_text("DELAY_MS = 30\n")
    said, second = run()
    assert "Net: measured anew: beside.py has changed (the earlier result: out/earlier/" in said
    assert first.speed is not None
    assert second.speed is not None
    assert min(second.speed.model.latency_ms) >= 30
    (folder / "part.txt").write_text("slow")
    said, third = run()
    assert "Net: measured anew: the file of model.options.parts.0.file has changed" in said
    (folder / "base.yaml").write_text("width: 2\n")
    said, fourth = run()
    assert "Net: measured anew: the file of model.config has changed" in said
    kept = sorted((folder / "out" / "earlier").glob("*/result.json"))
    assert sorted(map(str, map(read_result, kept))) == sorted(map(str, (first, second, third)))
    assert str(fourth) not in map(str, (first, second, third))


WORDS = """
from toy_models import Blobs


class Net(Blobs):
    def __init__(self, settings, builder):
        super().__init__(settings)
"""


def test_a_word_that_is_the_name_of_a_folder_of_results(
    tmp_path: Path, environment: dict[str, str], bright_squares: list[str]
) -> None:
    """With ``out=demo`` the option ``builder: demo`` was that folder, which "had changed" when it was measured."""
    (tmp_path / "words.py").write_text(WORDS)
    said = {}
    for name in ("first", "second"):
        given = ["model=custom", "model._target_=words.py:Net", "+model.options.builder=demo", *QUICK, "out=demo"]
        command = [sys.executable, str(ROOT / "run_bench.py"), *given, "protocol.warmup_batches=1", *bright_squares]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        said[name] = done.stdout
        [path] = results_under(tmp_path / "demo")
        result = read_result(path)
        assert result.contents.keys() == {"dataset"}
        assert not [note for note in result.notes if "changed" in note]
    assert "measured before" in said["second"]
    assert not (tmp_path / "demo" / "earlier").exists()
