"""Takes the results of a data set image by image: writes them into the predictions file, and evaluates them.

This module imports no torch, so that a process without it can do this work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.data.ids import Id
from bench.passes.recording.evaluation import WITHOUT_BOOTSTRAP, Evaluation
from bench.passes.recording.predictions_file import PredictionsFile, open_predictions
from bench.passes.results import Results
from bench.schema.parts.accuracy import AccuracyResult


class Recorder:
    """Writes the results of each image, and feeds the evaluation with them.

    evaluation: None where the weights have no AP
    overlap: the way with overlaps whose results are the predictions
    """

    def __init__(self, file: PredictionsFile, evaluation: Evaluation | None, overlap: str) -> None:
        self._file, self._evaluation, self._overlap = file, evaluation, overlap

    def write(self, image_id: Id, results: Mapping[str, Results]) -> None:
        """Write the predictions of one image, which name its id themselves."""
        self._file.write(results[self._overlap])

    def evaluate(self, image_id: Id, results: dict[str, Results]) -> None:
        """Feed the evaluation with the results of one image."""
        if self._evaluation:
            self._evaluation.update(image_id, results)

    def complete(self, accuracy: AccuracyResult) -> list[str]:
        """Fill in all figures, and give what the row must say of them, a line each. The file is closed by then."""
        accuracy.detections, accuracy.predictions_sha256 = self._file.count, self._file.sha256
        evaluation = self._evaluation
        if evaluation is None:
            return []
        evaluation.complete(accuracy)
        notes = []
        if "bootstrap" not in evaluation.parts:
            notes.append(WITHOUT_BOOTSTRAP)
        if "calibration" in evaluation.parts and not evaluation.scores_are_probabilities:
            notes.append("accuracy: scores lie outside 0 to 1, so they are no probabilities: no calibration")
        if shifted := evaluation.labels_shifted(accuracy):
            notes.append(shifted)
        return notes


@contextlib.contextmanager
def recording(path: Path, evaluation: Evaluation | None, overlap: str) -> Iterator[Recorder]:
    """Open the predictions file; it is closed, and its array complete, when the block ends, also by an exception."""
    with open_predictions(path) as file:
        yield Recorder(file, evaluation, overlap)
