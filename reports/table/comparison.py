"""Read result files into one table, and say which rows may be compared and which are best."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from bench.errors import UserError
from bench.files.collector import collector_off
from bench.files.json_file import write_text_atomically
from bench.schema.facts import weights_kind
from bench.schema.marks import Mark, marks
from bench.schema.metrics import FIGURES, NOISE, noise
from bench.schema.result import results_under
from bench.schema.row import Row, each_once, read_rows
from bench.schema.settings import COCO_DETECTIONS, REPORT, SETTINGS, held_equal
from reports.lean import Lean
from reports.records import write_records
from reports.table.best.cells import best_of_groups
from reports.table.best.input_sizes import other_input_sizes
from reports.table.columns import COLUMNS, INTERVALS, decimals_of
from reports.table.differences import ALPHA, Group, compare_all
from reports.table.naming import model_name, row_labels
from reports.table.spreadsheet import plain_cell

INDISTINGUISHABLE = (
    f"not distinguishable from the best: paired bootstrap over images, Holm-corrected over all pairs, alpha {ALPHA:g}"
)
OVERLAPPING = "those whose 95 % interval overlaps that of the best"

_T = TypeVar("_T")


@dataclass(frozen=True)
class Comparison:
    """The results as one table.

    ``rows``, ``labels`` and the lines of ``frame`` have the same order; methods take a row's number in it.

    frame:  one line a row, the columns of :data:`reports.table.columns.COLUMNS`, empty where not measured
    labels: a short name for each row, different from all others
    best:   (number of the row, column) of each value to mark: the best among comparable rows, and also those that are
            not distinguishable from it (mask AP) or whose interval overlaps its (FPS). A row with a mark that forbids
            it has none in speed
    groups: differences between comparable rows
    tied:   the corrected p of the difference from the best, by the number of each row that is marked though another
            row's mask AP is higher
    whole:  the comparison of which this is a part (:mod:`reports.cut`); None where these are all rows
    overlapping: those in ``best`` that are not the best value, but whose interval overlaps that of the best
    among: what marks a row among those that it is compared with, by its number
    """

    rows: list[Row]
    frame: pd.DataFrame
    labels: list[str]
    best: frozenset[tuple[int, str]]
    groups: list[Group]
    tied: dict[int, float]
    whole: Comparison | None = None
    overlapping: frozenset[tuple[int, str]] = frozenset()
    among: Mapping[int, Mark] = field(default_factory=dict)

    @cached_property
    def _cells(self) -> Mapping[str, list[Any]]:
        """The columns of the frame as lists, since pandas takes 50 microseconds for a cell."""
        return _cells_of(self.frame)

    def cell(self, row: int, column: str) -> Any:
        """Give the value in a type of Python's own; None where the cell is empty."""
        return self._cells[column][row]

    def once(self, make: Callable[[Comparison], _T]) -> _T:
        """Give what a function makes of this comparison: it is made once, and goes with the comparison."""
        if make not in self._kept:
            self._kept[make] = make(self)
        made: _T = self._kept[make]
        return made

    @cached_property
    def _kept(self) -> dict[Callable[[Comparison], Any], Any]:
        return {}

    @cached_property
    def limit(self) -> int | None:
        """The limit of detections by which all AP in the table were counted, where it is not COCO's; else None.

        Where rows differ in it, their labels say it.
        """
        limits = {row.result.accuracy.max_detections for row in self.rows if row.result.accuracy}
        return limits.pop() if len(limits) == 1 and limits != {COCO_DETECTIONS} else None

    def with_limit(self, text: str) -> str:
        """Give the name of an AP with the limit of detections where it is not COCO's: ``AP (1000 detections)``."""
        return text if self.limit is None else f"{text} ({self.limit} detections)"

    def title(self, column: str) -> str:
        """Give the head of a column."""
        limited = column in FIGURES and FIGURES[column].limited
        return self.with_limit(COLUMNS[column].title) if limited else COLUMNS[column].title

    def text(self, row: int, column: str, more: int = 0) -> str:
        """Give the value as a table prints it, with ``more`` decimals if it is no count; "" where the cell is empty."""
        value, decimals = self.cell(row, column), COLUMNS[column].decimals
        if value is None:
            return ""
        if decimals is None:
            return Path(value).name if column == "weights" else str(value)
        if isinstance(value, float):
            decimals = self.decimals(column) + more
        return f"{value:.{decimals}f}"

    @cached_property
    def _decimals(self) -> dict[str, int]:
        return {}

    def decimals(self, column: str) -> int:
        """Give the number of decimals that all figures of a column are printed with: what its smallest one needs."""
        if column not in self._decimals:
            sizes = (abs(value) for value in self._cells[column] if isinstance(value, float) and value)
            self._decimals[column] = decimals_of(column, min(sizes, default=0.0))
        return self._decimals[column]

    def interval(self, row: int, column: str = "mask_ap") -> str:
        """Give the 95 % interval of a figure as ``[58.9, 63.4]``, with its decimals; "" without one."""
        ends = [self.cell(row, end) for end in INTERVALS.get(column, ())]
        if not ends or None in ends:
            return ""
        low, high = (f"{end:.{self.decimals(column)}f}" for end in ends)
        return f"[{low}, {high}]"

    def has_intervals(self, column: str) -> bool:
        """Tell whether any row has a 95 % interval of this figure."""
        return any(self.interval(row, column) for row in range(len(self.rows)))

    def ends(self, row: int, column: str) -> tuple[float, float] | None:
        """Give the ends of a figure's 95 % interval; None where the figure counts as exact.

        A speed without an interval was timed too seldom, or scatters too much: nothing is known of it but its sign.
        """
        names = INTERVALS.get(column)
        if names is None or self.cell(row, column) is None:
            return None
        low, high = (self.cell(row, name) for name in names)
        if low is None or high is None:
            return (0.0, math.inf) if FIGURES[column].of_time else None
        return low, high

    def noise(self, row: int, column: str) -> bool:
        """Tell whether a value is shown in grey, since the masks are noise (:data:`bench.schema.metrics.NOISE`)."""
        return self.cell(row, column) is not None and noise(column, self.rows[row].result)

    def noise_meaning(self, columns: Iterable[str]) -> str:
        """Say for a legend which of these columns hold grey values, and why; "" where none does."""
        rows = range(len(self.rows))
        grey = [self.title(name) for name in columns if any(self.noise(row, name) for row in rows)]
        return f"{' and '.join(grey)}, {NOISE}" if grey else ""

    def marks_of(self, row: int) -> list[Mark]:
        """Give what the row must not be read without, such as what makes its speed mean less than it seems."""
        if row not in self._marks:
            self._marks[row] = [*marks(self.rows[row].result), *([self.among[row]] if row in self.among else ())]
        return self._marks[row]

    @cached_property
    def _marks(self) -> dict[int, list[Mark]]:
        return {}

    def mark_names(self, row: int) -> str:
        """Give the names of the row's marks; "" without one."""
        return ", ".join(mark.name for mark in self.marks_of(row))

    def marked_label(self, row: int) -> str:
        """Give the row's label with its marks: ``SOLO R50 · mmdet [host-bound]``."""
        names = self.mark_names(row)
        return f"{self.labels[row]} [{names}]" if names else self.labels[row]

    def never_best_names(self) -> list[str]:
        """Give the names of the marks in the table whose rows are never the best in speed."""
        marked = (mark for row in range(len(self.rows)) for mark in self.marks_of(row) if mark.never_best)
        return list(dict.fromkeys(mark.name for mark in marked))

    def best_words(self) -> str:
        """Say for a legend what a value is that is shown as the best."""
        *words, last = (setting.words for setting in held_equal(REPORT))
        text = f"the best value among rows with the same {', '.join(words)} and {last}"
        if never := self.never_best_names():
            text += f", in speed and energy without rows that are marked {' or '.join(never)}"
        return "; ".join((text, *self.also_best_words()))

    def also_best_words(self) -> list[str]:
        """Say of which figures values that are not the best are marked too, and why."""
        texts = [f"of mask AP also those {INDISTINGUISHABLE}"] if self.groups else []
        names = [name for name in INTERVALS if any(column == name for _, column in self.overlapping)]
        return texts + [f"of {self.title(name)} also {OVERLAPPING}" for name in names]

    def measured(self, columns: Iterable[str] | None = None) -> list[str]:
        """Give those of ``columns`` (of all columns without it) that hold a value in any row."""
        return [name for name in (COLUMNS if columns is None else columns) if bool(self.frame[name].notna().any())]

    def differing(self, columns: Iterable[str]) -> list[str]:
        """Give those of ``columns`` in which rows differ.

        Weights differ only in their kind, such as random and trained: each model has a checkpoint of its own. An
        empty setting, such as no input size, counts as a value.
        """
        counts = {name: self.frame[name].nunique(dropna=name not in SETTINGS) for name in columns}
        counts["weights"] = len({weights_kind(row.weights) for row in self.rows})
        return [name for name in columns if counts[name] > 1]

    def with_status(self, *statuses: str) -> list[int]:
        """Give the numbers of the rows that ended with one of the statuses."""
        return [number for number, row in enumerate(self.rows) if row.result.status in statuses]

    def failed(self) -> list[int]:
        """Give the numbers of the rows that were started and did not end well, without the skipped ones."""
        return [number for number, row in enumerate(self.rows) if row.result.status not in ("ok", "skipped")]


def load(
    sources: Sequence[Path],
    out: Path,
    *,
    warn: bool = True,
    key: Callable[[Row], tuple[Any, ...]] | None = None,
) -> Comparison:
    """Read every ``result.json`` under the sources; paths in the table are relative to ``out``.

    A file that cannot be read is left out, and a copy of a measurement counts once, with a warning on stderr if
    ``warn``.

    key: gives what is equal for rows that may be compared; None is :func:`comparison_key`

    Raises:
        UserError: a source does not exist, or no result in them can be read.
    """
    places, state = ", ".join(str(source) for source in sources), _state(sources)
    with collector_off():
        found = read_rows(find_results(sources), places, "left out of the report" if warn else None, Lean())
        base = out.resolve()
        if key is None:  # a site has chosen its own
            found = each_once(found, warn)
        found = [replace(row, shown=os.path.relpath(row.path.resolve(), base)) for row in found]
        rows, keys, records = _in_order(found, key or comparison_key)
    frame = _frame(records)
    del records  # of thousands of rows they take 100 MB
    comparable = _comparable_rows(rows, keys)
    groups = compare_all(rows, comparable)
    best, among = best_of_groups(rows, frame, comparable, groups), other_input_sizes(rows, comparable)
    texts: list[str | None] = frame["marks"].tolist()
    for number, mark in among.items():
        texts[number] = ", ".join(text for text in (texts[number], mark.name) if text)
    frame["marks"] = pd.Series(texts, index=frame.index, dtype="object")
    comparison = Comparison(
        rows, frame, row_labels(rows), best.cells, groups, best.tied, overlapping=best.overlapping, among=among
    )
    if key is None:
        _LAST[:] = [(state, comparison)]
    return comparison


_LAST: list[tuple[Any, Comparison]] = []
"""What was loaded last, with the state of its files: a command builds a report and then prints its table."""


def loaded(sources: Sequence[Path]) -> Comparison | None:
    """Give what :func:`load` gave last, if that was of these sources and no file of theirs has changed since."""
    return _LAST[0][1] if _LAST and _LAST[0][0] == _state(sources) else None


def _state(sources: Sequence[Path]) -> Any:
    """Give what is different once a result under the sources has been written anew, was added or is gone."""
    with contextlib.suppress(OSError, UserError):
        paths = find_results(sources)
        return [(str(path), (state := path.stat()).st_mtime_ns, state.st_ino, state.st_size) for path in paths]
    return object()  # equal to nothing


def _in_order(
    found: Sequence[Row], key: Callable[[Row], tuple[Any, ...]]
) -> tuple[list[Row], list[tuple[Any, ...]], list[dict[str, Any]]]:
    """Give the rows in the order of the table, with their keys and their records."""
    keys, records = [key(row) for row in found], [_record(row) for row in found]
    order = sorted(range(len(found)), key=lambda place: _order(found[place], keys[place], records[place]))
    return [found[n] for n in order], [keys[n] for n in order], [records[n] for n in order]


def _frame(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(records, columns=list(COLUMNS))
    for name, column in COLUMNS.items():
        if column.decimals == 0 and all(isinstance(record[name], int | None) for record in records):
            frame[name] = frame[name].astype("Int64")
        elif column.decimals is not None:
            frame[name] = frame[name].astype("float64")
        else:
            frame[name] = frame[name].astype("object").where(frame[name].notna(), None)
    return frame


def _cells_of(frame: pd.DataFrame) -> dict[str, list[Any]]:
    return {str(name): [_plain(value) for value in frame[name].tolist()] for name in frame}


def _plain(value: Any) -> Any:
    return None if pd.isna(value) else value.item() if hasattr(value, "item") else value


def find_results(sources: Sequence[Path]) -> list[Path]:
    """Give the path of every ``result.json`` under the sources, each once, in the order of the paths.

    Raises:
        UserError: a source does not exist.
    """
    paths: dict[Path, Path] = {}
    for source in sources:
        if not source.exists():
            raise UserError(f"{source}: no such file or folder; give the out= folder of a run, or a result.json")
        for path in results_under(source) if source.is_dir() else [source]:
            paths.setdefault(path.resolve(), path)
    return list(paths.values())


def comparison_key(row: Row, but: str | None = None) -> tuple[Any, ...]:
    """Give a key that is equal for rows that may be compared; ``but`` is a setting in which they may differ."""
    return tuple(str(setting.equal(row.result)) for setting in held_equal(REPORT) if setting.key != but)


def _comparable_rows(rows: Sequence[Row], keys: Sequence[tuple[Any, ...]]) -> list[list[int]]:
    """Group the numbers of the ``ok`` rows that may be compared."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, (row, key) in enumerate(zip(rows, keys, strict=True)):
        if row.result.status == "ok":
            groups.setdefault(key, []).append(number)
    return list(groups.values())


def write_csv(comparison: Comparison, path: Path) -> None:
    """Write the data frame, one line a row."""
    texts = [name for name, column in COLUMNS.items() if column.decimals is None]
    plain = {name: comparison.frame[name].map(plain_cell) for name in texts}
    write_text_atomically(path, comparison.frame.assign(**plain).to_csv(index=False))


def write_json(comparison: Comparison, path: Path) -> None:
    """Write a list with one object a row; empty values are null."""
    names = list(COLUMNS)
    write_records(({name: comparison.cell(row, name) for name in names} for row in range(len(comparison.rows))), path)


def _record(row: Row) -> dict[str, Any]:
    record = {name: column.value(row) for name, column in COLUMNS.items()}
    for name, column in COLUMNS.items():
        if column.decimals is not None and record[name] is not None:
            record[name] = record[name] if type(record[name]) is int else float(record[name])
        elif column.decimals is None and record[name] is not None:
            # A reason may hold a whole traceback's newlines; a row of a table is one line.
            record[name] = " ".join(str(record[name]).split()) or None
    return record


def _order(row: Row, key: tuple[Any, ...], record: Mapping[str, Any]) -> tuple[Any, ...]:
    """Give the key that sorts the rows.

    ``ok`` rows come first, trained ones before untrained ones. Comparable rows stand together, by falling mask AP and
    then by falling FPS.
    """
    status = {"ok": 0, "skipped": 2}.get(row.result.status, 1)
    best_first = -(record["mask_ap"] or 0.0), -(record["fps_model"] or 0.0)
    return (status, row.random_weights, key, *best_first, model_name(row), row.shown)
