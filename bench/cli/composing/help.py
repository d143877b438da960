"""The text of ``--help``, made to be read in a terminal: long lists wrapped, and the keys of groups that are off."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep
from hydra.errors import OverrideParseException

WIDTH, WIDEST, NARROWEST = 80, 100, 40

_OFF = ("finetune", "gate")
"""Groups that are null by default, so that the composed configuration has none of their keys."""


def first_of_sweeps(overrides: Sequence[str]) -> list[str]:
    """Give overrides with the first value of each sweep: a help text is of one job."""
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except OverrideParseException:  # Hydra says what is wrong with it
        return list(overrides)
    kept = []
    for text, override in zip(overrides, parsed, strict=True):
        sweep = override.value()
        if isinstance(sweep, ChoiceSweep) and sweep.list:
            text = f"{text.partition('=')[0]}={override.get_value_string().split(',')[0].strip()}"
        kept.append(text)
    return kept


@contextlib.contextmanager
def made_readable(configs: Path) -> Iterator[None]:
    """Print what the block prints, wrapped to the terminal and with the keys of the groups that are off.

    configs: the folder of the groups
    """
    told = io.StringIO()
    try:
        with contextlib.redirect_stdout(told):
            yield
    finally:
        print(readable(told.getvalue(), configs, _width()), end="")


def readable(text: str, configs: Path, width: int) -> str:
    """Wrap the list of each group and long values, and put below a group that is null its default keys."""
    lines: list[str] = []
    in_groups = in_keys = False
    for line in text.splitlines():
        in_groups = line.startswith("== Groups") or (in_groups and not line.startswith("=="))
        in_keys = line.startswith("== Keys") or in_keys
        name = line.partition(":")[0]
        if len(line) > width and (in_groups or in_keys):
            indent = " " * (len(line) - len(line.lstrip()) + (2 if in_groups else 4))
            wrapper = textwrap.TextWrapper(
                width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
            )
            lines += wrapper.wrap(line)
        elif name in _OFF and line == f"{name}: null":
            lines.append(f"{name}: null    # with {name}=default it has these keys:")
            lines += [f"  {key}" for key in _keys(configs / name / "default.yaml")]
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def _keys(file: Path) -> list[str]:
    """Give the lines of a group's file with what stands behind them, without the comment at its top."""
    return [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


def _width() -> int:
    columns = shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else WIDTH
    return max(NARROWEST, min(columns, WIDEST))
