"""Tests of ``launcher=``: what is refused, in one line, and that a command on this machine needs neither engine."""

from __future__ import annotations

import io
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.errors import UserError
from bench.jobs.elsewhere.on_ray import connection
from bench.jobs.elsewhere.study import run_elsewhere
from bench.jobs.local import LocalLauncher
from bench.jobs.run import Run
from run_bench import compose

ROOT = Path(__file__).resolve().parents[3]
TOY = ["model=custom", "model._target_=toy_models.Blobs", "device=cpu"]


def _refused(arguments: list[str], out: Path) -> str:
    console = Console(file=io.StringIO())
    with pytest.raises(UserError) as refusal:
        run_elsewhere(compose([*TOY, *arguments]), Run(out, arguments, "maskbench", LocalLauncher(), console))
    assert not list(out.glob("**/result.json"))
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["launcher=slrum"], "launcher=slrum: no such launcher; did you mean slurm?"),
        (["launcher.name=pbs"], "launcher.name=pbs: unknown, must be local or ray or slurm"),
        (["launcher.partition=gpu"], "launcher.partition: only launcher=slurm has it, and this is launcher=local"),
        (["launcher=slurm", "launcher.address=a:1"], "launcher.address: only launcher=ray has it"),
        (["launcher=ray", "launcher.time_min=5"], "launcher.time_min: only launcher=slurm has it"),
        (["launcher=ray", "launcher.cpus_per_task=0"], "launcher.cpus_per_task=0: must be 1 or more"),
        (
            ["launcher=ray", "devices=cuda:0"],
            "devices=cuda:0: they are of this machine, and launcher=ray runs",
        ),
        (["launcher=ray,slurm"], "launcher: all jobs of a command share it, and it has 2 values; give one"),
    ],
)
def test_what_does_not_compose(arguments: list[str], words: str) -> None:
    with pytest.raises(UserError) as refusal:
        compose([*TOY, *arguments])
    assert words in str(refusal.value)


def test_no_figure_depends_on_the_launcher(tmp_path: Path) -> None:
    from bench.jobs.identity import job_name

    local, ray = (compose([*TOY, *more])[0].config for more in ([], ["launcher=ray", "launcher.address=a:1"]))
    assert job_name(local, {}) == job_name(ray, {})


def test_an_address_that_does_not_answer(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    began = time.monotonic()
    told = _refused(["launcher=ray", f"launcher.address=127.0.0.1:{port}"], tmp_path)
    assert told.startswith(f"launcher.address=127.0.0.1:{port}: nothing answers there (Connection refused); give ")
    assert time.monotonic() - began < 2 * connection._CONNECT_SECONDS


def test_an_address_at_which_something_else_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setattr(connection, "_ANSWER_SECONDS", 3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        told = _refused(["launcher=ray", f"launcher.address={address}"], tmp_path)
    assert told == f"launcher.address={address}: no Ray cluster answers there within 3 s"


def test_an_address_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    told = _refused(["launcher=ray", "launcher.address=cluster"], tmp_path)
    assert told == "launcher.address=cluster: must be auto, local, or HOST:PORT"
    monkeypatch.setenv("RAY_ADDRESS", "cluster")
    assert _refused(["launcher=ray"], tmp_path) == "RAY_ADDRESS=cluster: must be auto, local, or HOST:PORT"


@pytest.mark.parametrize(("name", "library"), [("ray", "ray"), ("slurm", "submitit")])
def test_an_engine_that_is_not_installed(
    name: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setattr(shutil, "which", lambda command: command)
    told = _refused([f"launcher={name}"], tmp_path)
    assert told == (
        f"launcher={name}: {library} is not installed in {sys.executable}; it comes with the extra maskbench[{name}]"
    )


def test_where_slurm_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda command: None)
    told = _refused(["launcher=slurm"], tmp_path)
    assert told == "launcher=slurm: sbatch is not on the PATH; run it where Slurm's commands are, on a login node"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["launcher=ray", "device=cuda:1"], "device=cuda:1: a job of launcher=ray sees only the GPU that it is given"),
        (["launcher=slurm", "device=cuda:1"], "device=cuda:1: a job of launcher=slurm sees only the GPUs that it is"),
        (["launcher=slurm", "device=auto"], "launcher=slurm: device=auto is not known before a node is; give device="),
        (["launcher=ray", "gate=default", "baseline=runs/a"], "launcher=ray: measures without a gate; leave gate and"),
    ],
)
def test_what_a_cluster_cannot(arguments: list[str], words: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(shutil, "which", lambda command: command)
    assert words in _refused(arguments, tmp_path)


def test_a_command_on_this_machine_imports_no_engine() -> None:
    code = "import sys, bench.cli.run, bench.jobs.study, bench.jobs.elsewhere.study; "
    code += "sys.exit(any(name in sys.modules for name in ('ray', 'submitit')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
