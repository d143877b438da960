"""Tests when a row takes the operations that another row has counted: never those of another model, code or set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.device.fingerprint import Fingerprint
from bench.jobs.job import PlannedJob, for_worker, write_job
from bench.jobs.once.flops import NOT_COUNTED, counted_by_another
from bench.schema.config import BenchConfig, DatasetConfig, FinetuneConfig, ModelConfig, ProtocolConfig
from bench.schema.parts.costs import FlopsResult
from bench.schema.result import MEASUREMENT_VERSION, Result, read_result, results_under, write_result

SOURCES = {"models.py": "aa", "layers.py": "bb"}
MACHINE: dict[str, Any] = {"cpu": {"name": "AMD EPYC 9354"}, "versions": {"torch": "2.14.1"}}
NOW = Fingerprint(sources=SOURCES, target="models.py", facts={"processor": "AMD EPYC 9354", "torch": "2.14.1"})
FLOPS = FlopsResult(30.0, 10.0, 2, [20, 40])
CONFIG = BenchConfig(
    model=ModelConfig(name="net", _target_="models.Net", weights="w.pt", options={"depth": 50}),
    dataset=DatasetConfig(name="d"),
)
CONTENTS = {"dataset": "d1", "weights": "w1", "model.options.file": "f1"}


def planned(out: Path, name: str, config: BenchConfig = CONFIG, **fields: Any) -> PlannedJob:
    given: dict[str, Any] = {"contents": CONTENTS, "weights_sha256": "w1", "now": NOW, **fields}
    return PlannedJob(config, {}, out / "jobs" / name, **given)


def store(out: Path, config: BenchConfig = CONFIG, **fields: Any) -> Path:
    """Write what a row has counted; ``fields`` of its result are changed."""
    job = planned(out, "net-fp32", config)
    given: dict[str, Any] = {"flops": FLOPS, "machine": MACHINE, "sources": SOURCES, "contents": CONTENTS, **fields}
    result = Result("ok", dataclasses.asdict(config), measurement_version=MEASUREMENT_VERSION)
    write_result(replace(result, **given), job.result_path)
    write_job(job)
    return job.result_path


def found(
    out: Path, config: BenchConfig = CONFIG, now: Fingerprint = NOW, *, sources: Any = SOURCES, **fields: Any
) -> FlopsResult | None:
    job = planned(out, "net-bf16", config, **fields)
    result = Result("failed", {}, contents=job.contents, sources=sources)
    return counted_by_another(for_worker(job), job.folder, result, now)


def with_key(config: BenchConfig, key: str, value: Any) -> BenchConfig:
    group, _, name = key.rpartition(".")
    if not group:
        return replace(config, **{name: value})
    return replace(config, **{group: replace(getattr(config, group), **{name: value})})


@pytest.mark.parametrize("key", sorted(NOT_COUNTED))
def test_rows_that_differ_in_what_is_not_counted_count_once(tmp_path: Path, key: str) -> None:
    """The keys exist, too: a misspelt one would let every row count again."""
    store(tmp_path)
    default = CONFIG
    for name in key.split("."):
        default = getattr(default, name)
    other = with_key(CONFIG, key, f"not {default}")
    assert found(tmp_path, other) == replace(FLOPS, counted_by="net-fp32")


def test_the_row_that_counted_all_stays_named(tmp_path: Path) -> None:
    store(tmp_path, flops=replace(FLOPS, counted_by="net-tf32"))
    taken = found(tmp_path)
    assert taken is not None
    assert taken.counted_by == "net-tf32"


OTHERS: dict[str, Callable[[Path], FlopsResult | None]] = {
    "an option": lambda out: found(out, with_key(CONFIG, "model.options", {"depth": 101})),
    "a class": lambda out: found(out, with_key(CONFIG, "model._target_", "models.Net2")),
    "an interpreter": lambda out: found(out, with_key(CONFIG, "model.python", "/other/python")),
    "an input size": lambda out: found(out, replace(CONFIG, input_size="400x600")),
    "a threshold": lambda out: found(out, with_key(CONFIG, "model.score_threshold", 0.5)),
    "detections": lambda out: found(out, replace(CONFIG, detections="saturated")),
    "most detections": lambda out: found(out, replace(CONFIG, protocol=ProtocolConfig(max_detections=300))),
    "a seed": lambda out: found(out, replace(CONFIG, protocol=ProtocolConfig(seed=7))),
    "padding": lambda out: found(out, replace(CONFIG, protocol=ProtocolConfig(pad_to=True))),
    "fewer images": lambda out: found(out, with_key(CONFIG, "dataset.limit", 3)),
    "weights of its own": lambda out: found(out, with_key(CONFIG, "model.weights", "own")),
    "a training": lambda out: found(out, replace(CONFIG, finetune=FinetuneConfig())),
    "the weights' content": lambda out: found(out, weights_sha256="w2"),
    "the data's content": lambda out: found(out, contents={**CONTENTS, "dataset": "d2"}),
    "a file's content": lambda out: found(out, contents={**CONTENTS, "model.options.file": "f2"}),
    "one more file": lambda out: found(out, contents={**CONTENTS, "environment": "e"}),
    "its source": lambda out: found(out, now=replace(NOW, sources={**SOURCES, "layers.py": "cc"})),
    "a source that is gone": lambda out: found(out, now=replace(NOW, sources={"models.py": "aa"})),
    "a source more": lambda out: found(out, sources={**SOURCES, "half.py": "dd"}),
    "the file of its class": lambda out: found(out, now=replace(NOW, target="other.py")),
    "a library": lambda out: found(out, now=replace(NOW, facts={"torch": "2.13.0"})),
    "another folder": lambda out: found(out / "elsewhere"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_model_code_or_set_is_counted_again(tmp_path: Path, what: str) -> None:
    store(tmp_path)
    assert found(tmp_path) is not None
    assert OTHERS[what](tmp_path) is None


def test_weights_that_a_class_fetches_are_counted_again(tmp_path: Path) -> None:
    """Both rows say ``own``; no digest tells whether it fetched the same."""
    own = with_key(CONFIG, "model.weights", "own")
    store(tmp_path, own)
    assert found(tmp_path, own) is None


@pytest.mark.parametrize(
    "fields", [{"flops": None}, {"flops": FlopsResult(30.0, 10.0, 2)}, {"measurement_version": 1}], ids=str
)
def test_what_has_no_count_of_each_image_is_not_taken(tmp_path: Path, fields: dict[str, Any]) -> None:
    store(tmp_path, **fields)
    assert found(tmp_path) is None


@pytest.mark.parametrize("content", ["", "{", '{"schema_version": 99}'])
@pytest.mark.parametrize("name", ["result.json", "job.json"])
def test_a_damaged_row_is_passed_over(tmp_path: Path, name: str, content: str) -> None:
    store(tmp_path).with_name(name).write_text(content)
    assert found(tmp_path) is None


def test_a_study_counts_once(run_command: Any, bright_squares: list[str], tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    given = ["model=demo_mask_rcnn_torchvision", "model.weights=random", "passes=[flops]", "precision=fp32,bf16"]
    done = run_command(*given, *bright_squares, f"out={tmp_path / 'out'}")
    assert done.returncode == 0, done.stdout + done.stderr
    results = {path.parent.name: read_result(path) for path in results_under(tmp_path / "out")}
    [first], [second] = (
        [name for name, result in results.items() if result.config["precision"] == precision]
        for precision in ("fp32", "bf16")
    )
    one, two = results[first].flops, results[second].flops
    assert one is not None
    assert (len(one.counts), one.counted_by) == (4, None)
    assert two == replace(one, counted_by=first)
