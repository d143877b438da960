"""Test that a plot shows which rows' speed means less than it seems, and draws no front through what is not known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from literal_results import build_result, with_busy, with_disturbed_batches
from PIL import Image

from reports.plots import costs, pareto
from reports.plots.style import marked_label
from reports.table.comparison import load


def test_pareto_names_hollow_points_and_leaves_disturbed_rows_out_of_its_line(
    tmp_path: Path, write_run: Any, monkeypatch: Any
) -> None:
    rows = [
        with_busy(build_result("A", model_ms=[20.0] * 40, mask_ap=0.3), 22),
        build_result("B", model_ms=[30.0] * 40, mask_ap=0.4),
        with_disturbed_batches(build_result("C", model_ms=[10.0] * 40, mask_ap=0.5)),
    ]
    comparison = load([write_run(tmp_path, rows)], tmp_path)
    fronts: list[list[tuple[float, float]]] = []
    real = pareto.place_labels

    def places(axes: Any, points: Any, names: Any, front: Any, named: Any) -> None:
        fronts.append([points[place] for place in front])
        real(axes, points, names, front, named)

    monkeypatch.setattr(pareto, "place_labels", places)
    [picture] = pareto.pareto(comparison, tmp_path)
    assert [[round(fps) for fps, _ in front] for front in fronts] == [[33, 50]]
    assert "hollow point means less than it seems (disturbed, host-bound" in picture.caption
    assert "leaves out rows whose speed is never called the best" in picture.caption
    with Image.open(picture.path) as drawn:
        assert drawn.size[0] > 1000
    latency = costs.latency(comparison, tmp_path)
    assert latency is not None
    assert marked_label(comparison, 0).endswith("\n[disturbed]")


def test_pareto_without_any_row_that_can_be_the_best(tmp_path: Path, write_run: Any) -> None:
    rows = [with_disturbed_batches(build_result(name, model_ms=[20.0] * 40)) for name in "AB"]
    comparison = load([write_run(tmp_path, rows)], tmp_path)
    assert len(pareto.pareto(comparison, tmp_path)) == 1
