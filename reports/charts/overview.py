"""The charts of all rows: as pictures with their captions, and as what the page draws by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from reports.charts import costs, tradeoff
from reports.charts.files import WIDTH, compiled, with_names, write
from reports.charts.look import MEMORY, PRINTED
from reports.charts.records import MOST_DOTS, Record, records
from reports.cut import MOST_LINES, few_words
from reports.plots.picture import Picture
from reports.table.comparison import Comparison

Draw = Callable[[Comparison, Path], "list[Picture]"]
"""Draws a chart into a folder, one for each group of comparable rows, or none where there is no data for it."""

MOST_SWEEPS = 20
"""Lines of the chart of sweeps over batch sizes."""


def pareto(comparison: Comparison, folder: Path) -> list[Picture]:
    """Draw mask AP against FPS, a picture for each data set, device, batch size and machine that has several rows."""
    groups: dict[str, list[Record]] = {}
    for record in sorted(records(comparison, PRINTED), key=lambda record: record["row"]):
        if "group" in record and {"mask_ap", "fps_model"} <= set(record["figures"]):
            groups.setdefault(record["group"], []).append(record)
    pictures = []
    several = {name: rows for name, rows in groups.items() if len(rows) > 1}
    for place, (name, rows) in enumerate(several.items(), start=1):
        path = folder / ("pareto.png" if place == 1 else f"pareto-{place}.png")
        titles = tradeoff.axes(comparison)
        points = tradeoff.points(_ranked_first(comparison, rows), "fps_model", "mask_ap", low=False, of_time=True)
        log = tradeoff.wide([point["x"] for point in points])
        x, y = titles["fps_model"]["title"], titles["mask_ap"]["title"]
        vega = compiled(tradeoff.spec(PRINTED, WIDTH, x, y, log, points))
        write(with_names(vega, PRINTED, tradeoff.MOST_NAMES), path)
        pictures.append(Picture(path, "Mask AP against speed", pareto_caption(name, rows), "tradeoff"))
    return pictures


def _ranked_first(comparison: Comparison, rows: Sequence[Record]) -> list[Record]:
    wanted = {record["row"] for record in rows}
    return [record for record in records(comparison, PRINTED) if record["row"] in wanted]


def pareto_caption(name: str, rows: Sequence[Record]) -> str:
    """Say what the picture of these rows shows."""
    caption = (
        f"{name}. Up and to the right is better. The line joins the models that no other model beats in both "
        "mask AP and FPS (model boundary). Thin lines are 95 % confidence intervals."
    )
    if marked := _marks(rows):
        caption += f" The speed of a hollow point means less than it seems ({marked}; see Conditions)."
    if not all(record["trusted"] for record in rows):
        caption += " The line leaves out rows whose speed is never called the best."
    if len(rows) > tradeoff.MOST_NAMES:
        caption += " Names stand beside the points on the line."
    return caption


def _marks(rows: Sequence[Record]) -> str:
    return ", ".join(dict.fromkeys(mark for record in rows for mark in record["marks"].split(", ") if mark))


def throughput(comparison: Comparison, folder: Path) -> list[Picture]:
    """Draw a line for each sweep over batch sizes; nothing where there is no sweep."""
    found = records(comparison, PRINTED)
    lines = list(dict.fromkeys(record["line"] for record in found if "line" in record))
    if not lines:
        return []
    shown = lines[:MOST_SWEEPS]
    rows = [record for record in found if record.get("line") in shown]
    caption = (
        "Model boundary; at each point its batch size. Further up is more images a second, further right a longer wait "
        "for each. A line ends where the sweep did, or the memory: such rows stand under the table."
    )
    if marked := _marks(rows):
        caption += f" The speed of a hollow point means less than it seems ({marked}; see Conditions)."
    path = folder / "throughput.png"
    write(costs.throughput(PRINTED, WIDTH, rows), path)
    few = few_words(len(shown), len(lines), "lines")
    return [Picture(path, "Latency against throughput", caption + few, "throughput")]


def latency(comparison: Comparison, folder: Path) -> list[Picture]:
    """Draw the raw samples of the model boundary and their quartiles; nothing where no row was timed."""
    timed = [record for record in records(comparison, PRINTED) if "p50" in record]
    if not timed:
        return []
    rows = timed[:MOST_LINES]
    caption = (
        f"Every dot is one batch at the model boundary (at most {MOST_DOTS} a row are drawn). Thick bar: the middle "
        "half; thin line: p5 to p95; light tick: median, with its value. Fastest on top. In brackets below a name: "
        "why its speed means less than it seems (see Conditions)."
    )
    path = folder / "latency.png"
    log = tradeoff.wide([value for record in rows for value in record["samples"]])
    write(costs.latency(PRINTED, WIDTH, rows, log), path, len(rows))
    return [Picture(path, "Latency of one batch", caption + few_words(len(rows), len(timed)), "latency")]


def stages(comparison: Comparison, folder: Path) -> list[Picture]:
    """Draw the median times of the five stages one after the other; nothing where no row has them.

    A stage that was not timed, as decode and encode in older results, takes no place and is written as a dash.
    """
    timed = [record for record in records(comparison, PRINTED) if "network_ms" in record]
    if not timed:
        return []
    rows = timed[:MOST_LINES]
    grey = comparison.noise_meaning(costs.STAGES)
    caption = (
        "Median of each stage, timed in calls of their own, and their sum. Decode: read and decode the image file. "
        "Preprocess: resize and collate on the host. Network: host-to-device copy, normalise, pad, network, NMS. "
        "Postprocess: full-size masks on the device. Encode: masks to RLE on the host. Upright line: the median of end "
        "to end, timed as a whole: less than the sum where stages run at once, and apart from it where the machine was "
        "busy with other things. A dash: not timed." + (f" Pale: {grey}." if grey else "")
    )
    path = folder / "stages.png"
    write(costs.stages(PRINTED, WIDTH, rows), path, len(rows))
    return [Picture(path, "Where the time goes", caption + few_words(len(rows), len(timed)), "stages")]


def memory(comparison: Comparison, folder: Path) -> list[Picture]:
    """Draw each figure of memory that was measured; nothing where none was."""
    measured = [record for record in records(comparison, PRINTED) if any(name in record for name in MEMORY)]
    if not measured:
        return []
    rows = measured[:MOST_LINES]
    caption = "Megabytes (10^6 bytes). The figures measure different things and must not be added. Less is better."
    path = folder / "memory.png"
    write(costs.memory(PRINTED, WIDTH, rows), path, len(rows))
    return [Picture(path, "Memory", caption + few_words(len(rows), len(measured)), "memory")]


OVERVIEW: Mapping[str, Draw] = {
    "pareto.png": pareto,
    "throughput.png": throughput,
    "latency.png": latency,
    "stages.png": stages,
    "memory.png": memory,
}
"""The charts by the name of their picture, in the order in which a page shows them."""
