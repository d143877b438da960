"""The figures of a GPU beside their aims: from JUnit files and result files to lines of a table.

What is missing is "not measured" and falls short, as does a figure whose test failed for another reason.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from junit_file import FAILED, PASSED, Test, read_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from bench.schema.metrics import FIGURES
from bench.schema.result import Result, read_result

NOT_MEASURED = "not measured"
STAGES = ("decode", "preprocess", "network", "postprocess", "encode")
STUDY_ROWS = 18
"""Rows of the study whose time has an aim: nine models in two precisions."""


@dataclass(frozen=True)
class Line:
    """One line of the table: what was measured, the figure in words, its aim in words, whether it is reached."""

    what: str
    measured: str
    aim: str
    ok: bool


@dataclass(frozen=True)
class Aim:
    """The range that a figure should lie in, both ends included."""

    low: float
    high: float
    words: str

    def line(self, what: str, value: float | None, digits: int = 2, beside: str = "") -> Line:
        """Give the line of a figure; ``beside`` says why it falls short although it is in the range."""
        if value is None:
            return Line(what, f"{NOT_MEASURED}{beside}", self.words, False)
        return Line(what, f"{value:.{digits}f}{beside}", self.words, not beside and self.low <= value <= self.high)


def at_most(high: float, words: str = "") -> Aim:
    return Aim(0, high, words or f"at most {high:g}")


AGREEMENT = Aim(0.98, 1.02, "0.98 to 1.02")
OVER_MODEL = at_most(1.10)
BUSY_POINTS = Aim(-3, 3, "within 3")
STAGES_SUM = Aim(0.95, 1.05, "0.95 to 1.05")
STUDY_SECONDS = at_most(240)
CHECK_SECONDS = at_most(300)
RLE_MS = {"640x480": at_most(0.6), "1333x800": at_most(1.2)}


def of_tests(path: Path) -> Line:
    """Give the line on all tests of a file: each one that failed is named, and tests that all skip measure nothing."""
    tests, what = read_tests(path), f"tests of {path.stem}"
    failed = [test.name for test in tests if test.outcome == FAILED]
    passed = sum(test.outcome == PASSED for test in tests)
    measured = f"{passed} passed" if passed else NOT_MEASURED
    if failed:
        measured += f", {len(failed)} failed: {', '.join(failed)}"
    return Line(what, measured, "all pass", passed > 0 and not failed)


def recorded(tests: Sequence[Test], function: str, key: str, what: str, aim: Aim, digits: int = 3) -> list[Line]:
    """Give a line for each value that the tests of a function recorded, or one that says that there is none."""
    lines = []
    for test in tests:
        if test.function != function:
            continue
        beside = "" if test.outcome == PASSED else f" (its test {test.outcome}: {test.message[:80]})"
        name = what + test.name.removeprefix(function)
        values: list[float | None] = [float(value) for value in test.properties.get(key, ())]
        lines += [aim.line(name, value, digits, beside) for value in values or [None]]
    return lines or [aim.line(what, None)]


def busy_lines(path: Path) -> list[Line]:
    """Give how far the busy share is from that of predictors that keep the GPU busy for a known share of the time."""
    key, what = "gpu_busy_points_off", "GPU busy, points off what is known"
    tests = read_tests(path)
    functions = sorted({test.function for test in tests if key in test.properties})
    lines = [line for function in functions for line in recorded(tests, function, key, what, BUSY_POINTS, 1)]
    return lines or [BUSY_POINTS.line(what, None)]


def size_of(test: Test) -> str:
    """Give the size of the masks of a test, whose first parameters are height and width: ``640x480``."""
    height, width = [*test.parameters.split("-"), "", ""][:2]
    return f"{width}x{height}"


def rle_lines(path: Path) -> list[Line]:
    """Give the milliseconds that 100 masks on the GPU take to RLE on the host, for each size that has an aim."""
    tests = read_tests(path)
    word = (
        "card" if any(test.function == "test_on_the_card" for test in tests) else "gpu"
    )  # its name in the first round
    function, key = f"test_on_the_{word}", f"rle_on_the_{word}_ms"
    return [
        line
        for size, aim in RLE_MS.items()
        for line in recorded(
            [replace(test, name=function) for test in tests if test.function == function and size_of(test) == size],
            *(function, key, f"100 masks {size} to RLE, ms", aim),
        )
    ]


AGREEMENTS = {
    "torchvision": "test_torchvision_model_of_images_minus_its_resize",
    "mmdet": "test_mmdet_inference_benchmark",
    "detectron2": "test_detectron2_pure_compute",
}
"""The test of each library that compares our time with its own tool's."""


def agreement_lines(*paths: Path, libraries: Sequence[str] = tuple(AGREEMENTS)) -> list[Line]:
    tests = [test for path in paths for test in read_tests(path)]
    return [
        line
        for name in libraries
        for line in recorded(tests, AGREEMENTS[name], "their_time_over_ours", f"{name}'s time over ours", AGREEMENT, 4)
    ]


def evaluation_lines(path: Path) -> list[Line]:
    what = "accuracy pass over the model boundary, torchvision"
    return recorded(read_tests(path), "test_torchvision_reference", "over_model", what, OVER_MODEL, 2)


def results(out: Path) -> list[Result]:
    """Read the results of a command, in the order of the names of their folders."""
    return [read_result(path) for path in sorted(out.glob("jobs/*/result.json"))]


def name_of(result: Result) -> str:
    return f"{result.config['model']['name']} {result.config['precision']}"


def precision_line(out: Path, model: str, precisions: Sequence[str]) -> Line:
    """Whether a model ran in each precision."""
    ended = {result.config["precision"]: result for result in results(out) if result.config["model"]["name"] == model}
    words = [f"{p} {ended[p].status if p in ended else NOT_MEASURED}" for p in precisions]
    reasons = [f"{p}: {ended[p].reason}" for p in precisions if p in ended and ended[p].status != "ok"]
    ok = bool(precisions) and all(p in ended and ended[p].status == "ok" for p in precisions)
    return Line(f"{model} in every precision", "; ".join([", ".join(words), *reasons]), "all ok", ok)


def row_lines(out: Path, rows: int) -> list[Line]:
    """What holds of the rows of a command that measured ``rows`` rows one after the other, alone on the GPU."""
    found = results(out)
    ok = [result for result in found if result.status == "ok"]
    lines = [Line("rows that are ok", f"{len(ok)} of {rows}", f"{rows} of {rows}", len(ok) == rows)]
    for result in ok:
        lines.append(busy_line(result))
        lines.append(STAGES_SUM.line(f"five stages over end to end, {name_of(result)}", stages_over_end_to_end(result)))
    told = [f"{name_of(result)}: {note}" for result in ok for note in result.notes if says_in_use(note)]
    said = f"{len(told)} of {len(ok)}" if ok else NOT_MEASURED
    lines.append(Line("rows said to share the GPU", "; ".join([said, *told]), "0", bool(ok) and not told))
    return lines


def says_in_use(note: str) -> bool:
    """Whether a note says that others used the GPU."""
    return "GPU" in note and ("in use" in note or "other process" in note)


def busy_line(result: Result) -> Line:
    share = FIGURES["gpu_busy_percent"].figure(result)
    measured = NOT_MEASURED if share is None else f"{share:.0f} %"
    return Line(f"GPU busy, {name_of(result)}", measured, "measured", share is not None)


def stages_over_end_to_end(result: Result) -> float | None:
    """Give the sum of the medians of the five stages over the median of ``end_to_end``."""
    speed = result.speed
    timings = [timing for name in STAGES if speed and (timing := getattr(speed, name))]
    if speed is None or len(timings) < len(STAGES):
        return None
    return sum(statistics.median(t.latency_ms) for t in timings) / statistics.median(speed.end_to_end.latency_ms)


def study_line(ends: Sequence[float], began: float, ended: float) -> Line:
    """Give the seconds that :data:`STUDY_ROWS` rows would take: a command's start and end, and rows between.

    ends: when each row was written last, in any order; the first row counts as part of the start
    began, ended: of the command, by the same clock
    """
    what = f"seconds for {STUDY_ROWS} rows, from {len(ends)}"
    if len(ends) < 2:
        return STUDY_SECONDS.line(what, None)
    first, last = min(ends), max(ends)
    each = (last - first) / (len(ends) - 1)
    seconds = (first - began) + (STUDY_ROWS - 1) * each + (ended - last)
    return STUDY_SECONDS.line(f"{what} ({each:.1f} s a row)", seconds, 0)


def compile_line(out: Path) -> Line:
    """How often ``torch.compile`` compiled anew while batches of several sizes were timed."""
    what, aim = "compile=default on photographs, recompilations while timed", Aim(0, 0, "0")
    found = results(out)
    timed = [result for result in found if result.speed and result.compiled and result.compiled.graphs]
    if not timed:
        reasons = "".join(f" ({name_of(result)}: {result.status}, {result.reason})" for result in found)
        return aim.line(what, None, beside=reasons)
    sizes = {tuple(size) for result in timed if result.speed for size in result.speed.input_sizes}
    if len(sizes) < 2:
        return aim.line(what, None, beside=" (all inputs had one size)")
    eager = "".join(f" ({note})" for result in timed for note in result.notes if "ran uncompiled" in note)
    again = sum(part.recompilations for result in timed if result.speed for part in result.speed.rounds)
    return aim.line(f"{what}, {len(sizes)} sizes", again, 0, eager)


def table(lines: Sequence[Line]) -> str:
    """Give the lines in columns."""
    cells = [("what", "measured", "aim", "ok")]
    cells += [(line.what, line.measured, line.aim, "yes" if line.ok else "NO") for line in lines]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    rows = [" | ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[3]]) for row in cells]
    rows.insert(1, "-|-".join(["-" * width for width in widths] + ["---"]))
    return "\n".join(rows)
