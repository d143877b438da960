"""Sets and results as other tools write them give the figures that their authors expect, or one line that refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from foreign_sets import CASES, Case

from bench.data import dataset as datasets
from bench.data.cautions import cautions
from bench.data.results.reader import read_results
from bench.errors import UserError
from bench.evaluation.evaluators import EVALUATORS
from bench.predictor import ResultsFile
from bench.schema.config import DatasetConfig


def evaluated(case: Case, folder: Path) -> tuple[float | None, str]:
    """Give the mask AP of a case in points, and all that is told of its files."""
    paths = case.make().write(folder)
    config = DatasetConfig(
        name=case.name, images=str(paths["images"]), annotations=str(paths["annotations"]), **case.config
    )
    dataset = datasets.load(config)
    told = list(datasets.check_images(dataset))
    replayed = read_results(ResultsFile(paths["results"]), dataset, config)
    evaluator = EVALUATORS["hotcoco"](dataset, case.max_detections)
    for image in dataset.images:
        evaluator.update(image.id, replayed.by_image[image.id])
    mask_ap = evaluator.figures()[0]["mask_ap"]
    told += [*dataset.notes, *cautions(dataset, case.max_detections), *replayed.notes]
    return None if mask_ap is None else 100 * mask_ap, "\n".join(told)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_right(case: Case, tmp_path: Path) -> None:
    right = case.right
    if right.refused:
        with pytest.raises(UserError) as caught:
            evaluated(case, tmp_path)
        assert "\n" not in str(caught.value)
        assert [part for part in right.refused if part not in str(caught.value)] == []
        return
    mask_ap, told = evaluated(case, tmp_path)
    assert mask_ap == (None if right.mask_ap is None else pytest.approx(right.mask_ap, abs=1e-9))
    assert [part for part in right.told if part not in told] == []
    if case.name == "plain":
        assert told == ""
