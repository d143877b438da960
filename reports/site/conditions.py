"""Which results of a site are one leaderboard, and which of its rows may be compared: the table of settings decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.schema.facts import config, dataset_name, device_kind, machine
from bench.schema.result import Result
from bench.schema.row import Row
from bench.schema.settings import REPORT, SETTINGS, Setting, held_equal

_SENTENCES = {
    **{"weights_kind": "{} weights", "cpu": "{}", "cores": "{} cores", "threads": "{} torch threads"},
    "measurement": "version {} of the way of measuring",
}
"""How the conditions are said that are facts of the machine and of the file."""

NOWHERE = "a machine that is not known"

_OWN_WORDS = ("dataset", "gpu")
"""Settings that a leaderboard's own title says."""


def data_key(result: Result) -> str:
    """Give what is equal for results on the same images: the digest of the files, whatever people call them.

    A result of before there was the digest has its name alone, and is on the same images as no result with a digest.
    """
    digest = result.contents.get("dataset")
    return f"{digest} {config('dataset', 'limit')(result)}" if digest else f"named {dataset_name(result)}"


def hardware(result: Result) -> str:
    """Give the GPU that a result was measured on, or the processor where the network ran on it."""
    gpu = machine("gpu", "name")(result) if device_kind(result) != "cpu" else None
    return str(gpu or machine("cpu", "name")(result) or NOWHERE)


def held(row: Row) -> tuple[Any, ...]:
    """Give what is equal for rows of a site that may be compared.

    It is what a report holds equal, with the digest of the data set in place of its name, and the version of the way
    of measuring: results of years stand here beside each other.
    """
    result = row.result
    others = (str(setting.equal(result)) for setting in held_equal(REPORT) if setting.key != "dataset")
    return (data_key(result), str(result.measurement_version), *others)


@dataclass
class Together:
    """Rows of a leaderboard that may be compared, by their numbers, the best first."""

    rows: list[int] = field(default_factory=list)
    conditions: str = ""


@dataclass
class Board:
    """One leaderboard.

    data, hardware: its data set and its GPU or processor, as its title names them
    also: other names that people gave the same data set
    shared: the conditions that all its rows have
    """

    data: str
    hardware: str
    also: list[str]
    shared: list[str]
    groups: list[Together]
    address: str = ""

    @property
    def title(self) -> str:
        return f"{self.data} on {self.hardware}"

    @property
    def rows(self) -> list[int]:
        return [row for group in self.groups for row in group.rows]


def boards(rows: Sequence[Row]) -> list[Board]:
    """Give a leaderboard for each data set and GPU of the rows that ended well; the order of the rows is kept."""
    by_board: dict[tuple[str, str], list[int]] = {}
    for number, row in enumerate(rows):
        if row.result.status == "ok":
            by_board.setdefault((data_key(row.result), hardware(row.result)), []).append(number)
    names = {key: [dataset_name(rows[number].result) for number in numbers] for (key, _), numbers in by_board.items()}
    for (key, _), numbers in by_board.items():
        names[key] += [dataset_name(rows[number].result) for number in numbers]
    titles = {key: max(sorted(set(of_key)), key=of_key.count) for key, of_key in names.items()}
    found = []
    for (key, where), numbers in by_board.items():
        alike = [other for other, title in titles.items() if title == titles[key]]
        told = f"{titles[key]} ({_digest(key)})" if len(alike) > 1 else titles[key]
        also = sorted(set(names[key]) - {titles[key]})
        found.append(_board(rows, numbers, told, where, also))
    return sorted(found, key=lambda board: (board.data, -len(board.rows), board.hardware))


def _digest(key: str) -> str:
    digest, _, limit = key.partition(" ")
    return "without a digest" if digest == "named" else digest[:8] + (f", first {limit}" if limit != "None" else "")


def _board(rows: Sequence[Row], numbers: Sequence[int], data: str, where: str, also: list[str]) -> Board:
    by_key: dict[tuple[Any, ...], Together] = {}
    for number in numbers:
        by_key.setdefault(held(rows[number]), Together()).rows.append(number)
    firsts = [rows[group.rows[0]].result for group in by_key.values()]
    settings = [SETTINGS["measurement"], *(one for one in held_equal(REPORT) if one.key not in _OWN_WORDS)]
    differing = [one for one in settings if len({str(one.equal(result)) for result in firsts}) > 1]
    shared = [text for one in settings if one not in differing and (text := _usual(one, firsts[0]))]
    for group, first in zip(by_key.values(), firsts, strict=True):
        group.conditions = ", ".join(_told(one, first) for one in differing)
    groups = sorted(by_key.values(), key=lambda group: -len(group.rows))
    return Board(data, where, also, shared, groups)


def _usual(setting: Setting, result: Result) -> str:
    """Say a condition that all rows of a board have; "" for one that is as nobody would ask."""
    said = (setting.line or setting.label or (lambda value: "" if value is None else str(value)))(setting.value(result))
    return _told(setting, result) if said else ""


def _told(setting: Setting, result: Result) -> str:
    """Say a condition in which the rows of a board differ: ``fp16``, ``overlap keep``, ``no channels last``."""
    value = setting.equal(result)
    if setting.key in _SENTENCES and value is not None:
        return _SENTENCES[setting.key].format(value)
    text = setting.line(setting.value(result)) if setting.line else ""
    if text:
        return text
    if value in (None, False):
        return f"no {setting.words}"
    return setting.words if value is True else f"{setting.words} {value}"
