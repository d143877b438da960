"""Compares what the command prints and composes with what Hydra does when nothing is left out of its work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from python_path import TOYS, python_path

ROOT = Path(__file__).resolve().parents[2]

AS_HYDRA_HAS_IT = """
import sys
import bench.cli.composing.quicker as quicker
quicker.quicken = lambda: None
import run_bench
sys.exit(run_bench.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--help", "study=ci", "protocol.seed=7"),
        ("--hydra-help",),
        ("--cfg=job", "model=solov2_r50_mmdet", "+model.options.depth=18"),
    ],
    ids=" ".join,
)
def test_nothing_is_printed_otherwise(arguments: tuple[str, ...], environment: dict[str, str]) -> None:
    printed = []
    for code in (AS_HYDRA_HAS_IT, AS_HYDRA_HAS_IT.replace("quicker.quicken =", "unused =")):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            env={**environment, "PYTHONPATH": python_path(ROOT, TOYS)},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert len(printed[0].splitlines()) > 20
    assert printed[1] == printed[0]


def test_a_sweep_is_composed_as_hydra_does_it(environment: dict[str, str]) -> None:
    code = (
        "import sys, json, dataclasses\n"
        "import bench.cli.composing.quicker as quicker\n"
        "if sys.argv[1] == 'plain': quicker.quicken = lambda: None\n"
        "import run_bench\n"
        "jobs = run_bench.compose(['study=ci', 'model=demo_solov2_mmdet,demo_solo_mmdet', 'batch_size=1,2'])\n"
        "print(json.dumps([[dataclasses.asdict(job.config), job.choices] for job in jobs]))\n"
    )
    composed = [
        subprocess.run(
            [sys.executable, "-c", code, how],
            capture_output=True,
            text=True,
            env={**environment, "PYTHONPATH": python_path(ROOT, TOYS)},
            check=True,
        ).stdout
        for how in ("plain", "quick")
    ]
    assert composed[0].count("batch_size") == 4
    assert composed[1] == composed[0]
