"""Every figure of trained weights, from results that come image by image."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.data.cautions import why_no_ap
from bench.data.dataset import CocoDataset
from bench.data.ids import Id
from bench.errors import UserError
from bench.evaluation import bootstrap, diagnosis, label_shift
from bench.evaluation.average_precision import boundary_figures
from bench.evaluation.evaluators import EVALUATORS, Evaluator
from bench.evaluation.matching import Matcher
from bench.passes.results import Results
from bench.schema.config import BenchConfig
from bench.schema.parts.accuracy import AccuracyResult, evaluated_overlaps

if TYPE_CHECKING:  # they import torch, which a process that only evaluates does without
    from bench.passes.base import Context
    from bench.passes.predictions import ReplayedPredictions
    from bench.predictor import ReplayPredictor

WITHOUT_BOOTSTRAP = (
    "accuracy.parts leaves out bootstrap: mask AP has no interval, and no difference to another row's AP is tested"
)
"""The note of a row whose AP cannot be tested."""


@dataclasses.dataclass(frozen=True)
class Given:
    """What an evaluation needs of the :class:`bench.passes.base.Context` of a model that runs.

    It can be sent to another process.
    """

    config: BenchConfig
    dataset: CocoDataset
    labels: Sequence[Id | None]
    folder: Path
    option_names: frozenset[str]
    accuracy_parts: Sequence[str]
    replay: None = None

    @classmethod
    def of(cls, context: Context) -> Given:
        """Take it from a context."""
        return cls(
            context.config,
            context.dataset,
            context.labels,
            context.folder,
            context.option_names,
            context.accuracy_parts,
        )


class Evaluation:
    """Computes every figure of trained weights from results that come image by image."""

    def __init__(self, context: Context | Given) -> None:
        self._context, self._dataset, self._config = context, context.dataset, context.config
        self.parts = context.accuracy_parts
        self.overlaps = evaluated_overlaps(context.config, context.accuracy_parts)
        self._evaluators = {overlap: self._evaluator() for overlap in self.overlaps}
        replay: ReplayPredictor | None = context.replay
        self._file = None if replay is None else replay.results_file
        self._shifts = label_shift.shifts(self._dataset, context.labels if replay is None else None)
        if self._file is not None and self._file.category_ids == "id":
            self._shifts += label_shift.places_of(self._dataset, self._file.category_offset)
        readings = [shift.category for shift in self._shifts]
        self._matcher = Matcher(
            self._dataset,
            self._config.protocol.max_detections,
            readings,
            boundary="boundary" in self.parts,
            errors="errors" in self.parts,
        )
        self.scores_are_probabilities = True
        self._likely_shift: label_shift.Shift | None = None
        self.replayed: ReplayedPredictions | None = None

    def _evaluator(self) -> Evaluator:
        return EVALUATORS[self._config.evaluator](self._dataset, self._config.protocol.max_detections)

    def update(self, image_id: Id, results: dict[str, Results]) -> None:
        """Take the results of one image under each way with overlaps."""
        for overlap, evaluator in self._evaluators.items():
            evaluator.update(image_id, results[overlap])
        self._matcher.update(image_id, results[self._config.overlap])

    def complete(self, result: AccuracyResult) -> None:
        """Fill in all figures."""
        dataset, seed = self._dataset, self._config.protocol.seed
        image_ids = [image.id for image in dataset.images]
        # An evaluator takes most memory while it computes its figures, so each is given up before the next one.
        figures = {overlap: self._evaluators.pop(overlap).figures() for overlap in self.overlaps}
        matches = self._matcher.matches()
        self.scores_are_probabilities = diagnosis.are_probabilities(matches.score)
        result.figures, result.per_class = figures[self._config.overlap]
        if "overlaps" in self.parts:
            result.overlap_mask_ap = {overlap: coco["mask_ap"] for overlap, (coco, _) in figures.items()}
        if "boundary" in self.parts:
            result.boundary_figures = boundary_figures(matches.boundaries())
        if "worst_images" in self.parts:
            result.worst_images = diagnosis.worst_images(matches, image_ids)
        places, left_out = (self.replayed.places, self.replayed.of_other_classes) if self.replayed else ((), 0)
        self._likely_shift = label_shift.likely_shift(matches, self._shifts, places, left_out)
        mask_ap = result.figures["mask_ap"]
        if mask_ap is None:
            result.figures_absent = why_no_ap(dataset)
        else:
            if "bootstrap" in self.parts:
                boundary = "boundary" in self.parts
                result.bootstrap = bootstrap.bootstrap(matches, dataset.sha256, image_ids, seed, boundary=boundary)
                result.confidence_interval = list(bootstrap.interval(result.bootstrap.mask_ap, mask_ap))
            result.errors = diagnosis.errors(matches) if "errors" in self.parts else None
            result.calibration = diagnosis.calibration(matches) if "calibration" in self.parts else None

    def labels_shifted(self, result: AccuracyResult) -> str | None:
        """Say that the labels seem to be shifted by one, where AP50 would then be much higher; None where not.

        Only where the matches hint at it, the predictions on disk are evaluated once more.
        """
        shift, ap50 = self._likely_shift, (result.figures or {}).get("mask_ap50")
        if shift is None or ap50 is None or ap50 + label_shift.RISE >= 1:
            return None
        shifted = self._ap50_by_place(shift.of) if shift.step == 0 else None
        if shifted is None:
            results = json.loads((self._context.folder / result.predictions).read_text(encoding="utf-8"))
            shifted = label_shift.ap50_if(shift, self._evaluator(), self._dataset, results)
        if shifted is None or shifted - ap50 <= label_shift.RISE:
            return None
        option = "category_offset" if shift.step else "category_ids"
        return label_shift.told(shift, ap50, shifted, _category_offset(self._context, option))

    def _ap50_by_place(self, way: str) -> float | None:
        """Give AP50 of the results file read by ``model.options.category_ids=`` ``way``, a fraction.

        The file is read again: results whose category the data set lacks are not among the predictions on disk.
        None where it cannot be read so.
        """
        from bench.passes.predictions import ReplayedPredictions

        replay = self._context.replay
        assert self._file is not None
        assert replay is not None
        file = dataclasses.replace(self._file, category_ids=way, category_offset=0)
        try:
            predictions = ReplayedPredictions(replay, self._dataset, self._config, file)
        except UserError:
            return None
        evaluator, overlap = self._evaluator(), self._config.overlap
        for records, outputs in predictions.outputs(self._dataset.images):
            for record, results in zip(records, predictions.results(records, outputs, [overlap]), strict=True):
                evaluator.update(record.id, results[overlap])
        return evaluator.figures()[0]["mask_ap50"]


def _category_offset(context: Context | Given, option: str) -> int | None:
    """Give ``model.options.category_offset``; None for a class that has no ``option``."""
    if option not in context.option_names:
        return None
    return int(context.config.model.options.get("category_offset", 0))
