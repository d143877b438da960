"""Pair each row of a runtime with the row in torch of the weights that its file was exported from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.schema.facts import network_sha256
from bench.schema.result import RuntimeInfo
from bench.schema.row import Row
from bench.schema.settings import SETTINGS
from reports.table.comparison import Comparison

HELD = (
    *("dataset", "exif", "image_range", "without_mask", "detections", "score_threshold", "max_detections"),
    "overlap",
)
"""Settings that must be equal: with other ones the AP of the same masks is another."""

SEEN = (
    *("precision", "compile", "device", "batch_size", "pad_to", "channels_last", "cudnn_benchmark"),
    *("cpu", "cores", "threads", "gpu", "driver", "evaluator"),
)
"""Settings in which a row may differ from its base, and which are then told beside its figures."""

TIMED_IMAGES = "timed_images"
"""The setting without which no speeds are compared: the time of an image depends on its size and on what it shows."""

SEEN_OF_SPEED = (TIMED_IMAGES, "pin", "exclusive", "power_limit", "clocks", "clock_source")
"""The same where both were timed: they play no part in any other figure of the table."""


@dataclass(frozen=True)
class Conversion:
    """A row of a runtime, and the row in torch that it is compared with.

    row, base: their numbers in the comparison
    apart: words of the settings of :data:`HELD` in which they differ: then no figure is compared
    unlike: what else is not the same, as ``precision int8 (base: fp32)``
    other_images_timed: whether both were timed, but on other images: then their speeds are not compared
    """

    row: int
    base: int
    apart: tuple[str, ...]
    unlike: tuple[str, ...]
    other_images_timed: bool = False


def conversions(comparison: Comparison) -> dict[int, list[Conversion]]:
    """Give the conversions by their base, both in the order of the rows; {} where no row has a base.

    A base has finished, ran in torch, and has the weights, the class and the options that the file says that it was
    exported from; names of files and models play no part. Of several, one in fp32 without torch.compile is taken, and
    of these the one that was measured most alike.
    """
    by_base: dict[int, list[Conversion]] = {}
    for best in _conversions(comparison.rows):
        by_base.setdefault(best.base, []).append(best)
    return dict(sorted(by_base.items()))


def bases(comparison: Comparison) -> dict[int, int]:
    """Give the base of each row that has one, both by their numbers."""
    return {pair.row: pair.base for pair in _conversions(comparison.rows)}


def _conversions(rows: Sequence[Row]) -> Iterator[Conversion]:
    by_weights: dict[str | None, list[int]] = {}
    for number, row in enumerate(rows):
        model = row.result.model
        if row.result.status == "ok" and model is not None and model.runtime is None:
            by_weights.setdefault(model.weights_sha256, []).append(number)
    for number, row in enumerate(rows):
        runtime = _runtime(row)
        weights = _exported_from(row)
        if runtime is None or weights is None or row.result.status != "ok":
            continue
        same_weights = by_weights.get(weights, [])
        found = [_paired(rows, number, base) for base in _bases(rows, same_weights, runtime)]
        if found:
            yield min(found, key=lambda pair: _order(rows, pair))


def _exported_from(row: Row) -> str | None:
    """Give the SHA-256 of the weights that a row's file was exported from, as the file or its user says."""
    runtime = _runtime(row)
    return (runtime.exported_from if runtime else None) or row.setting("model", "exported_from")


def _runtime(row: Row) -> RuntimeInfo | None:
    return row.result.model.runtime if row.result.model else None


def _bases(rows: Sequence[Row], same_weights: Sequence[int], runtime: RuntimeInfo) -> Iterator[int]:
    network = runtime.exported_network
    for number in same_weights:
        if network is None or network_sha256(rows[number].result.config.get("model", {})) == network:
            yield number


def _paired(rows: Sequence[Row], number: int, base: int) -> Conversion:
    mine, theirs = rows[number].result, rows[base].result
    held = (SETTINGS[key] for key in HELD)
    apart = tuple(each.words for each in held if str(each.equal(mine)) != str(each.equal(theirs)))
    both_timed = mine.speed is not None and theirs.speed is not None
    others_timed = both_timed and _differ(TIMED_IMAGES, rows[number], rows[base])
    return Conversion(number, base, apart, tuple(_unlike(rows[number], rows[base], both_timed)), others_timed)


def _differ(key: str, row: Row, base: Row) -> bool:
    return str(SETTINGS[key].equal(row.result)) != str(SETTINGS[key].equal(base.result))


def _unlike(row: Row, base: Row, both_timed: bool) -> Iterator[str]:
    for key in (*SEEN, *(SEEN_OF_SPEED if both_timed else ())):
        if _differ(key, row, base):
            mine, theirs = (_said(SETTINGS[key].value(each.result)) for each in (row, base))
            yield f"{SETTINGS[key].words} {mine} (base: {theirs})"
    yield from _unlike_inputs(row, base)
    runtime = _runtime(row)
    if runtime is not None and runtime.file_precision == "int8":
        yield f"calibrated on {runtime.calibration or 'unknown images'}"


def _unlike_inputs(row: Row, base: Row) -> Iterator[str]:
    """Say where the networks get other inputs: a file has the size with which it was exported, and may have one alone.

    Sizes that were measured cannot be compared as they are: some networks pad their input themselves.
    """
    runtime = _runtime(row)
    mine = row.result.config.get("input_size") or (runtime.exported_size if runtime else None)
    theirs = base.result.config.get("input_size")
    if mine != theirs:
        yield f"input size {_said(mine)} (base: {_said(theirs)})"
    shapes = [
        {tuple(size) for size in each.result.speed.input_sizes} if each.result.speed else set() for each in (row, base)
    ]
    if len(shapes[0]) == 1 < len(shapes[1]):
        [(height, width)] = shapes[0]
        yield f"every input padded to {height}x{width} (base: inputs of {len(shapes[1])} shapes)"


def _said(value: object) -> str:
    return "none" if value is None else str(value)


def _order(rows: Sequence[Row], pair: Conversion) -> tuple[bool, bool, bool, int, int]:
    """Give the key by which the first of several bases is the one to take."""
    base = rows[pair.base].result.config
    eager = base.get("compile", "none") == "none"
    return bool(pair.apart), base.get("precision") != "fp32", not eager, len(pair.unlike), pair.base
