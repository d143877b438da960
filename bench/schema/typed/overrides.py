"""The overrides of a command line, KEY=VALUE, in the spelling of Hydra, which reads a value as a number or a function.

A key whose value is a text gets the text as it was typed: ``gate.base_ref=12e4567`` is a commit and no number,
``out=runs/a (1)`` is a folder. So such values are put into quotation marks before Hydra sees them. What has a meaning
in Hydra keeps it: a comma makes a sweep, ``null`` is no value, ``${...}`` is an interpolation, ``choice(a,b)`` a sweep,
and what is in quotation marks already is left as it is.

Below a free-form key any name can stand, without a plus and in any spelling: ``dataset.aliases.été=summer``,
``'dataset.aliases={"t-shirt, red": shirt}'``.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import shlex
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from bench.errors import UserError
from bench.schema.config import BenchConfig
from bench.schema.typed.hydra_text import QUOTED, encoded, encoded_once_more, literal, name_in_map, quoted, unquoted
from bench.schema.typed.map_text import NotAMapError, names_spelled, texts_spelled

GROUPS = ("model", "dataset", "protocol", "finetune", "gate", "study", "launcher", "tracker")

ONE_FOR_ALL = ("out", "history", "baseline", "wait", "devices", "launcher", "tracker")
"""Keys of the command and not of a job, beside those of ``gate``, ``launcher`` and ``tracker``: all jobs of a sweep
share their value."""

Kind = Literal["text", "text or empty", "texts", "numbers", "other"]


@dataclasses.dataclass(frozen=True)
class FreeForm:
    """A key below which any name can stand.

    levels: how many names, as 2 in ``gate.models.NAME.METRIC``, of which the last is without dots; None is any number,
        with a dot between them
    texts: its values are texts, else what Hydra makes of them: numbers, lists, maps
    null: ``null`` is no value, else it is a text like any other
    map_example: a map as it is typed, for messages
    """

    key: str
    levels: int | None
    texts: bool
    null: bool
    map_example: str

    @property
    def example(self) -> str:
        """Give an argument as it is typed in a shell."""
        return f"'{self.key}={self.map_example}'"


FREE_FORM = (
    FreeForm("dataset.aliases", 1, texts=True, null=False, map_example="{CATEGORY: CLASS}"),
    FreeForm("gate.thresholds", 1, texts=True, null=True, map_example="{fps_model: -3%}"),
    FreeForm("gate.models", 2, texts=True, null=True, map_example="{NAME: {fps_model: -5%}}"),
    FreeForm("model.expected", 2, texts=False, null=True, map_example="{DATASET: {mask_ap: 37.2}}"),
    FreeForm("model.options", None, texts=False, null=True, map_example="{NAME: VALUE}"),
)

_PLACE_IN_A_LIST = re.compile(r"0|[1-9][0-9]*")

_OVERRIDE = re.compile(r"(?P<prefix>\+{0,2})(?P<key>[^=~+][^=]*)=(?P<value>.*)", re.DOTALL)
_FUNCTION = re.compile(
    r"\s*(choice|range|interval|glob|shuffle|sort|tag|extend_list|int|float|str|bool|json_str)\s*\(.*\)\s*", re.DOTALL
)


def as_text(override: str) -> str:
    """Give an override whose value, where its key takes a text, is in quotation marks.

    A list of texts gets its brackets: ``passes=speed`` becomes ``passes=['speed']``. What stands below a free-form key
    is added where it is new, under a name that Hydra takes (:func:`bench.schema.typed.hydra_text.encoded`).

    Raises:
        UserError: the value is empty where that has no meaning, or has a comma though all jobs share the key's value,
            or though it is the path of a file; or a map or a list is none.
    """
    match = _OVERRIDE.fullmatch(override)
    if match is None:
        return override
    prefix, key, value = match.groups()
    for form in FREE_FORM:
        if key == form.key or key.startswith(f"{form.key}."):
            return _below_free_form(form, key[len(form.key) + 1 :], override)
    kind = kinds().get(key)
    if not value.strip() and (key in GROUPS or kind not in (None, "text or empty")):
        raise UserError(f"{key}= is empty (an unset variable?); give {key}=VALUE, or leave it out")
    if key in GROUPS or kind in (None, "other") or _FUNCTION.fullmatch(value):
        return override
    if kind in ("texts", "numbers"):
        if re.match(r"\s*(\[|\$\{|null\s*$)", value, re.IGNORECASE):
            return override
        if kind == "numbers":
            spelling = f"; give '{key}=[{value}]'" if "," in value else f", as '{key}=[0.5,1]'"
            raise UserError(f"{override}: must be a list of numbers{spelling}")
        return f"{prefix}{key}=[{','.join(_spelled(part.strip()) for part in _parts(value))}]"
    parts = _parts(value)
    if len(parts) == 1:
        return f"{prefix}{key}={_spelled(value) if value.strip() else ''}"
    if key in ONE_FOR_ALL or key.startswith(("gate.", "launcher.", "tracker.")):
        remedy = as_typed(f"{prefix}{key}={quoted(value)}")
        raise UserError(
            f"{key}={value}: a comma makes a sweep, and all jobs of a command share {key}; where the comma belongs to "
            f"a name, give {remedy}"
        )
    _refuse_name_with_a_comma(override, f"{prefix}{key}", value)
    return f"{prefix}{key}={','.join(_spelled(part) for part in _values(f'{key}={value}', value))}"


def _below_free_form(form: FreeForm, names: str, override: str) -> str:
    """Give an override of a free-form key, or of ``names`` below it, as Hydra takes it."""
    key, _, value = override.partition("=")
    is_map = value.lstrip().startswith("{")
    path = _names_below(form, names, is_map)
    if not value.strip() and (not path or form.texts):
        raise UserError(f"{key.lstrip('+')}= is empty (an unset variable?); give {form.example}")
    if not path and not (is_map or value.lstrip().startswith("${") or _FUNCTION.fullmatch(value)):
        raise UserError(f"{override}: must be a map; give {form.example}")
    try:
        if not form.texts:
            _refuse_name_with_a_comma(override, key, value)
            value = names_spelled(value)
        elif is_map and len(path) < (form.levels or 0):
            value = texts_spelled(value, (form.levels or 0) - len(path), form.null)
        elif path and not _FUNCTION.fullmatch(value):
            value = ",".join(_spelled(part, form.null) for part in _values(override, value))
    except NotAMapError as error:
        text = f"; where it is a text, give {as_typed(f'{key}={quoted(value)}')}" if path and not form.texts else ""
        raise UserError(
            f"{override}: {error}; give it as {form.example}, with quotation marks around a name that has a comma, a "
            f"colon, a brace or a bracket{text}"
        ) from error
    return f"++{'.'.join([form.key, *path])}={value}"


def _refuse_name_with_a_comma(override: str, key: str, value: str) -> None:
    """Refuse a sweep that as a whole is the path of a file or a folder: two jobs would run on what is meant as one."""
    is_sweep = len(_parts(value)) > 1 and value.lstrip()[:1] not in ("[", "{")
    if is_sweep and os.path.exists(os.path.expanduser(value)):
        raise UserError(
            f"{override}: a comma makes a sweep, and there is a file or a folder of this name; for the name give "
            f"{as_typed(f'{key}={quoted(value)}')}, for a sweep put a blank behind the comma"
        )


def _values(override: str, value: str) -> list[str]:
    """Give the values of a sweep, or the only one there is."""
    parts = _parts(value)
    if len(parts) == 1:
        return [value]
    if not all(part.strip() for part in parts):
        raise UserError(f"{override}: a comma makes a sweep, and one of its values is empty")
    return [part.strip() for part in parts]


def _names_below(form: FreeForm, names: str, is_map: bool) -> list[str]:
    """Divide what stands below a free-form key into names, in Hydra's spelling."""
    if not names:
        return []
    is_option = form.levels is None
    path = names.split(".") if is_option else [names] if form.levels == 1 or is_map else names.rsplit(".", 1)
    if not all(name.strip() for name in path):
        raise UserError(f"{form.key}.{names}: a name is empty; give {form.example}")
    return [name if is_option and _PLACE_IN_A_LIST.fullmatch(name) else encoded(name) for name in path]


def pasted(key: str, pairs: Mapping[str, str]) -> str:
    """Give the override of a free-form key as it is pasted into a POSIX shell, for names of any characters.

    ``pasted("dataset.aliases", {"Circle": "circle"})`` is ``'dataset.aliases={Circle: circle}'``, with the marks of the
    shell. What a terminal or a message does not show as it is, such as two blanks, stands there as an escape.
    """
    spelled = [f"{_name_printed(name)}: {_name_printed(literal(text))}" for name, text in pairs.items()]
    argument = f"{key}={{{', '.join(spelled)}}}"
    return as_typed(argument) if "'" in argument else f"'{argument}'"


def _name_printed(name: str) -> str:
    return name_in_map(encoded_once_more(name))


def plain(override: str) -> tuple[str, str | None]:
    """Give the key of an override, without a plus, and its text, without quotation marks.

    The text is None for the values of a sweep, a list, an interpolation and anything else that is no single text.
    """
    match = _OVERRIDE.fullmatch(override)
    if match is None:
        return override.lstrip("~+").partition("=")[0], None
    _, key, value = match.groups()
    stripped = value.strip()
    if QUOTED.fullmatch(stripped):
        return key, unquoted(stripped)
    is_text = len(_parts(value)) == 1 and stripped[:1] not in ("[", "{") and "${" not in value
    return key, value if is_text and not _FUNCTION.fullmatch(value) else None


def with_each_text(override: str, change: Callable[[str], str]) -> str:
    """Give the override with each of its texts changed; a sweep has several."""
    match = _OVERRIDE.fullmatch(override)
    if match is None or _FUNCTION.fullmatch(match["value"]) or match["value"].lstrip()[:1] in ("[", "{"):
        return override
    values = []
    for part in _parts(match["value"]):
        text = unquoted(part.strip()) if QUOTED.fullmatch(part.strip()) else part
        values.append(part if change(text) == text else quoted(change(text)))
    return f"{match['prefix']}{match['key']}={','.join(values)}"


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

    The kinds are ``text``, ``text or empty`` where the default is an empty text, ``texts`` and ``numbers`` for lists,
    and ``other``.
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
        elif hint == list[float]:
            yield key, "numbers"
        elif typing.get_origin(hint) is not dict:
            yield key, "other"


def _spelled(value: str, null: bool = True) -> str:
    """Give one text as Hydra takes it; where ``null`` is false, the word null is a text too."""
    stripped = value.strip()
    return value if QUOTED.fullmatch(stripped) or (null and stripped.lower() == "null") else quoted(value)


def _parts(value: str) -> list[str]:
    """Divide a value at its commas, but not within quotation marks that begin a part, nor within ``${...}``."""
    parts, begin = [], 0
    while begin <= len(value):
        end = _end_of_part(value, begin)
        parts.append(value[begin:end])
        begin = end + 1
    return parts


def _end_of_part(value: str, begin: int) -> int:
    marked = re.compile(rf"\s*({QUOTED.pattern})\s*(?=,|\Z)", re.DOTALL).match(value, begin)
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
