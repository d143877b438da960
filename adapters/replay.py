"""A COCO results file as a model, so that predictions made elsewhere stand in the same table. Accuracy only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import predictor
from bench.errors import UserError


class ReplayPredictor(predictor.ReplayPredictor):
    """Serves a COCO results file image by image.

    The check of the command (``bench.data.results_file.read_results``) has gone through it; here it is only grouped.
    Segmentations are served as the file has them, which may be polygons or an uncompressed RLE.

    Raises:
        UserError: the file cannot be read or holds no list of results.
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
        """COCO results of one image by falling score, without ``bbox``; empty where the file has none.

        All of them: COCO's limit of 100 holds for an image and category and is the evaluator's.
        """
        entries = self._results.get(image_id, [])
        return [{key: value for key, value in entry.items() if key != "bbox"} for entry in entries]
