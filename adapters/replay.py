"""Serve a COCO results file as a model, so that the accuracy of other predictions stands in the same table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import predictor


class ReplayPredictor(predictor.ReplayPredictor):
    """A model that names a COCO results file, which maskbench reads and checks (``bench.data.results``).

    Args:
        results: the file
        category_offset, image_ids, other_images, category_ids: see :class:`bench.predictor.ResultsFile`
    """

    needs_torch = False

    def __init__(
        self,
        settings: predictor.Settings,
        results: str,
        category_offset: int = 0,
        image_ids: str = "auto",
        other_images: str | None = None,
        category_ids: str = "id",
    ) -> None:
        self.classes = tuple(settings.classes or ())
        self.results_file = predictor.ResultsFile(Path(results), category_offset, image_ids, other_images, category_ids)

    @classmethod
    def files_read(cls, options: Mapping[str, Any]) -> Mapping[str, Path]:
        return {"results": Path(str(options["results"]))} if "results" in options else {}
