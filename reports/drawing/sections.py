"""Everything of a report that is drawn or decoded, section by section and picture by picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from reports.charts.accuracy import ACCURACY
from reports.charts.live import Live, live
from reports.charts.overview import OVERVIEW
from reports.drawing import keys
from reports.masks.ground_truth import Datasets
from reports.masks.panels import Panel, draw_panel, panels
from reports.masks.shown import Masks
from reports.masks.viewer import Viewer, shown_rows, viewers, write_viewer
from reports.page.model_pages import ModelPage, model_pages, page_context, write_model_page
from reports.page.worst_images import worst_ids
from reports.plots.picture import Picture
from reports.plots.training import draw_training, trained_rows
from reports.table.accuracy import accuracy_of
from reports.table.comparison import Comparison

PLOTS = "plots"
"""The folder of the pictures, in that of the report."""


class Drawings:
    """The pictures and the pages of models of one comparison; each can be drawn without the others."""

    def __init__(self, comparison: Comparison, out: Path, split: bool = False) -> None:
        self._comparison, self._out, self._split = comparison, out, split
        self._datasets = Datasets()

    def names(self, section: str) -> list[str]:
        """The files of a section: ``plots``, ``accuracy``, ``trainings``, ``panels``, ``masks``, ``pages``; a word for
        what stands in the page, ``live``."""
        if section == "live":
            return ["interactive plots"]
        files = {
            "plots": lambda: list(OVERVIEW),
            "accuracy": lambda: list(ACCURACY),
            "trainings": lambda: [f"training_{place}.png" for place, _ in enumerate(self._trained, start=1)],
            "panels": lambda: [panel.name for panel in self._panels],
            "masks": lambda: [f"masks_{viewer.name}.js" for viewer in self._viewers],
        }
        if section == "pages":
            return [page.name for page in self._pages]
        return [f"{PLOTS}/{name}" for name in files[section]()]

    def key(self, section: str, place: int, trainings: Mapping[int, Picture] | None = None) -> str:
        """Give the digest of what one drawing of a section follows from: while it is the same, so is the drawing."""
        comparison = self._comparison
        if section == "trainings":
            row = self._trained[place]
            return keys.key(section, row, comparison.labels[row], keys.of_row(comparison.rows[row]))
        if section == "panels":
            panel = self._panels[place]
            masks = keys.of_masks(comparison, panel.rows, panel.image_ids, self._datasets)
            return keys.key(section, panel, masks)
        if section == "masks":
            viewer = self._viewers[place]
            masks = keys.of_masks(comparison, viewer.rows, viewer.image_ids, self._datasets)
            return keys.key(section, viewer, shown_rows(comparison, viewer), masks)
        if section == "pages":
            page = self._pages[place]
            accuracy = accuracy_of(comparison, page.row)
            ids = worst_ids(accuracy) if accuracy and page.images else []
            curve = (trainings or {}).get(page.row)
            masks = keys.of_masks(comparison, [page.row], ids, self._datasets)
            return keys.key(
                section, page, self._split, page_context(comparison, page), curve and keys.of_file(curve.path), masks
            )
        return keys.key(section, place, self._all_rows)

    @cached_property
    def _all_rows(self) -> str:
        """What a plot of all rows follows from."""
        comparison = self._comparison
        best, tied = sorted(comparison.best), sorted(comparison.tied.items())
        return keys.key(comparison.labels, best, tied, [keys.of_row(row) for row in comparison.rows])

    def plots(self, place: int) -> list[Picture]:
        """Draw one of the plots of all rows."""
        return list(OVERVIEW.values())[place](self._comparison, self._out / PLOTS)

    def live(self, place: int) -> list[Live]:
        """Give what the page needs to draw the plots of all rows itself."""
        found = live(self._comparison)
        return [found] if found else []

    def accuracy(self, place: int) -> list[Picture]:
        """Draw one of the plots of the accuracy pass."""
        return list(ACCURACY.values())[place](self._comparison, self._out / PLOTS)

    def trainings(self, place: int) -> dict[int, Picture]:
        """Draw a training; gives the picture by the number of its row."""
        row, name = self._trained[place], self.names("trainings")[place]
        return {row: draw_training(self._comparison, row, self._out / name)}

    def panels(self, place: int) -> list[Picture]:
        """Draw one panel of masks."""
        return [draw_panel(self._comparison, self._panels[place], self._out / PLOTS, self._datasets)]

    def masks(self, place: int) -> list[Masks]:
        """Write what the viewer shows of one dataset."""
        return [write_viewer(self._comparison, self._viewers[place], self._out / PLOTS, self._datasets)]

    def pages(self, place: int, trainings: Mapping[int, Picture]) -> dict[int, str]:
        """Write the page of a model, with the images on which it did worst; gives its name by row."""
        return self._page(place, trainings, self._datasets)

    def pages_without_images(self, place: int, trainings: Mapping[int, Picture]) -> dict[int, str]:
        """Write it without these images, which nobody then reads or draws."""
        return self._page(place, trainings, None)

    def _page(self, place: int, trainings: Mapping[int, Picture], datasets: Datasets | None) -> dict[int, str]:
        page = self._pages[place]
        return write_model_page(self._comparison, page, trainings.get(page.row), datasets, self._out, self._split)

    @cached_property
    def _trained(self) -> Sequence[int]:
        return trained_rows(self._comparison)

    @cached_property
    def _panels(self) -> Sequence[Panel]:
        return panels(self._comparison, self._datasets)

    @cached_property
    def _viewers(self) -> Sequence[Viewer]:
        return viewers(self._comparison, self._datasets)

    @cached_property
    def _pages(self) -> Sequence[ModelPage]:
        return model_pages(self._comparison)
