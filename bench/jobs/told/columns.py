"""The columns of a progress bar that fit into a terminal: the time left is always one of them."""

from __future__ import annotations

from collections.abc import Callable

from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

WIDE, MEDIUM, NARROW = 120, 100, 60
"""Columns of a terminal from which on the progress has a bar, the time that has passed, and images per second."""


_OTHERS, _RATE = 46, 16
"""Columns that all but the name take in a narrow terminal, a pass included, and those of the images per second."""


def columns(width: int, time_left: Callable[[Task], str]) -> list[ProgressColumn]:
    """Give the columns for a terminal of this width; where it is narrow, what runs is cut at its end.

    time_left: says how much time a task needs still; "" where that is not known
    """
    what = Column(ratio=1, no_wrap=True, overflow="ellipsis", min_width=12)
    chosen: list[ProgressColumn] = [TextColumn("{task.description}", markup=False, table_column=what)]
    if width >= WIDE:
        chosen.append(BarColumn(min(40, width - 90)))
    chosen.append(TextColumn("{task.percentage:>3.0f}%", table_column=Column(no_wrap=True)))
    if width >= NARROW:
        chosen.append(TextColumn("{task.fields[rate]}", markup=False, table_column=Column(no_wrap=True)))
    if width >= MEDIUM:
        chosen.append(TimeElapsedColumn(table_column=Column(no_wrap=True)))
    return [*chosen, _TimeLeft(time_left)]


def shortened(name: str, width: int) -> str:
    """Give a model's name without its middle, where a terminal of this width would cut the pass behind it off."""
    room = max(12, width - (_OTHERS if width >= NARROW else _OTHERS - _RATE))
    if len(name) <= room:
        return name
    behind = (room - 1) // 2
    return f"{name[: room - 1 - behind]}…{name[-behind:]}"


class _TimeLeft(ProgressColumn):
    """The time that is left."""

    def __init__(self, time_left: Callable[[Task], str]) -> None:
        super().__init__(Column(no_wrap=True, min_width=12, justify="right"))
        self._time_left = time_left

    def render(self, task: Task) -> Text:
        """Give ``12 min left``; "" while it is not known."""
        text = self._time_left(task)
        return Text(f"{text} left" if text else "")
