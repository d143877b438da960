"""Test the commands that make the tables of a GPU, which the script prints instead of running them."""

from __future__ import annotations

import csv
import functools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from bench.jobs.job import ComposedJob
from run_bench import compose

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "docs" / "results" / "gpu.sh"
PARTS = re.findall(r"[\w-]+", re.search(r'^parts="(.*?)"', SCRIPT.read_text(), re.MULTILINE | re.DOTALL).group(1))  # type: ignore[union-attr]
VARIANTS = [part for part in PARTS if part.startswith("variants-")]
LONGEST_SECONDS = 350
"""After which the script interrupts a part."""

LIBRARIES = {"torchvision": "torchvision", "detectron2": "detectron2"}
"""The libraries whose rows took less time than mmdet's; transformers was not timed and counts as the slowest."""


def seconds_before_work(library: str) -> float:
    """Give what a process took before its work in the round on an H200: rows of two processes, with 7 s of work."""
    with (SCRIPT.parent / "h200" / "seconds.csv").open(newline="") as file:
        rows = {row["result"]: float(row["seconds"]) for row in csv.DictReader(file) if row["seconds"]}
    measured = [seconds for result, seconds in rows.items() if LIBRARIES.get(library, "") in result]
    return (max(measured) - 7) / 2


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give one folder for all parts, as a user has it."""
    return tmp_path_factory.mktemp("out")


def script(out: str, *part: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(SCRIPT), "/data/images", "/data/instances.json", out, *part]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


@functools.cache
def commands(part: str, out: Path) -> list[list[str]]:
    """Give the commands of a part, without the interpreter."""
    done = script(str(out), part, PYTHON="echo")
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.splitlines()]


def arguments(part: str, out: Path) -> dict[str, str]:
    """Give the options of the part's run_bench.py, by key."""
    (command,) = (c for c in commands(part, out) if c[0] == "run_bench.py")
    return dict(argument.split("=", 1) for argument in command[1:])


@functools.cache
def jobs(part: str, out: Path) -> list[ComposedJob]:
    return compose([f"{key}={value}" for key, value in arguments(part, out).items()])


def test_seconds_before_work_are_those_of_the_slowest_row() -> None:
    assert seconds_before_work("mmdet") == seconds_before_work("transformers") == pytest.approx((36.8 - 7) / 2)
    assert seconds_before_work("torchvision") == pytest.approx((25.1 - 7) / 2)
    assert seconds_before_work("detectron2") == pytest.approx((24.5 - 7) / 2)


COMPOSED = ("variants-1-fp32", "variants-2-fp32", "sweep-mask2former_r50_mmdet-fp32", "sizes-solov2_r50_mmdet")
"""The parts that are composed here. The others differ from one of them in a few values, and composing takes long."""


@pytest.mark.parametrize("part", COMPOSED)
def test_a_part_composes_and_fits_by_what_was_measured(part: str, out: Path) -> None:
    planned = jobs(part, out)
    seconds = 30.0
    for job in planned:
        config, protocol = job.config, job.config.protocol
        assert (config.dataset.images, config.device, config.detections) == ("/data/images", "cuda:0", "saturated")
        assert "accuracy" not in config.passes
        processes = protocol.rounds + ("memory" in config.passes)
        seconds += processes * seconds_before_work(config.model.library) + 3.5 * protocol.max_seconds
        seconds += 6 * (config.batch_size > 1) + 3 * ("memory" in config.passes)
        seconds += 4 * ("busy" in config.passes) + 3 * ("flops" in config.passes)
        seconds += (protocol.energy_seconds + 1) * ("energy" in config.passes)
    assert 60 < seconds < LONGEST_SECONDS


def test_no_part_has_more_rows_than_those_that_were_added_up(out: Path) -> None:
    """Four of torchvision and detectron2, whose processes start sooner, else three; of a sweep five, by batch size."""
    for part in VARIANTS:
        models = arguments(part, out)["model"].split(",")
        quick = all(model.endswith(("torchvision", "detectron2")) for model in models)
        assert len(models) <= (4 if quick else 3), part
    for part in PARTS:
        if part.startswith("sweep-"):
            given = arguments(part, out)
            assert (given["batch_size"], "," in given["model"] + given["precision"]) == ("1,2,4,8,16", False)


def test_the_variants_are_those_of_the_study_in_fp32_and_fp16(out: Path) -> None:
    study = OmegaConf.load(ROOT / "configs" / "study" / "variants.yaml").hydra.sweeper.params.model.split(",")
    given = [arguments(part, out) for part in VARIANTS]
    rows = [(model, g["precision"]) for g in given for model in g["model"].split(",")]
    assert sorted(rows) == sorted((model, precision) for model in study for precision in ("fp32", "fp16"))
    assert {(g["input_size"], g["study"], g["out"]) for g in given} == {("800x1333", "variants", f"{out}/variants")}
    assert {g["passes"] for g in given} == {"[speed,busy,memory,energy,flops]"}


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
        (model, precision) for model in models for precision in ("fp32", "tf32", "fp16", "bf16")
    )
    alike = {tuple(pair for pair in sweep.items() if pair[0] not in ("model", "precision")) for sweep in sweeps}
    assert len(alike) == 1
    sizes = [arguments(part, out) for part in PARTS if part.startswith("sizes-")]
    assert [given["model"] for given in sizes] == list(models)
    assert {given["input_size"] for given in sizes} == {"800x1333,640x1066,480x800"}


BENCHMARKS = ["agreement", "busy", "rle", "evaluation-torchvision", "evaluation-mmdet", "evaluation-detectron2"]


@pytest.mark.parametrize("part", [*BENCHMARKS, "harness"])
def test_benchmarks_write_their_figures_down(part: str, out: Path) -> None:
    [command] = commands(part, out)
    assert command[:4] == ["-m", "pytest", "-p", "no:cacheprovider"]
    assert f"--junitxml={out}/benchmarks/{part}.xml" in command
    named = [a.removeprefix("--ignore=") for a in command if a.startswith(("tests/", "--ignore="))]
    assert named
    for path, _, function in (name.partition("::") for name in named):
        assert (ROOT / path).exists()
        assert not function or f"def {function}(" in (ROOT / path).read_text()


def test_every_part_is_bounded_and_says_how_it_ended(tmp_path: Path) -> None:
    """A failed row (1) is shown in the table, a failed test is not; what was stopped or refused is never a success."""
    python = tmp_path / "python"
    for status, of_a_row, of_a_test in ((0, 0, 0), (1, 0, 1), (2, 2, 2), (124, 124, 124), (130, 130, 130)):
        python.write_text(f"#!/bin/sh\nexit {status}\n")
        python.chmod(0o755)
        for part, expected in (("variants-1-fp32", of_a_row), ("rle", of_a_test)):
            done = script(str(tmp_path / "out"), part, PYTHON=str(python))
            assert done.returncode == expected, (status, part)
            assert ("the same command goes on with it" in done.stderr) == (status == 124)
    assert f"timeout --signal=INT --kill-after=20 {LONGEST_SECONDS} " in SCRIPT.read_text()


def test_the_check_and_the_page_are_given_their_folders(out: Path) -> None:
    where = ["/data/images", "/data/instances.json"]
    assert commands("check", out) == [["docs/results/gpu/check.py", *where, f"{out}/check"]]
    rehearsed = script(str(out), "check", "--rehearse", PYTHON="echo")
    assert rehearsed.stdout.split() == ["docs/results/gpu/check.py", *where, f"{out}/check", "--rehearse"]
    assert commands("page", out) == [["docs/results/gpu/page.py", "collect", str(out), f"{out}/page"]]
    assert script(str(out), "rle", "--rehearse", PYTHON="echo").returncode == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device, on which the check would run")
def test_without_a_gpu_the_check_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    command = ["bash", str(SCRIPT), str(tmp_path), str(tmp_path / "a.json"), str(tmp_path / "out"), "check"]
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("check: torch sees no CUDA device here")


def test_an_unknown_part_lists_them_all() -> None:
    done = subprocess.run(["bash", str(SCRIPT), "a", "b", "c", "variant"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert set(PARTS) <= set(done.stderr.split())
