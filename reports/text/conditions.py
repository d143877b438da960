"""Describe the conditions under which rows were measured; every report shows them beside its figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from bench.evaluation.intervals import median_reach
from bench.schema.parts.speed import HostReadings
from bench.schema.row import Row
from bench.schema.settings import lines
from reports.cut import cut_words, listed
from reports.table.checks import warnings
from reports.table.columns import COLUMNS, dataset_name
from reports.table.comparison import Comparison
from reports.table.machine import (
    load_text,
    machine_text,
    maskbench_text,
    notes_text,
    numerics_text,
    pinned_text,
    versions_text,
)
from reports.table.timing import rounds_text, warm_up_text
from reports.text.contents import other_contents

FPS_DEFINITION = (
    "FPS is images over the summed time of all measured batches; latencies are percentiles of the raw samples, "
    "linearly interpolated; both at the model boundary (host-to-device copy, normalise, pad, network, NMS, full-size "
    "masks on the device). End-to-end adds reading and decoding the file, resizing, and masks to RLE on the host."
)
CLOCKS = {
    "perf_counter": "perf_counter of the host, device synchronised on both sides",
    "cuda_event": "CUDA events on the device",
}
DEVICE_SOURCES = {
    "nvml_process": "NVML, this process",
    "device_difference": "growth of the whole GPU's used memory (NVML does not see the process)",
}
RSS_SOURCES = {
    "resettable_peak": "peak since the memory pass began",
    "process_peak": "peak of the process since its start",
}

ROW_COLUMNS = (
    *("Row", "Weights", "Images (h x w)", "Network input (h x w)", "Detections per image", "Batches timed"),
    *("Median latency known", "Rounds"),
)


def conditions(comparison: Comparison) -> list[tuple[str, str]]:
    """Give (what, how) pairs to print under every table; where rows differ, each value names its rows."""
    rows = [(comparison.labels[number], comparison.rows[number]) for number in _measured_rows(comparison)]
    facts: list[tuple[str, Callable[[Row], str | None]]] = [
        ("Machine", lambda row: machine_text(row.result.machine or {})),
        ("Machine notes", lambda row: notes_text(row.result.machine or {})),
        ("Versions", lambda row: versions_text(row.result.machine or {})),
        ("maskbench", lambda row: maskbench_text(row.result.machine or {})),
        ("Numerics", lambda row: numerics_text(row.result.machine or {})),
        ("Dataset", dataset_name),
        ("Images for AP", _images),
        ("Evaluator", _evaluator),
        ("Setting", _setting),
        ("Weights", lambda row: "random: untrained, so mask AP is empty" if row.random_weights else "trained"),
        ("Detections", _detection_mode),
        ("Clock", _clock),
        ("Compiling", _compiling),
        ("Warm-up", lambda row: warm_up_text(row.result.speed) if row.result.speed else None),
        ("Stopping rule", _protocol),
        ("GPU", _gpu),
        ("Pinned", lambda row: pinned_text(_host_readings(row))),
        ("Load of the machine", lambda _: load_text([one for _, row in rows for one in _host_readings(row)])),
        ("Device memory", lambda row: _source(row, "device_source", DEVICE_SOURCES)),
        ("Host memory", lambda row: _source(row, "host_rss_source", RSS_SOURCES)),
    ]
    lines = [(name, text) for name, fact in facts if (text := _shared(rows, fact))]
    rows_shown = [("Rows", words)] if (words := cut_words(comparison)) else []
    best = ("Best", f"{comparison.best_words()}.")
    seen = (*other_contents(comparison), *mark_conditions(comparison), *_noise(comparison))
    return [*rows_shown, *lines, *seen, ("Definitions", FPS_DEFINITION), best]


def mark_conditions(comparison: Comparison) -> list[tuple[str, str]]:
    """Give each mark once for each of its meanings: its name, what was seen in which rows, the meaning and a remedy.

    ``host-bound``: ``the GPU computed 22 % of the time [SOLO R50 · mmdet]; its FPS is the speed of ...``
    """
    # Two rows may have one mark for different reasons, and then each is told its own remedy.
    seen: dict[tuple[str, str], dict[str, list[str]]] = {}
    for number, label in enumerate(comparison.labels):
        for mark in comparison.marks_of(number):
            seen.setdefault((mark.name, mark.meaning), {}).setdefault(mark.sentence, []).append(label)
    return [(name, f"{_seen_in(texts)}; {meaning}") for (name, meaning), texts in seen.items()]


def _seen_in(texts: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{text} [{listed(labels)}]" for text, labels in texts.items())


def row_conditions(comparison: Comparison) -> list[tuple[str, ...]]:
    """Give for each row its own conditions, in the order of :data:`ROW_COLUMNS`; "" where one was not measured."""
    table: list[tuple[str, ...]] = []
    for row in _measured_rows(comparison):
        speed = comparison.rows[row].result.speed
        sizes = (sizes_text(speed.image_sizes), sizes_text(speed.input_sizes)) if speed else ("", "")
        batches = str(len(speed.model.latency_ms)) if speed else ""
        detections = _detections(comparison.rows[row])
        trust = (_median(comparison.rows[row]), rounds_text(speed)) if speed else ("", "")
        label = comparison.marked_label(row)
        table.append((label, comparison.text(row, "weights"), *sizes, detections, batches, *trust))
    return table


def row_notes(comparison: Comparison) -> list[tuple[str, str]]:
    """Give each note of the workers once, such as that others use the GPU, with the labels of its rows.

    Every report shows them beside its figures: some say that a figure means another thing than its name. What
    :func:`reports.table.checks.warnings` says of the row already is left out.
    """
    numbers = _measured_rows(comparison)
    by_note: dict[str, list[str]] = {}
    for number in numbers:
        row = comparison.rows[number]
        for note in row.result.notes:
            if note not in warnings(row):
                by_note.setdefault(note, []).append(comparison.labels[number])
    return [
        (note, "all rows" if len(labels) == len(numbers) > 1 else listed(labels)) for note, labels in by_note.items()
    ]


def row_setting(row: Row) -> list[tuple[str, str]]:
    """Give (what, how) pairs of one row that say on which data and by which rules its accuracy was measured."""
    facts = (
        ("Dataset", dataset_name(row)),
        ("Images", _images(row)),
        ("Evaluator", _evaluator(row)),
        ("Setting", _setting(row)),
        ("Weights", row.weights),
    )
    return [(name, text) for name, text in facts if text]


def sizes_text(sizes: Sequence[Sequence[int]]) -> str:
    """Give the smallest and the largest size by area, height x width: ``427x640 to 640x640``, or ``480x640``."""
    unique = sorted({(size[0], size[1]) for size in sizes}, key=lambda size: (size[0] * size[1], size))
    ends = dict.fromkeys((*unique[:1], *unique[-1:]))
    return " to ".join(f"{height}x{width}" for height, width in ends)


def number_range(values: Iterable[int]) -> str:
    """Give the lowest and the highest of the values: ``3 to 7``, or ``3`` where all are equal."""
    values = sorted(values)
    return str(values[0]) if values[0] == values[-1] else f"{values[0]} to {values[-1]}"


def _measured_rows(comparison: Comparison) -> list[int]:
    results = [row.result for row in comparison.rows]
    return [number for number, result in enumerate(results) if result.speed or result.memory or result.accuracy]


def _shared(rows: Sequence[tuple[str, Row]], fact: Callable[[Row], str | None]) -> str:
    """Give the fact once where all rows share it, else each value with the labels of its rows."""
    by_text: dict[str, list[str]] = {}
    for label, row in rows:
        if text := fact(row):
            by_text.setdefault(text, []).append(label)
    if len(by_text) <= 1:
        return "".join(by_text)
    # The commonest value needs no list of names when it stands for most of the rows.
    common = max(by_text, key=lambda text: len(by_text[text]))
    rest = [f"{text} [{listed(labels)}]" for text, labels in by_text.items() if text != common]
    named = f"{common} [{'all others' if len(by_text[common]) > 2 else ', '.join(by_text[common])}]"
    return "; ".join([*rest, named])


def _setting(row: Row) -> str:
    return f"device {', '.join(lines(row.result, 'dataset'))}"


def _images(row: Row) -> str | None:
    accuracy = row.result.accuracy
    if accuracy is None:
        return None
    if accuracy.images_evaluated == accuracy.images_in_dataset:
        return f"all {accuracy.images_in_dataset}"
    return f"first {accuracy.images_evaluated} of {accuracy.images_in_dataset}"


def _evaluator(row: Row) -> str | None:
    accuracy = row.result.accuracy
    if accuracy is None:
        return None
    return f"{accuracy.evaluator} {accuracy.evaluator_version}, overlap: {accuracy.overlap}"


def _detection_mode(row: Row) -> str | None:
    if row.result.speed is None:
        return None
    if row.setting("detections") == "saturated":
        return "saturated: score threshold 0, so that every model has as many instances to make masks of"
    warning = "; untrained models find few or strange instances, so their mask time is not a trained model's"
    return "thresholded: the library's own score threshold" + (warning if row.random_weights else "")


def _noise(comparison: Comparison) -> list[tuple[str, str]]:
    """Say which figures of which rows mean nothing, since the masks are noise."""
    rows = [row for row in range(len(comparison.rows)) if any(comparison.noise(row, name) for name in COLUMNS)]
    named = "all rows" if len(rows) == len(comparison.rows) else listed(comparison.labels[row] for row in rows)
    return [("Masks of noise", f"{comparison.noise_meaning(COLUMNS)} [{named}]")] if rows else []


def _detections(row: Row) -> str:
    speed = row.result.speed
    if speed is None or not speed.detections_per_image:
        return ""
    counts = speed.detections_per_image
    return f"{sum(counts) / len(counts):.1f} ({number_range(counts)})"


def _clock(row: Row) -> str | None:
    speed = row.result.speed
    if speed is None:
        return None
    model, whole = (CLOCKS.get(timing.clock, timing.clock) for timing in (speed.model, speed.end_to_end))
    return model if model == whole else f"{model}; end-to-end: {whole}"


def _protocol(row: Row) -> str | None:
    """Describe the stopping rule."""
    if row.result.speed is None:
        return None
    rounds, samples, precision, seconds = (
        row.setting("protocol", key, default=0) for key in ("rounds", "min_samples", "precision", "max_seconds")
    )
    order = f"{rounds} rounds, interleaved, each in a process of its own; " if rounds > 1 else "one round; "
    return (
        f"{order}until the 95 % interval of the median latency is within {100 * precision:g} %, "
        f"at least {samples} batches, at most {seconds:g} s"
    )


def _compiling(row: Row) -> str | None:
    compiled = row.result.compiled
    if compiled is None:
        return None
    return (
        f"torch.compile, {compiled.mode}, of {' and '.join(compiled.parts)}: {compiled.seconds:.0f} s, "
        f"{compiled.graphs} graphs, {compiled.graph_breaks} graph breaks"
        + (f", {again} recompilation{'s' if again > 1 else ''}" if (again := compiled.recompilations) else "")
    )


def _gpu(row: Row) -> str | None:
    """Give clocks, temperature and power while the row was timed, and say where the GPU was throttled."""
    readings = [part.gpu for part in row.result.speed.rounds if part.gpu] if row.result.speed else []
    if not readings:
        return None
    texts = []
    for name, unit in (("sm_clock_mhz", " MHz SM clock"), ("temperature_celsius", " degrees C"), ("power_watts", " W")):
        values = [round(value) for part in readings for value in getattr(part, name) if value is not None]
        if values:
            texts.append(number_range(values) + unit)
    if ((row.result.machine or {}).get("gpu") or {}).get("clocks_set_by_user") is False:
        texts.append("clocks not locked")
    if dropped := sum(part.dropped_batches for part in readings):
        texts.append(f"{dropped} batches left out, timed while the GPU was throttled")
    if any(part.kept_throttled for part in readings):
        texts.append("throttled most of the time, so no batch was left out")
    if reasons := sorted({name for part in readings for name in part.throttled}):
        texts.append(f"throttled by {', '.join(reasons)}")
    return ", ".join(texts)


def _host_readings(row: Row) -> list[HostReadings]:
    return [part.host for part in row.result.speed.rounds if part.host] if row.result.speed else []


def _median(row: Row) -> str:
    """Say how well the median is known, ``within 0.8 %``, and what was wanted where that was not reached."""
    speed = row.result.speed
    if speed is None:
        return ""
    reach, wanted = median_reach(speed.model.latency_ms), float(row.setting("protocol", "precision", default=0.0))
    if reach is None:
        return f"too few batches (not {100 * wanted:g} %)"
    if reach <= wanted:
        return f"within {100 * reach:.2g} %"
    texts = (f"{100 * reach:.{digits}g}" for digits in range(2, 17))
    more = next((text for text in texts if float(text) > 100 * wanted), f"{100 * reach}")
    return f"within {more} % (not {100 * wanted:g} %)"


def _source(row: Row, name: str, meanings: dict[str, str]) -> str | None:
    source = getattr(row.result.memory, name, None)
    return None if source is None else meanings.get(source, source)
