"""Test the first answers of a report on literal results: what they say, and what they do not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from literal_results import MACHINE, with_busy, with_few_samples, with_replicates

from reports.answers.measured_on import measured_on
from reports.answers.sentences import answers
from reports.table.comparison import Comparison, load


@pytest.fixture
def compare(tmp_path: Path, write_run: Any) -> Any:
    return lambda *results: load([write_run(tmp_path / "run", results)], tmp_path)


def said(comparison: Comparison) -> dict[str, str]:
    return {answer.title: answer.text for answer in answers(comparison)}


def test_four_sentences(compare: Any, make_result: Any) -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, 200)
    rows = [("A", 10.0, 0.30, 1), ("B", 20.0, 0.40, 1), ("C", 50.0, 0.42, 1), ("D", 10.01, 0.419, -1)]
    results = [
        with_replicates(
            make_result(name, model_ms=[ms - 0.1, ms, ms + 0.1] * 4, mask_ap=ap), (ap + sign * noise).tolist()
        )
        for name, ms, ap, sign in rows
    ]
    with_busy(results[0], 22)
    results.append(make_result("E", status="crashed", reason="killed"))
    results.append(make_result("F", status="skipped", reason="not installed"))
    comparison = compare(*results)
    tail = "R50-FPN · torchvision"
    assert said(comparison) == {
        "Most accurate": f"C {tail} (mask AP 42.0 [40.5, 43.5]), not distinguishable from D {tail}.",
        "Fastest": f"A {tail} [host-bound] (100.00 FPS [99.46, 100.54]), not distinguishable from D {tail}.",
        "Trade-off": f"D {tail} (mask AP 41.9 [40.4, 43.4], 99.90 FPS [99.36, 100.44]): the most accurate of those at "
        "least half as fast as the fastest.",
        "Beware": f"1 row (E {tail}) failed; 1 row (F {tail}) was skipped; 1 row is host-bound, so FPS is the speed of "
        "Python and of the processor.",
    }
    anchors = [part.anchor for answer in answers(comparison) for part in answer.parts if part.anchor]
    numbers = {comparison.text(row, "model"): row for row in range(len(comparison.rows))}
    assert anchors[:4] == [f"#row-{numbers[name]}" for name in "CDAD"]
    assert {"#not-finished", "#skipped", "#filter=host-bound"} <= set(anchors)


def test_the_tie_is_that_of_the_table(compare: Any, make_result: Any) -> None:
    """C is worse than A in every draw, so no sentence ties the two, though their intervals overlap."""
    noise = np.random.default_rng(0).normal(0, 0.02, 200)
    results = [
        with_replicates(make_result(name, mask_ap=ap), (ap + noise).tolist()) for name, ap in (("A", 0.40), ("C", 0.39))
    ]
    comparison = compare(*results)
    assert not comparison.tied
    assert "distinguishable" not in said(comparison)["Most accurate"]


def test_without_draws_overlapping_intervals_are_not_called_a_difference(compare: Any, make_result: Any) -> None:
    text = said(compare(make_result("A", mask_ap=0.40), make_result("B", mask_ap=0.395)))["Most accurate"]
    assert "and it was not tested whether better than B R50-FPN" in text


def test_one_row_is_no_comparison(compare: Any, make_result: Any) -> None:
    found = said(compare(make_result("A", model_ms=[20.0] * 6), make_result("B", status="crashed", reason="x")))
    assert found["Only row"] == "A R50-FPN · torchvision (mask AP 37.2 [35.7, 38.7], 50.00 FPS [50.00, 50.00])."
    assert set(found) == {"Only row", "Beware"}


def test_nothing_is_said_of_what_was_not_measured(compare: Any, make_result: Any) -> None:
    without_speed = compare(*(make_result(name, model_ms=None, mask_ap=ap) for name, ap in (("A", 0.4), ("B", 0.1))))
    assert set(said(without_speed)) - {"Beware"} == {"Most accurate"}


def test_random_weights_have_no_accuracy(compare: Any, make_result: Any) -> None:
    results = [
        make_result(name, weights="random", mask_ap=None, model_ms=[ms] * 6) for name, ms in (("A", 9.0), ("B", 8.0))
    ]
    found = said(compare(*results))
    assert found["Fastest"].startswith("B R50-FPN · torchvision (125.00 FPS")
    assert found["Beware"] == "all rows have random weights and no mask AP."
    assert set(found) == {"Fastest", "Beware"}


def test_rows_that_were_timed_badly_are_not_the_fastest(compare: Any, make_result: Any) -> None:
    results = [with_few_samples(make_result("A", model_ms=[1.0] * 3)), make_result("B", model_ms=[20.0] * 3)]
    assert said(compare(*results))["Fastest"].startswith("B ")


def test_data_sets_and_machines_are_kept_apart(compare: Any, make_result: Any) -> None:
    results = [
        make_result("A", mask_ap=0.4, model_ms=[10.0] * 6),
        make_result("B", mask_ap=0.3, model_ms=[20.0] * 6),
        make_result("C", mask_ap=0.9, model_ms=[1.0] * 6, dataset={"name": "shapes"}),
    ]
    other = make_result("D", mask_ap=0.35, model_ms=[2.0] * 6)
    other.machine = {**MACHINE, "gpu": {**MACHINE["gpu"], "name": "NVIDIA H100"}}
    comparison = compare(*results, other)
    found = said(comparison)
    assert found["Most accurate"].startswith("coco: A ")
    assert "shapes: C " in found["Most accurate"]
    assert found["Fastest"].count(" FPS") == 3
    assert "coco, NVIDIA H100: D " in found["Fastest"]
    assert "coco, NVIDIA H200: A " in found["Fastest"]
    on = measured_on(comparison)
    assert "NVIDIA H200" in on
    assert "NVIDIA H100" in on
    assert "coco" in on
    assert "shapes" in on


def test_what_it_was_measured_on(compare: Any, make_result: Any) -> None:
    on = measured_on(compare(make_result("A", precision="fp32"), make_result("B", precision="fp16")))
    assert on.startswith("NVIDIA H200, driver 580.65, AMD EPYC 9354, 16 cores · coco, ")
    assert on.endswith(" images · fp16 and fp32 · batch 1")


def test_a_users_own_data_is_not_called_by_its_form(compare: Any, make_result: Any) -> None:
    results = [make_result("A"), make_result("B")]
    for result in results:
        result.config["dataset"]["annotations"] = "data/cells/train.json"
    comparison = compare(*results)
    assert comparison.text(0, "dataset") == "cells/train.json"
    assert "cells/train.json, " in measured_on(comparison)
    results[0].config["dataset"]["name"] = results[1].config["dataset"]["name"] = "cells"
    assert compare(*results).text(0, "dataset") == "cells"
