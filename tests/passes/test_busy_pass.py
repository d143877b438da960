"""Test the busy pass on traces of literal events, in the place of the one function that runs torch's profiler."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contexts import context_of
from PIL import Image
from plain_runtime import Level
from toy_models import Blobs

from bench.data.dataset import CocoDataset
from bench.data.images import ImageRecord
from bench.device import trace as traces
from bench.device.clock import Clock
from bench.device.trace import WINDOW
from bench.passes import busy
from bench.passes.base import Context
from bench.passes.busy import PASS, spread
from bench.predictor import Predictor, Settings
from bench.schema.config import BenchConfig
from bench.schema.facts import gpu_busy
from bench.schema.parts.busy import Gap

CPU = torch.device("cpu")
IMAGES = 12


@pytest.fixture
def dataset(tmp_path: Path) -> CocoDataset:
    for number in range(IMAGES):
        Image.fromarray(np.full((8, 10 + number, 3), 9, np.uint8)).save(tmp_path / f"{number}.png")
    records = tuple(ImageRecord(n, tmp_path / f"{n}.png", 8, 10 + n) for n in range(IMAGES))
    return CocoDataset("d", tmp_path / "a.json", records, 1, (), [], "")


class Sleeps(Level):
    """Takes 20 ms for a batch, and remembers the widths of its images."""

    def __init__(self, folder: Path) -> None:
        (folder / "level").write_text("5")
        super().__init__(Settings(CPU), str(folder / "level"))
        self.widths: list[int] = []
        self.nap = 0.02

    def forward(self, batch: list[np.ndarray]) -> list[np.ndarray]:
        time.sleep(self.nap)
        self.widths.append(batch[0].shape[1])
        return super().forward(batch)


def literal(python: bool) -> dict[str, Any]:
    """Give a trace of 20 ms with two kernels and a copy, which take 4 ms and 1 ms, and a mirror of the window."""

    def event(category: str, name: str, start: float, length: float, correlation: int = 0) -> dict[str, Any]:
        arguments = {"correlation": correlation, "stream": 7}
        return {"ph": "X", "cat": category, "name": name, "ts": start, "dur": length, "tid": 1, "args": arguments}

    events = [
        event("cuda_runtime", "cudaLaunchKernel", 1900, 10, 1),
        event("kernel", "void conv<3>(float*)", 2000, 3000, 1),
        event("cuda_runtime", "cudaLaunchKernel", 5900, 10, 2),
        event("kernel", "void conv<5>(float*)", 6000, 1000, 2),
        event("gpu_memcpy", "Memcpy DtoH (Device -> Pageable)", 15_000, 1000, 3),
        event("gpu_user_annotation", WINDOW, 2000, 14_000),
    ]
    if python:
        events += [
            event("user_annotation", WINDOW, 0, 20_000),
            event("python_function", "nms.py(5): batched_nms", 7000, 8000),
        ]
    return {"traceEvents": events}


Recorded = Callable[[Callable[[], object], bool], dict[str, Any]]


def measure(
    monkeypatch: pytest.MonkeyPatch, model: Predictor, dataset: CocoDataset, recorded: Recorded, **config: Any
) -> tuple[Any, Context]:
    """Run the pass as on a GPU, whose work and whose profiler are imaginary."""

    def runs(call: Callable[[], object], python: bool) -> dict[str, Any]:
        call()
        return recorded(call, python)

    monkeypatch.setattr(traces, "_recorded", runs)
    monkeypatch.setattr(busy, "Clock", lambda device: Clock(CPU))
    context = replace(context_of(model, dataset, BenchConfig(**config)), device=torch.device("cuda:0"))
    return PASS.measure(context), context


def test_the_figures_of_ten_batches(monkeypatch: pytest.MonkeyPatch, dataset: CocoDataset, tmp_path: Path) -> None:
    model = Sleeps(tmp_path)
    result, context = measure(monkeypatch, model, dataset, lambda call, python: literal(python))
    assert (result.batches, result.images) == (10, 10)
    assert (result.kernels, result.copies) == (20, 10)
    assert result.busy_ms == pytest.approx(10 * 5.0)
    assert result.plain_ms >= 200
    assert result.profiled_ms >= 200
    assert [(work.name, work.count) for work in result.most] == [("conv", 20), ("Memcpy DtoH (Device -> Pageable)", 10)]
    assert [work.milliseconds for work in result.most] == pytest.approx([40.0, 10.0])
    assert result.gaps == [Gap(8.0, "nms.py:5 batched_nms"), Gap(4.0), Gap(2.0), Gap(1.0)]
    assert gpu_busy(result) == pytest.approx(50 / result.plain_ms)
    assert context.result.notes == []
    # Twice without the profiler, once under it, and one is counted and recorded for the gaps; images from the whole
    # data set, so that sizes are those of the row.
    wanted = [10 + n * IMAGES // 10 for n in range(10)]
    assert model.widths == [width for width in wanted for _ in range(2)] + wanted + 2 * wanted[:1]


def test_the_share_is_of_the_time_without_the_profiler(
    monkeypatch: pytest.MonkeyPatch, dataset: CocoDataset, tmp_path: Path
) -> None:
    """The profiler makes launching slower, here by 30 ms a batch: the share must not fall with it."""
    model = Sleeps(tmp_path)

    def runs_slowly(call: Callable[[], object], python: bool) -> dict[str, Any]:
        model.nap = 0.05
        call()
        return literal(python)

    monkeypatch.setattr(traces, "_recorded", runs_slowly)
    monkeypatch.setattr(busy, "Clock", lambda device: Clock(CPU))
    context = replace(context_of(model, dataset), device=torch.device("cuda:0"))
    result = PASS.measure(context)
    assert result is not None
    assert result.profiled_ms > 500
    assert result.plain_ms < 0.8 * result.profiled_ms
    assert gpu_busy(result) == pytest.approx(50 / result.plain_ms)


def test_a_slow_model_runs_fewer_batches(monkeypatch: pytest.MonkeyPatch, dataset: CocoDataset, tmp_path: Path) -> None:
    monkeypatch.setattr(busy, "SECONDS", 0.1)
    result, _ = measure(monkeypatch, Sleeps(tmp_path), dataset, lambda call, python: literal(python), batch_size=2)
    assert (result.batches, result.images, result.kernels) == (3, 6, 6)


def test_batches_are_spread_over_the_data_set() -> None:
    records = [ImageRecord(n, Path(f"{n}.png"), 8, 8) for n in range(25)]
    starts = [[record.id for record in batch] for batch in spread(records, 2, 5)]
    assert starts == [[0, 1], [5, 6], [10, 11], [15, 16], [20, 21]]
    assert [len(batch) for batch in spread(records, 30, 10)] == [30]
    assert [record.id for record in spread(records, 30, 10)[0]][-6:] == [24, 0, 1, 2, 3, 4]


def test_without_a_gpu_there_is_nothing_and_nothing_runs(dataset: CocoDataset, tmp_path: Path) -> None:
    model = Sleeps(tmp_path)
    context = context_of(model, dataset)
    assert PASS.measure(context) is None
    assert model.widths == []
    assert context.result.notes == []


def _fails(call: Callable[[], object], python: bool) -> dict[str, Any]:
    raise RuntimeError("CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED at /home/ann/x.py")


@pytest.mark.parametrize(
    ("recorded", "why"),
    [
        (_fails, "torch's profiler failed with a RuntimeError"),
        (lambda call, python: {}, "torch's profiler failed with a KeyError"),
        (lambda call, python: {"traceEvents": []}, "torch's profiler saw no work of the GPU"),
        (lambda call, python: _longer(literal(python), 100), "saw the GPU work for"),
    ],
)
def test_where_the_profiler_does_not_tell_the_figures_are_empty_with_a_note(
    monkeypatch: pytest.MonkeyPatch, dataset: CocoDataset, tmp_path: Path, recorded: Recorded, why: str
) -> None:
    result, context = measure(monkeypatch, Sleeps(tmp_path), dataset, recorded)
    assert result is None
    [note] = context.result.notes
    assert note.startswith("GPU busy is empty: ")
    assert why in note
    assert "/home" not in note


def _longer(trace: dict[str, Any], factor: float) -> dict[str, Any]:
    return {"traceEvents": [event | {"dur": factor * event["dur"]} for event in trace["traceEvents"]]}


def test_the_profiler_may_fail_for_the_gaps_alone(
    monkeypatch: pytest.MonkeyPatch, dataset: CocoDataset, tmp_path: Path
) -> None:
    def fails_with_python(call: Callable[[], object], python: bool) -> dict[str, Any]:
        return _fails(call, python) if python else literal(python)

    result, context = measure(monkeypatch, Sleeps(tmp_path), dataset, fails_with_python)
    assert result.kernels == 20
    assert result.gaps == []
    assert context.result.notes == []


def test_a_batch_with_many_calls_in_python_has_gaps_without_functions(
    monkeypatch: pytest.MonkeyPatch, dataset: CocoDataset, tmp_path: Path
) -> None:
    """A million of them took 3 GB and a minute under the profiler."""
    asked: list[bool] = []

    def recorded(call: Callable[[], object], python: bool) -> dict[str, Any]:
        asked.append(python)
        return literal(python)

    monkeypatch.setattr(busy, "MOST_CALLS", 3)
    result, context = measure(monkeypatch, Sleeps(tmp_path), dataset, recorded)
    assert True not in asked
    assert result.gaps[0] == Gap(8.0)  # between the second kernel and the copy
    assert [note.partition(":")[0] for note in context.result.notes] == [
        "the gaps of the GPU are told without functions"
    ]


def test_a_time_that_the_whole_batch_does_not_have_is_refused(
    monkeypatch: pytest.MonkeyPatch, dataset: CocoDataset, tmp_path: Path
) -> None:
    model = Sleeps(tmp_path)

    monkeypatch.setattr(traces, "_recorded", lambda call, python: (call(), _longer(literal(python), 8))[1])
    monkeypatch.setattr(busy, "Clock", lambda device: _Stretched())
    context = replace(context_of(model, dataset), device=torch.device("cuda:0"))
    assert PASS.measure(context) is None
    assert "without it" in context.result.notes[0]


class _Stretched(Clock):
    """Says 20 ms for a batch, and 40 for each after the first 20: those under the profiler."""

    def __init__(self) -> None:
        super().__init__(CPU)
        self.calls = 0

    def time_on_host(self, call: Callable[[], Any]) -> tuple[Any, float]:
        self.calls += 1
        return call(), 20.0 if self.calls <= 20 else 40.0


def test_a_broken_promise_is_told(monkeypatch: pytest.MonkeyPatch, dataset: CocoDataset) -> None:
    with pytest.raises(ValueError, match="Blobs"):  # its masks are on the CPU, not on the device that is measured
        measure(monkeypatch, Blobs(Settings(CPU)), dataset, lambda call, python: literal(python))


def test_cupti_is_not_ended_between_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEARDOWN_CUPTI", raising=False)
    traces._recorded(lambda: torch.ones(1), True)
    assert os.environ.pop("TEARDOWN_CUPTI") == "0"
