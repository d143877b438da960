"""Tests the wheel where there is no checkout: it holds all that the command needs, and takes no name from its user."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

from bench.schema.result import Result, read_result

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (
    "adapters",
    "bench",
    "configs",
    "reports",
    "weights",
    "maskbench.py",
    "run_bench.py",
    "pyproject.toml",
    "README.md",
)

QUICK = ["protocol=quick", "protocol.max_seconds=0.2", "protocol.max_warmup_seconds=0.1", "device=cpu"]
DEMO = ["study=demo", "model=demo_mask_rcnn_torchvision", "dataset.shapes.count=20", *QUICK]

NET = """
import sys

import torch
from toy_models import Blobs

import layers
import of_the_users
from .layers import NAME

assert not [p for p in sys.path if p.startswith({installed!r})], sys.path
assert sys.prefix == {prefix!r}, sys.prefix


class Net(Blobs):
    pass
"""

OWN_TESTS = """
import bench.net_names

def test_own():
    assert bench.net_names.NAMES == ["net"]

def test_speed(maskbench):
    [row] = maskbench.check("custom", "model._target_=toy_models.Blobs", *{arguments}, fps_model="> 0.001")
    assert row["status"] == "ok"
    assert bench.__file__.startswith({folder!r})

def test_too_slow(maskbench):
    maskbench.check("custom", "model._target_=toy_models.Blobs", *{arguments}, fps_model=">= 1e9")
"""


def _bare_environment(path: Path, libraries: Path) -> Path:
    """Make a virtual environment that sees the libraries and no maskbench; give its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(path)], check=True)
    [packages] = path.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(f"{libraries}\n")
    return path / "bin" / "python"


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with all packages of this environment but maskbench, which may be installed from a checkout."""
    folder = tmp_path_factory.mktemp("libraries")
    for place in site.getsitepackages():
        for entry in Path(place).iterdir():
            if "maskbench" not in entry.name and not (folder / entry.name).exists():
                (folder / entry.name).symlink_to(entry)
    return folder


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, libraries: Path) -> Path:
    """Build the wheel from a copy of the sources, install it in a bare environment, and give the folder of programs."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "sources").mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / "sources" / name)
    pip, offline = [sys.executable, "-m", "pip"], ["--no-deps", "--no-index", "--no-cache-dir", "--quiet"]
    wheels = folder / "wheels"
    build = [*pip, "wheel", "--no-build-isolation", *offline, "--wheel-dir", str(wheels), str(folder / "sources")]
    subprocess.run(build, check=True, capture_output=True)
    shutil.rmtree(folder / "sources")
    python = _bare_environment(folder / "venv", libraries)
    [wheel] = wheels.iterdir()
    subprocess.run([*pip, "--python", str(python), "install", *offline, str(wheel)], check=True, capture_output=True)
    return python.parent


@pytest.fixture
def users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the current folder one with packages of the user's own that are called like ours."""
    folder = tmp_path / "users"
    for name in ("bench", "reports", "adapters", "configs"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("")
    (folder / "bench" / "net_names.py").write_text("NAMES = ['net']\n")
    monkeypatch.chdir(folder)
    return folder


def _maskbench(
    installed: Path, environment: dict[str, str], *arguments: str, path: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the command in the current folder; ``path`` stands before the rest of PYTHONPATH."""
    variables = {**environment, "PYTHONPATH": os.pathsep.join(filter(None, [path, environment["PYTHONPATH"]]))}
    command = [str(installed / "maskbench"), *arguments]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=300)


def _result(out: Path) -> Result:
    [path] = out.glob("jobs/*/result.json")
    return read_result(path)


def test_from_an_empty_folder(
    installed: Path, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wheel holds the demo's weights, without which a model detects nothing, and the template of the page."""
    monkeypatch.chdir(tmp_path)
    done = _maskbench(installed, environment, *DEMO, "passes=[speed,accuracy]", "out=out")
    assert done.returncode == 0, done.stderr
    accuracy = _result(Path("out")).accuracy
    assert accuracy is not None
    assert accuracy.figures is not None
    assert accuracy.figures["mask_ap"] > 0.3
    assert "</html>" in Path("out/comparison.html").read_text()
    shutil.copytree("out", "base")
    assert "both hold the same rounds" in _maskbench(installed, environment, "gate", "base", "out").stderr


def test_from_a_folder_with_packages_called_like_ours(
    installed: Path, environment: dict[str, str], users_folder: Path
) -> None:
    done = _maskbench(installed, environment, *DEMO, "passes=[speed]", "out=out", path=str(users_folder))
    assert done.returncode == 0, done.stderr
    assert _result(Path("out")).status == "ok"


def test_a_class_in_a_package_called_like_ours(
    installed: Path,
    environment: dict[str, str],
    users_folder: Path,
    libraries: Path,
    bright_squares: list[str],
    tmp_path: Path,
) -> None:
    """The name of its module is refused; the remedy in the message works as it is written, here in another interpreter,
    which has libraries of its own."""
    other = _bare_environment(tmp_path / "other", libraries)
    net = NET.format(installed=str(installed.parent), prefix=str(other.parents[1]))
    (users_folder / "bench" / "net.py").write_text(net)
    (users_folder / "bench" / "layers.py").write_text("NAME = 'net'\n")
    (users_folder / "of_the_users.py").write_text("")
    arguments = ["model=custom", f"model.python={other}", *bright_squares, *QUICK, "passes=[speed]", "out=out"]
    refused = _maskbench(installed, environment, *arguments, "model._target_=bench.net.Net")
    assert refused.returncode == 2, refused.stderr
    [line] = refused.stderr.splitlines()
    assert line.startswith("maskbench: model._target_=bench.net.Net: bench is a package of maskbench itself; ")
    [remedy] = re.findall(r"give (model\._target_=\S+)$", line)
    assert remedy == "model._target_=bench/net.py:Net"
    done = _maskbench(installed, environment, *arguments, *shlex.split(remedy))
    assert done.returncode == 0, done.stderr
    assert _result(Path("out")).status == "ok"


def test_pytest_of_a_repository_with_a_package_called_like_ours(
    installed: Path, environment: dict[str, str], users_folder: Path, bright_squares: list[str]
) -> None:
    arguments = [*bright_squares, *QUICK, "passes=[speed]"]
    (users_folder / "test_own.py").write_text(OWN_TESTS.format(arguments=arguments, folder=str(users_folder)))
    outside = {name: value for name, value in environment.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [str(installed / "python"), "-m", "pytest", "-p", "no:cacheprovider", "--maskbench-out=out", "-q"],
        env=outside,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert "1 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    assert re.search(r"fps_model >= 1e9: .* images/s", done.stdout)
    assert len(list(Path("out").glob("*/jobs/*/result.json"))) == 1
