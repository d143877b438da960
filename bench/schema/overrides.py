"""The overrides of a command line, KEY=VALUE, in the spelling of Hydra, which reads a value as a number or a function.

A key whose value is a text gets the text as it was typed: ``gate.base_ref=12e4567`` is a commit and no number,
``out=runs/a (1)`` is a folder. So such values are put into quotation marks before Hydra sees them. What has a meaning
in Hydra keeps it: a comma makes a sweep, ``null`` is no value, ``${...}`` is an interpolation, ``choice(a,b)`` a sweep,
and what is in quotation marks already is left as it is.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import shlex
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any, Literal

from bench.errors import UserError
from bench.schema.config import BenchConfig

GROUPS = ("model", "dataset", "protocol", "finetune", "gate", "study")

ONE_FOR_ALL = ("out", "history", "baseline", "wait")
"""Keys of the command and not of a job, beside those of ``gate``: all jobs of a sweep share their value."""

Kind = Literal["text", "text or empty", "texts", "other"]

_OVERRIDE = re.compile(r"(?P<prefix>\+{0,2})(?P<key>[^=~+][^=]*)=(?P<value>.*)", re.DOTALL)
_FUNCTION = re.compile(
    r"\s*(choice|range|interval|glob|shuffle|sort|tag|extend_list|int|float|str|bool|json_str)\s*\(.*\)\s*", re.DOTALL
)
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)


def as_text(override: str) -> str:
    """Give an override whose value, where its key takes a text, is in quotation marks.

    A list of texts gets its brackets: ``passes=speed`` becomes ``passes=['speed']``.

    Raises:
        UserError: the value is empty where that has no meaning, or has a comma though all jobs share the key's value.
    """
    match = _OVERRIDE.fullmatch(override)
    if match is None:
        return override
    prefix, key, value = match.groups()
    kind = kinds().get(key)
    if not value.strip() and (key in GROUPS or kind not in (None, "text or empty")):
        raise UserError(f"{key}= is empty (an unset variable?); give {key}=VALUE, or leave it out")
    if key in GROUPS or kind in (None, "other") or _FUNCTION.fullmatch(value):
        return override
    if kind == "texts":
        if re.match(r"\s*(\[|\$\{|null\s*$)", value, re.IGNORECASE):
            return override
        return f"{prefix}{key}=[{','.join(_spelled(part.strip()) for part in _parts(value))}]"
    parts = _parts(value)
    if len(parts) == 1:
        return f"{prefix}{key}={_spelled(value) if value.strip() else ''}"
    if key in ONE_FOR_ALL or key.startswith("gate."):
        remedy = as_typed(f"{prefix}{key}={quoted(value)}")
        raise UserError(
            f"{key}={value}: a comma makes a sweep, and all jobs of a command share {key}; where the comma belongs to "
            f"a name, give {remedy}"
        )
    if not all(part.strip() for part in parts):
        raise UserError(f"{key}={value}: a comma makes a sweep, and one of its values is empty")
    return f"{prefix}{key}={','.join(_spelled(part.strip()) for part in parts)}"


def plain(override: str) -> tuple[str, str | None]:
    """Give the key of an override, without a plus, and its text, without quotation marks.

    The text is None for the values of a sweep, a list, an interpolation and anything else that is no single text.
    """
    match = _OVERRIDE.fullmatch(override)
    if match is None:
        return override.lstrip("~+").partition("=")[0], None
    _, key, value = match.groups()
    stripped = value.strip()
    if _QUOTED.fullmatch(stripped):
        return key, _unquoted(stripped)
    is_text = len(_parts(value)) == 1 and stripped[:1] not in ("[", "{") and "${" not in value
    return key, value if is_text and not _FUNCTION.fullmatch(value) else None


def with_each_text(override: str, change: Callable[[str], str]) -> str:
    """Give the override with each of its texts changed; a sweep has several."""
    match = _OVERRIDE.fullmatch(override)
    if match is None or _FUNCTION.fullmatch(match["value"]) or match["value"].lstrip()[:1] in ("[", "{"):
        return override
    values = []
    for part in _parts(match["value"]):
        text = _unquoted(part.strip()) if _QUOTED.fullmatch(part.strip()) else part
        values.append(part if change(text) == text else quoted(change(text)))
    return f"{match['prefix']}{match['key']}={','.join(values)}"


def quoted(text: str) -> str:
    """Put a text into the quotation marks of Hydra: a backslash is doubled only where a mark follows."""
    # Without an escape where possible: Hydra keeps this spelling too, and there an escape within ${...} is an error.
    mark = '"' if "'" in text and '"' not in text else "'"
    escaped = re.sub(rf"(\\*){mark}", lambda found: f"{2 * found[1]}\\{mark}", text)
    escaped = re.sub(r"\\+\Z", lambda found: 2 * found[0], escaped)
    return f"{mark}{escaped}{mark}"


def as_typed(argument: str) -> str:
    """Spell an argument as it is typed in a shell."""
    return shlex.quote(argument) if re.search(r'["$`\\!]', argument) else f'"{argument}"'


def working_spelling(override: str) -> str | None:
    """Give the spelling, for a shell, of an override that Hydra cannot read; None where its value is no single text."""
    match = _OVERRIDE.fullmatch(override)
    if match is None or match["value"].lstrip()[:1] in ("[", "{"):
        return None
    return as_typed(f"{match['prefix']}{match['key']}={quoted(match['value'])}")


@functools.cache
def kinds() -> dict[str, Kind]:
    """Give the kind of every key of the schema; what stands below a free-form key is not among them.

    The kinds are ``text``, ``text or empty`` where the default is an empty text, ``texts`` for a list, and ``other``.
    """
    return dict(_kinds_below(BenchConfig, ""))


def _kinds_below(cls: Any, prefix: str) -> Iterator[tuple[str, Kind]]:
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        key, hint = f"{prefix}{field.name}", hints[field.name]
        if isinstance(hint, types.UnionType):
            [hint] = [option for option in typing.get_args(hint) if option is not types.NoneType]
        if dataclasses.is_dataclass(hint):
            yield from _kinds_below(hint, f"{key}.")
        elif hint is str:
            yield key, "text or empty" if field.default == "" else "text"
        elif hint == list[str]:
            yield key, "texts"
        elif typing.get_origin(hint) is not dict:
            yield key, "other"


def _spelled(value: str) -> str:
    """Give one text as Hydra takes it."""
    stripped = value.strip()
    return value if _QUOTED.fullmatch(stripped) or stripped.lower() == "null" else quoted(value)


def _unquoted(value: str) -> str:
    mark = value[0]
    return re.sub(rf"(\\+){mark}", lambda found: "\\" * (len(found[1]) // 2) + mark, value[1:])[:-1]


def _parts(value: str) -> list[str]:
    """Divide a value at its commas, but not within quotation marks that begin a part, nor within ``${...}``."""
    parts, begin = [], 0
    while begin <= len(value):
        end = _end_of_part(value, begin)
        parts.append(value[begin:end])
        begin = end + 1
    return parts


def _end_of_part(value: str, begin: int) -> int:
    marked = re.compile(rf"\s*({_QUOTED.pattern})\s*(?=,|\Z)", re.DOTALL).match(value, begin)
    if marked:
        return marked.end()
    depth = 0
    for place in range(begin, len(value)):
        if value.startswith("${", place):
            depth += 1
        elif value[place] == "}" and depth:
            depth -= 1
        elif value[place] == "," and not depth:
            return place
    return len(value)
