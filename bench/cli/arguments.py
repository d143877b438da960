"""The arguments of the command: Hydra's options (``--cfg job``), and the overrides (KEY=VALUE). Imports no Hydra."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.errors import UserError, nearest
from bench.files.paths import path_argument
from bench.schema.typed.hydra_text import as_read, literal, quoted
from bench.schema.typed.overrides import GROUPS, as_text, kinds

PRINTING = ("--help", "--hydra-help", "--cfg", "--info", "--version")
"""Options that print something and measure nothing."""

_PLAIN = ("--help", "--hydra-help", "--version", "--resolve", "--run", "--multirun")
_WITH_VALUE = ("--cfg", "--package", "--config-name", "--config-dir")
_CHOICES = {
    "--cfg": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
}
_NAMES = (*_PLAIN, *_WITH_VALUE, "--info")
_LONG = {
    **{"-h": "--help", "-c": "--cfg", "-p": "--package", "-i": "--info", "-r": "--run", "-m": "--multirun"},
    **{"-cn": "--config-name", "-cd": "--config-dir"},
}
_HYDRAS_OWN = re.compile(r"[~+]*hydra[./](?!searchpath=)")


def filled(text: str) -> str:
    """Take an argument of argparse that must not be empty, as that of an unset variable is."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty (an unset variable?)")
    return text


def filled_path(text: str) -> Path:
    """Take a path as :func:`filled` does: an empty one would be the current folder. An address is refused."""
    return path_argument(filled(text))


class Arguments(NamedTuple):
    """The arguments in the spelling that Hydra takes as they are meant, each option as one argument."""

    options: list[str]
    overrides: list[str]

    @property
    def prints(self) -> bool:
        """Tell whether the command prints something instead of measuring."""
        return any(option.partition("=")[0] in PRINTING for option in self.options)

    @property
    def config_dir(self) -> str | None:
        """Give the folder of the user's own configurations."""
        given = [option.partition("=")[2] for option in self.options if option.startswith("--config-dir=")]
        return given[-1] if given else None


def for_hydra(given: Sequence[str]) -> Arguments:
    """Give the arguments of a command for Hydra.

    Raises:
        UserError: an option does not exist, an argument sets Hydra itself, a value is empty or has a comma where that
            has no meaning, or a map is none or stands twice.
    """
    options, overrides = _divided(given)
    for override in overrides:
        if not override.strip():
            raise UserError("an argument is empty (an unset variable?); an argument is KEY=VALUE")
        if _HYDRAS_OWN.match(override):
            raise UserError(f"{override}: sets Hydra itself; maskbench runs its jobs in its own way, so leave it out")
    names = {option.partition("=")[0] for option in options}
    if len(several := sorted(names & {"--run", "--multirun", "--cfg", "--info"})) > 1:
        raise UserError(f"{' and '.join(several)}: give only one of them")
    if "--resolve" in names and "--cfg" not in names:
        raise UserError("--resolve: belongs to --cfg; give --cfg=job --resolve")
    spelled = [as_text(override) for override in overrides]
    _refuse_two_maps(spelled)
    return Arguments(options, spelled)


def _refuse_two_maps(overrides: Sequence[str]) -> None:
    """Refuse two maps for one key: Hydra takes the last, and the names of the other would be lost without a word."""
    keys = [key for override in overrides for key, _, value in [override.partition("=")] if value.startswith("{")]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise UserError(f"{as_read(twice).lstrip('+')}: stands twice with a map; give one map with all names")


def _divided(given: Sequence[str]) -> Arguments:
    """Divide the options from the overrides: argparse, which Hydra uses, takes no override after an option."""
    options: list[str] = []
    overrides: list[str] = []
    left = list(given)
    while left:
        argument = left.pop(0)
        if argument.startswith("-"):
            options.append(_option(argument, left))
        else:
            overrides.append(argument)
    return Arguments(options, overrides)


def _option(argument: str, left: list[str]) -> str:
    """Give an option with its value, which is taken from the arguments that are ``left`` where it is not in its own."""
    name, equals, value = argument.partition("=")
    name = _LONG.get(name, name)
    if name not in _NAMES:
        raise UserError(_no_such_option(name, value))
    if name in _PLAIN:
        return name
    if name == "--info" and not equals:
        value = left.pop(0) if left and left[0] in _CHOICES[name] else "all"
    elif not equals:
        value = left.pop(0) if left else ""
    if not value.strip():
        raise UserError(f"{name} is empty (an unset variable?); give {name}=VALUE, or leave it out")
    if name in _CHOICES and value not in _CHOICES[name]:
        raise UserError(f"{name}={value}: unknown, must be {' or '.join(_CHOICES[name])}")
    return f"{name}={value}"


def _no_such_option(name: str, value: str) -> str:
    key = name.lstrip("-").replace("-", "_")
    if key in GROUPS or key in kinds():
        return f"{name}: no such option; what is measured is given as KEY=VALUE, as {key}={value or '...'}"
    return f"{name}: no such option; {nearest(name, _NAMES)}"


def path_spelled(path: str) -> str:
    """Give a path as the value of an override: in quotation marks where something in it would have a meaning."""
    if path.startswith("~"):  # a folder of this name, and not the home folder
        path = str(Path(path).absolute())
    is_plain = re.fullmatch(r"[\w./ -]+", path) and path.strip() == path and path.lower() != "null"
    return path if is_plain else quoted(literal(path))
