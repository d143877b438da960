"""Tests that predictions which are not those evaluated are drawn nowhere beside the figures of those that were."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from masks_study import write_masks_study

from bench.cli.tracking.track import study as tracked
from bench.schema.config import TrackerConfig
from bench.schema.parts.accuracy import ImageFaults
from bench.schema.result import read_result, write_result
from bench.trackers.tracked import RESULT
from reports.masks import ground_truth, panels
from reports.masks.ground_truth import Datasets
from reports.masks.predictions import MOST_MASKS, read_predictions
from reports.masks.viewer import viewers, write_viewer
from reports.page.worst_images import worst_images
from reports.table.comparison import load

CHANGED = "predictions.json has changed since it was evaluated"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two models; the first result knows the digest of its predictions, and the second, an older one, does not."""
    run = write_masks_study(tmp_path, 2)
    path = run / "jobs/job0/result.json"
    result = read_result(path)
    assert result.accuracy is not None
    result.accuracy.predictions_sha256 = hashlib.sha256(path.with_name("predictions.json").read_bytes()).hexdigest()
    result.accuracy.worst_images = {"missed": [ImageFaults(1, 1, 0, None)], "false": [], "masks": []}
    write_result(result, path)
    return run


def _cut(path: Path) -> None:
    """Leave out the second half of the detections; what is left is a results file."""
    kept = json.loads(path.read_text())
    path.write_text("[\n" + ",\n".join(map(json.dumps, kept[: len(kept) // 2])) + "\n]\n")


def _edited(path: Path) -> None:
    path.write_text(path.read_text().replace('"score": 0.', '"score": 0.0', 1))


def _of_another_row(path: Path) -> None:
    path.write_bytes((path.parent.parent / "job1" / path.name).read_bytes())


def _shown(run: Path, out: Path) -> tuple[list[str], list[str], str, list[list[str]]]:
    """Give why a row is not shown in the viewer, in a panel and on its page; and the files that a tracker gets."""
    (out / "plots").mkdir(parents=True, exist_ok=True)
    comparison, datasets = load([run], out), Datasets()
    (viewer,) = viewers(comparison, datasets)
    text = write_viewer(comparison, viewer, out / "plots", datasets).script.read_text()
    in_viewer = [row["reason"] for row in json.loads(text[text.index("push(") + 5 : -3])["rows"]]
    truth = datasets.of(comparison.rows[0])
    assert truth is not None
    panel = panels.panels(comparison, datasets)[0]
    cells = list(panels._cells(truth, panel, comparison.rows, datasets))
    accuracy = comparison.rows[0].result.accuracy
    assert accuracy is not None
    _, on_page = worst_images(comparison.rows[0], accuracy, datasets, lambda content: "")
    rows = tracked(TrackerConfig("mlflow"), run, out).rows
    return in_viewer, [note for note, masks in cells[1:] if masks is None], on_page, [sorted(row.files) for row in rows]


BOTH = [RESULT, "predictions.json"]


def test_the_predictions_that_were_evaluated_are_shown(run: Path, tmp_path: Path) -> None:
    assert _shown(run, tmp_path / "report") == (["", ""], [], "", [BOTH, BOTH])


@pytest.mark.parametrize("change", [_cut, _edited, _of_another_row])
def test_other_predictions_are_named_and_not_shown(change: Callable[[Path], None], run: Path, tmp_path: Path) -> None:
    change(run / "jobs/job0/predictions.json")
    _edited(run / "jobs/job1/predictions.json")  # no digest says what it was
    in_viewer, in_panel, on_page, sent = _shown(run, tmp_path / "report")
    assert in_viewer == [CHANGED, ""]
    assert in_panel == [CHANGED]
    assert on_page == f"No image can be shown: {CHANGED}."
    assert sent == [[RESULT], BOTH]
    (told,) = {row.tags.get("predictions") for row in tracked(TrackerConfig("mlflow"), run, tmp_path).rows} - {None}
    assert told == f"not sent: {CHANGED}"


def test_a_digest_is_asked_for_each_row_and_each_file(run: Path) -> None:
    comparison, datasets = load([run], run), Datasets()
    row = comparison.rows[0]
    path = ground_truth.predictions_path(row)
    assert isinstance(read_predictions(path, {}, 0.5, MOST_MASKS, "0" * 64), str)
    truth = datasets.of(row)
    assert truth is not None
    assert isinstance(datasets.predictions(row, truth, [1], 0.5, 10), dict)
    assert row.result.accuracy is not None
    row.result.accuracy.predictions_sha256 = "0" * 64
    assert datasets.predictions(row, truth, [1], 0.5, 10) == CHANGED, "an answer for the same path is not kept"
