"""Which rows one sentence may compare: a user chooses precision and batch size, but no data set and no machine."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from bench.schema.settings import SETTINGS
from reports.table.comparison import Comparison
from reports.table.machine import machine_key

MOST_CONTEXTS = 3
"""Contexts that a sentence speaks of."""

_OF_ACCURACY = ("dataset", "max_detections", "overlap", "weights_kind")
_OF_SPEED = ("dataset", "device", "detections", "weights_kind")


@dataclass(frozen=True)
class Context:
    """Rows that one sentence may compare, by their numbers; ``words`` tell it apart from others, "" if it is alone."""

    rows: tuple[int, ...]
    words: str


def of_accuracy(comparison: Comparison) -> list[Context]:
    """Group the rows that have a mask AP: of one data set and one set of rules; the machine does not matter."""
    rows = [row for row in comparison.with_status("ok") if comparison.cell(row, "mask_ap") is not None]
    return _contexts(comparison, rows, _OF_ACCURACY, lambda row: ())


def of_speed(comparison: Comparison) -> list[Context]:
    """Group the rows that have an FPS that may be the best: of one machine and data set, trained or not."""
    rows = [
        row
        for row in comparison.with_status("ok")
        if comparison.cell(row, "fps_model") is not None
        and not any(mark.never_best for mark in comparison.marks_of(row))
    ]
    return _contexts(comparison, rows, _OF_SPEED, lambda row: _machine(comparison, row))


def _contexts(
    comparison: Comparison, rows: Sequence[int], keys: Sequence[str], machine: Callable[[int], tuple[str, ...]]
) -> list[Context]:
    """Group rows by what must not differ; the largest group comes first."""
    settings = [SETTINGS[key] for key in keys]
    groups: dict[tuple[Hashable, ...], list[int]] = {}
    for row in rows:
        result = comparison.rows[row].result
        groups.setdefault((*(str(setting.equal(result)) for setting in settings), *machine(row)), []).append(row)
    ordered = sorted(groups.values(), key=lambda numbers: -len(numbers))
    said = [_words(comparison, numbers[0], keys, machine) for numbers in ordered]
    # What all share need not be said, and neither does a word that every group has.
    differing = [place for place in range(len(said[0])) if len({words[place] for words in said}) > 1] if said else []
    texts = [", ".join(text for place in differing if (text := words[place])) for words in said]
    return [Context(tuple(numbers), text) for numbers, text in zip(ordered, texts, strict=True)]


def _words(
    comparison: Comparison, row: int, keys: Sequence[str], machine: Callable[[int], tuple[str, ...]]
) -> list[str]:
    result = comparison.rows[row].result
    texts = [str(SETTINGS[key].value(result) or "") for key in keys if key != "weights_kind"]
    kind = SETTINGS["weights_kind"].equal(result)
    return [*texts, "random weights" if kind == "random" else "trained", " ".join(machine(row)[-1:])]


def _machine(comparison: Comparison, row: int) -> tuple[str, ...]:
    """Give the key of a row's machine, and at its end the words for it."""
    cpu, cores, threads, gpu = machine_key(comparison.rows[row])
    on_gpu = gpu != str(None) and str(comparison.cell(row, "device")).startswith("cuda")
    return (cpu, cores, threads, gpu, gpu if on_gpu else cpu)
