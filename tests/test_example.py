"""Test the adapter of ``docs/adapters.md``, with its files unchanged in a folder of the user's own."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from python_path import python_path

from bench.schema.result import read_result

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "docs" / "adapter"
PAGE = (ROOT / "docs" / "adapters.md").read_text(encoding="utf-8")


@pytest.fixture
def own_folder(tmp_path: Path) -> Path:
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    return Path(shutil.copytree(EXAMPLE, tmp_path / "my_models", ignore=shutil.ignore_patterns("__pycache__")))


def call(arguments: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environment = {**environment, "PYTHONPATH": python_path(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_page_shows_the_files_word_for_word() -> None:
    files = [path for path in EXAMPLE.rglob("*") if path.suffix in (".py", ".yaml")]
    assert len(files) == 3
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert f"```{'python' if path.suffix == '.py' else 'yaml'}\n{text}```" in PAGE, path.name
        assert str(path.relative_to(EXAMPLE)) in PAGE
        assert text.count("\n") < 50


def test_its_own_test_passes(own_folder: Path, environment: dict[str, str]) -> None:
    done = call(["-m", "pytest", "-p", "no:cacheprovider", "test_mask_rcnn_v2.py"], own_folder, environment)
    assert done.returncode == 0, done.stdout


def test_its_command_measures_it(own_folder: Path, environment: dict[str, str], bright_squares: list[str]) -> None:
    """The page's own command runs, on fewer and smaller images than those of its dataset."""
    [command] = [line for line in PAGE.splitlines() if "python -m run_bench" in line]
    given = shlex.split(command.replace(" dataset=shapes", ""))[1:]
    arguments = [*given, *bright_squares, "passes=[memory,speed]", "input_size=64x96", "out=out"]
    done = call(arguments, own_folder, environment)
    assert done.returncode == 0, done.stderr
    [path] = (own_folder / "out").glob("jobs/*/result.json")
    result = read_result(path)
    assert (result.status, result.notes, result.config["model"]["name"]) == ("ok", [], "mask_rcnn_v2")
    assert result.model is not None
    assert result.model.parameters is not None
    assert 4e7 < result.model.parameters < 5e7
    assert result.speed is not None
    assert min(result.speed.detections_per_image) > 0
    assert result.machine is not None
    assert "torchvision" in result.machine["versions"]
    refused = call([*arguments, "precision=bf16"], own_folder, environment)
    assert refused.returncode == 2
    assert "precision=bf16: mask_rcnn_v2.MaskRCNNv2 computes in fp32 or tf32" in refused.stderr
