"""Say in what rows differ that one choice is made from: what forbids to compare them, and what a user chooses."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from bench.schema.row import Row
from bench.schema.settings import REPORT, Setting, held_equal

FORBIDDEN = "these rows differ in {}, so they cannot be compared"
TOLD = "these rows differ in {}, so a difference between them is not one of the models alone"

_CHOSEN = ("precision", "compile", "batch_size", "input_size", "cudnn_benchmark", "pad_to", "channels_last")
"""Settings that a user may choose by the answer."""

_MAY_LACK = ("threads", "timed_images")
"""Facts that a row without torch, or without a timing, does not tell; by that alone it is unlike no other row."""

_MACHINE = ("cpu", "cores", "threads", "gpu")


@dataclass(frozen=True)
class Difference:
    """A setting that a report holds equal and in which rows differ.

    words: its name in a sentence
    chosen: whether a user may choose a row by it, so that the rows can be compared
    kinds: of each row a number that rows have in common that are alike in it; None where that is not known
    """

    words: str
    chosen: bool
    kinds: list[int | None]


def differences(rows: Sequence[Row]) -> Iterator[Difference]:
    """Give the settings that a report holds equal and in which the rows differ."""
    for setting in held_equal(REPORT):
        numbers: dict[Hashable, int] = {}
        texts = [_text(setting, row) for row in rows]
        kinds = [None if text is None else numbers.setdefault(text, len(numbers)) for text in texts]
        if len(numbers) > 1:
            yield Difference(setting.words, setting.key in _CHOSEN, kinds)


def unlike(rows: Sequence[Row]) -> list[str]:
    """Say what the rows differ in but must not, and what they differ in by a choice."""
    found = list(differences(rows))
    texts = ((FORBIDDEN, False), (TOLD, True))
    words = [(text, [one.words for one in found if one.chosen is chosen]) for text, chosen in texts]
    return [text.format(" and ".join(names)) for text, names in words if names]


def _text(setting: Setting, row: Row) -> str | None:
    if setting.key in _MACHINE and not row.result.machine:
        return None
    value = setting.equal(row.result)
    return None if value is None and setting.key in _MAY_LACK else str(value)
