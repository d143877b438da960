"""Set what is published for a library's own weights beside what was measured of them, and why the two may differ."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from bench.schema.facts import config, machine, runtime
from bench.schema.row import Row
from bench.schema.settings import COCO_DETECTIONS
from reports.table.checks import published, published_weights, signed
from reports.table.comparison import Comparison

HEADS = ("Row", "Figure", "Published", "Measured here", "Difference", "Why they may differ", "Source")

MEANING = (
    "Rows with the weights that the library publishes. A difference of mask AP is given only on the whole data set "
    "that the published one is of. Reasons are those that the result tells; the versions of the libraries differ too"
)

_OWN_RUNTIME = "PyTorch"
_NOT_SAID = ("boundary", "hardware", "precision", "batch_size")


class Line(NamedTuple):
    """One published figure of a row, and the measured one, as texts in the order of :data:`HEADS`."""

    label: str
    figure: str
    published: str
    measured: str
    difference: str
    reasons: str
    source: str


def published_lines(comparison: Comparison) -> list[Line]:
    """Give the mask AP and the FPS of every row with published weights for which they are published and measured."""
    return [line for number in range(len(comparison.rows)) for line in _lines(comparison, number)]


def _lines(comparison: Comparison, number: int) -> Iterator[Line]:
    row, label = comparison.rows[number], comparison.labels[number]
    if not published_weights(row):
        return
    figures = row.result.published
    wanted, measured = figures.get("mask_ap"), comparison.text(number, "mask_ap")
    if wanted is not None and measured:
        check = published(row)
        difference = f"{signed(check.difference)} points" if check else ""
        reasons = "; ".join(_ap_reasons(row)) or ("within the tolerance" if check and check.holds else "none known")
        source = str(figures.get("source") or "")
        yield Line(label, "mask AP", f"{wanted:.1f}", measured, difference, reasons, source)
    speed, fps = figures.get("speed"), comparison.cell(number, "fps_model")
    if isinstance(speed, dict) and fps and _is_number(speed.get("fps")):
        reasons = "; ".join(_speed_reasons(comparison, number, speed)) or "none known"
        ratio, source = f"{fps / speed['fps']:.2f} times", str(speed.get("source") or "")
        yield Line(label, "FPS", f"{speed['fps']:.1f}", comparison.text(number, "fps_model"), ratio, reasons, source)


def _ap_reasons(row: Row) -> Iterator[str]:
    """Say what differs from what a published mask AP is of: its whole data set, 100 detections, fp32, the own size."""
    result = row.result
    dataset, here = result.published.get("dataset"), row.setting("dataset", "name")
    if dataset != here:
        yield f"data set: {dataset} published, {here} here"
    accuracy = result.accuracy
    if accuracy and accuracy.images_evaluated != accuracy.images_in_dataset:
        yield f"{accuracy.images_evaluated} of {accuracy.images_in_dataset} images here"
    if limit := config("dataset", "limit")(result):
        yield f"the first {limit} images here"
    if accuracy and accuracy.max_detections != COCO_DETECTIONS:
        yield f"at most {accuracy.max_detections} detections here, {COCO_DETECTIONS} published"
    if (precision := config("precision")(result)) != "fp32":
        yield f"computed in {precision} here"
    if size := config("input_size")(result):
        yield f"input size {size} asked for here"
    if (overlap := config("overlap")(result)) != "keep":
        yield f"overlap {overlap} here"


def _speed_reasons(comparison: Comparison, number: int, speed: dict[str, Any]) -> Iterator[str]:
    """Say in which conditions the two speeds differ, and which the source does not say."""
    result = comparison.rows[number].result
    device = str(config("device")(result))
    gpu = None if device.startswith("cpu") else machine("gpu", "name")(result)
    if (hardware := speed.get("hardware")) and not (gpu and _names(str(hardware), str(gpu))):
        yield f"hardware: {hardware} published, {gpu or machine('cpu', 'name')(result) or device} here"
    pairs = (
        ("boundary", "boundary", "model"),
        ("runtime", "runtime", runtime(result) or _OWN_RUNTIME),
        ("precision", "precision", config("precision")(result)),
        ("batch size", "batch_size", config("batch_size")(result)),
        ("input size", "input_size", config("input_size")(result) or speed.get("input_size")),
    )
    for name, key, here in pairs:
        if (there := speed.get(key)) is not None and there != here:
            yield f"{name}: {there} published, {here} here"
    if (mode := config("compile")(result)) != "none":
        yield f"torch.compile {mode} here"
    if marks := comparison.mark_names(number):
        yield f"{marks} here"
    if unsaid := [key.replace("_", " ") for key in _NOT_SAID if speed.get(key) is None]:
        yield f"the source does not say: {', '.join(unsaid)}"


def _names(hardware: str, gpu: str) -> bool:
    """Tell whether the name of a GPU, as its driver gives it, has the words of a source: T4 is "Tesla T4"."""
    return re.search(rf"\b{re.escape(hardware)}\b", gpu, re.IGNORECASE) is not None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
