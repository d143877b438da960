"""Test the commands that make the tables of a GPU, which the script prints instead of running them."""

from __future__ import annotations

import functools
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from bench.jobs.job import ComposedJob
from run_bench import compose

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "docs" / "results" / "gpu.sh"
PARTS = re.findall(r"[\w-]+", re.search(r'^parts="(.*?)"', SCRIPT.read_text(), re.MULTILINE | re.DOTALL).group(1))  # type: ignore[union-attr]
VARIANTS = [part for part in PARTS if part.startswith("variants-")]
LONGEST_SECONDS = 600


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give one folder for all parts, as a user has it."""
    return tmp_path_factory.mktemp("out")


@functools.cache
def commands(part: str, out: Path) -> list[list[str]]:
    """Give the commands of a part, without the interpreter."""
    done = subprocess.run(
        ["bash", str(SCRIPT), "/data/images", "/data/instances.json", str(out), part],
        env={**os.environ, "PYTHON": "echo"},
        capture_output=True,
        text=True,
        check=True,
    )
    return [shlex.split(line) for line in done.stdout.splitlines()]


def arguments(part: str, out: Path) -> dict[str, str]:
    """Give the options of the part's run_bench.py, by key."""
    (command,) = (c for c in commands(part, out) if c[0] == "run_bench.py")
    return dict(argument.split("=", 1) for argument in command[1:])


@functools.cache
def jobs(part: str, out: Path) -> list[ComposedJob]:
    return compose([f"{key}={value}" for key, value in arguments(part, out).items()])


COMPOSED = ("variants-boxes-fp32", "variants-masks-fp32", "sweep-mask_rcnn_r50_torchvision-32", "sizes")
"""The parts that are composed here. The others differ from one of them in a few values, and composing takes long."""


@pytest.mark.parametrize("part", COMPOSED)
def test_a_part_composes_and_fits_into_ten_minutes(part: str, out: Path) -> None:
    """The time of a part follows from the arithmetic in the script's comments."""
    planned = jobs(part, out)
    seconds = 30.0
    for job in planned:
        config, protocol = job.config, job.config.protocol
        assert (config.dataset.images, config.device, config.detections) == ("/data/images", "cuda:0", "saturated")
        assert "accuracy" not in config.passes
        seconds += protocol.rounds * 14 + 3.5 * protocol.max_seconds
        seconds += 6 * (config.batch_size > 1) + 3 + 3 * ("memory" in config.passes)
        seconds += (protocol.energy_seconds + 1) * ("energy" in config.passes)
    assert seconds < LONGEST_SECONDS


def test_the_variants_are_those_of_the_study(out: Path) -> None:
    study = OmegaConf.load(ROOT / "configs" / "study" / "variants.yaml").hydra.sweeper.params.model.split(",")
    configs = [job.config for part in VARIANTS if part in COMPOSED for job in jobs(part, out)]
    assert sorted(config.model.name for config in configs) == sorted(study)
    settings = {(config.precision, config.batch_size, config.input_size, config.study) for config in configs}
    assert settings == {("fp32", 1, "800x1333", "variants")}


@pytest.mark.parametrize("part", VARIANTS)
def test_what_is_measured_in_fp16_and_again_is_the_same_but_for_that(part: str, out: Path) -> None:
    first = arguments(part.replace("fp16", "fp32"), out)
    assert arguments(part, out) == {**first, "precision": part.rsplit("-", 1)[1]}
    again = part.replace("variants", "again")
    assert arguments(again, out) == {**arguments(part, out), "passes": "[speed]", "out": f"{out}/again"}
    assert commands(again, out)[-1] == ["-m", "reports", f"{out}/variants", "--again", f"{out}/again"]


def test_the_sweeps_are_of_three_models_in_every_precision_and_batch_size(out: Path) -> None:
    models = ("mask_rcnn_r50_torchvision", "solov2_r50_mmdet", "mask2former_r50_mmdet")
    sweeps = [arguments(part, out) for part in PARTS if part.startswith("sweep-")]
    assert sorted((sweep["model"], sweep["precision"]) for sweep in sweeps) == sorted(
        (model, pair) for model in models for pair in ("fp32,tf32", "fp16,bf16")
    )
    alike = {tuple(pair for pair in sweep.items() if pair[0] not in ("model", "precision")) for sweep in sweeps}
    assert len(alike) == 1
    configs = [job.config for job in jobs("sweep-mask_rcnn_r50_torchvision-32", out)]
    assert [(c.precision, c.batch_size) for c in configs] == [
        (precision, size) for precision in ("fp32", "tf32") for size in (1, 2, 4, 8, 16)
    ]
    sizes = [(job.config.model.name, job.config.input_size) for job in jobs("sizes", out)]
    assert sizes == [(model, size) for model in models for size in ("800x1333", "640x1066", "480x800")]


@pytest.mark.parametrize("part", ["agreement", "benchmarks", "rle"])
def test_benchmarks_write_their_ratios_down(part: str, out: Path) -> None:
    [command] = commands(part, out)
    assert command[:4] == ["-m", "pytest", "-p", "no:cacheprovider"]
    assert f"--junitxml={out}/benchmarks/{part}.xml" in command
    named = [a.removeprefix("--ignore=") for a in command if a.startswith(("tests/", "--ignore="))]
    assert named
    assert all((ROOT / path).exists() for path in named)


def test_an_unknown_part_lists_them_all() -> None:
    done = subprocess.run(["bash", str(SCRIPT), "a", "b", "c", "variant"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert set(PARTS) <= set(done.stderr.split())
