"""Serve a COCO results file as a model, so that the accuracy of other predictions stands in the same table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import predictor
from bench.errors import UserError


class ReplayPredictor(predictor.ReplayPredictor):
    """A model that serves the results of a COCO results file image by image.

    The command validates the file beforehand (``bench.data.results_file.read_results``), so it is only grouped here.
    Segmentations stay as the file has them: RLE, compressed or not, or polygons.

    Raises:
        UserError: the file cannot be read, or it holds no list of results.
    """

    def __init__(self, settings: predictor.Settings, results: str) -> None:
        self.classes = tuple(settings.classes or ())
        self._results: dict[int, list[dict[str, Any]]] = {}
        try:
            entries = json.loads(Path(results).expanduser().read_bytes())
            for entry in sorted(entries, key=lambda entry: -entry["score"]):
                self._results.setdefault(entry["image_id"], []).append(entry)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(f"{results}: no COCO results file (model.options.results): {error!r}") from error

    @classmethod
    def files_read(cls, options: Mapping[str, Any]) -> Mapping[str, Path]:
        return {"results": Path(str(options["results"]))} if "results" in options else {}

    def results(self, image_id: int) -> list[dict[str, Any]]:
        """Give the COCO results of one image by falling score, without ``bbox``; none where the file has none.

        They are not cut to ``max_detections``: COCO's limit of 100 an image and category is left to the evaluator.
        """
        entries = self._results.get(image_id, [])
        return [{key: value for key, value in entry.items() if key != "bbox"} for entry in entries]
