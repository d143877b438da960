"""Measure what maskbench itself costs: a worker up to its first image, a sample of the timed loop, a report.

The command's own start, ``run_bench.py --help``, is tested in tests/jobs/test_bad_input.py.
"""

from __future__ import annotations

import functools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from literal_results import build_result
from python_path import python_path

from bench.data.dataset import load
from bench.device.clock import Clock
from bench.jobs.job import PlannedJob
from bench.jobs.local import LocalLauncher
from bench.jobs.run_job import run_job
from bench.passes.runner import Runner
from bench.predictor import Instances, Predictor
from bench.schema.result import write_result
from run_bench import compose

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")


class NoOperation(Predictor):
    """A model that does nothing, so that all time is maskbench's."""

    classes = ("nothing",)

    def preprocess(self, images: Sequence[np.ndarray]) -> None:
        return None

    def forward(self, batch: None) -> None:
        return None

    def postprocess(self, raw: None) -> list[Instances]:
        return []


BY_HAND = """
import time, torch
from adapters.torchvision.build import build
build("demo", None, num_classes=7, min_size=288, max_size=384).to("cpu").eval()
print(time.process_time())
"""
"""A script that loads a model by hand: torch, its library, its network."""


def test_a_worker_adds_little_to_what_its_model_takes_to_load(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """A worker takes little more processor time up to its first image than a process that loads the model by hand.

    The least of up to five tries of each counts, since the machine may be busy with other work.
    """
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    monkeypatch.setenv("PYTHONPATH", python_path(ROOT / "tests" / "toys"))
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "cache"))
    told = tmp_path / "told"
    model = ["model=custom", "model.weights=random", "model._target_=first_image.FirstImage"]
    model += ["+model.options.builder=demo", "+model.options.min_size=288", "+model.options.max_size=384"]
    [composed] = compose([*model, f"+model.options.told={told}", "dataset=shapes", "passes=[memory]", "device=cpu"])
    load(composed.config.dataset)  # generated once, as before any worker starts
    job = PlannedJob(composed.config, composed.choices, tmp_path / "job")
    worker, by_hand = [], []
    for _ in range(5):
        assert "the first image is here" in (run_job(job, ["memory"], LocalLauncher(), lambda _: None).reason or "")
        worker.append(float(told.read_text()))
        bare = subprocess.run([sys.executable, "-c", BY_HAND], cwd=ROOT, capture_output=True, text=True, check=True)
        by_hand.append(float(bare.stdout))
        if min(worker) <= 1.2 * min(by_hand):
            break
    ratio = min(worker) / min(by_hand)
    record_property("worker_over_by_hand", round(ratio, 3))
    assert ratio <= 1.2, f"{min(worker):.2f} s to the first image, {min(by_hand):.2f} s by hand"


def test_a_sample_of_a_model_that_does_nothing_takes_under_30_microseconds() -> None:
    """The median of 500 samples counts, the lowest of up to 20 tries."""
    clock, call = Clock(CPU), functools.partial(Runner(NoOperation(), CPU, "fp32").model, None)
    medians = []
    for _ in range(20):
        medians.append(1000 * statistics.median(clock.time(call)[1] for _ in range(500)))
        if min(medians) < 20:
            break
    assert min(medians) < 30, f"{min(medians):.1f} microseconds a sample"


def test_the_report_of_100_results_takes_seconds(tmp_path: Path) -> None:
    """The report takes at most 20 s of processor time: 10 s are wanted, and slower machines get twice as much.

    Processor time is counted, since the machine may be busy with other work.
    """
    import reports

    rng = np.random.default_rng(0)
    for number in range(100):
        samples = rng.normal(30, 3, 300).tolist()
        result = build_result(f"Family {number % 7}", f"R{number}", model_ms=samples, mask_ap=0.2 + number / 500)
        write_result(result, tmp_path / "jobs" / f"job{number}" / "result.json")
    began = time.process_time()
    page = reports.build([tmp_path], tmp_path)
    seconds = time.process_time() - began
    assert page.exists()
    assert seconds < 20, f"{seconds:.1f} s"
