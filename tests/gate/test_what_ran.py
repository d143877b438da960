"""Tests that each side of a gate runs the code of the commit that it is named by, however the package is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from bench.device.fingerprint import digest_of
from bench.errors import UserError
from bench.gate.checkouts import base_checkout, head_checkout
from bench.gate.sides import Sides, planned_sides
from bench.jobs.local import LocalLauncher
from bench.jobs.run import Run
from bench.jobs.start import Checkout
from bench.schema.config import GateConfig
from bench.schema.gate_report import read_report
from bench.schema.result import read_result
from run_bench import compose

ROOT = Path(__file__).resolve().parents[2]

MODEL = """
import time
from toy_models import Blobs


class Own(Blobs):
    def forward(self, batch):
        time.sleep({delay})
        return super().forward(batch)
"""

PTH = "import site\nsite.addsitedir({site!r})\n"
"""A ``sitecustomize.py`` that lets Python read the .pth file in a folder, as it reads those of an environment."""

FINDER = """
import importlib.machinery, sys
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return importlib.machinery.PathFinder.find_spec(name, [{src!r}]) if name == "user_package" else None
sys.meta_path.insert(0, Finder)
"""
"""A ``sitecustomize.py`` with the finder of an editable install that Python asks before it looks at any path."""

OWN = ["model=custom", "model._target_=user_package.net.Own", "passes=[speed]", "protocol.min_samples=12"]
OWN += ["protocol.precision=10", "protocol.warmup_batches=1"]


def git(repository: Path, *arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", "-C", str(repository), *who, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a repository with a src layout: the model of ``main`` sleeps 20 ms, that of the working tree 60 ms."""
    path = tmp_path / "repository"
    package = path / "src" / "user_package"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "net.py").write_text(MODEL.format(delay=0.02))
    git(path, "init", "-q", "-b", "main")
    git(path, "add", ".")
    git(path, "commit", "-qm", "a model")
    (package / "net.py").write_text(MODEL.format(delay=0.06))
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def installed(
    repository: Path, tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Give the environment of a command, in which the working tree's package is importable as the test says."""
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    return environment


def customised(text: str, folder: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every interpreter run a ``sitecustomize.py``, which stands for an editable install in an environment."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{environment['PYTHONPATH']}")


def test_a_slow_head_is_found_where_the_package_is_installed_from_its_src(
    repository: Path,
    installed: dict[str, str],
    bright_squares: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``pip install -e`` writes a .pth file with the path of ``src``; a threefold slowdown was "same"."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "editable.pth").write_text(f"{repository / 'src'}\n")
    customised(PTH.format(site=str(site)), tmp_path / "custom", installed, monkeypatch)
    gate = ["study=ci", "gate=interleaved", "gate.base_ref=main", "gate.rounds=6", "gate.processes=1"]
    gate += ["gate.thresholds.fps_end_to_end=none", "gate.thresholds.latency_ms_p95=none"]
    command = [sys.executable, str(ROOT / "run_bench.py"), *gate, *OWN, *bright_squares, f"out={tmp_path / 'out'}"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    report = read_report(tmp_path / "out" / "gate.json")
    [finding] = report.of("worse")
    assert (finding.model, finding.metric) == ("Own", "fps_model")
    commit = git(repository, "rev-parse", "HEAD")
    assert (report.base, report.head) == (f"main ({commit[:10]})", f"head ({commit[:10]} with changes)")
    [base], [head] = ((tmp_path / "out" / side / "jobs").glob("*/result.json") for side in ("base", "head"))
    of_base, of_head = read_result(base), read_result(head)
    assert of_base.origin is not None
    assert of_head.origin is not None
    assert (of_base.origin.commit, of_base.origin.changed) == (commit, False)
    assert (of_head.origin.commit, of_head.origin.changed) == (commit, True)
    name = "src/user_package/net.py"
    assert of_head.sources[name] == digest_of(repository / name) != of_base.sources[name]


def sides(out: Path, bright_squares: list[str]) -> Sides:
    """Plan both sides of a gate between ``main`` and the working tree, and measure nothing."""
    given = [*OWN, *bright_squares]
    run = Run(out, given, "", LocalLauncher(), Console(quiet=True))
    gate = GateConfig(mode="interleaved", base_ref="main")
    with planned_sides(compose(given), gate, run, given, lambda *_: None) as planned:
        return planned


def test_a_src_on_pythonpath_is_that_of_the_side(
    repository: Path,
    installed: dict[str, str],
    bright_squares: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{repository / 'src'}{os.pathsep}{installed['PYTHONPATH']}")
    planned = sides(tmp_path / "out", bright_squares)
    name = "src/user_package/net.py"
    assert planned.head[0].now.paths[name] == str(repository / name)
    assert planned.base[0].now.paths[name] == str(tmp_path / "out" / "base-checkout" / name)
    assert planned.head[0].now.sources[name] != planned.base[0].now.sources[name]


def test_a_base_that_cannot_be_had_from_its_checkout_is_refused(
    repository: Path,
    installed: dict[str, str],
    bright_squares: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    customised(FINDER.format(src=str(repository / "src")), tmp_path / "custom", installed, monkeypatch)
    with pytest.raises(UserError) as refused:
        sides(tmp_path / "out", bright_squares)
    assert f"gate.base_ref: base: the model would run {repository / 'src' / 'user_package'}" in str(refused.value)
    assert f"which is not in {tmp_path / 'out' / 'base-checkout'}" in str(refused.value)


def test_whose_a_file_is(tmp_path: Path) -> None:
    tree = str(tmp_path / "runs" / "base-checkout")
    base, head = Checkout(tree, str(tmp_path), [], []), Checkout(str(tmp_path), tree, [], [])
    in_tree, in_repository, elsewhere = f"{tree}/net.py", str(tmp_path / "net.py"), "/usr/lib/net.py"
    base.refuse_strays([in_tree, elsewhere])
    head.refuse_strays([in_repository, elsewhere])
    with pytest.raises(UserError, match=r"would run .*net\.py, which is not in .*base-checkout"):
        base.refuse_strays([in_repository])
    with pytest.raises(UserError, match=r"would run .*base-checkout/net\.py, which is not in"):
        head.refuse_strays([in_tree])


def test_the_folders_of_each_side(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "tree"
    (tree / "src").mkdir(parents=True)
    (repository / "ignored").mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["src", str(repository / "ignored"), "/usr/share", ""]))
    head, base = head_checkout(repository, tree), base_checkout(repository, tree)
    assert head.first == [str(repository), str(repository / "src")]
    assert base.first == [str(tree), str(tree / "src")]
    assert head.python_path == [str(repository / "src"), str(repository / "ignored"), "/usr/share"]
    assert base.python_path == [str(tree / "src"), str(repository / "ignored"), "/usr/share"]
