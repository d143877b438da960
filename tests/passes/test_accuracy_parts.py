"""Tests that a part which ``accuracy.parts`` leaves out is empty, costs nothing, and is measured once it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contexts import context_of
from evaluator_cases import CASES, Case, Replay

from bench.data.dataset import from_coco
from bench.evaluation import bootstrap, diagnosis, matching
from bench.evaluation.evaluators import HotcocoEvaluator
from bench.jobs.job import PlannedJob, passes_due
from bench.passes import predictions
from bench.passes.accuracy import PASS
from bench.passes.recording import evaluation
from bench.schema.config import ACCURACY_PARTS, AccuracyConfig, BenchConfig, ModelConfig
from bench.schema.parts.accuracy import AccuracyResult
from bench.schema.result import MEASUREMENT_VERSION, Result, read_result, write_result

FIELDS = {
    "boundary": "boundary_figures",
    "bootstrap": "bootstrap",
    "overlaps": "overlap_mask_ap",
    "errors": "errors",
    "calibration": "calibration",
    "worst_images": "worst_images",
}
WITHOUT_BOOTSTRAP = (
    "accuracy.parts leaves out bootstrap: mask AP has no interval, and no difference to another row's AP is tested"
)


@pytest.fixture(scope="module")
def case() -> Case:
    return CASES["shapes"](np.random.default_rng(0))


@pytest.fixture(scope="module")
def everything(case: Case, tmp_path_factory: pytest.TempPathFactory) -> AccuracyResult:
    return measured(case, list(ACCURACY_PARTS), tmp_path_factory.mktemp("all"))[0]


def measured(case: Case, parts: list[str], folder: Path, **earlier: Any) -> tuple[AccuracyResult, list[str]]:
    dataset = from_coco("set", case.truth, Path("images"), Path("a.json"), sha256="")
    config = BenchConfig(model=ModelConfig(weights="own"), accuracy=AccuracyConfig(parts))
    context = context_of(Replay(case.results), dataset, config, labels=[], folder=folder, **earlier)
    return PASS.measure(context), context.result.notes


@pytest.mark.parametrize("part", ACCURACY_PARTS)
def test_a_part_that_is_left_out_is_empty_and_changes_nothing_else(
    part: str, case: Case, everything: AccuracyResult, tmp_path: Path
) -> None:
    others = [one for one in ACCURACY_PARTS if one != part]
    accuracy, notes = measured(case, others, tmp_path)
    assert accuracy.parts == others
    assert accuracy.figures == everything.figures
    assert accuracy.per_class == everything.per_class
    for one, field in FIELDS.items():
        if one == part:
            assert getattr(everything, field) is not None
            assert getattr(accuracy, field) is None
        elif (part, one) != ("boundary", "bootstrap"):
            assert getattr(accuracy, field) == getattr(everything, field)
    assert (WITHOUT_BOOTSTRAP in notes) == (part == "bootstrap")
    assert (accuracy.confidence_interval is None) == (part == "bootstrap")
    if part == "boundary":
        assert accuracy.bootstrap is not None
        assert everything.bootstrap is not None
        assert accuracy.bootstrap.mask_ap == everything.bootstrap.mask_ap
        assert accuracy.bootstrap.boundary_ap is None


def test_without_any_part_the_twelve_figures_are_left_and_nothing_else_is_computed(
    case: Case, everything: AccuracyResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("a part that was left out is computed")

    for module, name in (
        (matching, "boundary_iou"),
        (evaluation, "boundary_figures"),
        (bootstrap, "bootstrap"),
        (predictions, "without_overlap"),
        *((diagnosis, name) for name in ("errors", "calibration", "worst_images")),
    ):
        monkeypatch.setattr(module, name, never)
    made = []
    init = HotcocoEvaluator.__init__
    monkeypatch.setattr(HotcocoEvaluator, "__init__", lambda self, *a: (made.append(self), init(self, *a))[1])
    accuracy, _ = measured(case, [], tmp_path)
    assert accuracy.figures == everything.figures
    assert accuracy.parts == []
    assert {getattr(accuracy, field) for field in FIELDS.values()} == {None}
    assert len(made) == 1


def test_a_run_that_asks_for_more_parts_measures_them_and_keeps_the_others(
    case: Case, everything: AccuracyResult, tmp_path: Path
) -> None:
    def planned(*parts: str) -> PlannedJob:
        config = BenchConfig(
            model=ModelConfig(weights="own"), passes=["accuracy"], accuracy=AccuracyConfig(list(parts))
        )
        return PlannedJob(config, {}, tmp_path)

    first, _ = measured(case, ["errors"], tmp_path)
    stored = Result("ok", {"passes": ["accuracy"]}, accuracy=first, measurement_version=MEASUREMENT_VERSION)
    write_result(stored, tmp_path / "result.json")
    assert passes_due(planned("errors"), 1) == passes_due(planned(), 1) == []
    assert passes_due(planned("calibration"), 1) == ["accuracy"]
    second, _ = measured(case, ["calibration"], tmp_path, accuracy=read_result(tmp_path / "result.json").accuracy)
    assert second.parts == ["errors", "calibration"]
    assert (second.errors, second.calibration) == (everything.errors, everything.calibration)
    stored.accuracy = second
    write_result(stored, tmp_path / "result.json")
    assert passes_due(planned("calibration", "errors"), 1) == []
    assert passes_due(planned(*ACCURACY_PARTS), 1) == ["accuracy"]


def test_random_weights_have_no_parts_that_could_be_due(tmp_path: Path) -> None:
    config = BenchConfig(model=ModelConfig(weights="random"), passes=["accuracy"])
    stored = AccuracyResult("hotcoco", "1.3.0", 1, 1, 0, "keep", "predictions.json", parts=[])
    write_result(
        Result("ok", {"passes": ["accuracy"]}, accuracy=stored, measurement_version=MEASUREMENT_VERSION),
        tmp_path / "result.json",
    )
    assert passes_due(PlannedJob(config, {}, tmp_path), 1) == []
