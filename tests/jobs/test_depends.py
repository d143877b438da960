"""Tests that a worker refuses to join what depends on different things, and files that were replaced."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from gate_cases import speed

from bench.data.dataset import CocoDataset, digest, load
from bench.errors import UserError
from bench.files.digests import sha256_of
from bench.jobs.job import WorkerJob
from bench.jobs.start import Checkout
from bench.jobs.worker.depends import add_sources, record
from bench.schema.config import BenchConfig, DatasetConfig, ModelConfig
from bench.schema.result import MEASUREMENT_VERSION, Result

CPU = torch.device("cpu")


@pytest.fixture
def dataset(bright_squares: list[str]) -> CocoDataset:
    given = dict(argument.split("=", 1) for argument in bright_squares)
    return load(DatasetConfig("d", images=given["dataset.images"], annotations=given["dataset.annotations"]))


def job(dataset: CocoDataset, target: str = "toy_models.Blobs", **fields: Any) -> WorkerJob:
    options = fields.pop("options", {})
    config = BenchConfig(model=ModelConfig(name="m", _target_=target, options=options))
    contents = {"dataset": digest(dataset), **fields.pop("contents", {})}
    return WorkerJob(
        config, fields.pop("weights_path", None), fields.pop("weights_sha256", None), "", contents, **fields
    )


def test_what_ran_is_written(dataset: CocoDataset) -> None:
    result = Result("failed", {}, measurement_version=MEASUREMENT_VERSION)
    record(job(dataset), result, CPU, (), dataset)
    assert any(name.endswith("toy_models.py") for name in result.sources)
    assert result.machine is not None
    assert result.machine["versions"]["torch"] == torch.__version__
    first = dict(result.sources)
    add_sources(job(dataset), object, result)
    assert first.items() <= result.sources.items()


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("machine", {"versions": {"torch": "1.0"}}, "torch was 1.0 and is"),
        ("machine", {"cpu": {"name": "Cray-1"}}, "processor was Cray-1 and is"),
    ],
)
def test_rounds_of_another_machine_are_not_joined(dataset: CocoDataset, field: str, value: Any, told: str) -> None:
    result = Result("failed", {}, speed=speed([[1.0]]), measurement_version=MEASUREMENT_VERSION)
    record(job(dataset), result, CPU, (), dataset)
    setattr(result, field, value)
    with pytest.raises(UserError, match=f"{told}.*figures of both cannot stand in one result"):
        record(job(dataset), result, CPU, (), dataset)


def test_rounds_of_other_code_are_not_joined(dataset: CocoDataset) -> None:
    result = Result("failed", {}, speed=speed([[1.0]]), measurement_version=MEASUREMENT_VERSION)
    record(job(dataset), result, CPU, (), dataset)
    name = next(name for name in result.sources if name.endswith("toy_models.py"))
    result.sources[name] = "0000"
    with pytest.raises(UserError, match=r"toy_models\.py has changed since the first part"):
        record(job(dataset), result, CPU, (), dataset)


def test_weights_that_were_replaced_after_the_check(dataset: CocoDataset, tmp_path: Path) -> None:
    weights = tmp_path / "w.pt"
    weights.write_bytes(b"as checked")
    planned = job(dataset, weights_path=str(weights), weights_sha256=sha256_of(weights))
    record(planned, Result("failed", {}), CPU, (), dataset)
    weights.write_bytes(b"replaced")
    with pytest.raises(UserError, match=r"the weights: w\.pt was replaced after it was checked"):
        record(planned, Result("failed", {}), CPU, (), dataset)


def test_annotations_that_were_replaced_after_the_check(dataset: CocoDataset) -> None:
    planned = job(dataset, contents={"dataset": "of another set"})
    with pytest.raises(UserError, match=r"the data set: annotations\.json was replaced"):
        record(planned, Result("failed", {}), CPU, (), dataset)


def test_a_file_of_an_option_that_was_replaced(dataset: CocoDataset, tmp_path: Path) -> None:
    """A file that the class declares ends the job; one that an option happens to name, such as a log, is noted."""
    path = tmp_path / "results.json"
    path.write_text("[]")
    given: dict[str, Any] = {"options": {"results": str(path)}, "contents": {"model.options.results": "another"}}
    with pytest.raises(UserError, match=r"model\.options\.results: results\.json was replaced"):
        record(job(dataset, "adapters.replay.ReplayPredictor", **given), Result("failed", {}), CPU, (), dataset)
    given = {"options": {"results": str(path)}, "contents": {"file of model.options.results": "another"}}
    result = Result("failed", {})
    record(job(dataset, **given), result, CPU, (), dataset)
    assert result.notes == ["model.options.results: results.json has changed since the job was planned"]


def test_a_configuration_that_was_replaced_after_the_check(dataset: CocoDataset, tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text("width: 1")
    planned = job(dataset, contents={"file of model.config": sha256_of(path)})
    planned.config.model.config = str(path)
    record(planned, Result("failed", {}), CPU, (), dataset)
    path.write_text("width: 2")
    with pytest.raises(UserError, match=r"file of model\.config: net\.yaml was replaced after it was checked"):
        record(planned, Result("failed", {}), CPU, (), dataset)


def test_code_of_the_other_side_of_a_gate_is_not_timed(dataset: CocoDataset) -> None:
    toys = Path(__file__).resolve().parents[1] / "toys"
    base = Checkout("/nowhere/base-checkout", str(toys), [], [])
    with pytest.raises(UserError, match=r"would run .*toy_models\.py, which is not in /nowhere/base-checkout"):
        record(job(dataset, checkout=base), Result("failed", {}), CPU, (), dataset)
    head = Checkout(str(toys), "/nowhere/base-checkout", [], [])
    record(job(dataset, checkout=head), Result("failed", {}), CPU, (), dataset)


def test_a_file_of_the_other_side_that_is_imported_late_is_refused(
    dataset: CocoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ``forward`` that imports what it needs ran the head's module in the base, and the gate said nothing."""
    mine, other = tmp_path / "base", tmp_path / "head"
    mine.mkdir()
    other.mkdir()
    (other / "late_module.py").touch()
    planned = job(dataset, checkout=Checkout(str(mine), str(other), [], []))
    result = Result("failed", {}, measurement_version=MEASUREMENT_VERSION)
    record(planned, result, CPU, (), dataset)
    add_sources(planned, object, result)
    monkeypatch.syspath_prepend(other)
    importlib.import_module("late_module")
    with pytest.raises(UserError, match=r"the model would run .*late_module\.py, which is not in .*base"):
        add_sources(planned, object, result)
    del sys.modules["late_module"]
