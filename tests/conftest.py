"""What tests of every room share: a small COCO set, the command as a user calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
TOYS = ROOT / "tests" / "toys"
CASES = ROOT / "tests" / "cases"

sys.path[:0] = [str(TOYS), str(CASES)]  # here, since a conftest below may be imported before pytest is configured

from python_path import command_environment  # noqa: E402

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gpu: needs a CUDA device")
    os.environ.pop("GITHUB_STEP_SUMMARY", None)  # the commands of tests are none of this job's results


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a command: the toy models importable, caches out of the home folder."""
    return command_environment(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def outside_xdist(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pytest started by this test is no worker of the pytest that runs it: pytest-benchmark would time nothing."""
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def run_command(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Calls ``run_bench.py`` (or another module) in an empty folder, as a user would."""
    folder = tmp_path_factory.mktemp("cwd")

    def run(*arguments: str, module: str | None = None, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        start: Sequence[str] = ["-m", module] if module else [str(ROOT / "run_bench.py")]
        # A module is found where this checkout is not installed, too; the command finds its own.
        first = [str(ROOT)] if module else []
        return subprocess.run(
            [sys.executable, *start, *arguments],
            capture_output=True,
            text=True,
            env={**environment, "PYTHONPATH": os.pathsep.join([*first, environment["PYTHONPATH"]])},
            cwd=folder,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def run_once(run_command: Command, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Run a command once for all processes of this pytest run, and give its end and its folder of results.

    pytest-xdist spreads the tests of a module over its processes, and each of them would set up the module's fixtures.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def run(name: str, *arguments: str, timeout: float = 300) -> tuple[subprocess.CompletedProcess[str], Path]:
        folder = shared / f"run-{name}"
        said = folder / "said.json"
        with FileLock(f"{folder}.lock"):
            if not said.exists():
                done = run_command(*arguments, f"out={folder / 'out'}", timeout=timeout)
                said.write_text(json.dumps([done.args, done.returncode, done.stdout, done.stderr]))
        return subprocess.CompletedProcess(*json.loads(said.read_text())), folder / "out"

    return run


@pytest.fixture(scope="session")
def bright_squares(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A COCO set of four images, each dark with one bright rectangle: what the toy model Blobs finds exactly.

    Gives the arguments that name it.
    """
    folder = tmp_path_factory.mktemp("bright")
    (folder / "images").mkdir()
    images, annotations = [], []
    for i, (height, width) in enumerate([(60, 80), (80, 60), (50, 50), (64, 96)], start=1):
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[10:40, 5:45] = 200
        Image.fromarray(pixels).save(folder / "images" / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "height": height, "width": width})
        annotations.append(
            {
                "id": i,
                "image_id": i,
                "category_id": 7,
                "iscrowd": 0,
                "area": 30 * 40,
                "bbox": [5, 10, 40, 30],
                "segmentation": [[5, 10, 45, 10, 45, 40, 5, 40]],
            }
        )
    coco = {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": "rectangle"}]}
    (folder / "annotations.json").write_text(json.dumps(coco))
    return [
        "dataset=coco",
        f"dataset.images={folder / 'images'}",
        f"dataset.annotations={folder / 'annotations.json'}",
        "device=cpu",
    ]
