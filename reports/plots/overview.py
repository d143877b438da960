"""The plots of the accuracy pass that show every row at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from reports.plots.accuracy import calibration, errors
from reports.plots.picture import Picture
from reports.table.comparison import Comparison

Draw = Callable[[Comparison, Path], "Picture | list[Picture] | None"]
"""Draws a plot into a folder, one for each group of comparable rows, or none where there is no data for it."""

ACCURACY: Mapping[str, Draw] = {"errors.png": errors, "calibration.png": calibration}
"""The plots by the name of their file, in the order in which a page shows them."""


def draw_accuracy_plots(comparison: Comparison, folder: Path) -> list[Picture]:
    """Draw every plot of :data:`ACCURACY` for which the comparison has data into ``folder``."""
    return [picture for draw in ACCURACY.values() for picture in drawn(draw, comparison, folder)]


def drawn(draw: Draw, comparison: Comparison, folder: Path) -> list[Picture]:
    """Draw a plot and give its pictures as a list."""
    pictures = draw(comparison, folder)
    return pictures if isinstance(pictures, list) else [pictures] if pictures else []
