"""Tell rows that were measured with other contents of one file: weights that were replaced, code that was edited."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.schema.facts import config, dataset_name
from bench.schema.result import Result
from reports.cut import listed
from reports.table.comparison import Comparison

SHOWN_FILES = 3
"""Files that a line names at most."""

_DIGITS = 8

_AGAIN = "the same commands again, each with its out=, measure the older rows anew"
_COMPARED = f"and are compared like two models; {_AGAIN}"

_Found = Iterator[tuple[Hashable, str, str, str]]
"""What tells files apart, the name of a file for a reader, the digest of its content when a row was measured, and where
that was, "" where the name says it."""


def other_contents(comparison: Comparison) -> list[tuple[str, str]]:
    """Give (what, how) pairs: which rows have other weights, files, code or data than rows that name the same ones.

    Each has the rows by the content, the first measured first, and how to measure the older ones anew. Best values and
    differences stand across such rows, as across two models; only rows of other data are not compared.
    """
    kinds: tuple[tuple[str, Callable[[Result], _Found], str], ...] = (
        ("Other weights", _weights, f"these rows of one model have other weights under one name, {_COMPARED}"),
        ("Other files", _option_files, f"these rows of one model read other contents of one file, {_COMPARED}"),
        ("Other code", _sources, f"these rows of one model ran other code, {_COMPARED}"),
        (
            "Other data",
            _data,
            f"annotations or images differ under one name, so these rows are not compared; {_AGAIN}, or give each "
            f"set a name of its own with dataset.name=NAME",
        ),
    )
    comparison = comparison.whole or comparison
    told = [(name, _by_content(comparison, find), meaning) for name, find, meaning in kinds]
    return [(name, f"{_in_words(files)}; {meaning}") for name, files, meaning in told if files]


def _by_content(comparison: Comparison, find: Callable[[Result], _Found]) -> list[str]:
    """Give for each file with several contents ``w.pt 1a2b3c4d [row], then 5e6f7a8b [row, row]``."""
    names: dict[Hashable, str] = {}
    contents: dict[Hashable, dict[str, list[str]]] = {}
    texts: dict[tuple[Hashable, str], str] = {}
    rows = [(row.result, label) for row, label in zip(comparison.rows, comparison.labels, strict=True)]
    for result, label in sorted(rows, key=lambda pair: pair[0].started or ""):
        for key, name, digest, place in find(result) if result.measured else ():
            names[key] = name
            texts.setdefault((key, digest), digest[:_DIGITS] + (f" in {place}" if place else ""))
            contents.setdefault(key, {}).setdefault(digest, []).append(label)
    return [
        f"{names[key]} {', then '.join(f'{texts[key, digest]} [{listed(labels)}]' for digest, labels in of.items())}"
        for key, of in contents.items()
        if len(of) > 1
    ]


def _in_words(files: Sequence[str]) -> str:
    more = len(files) - SHOWN_FILES
    return "; ".join(files[:SHOWN_FILES]) + (f"; and {more} more" if more > 0 else "")


def _model(result: Result) -> tuple[str, ...]:
    """Give what tells two models apart, though both may have weights that are called zoo."""
    keys = ("name", "_target_", "config")
    return (*(str(config("model", key)(result)) for key in keys), str(config("model", "zoo", "url")(result)))


def _weights(result: Result) -> _Found:
    given = str(config("model", "weights")(result))
    digest = result.contents.get("weights")
    if digest is None and result.model and result.finetune is None:
        digest = result.model.weights_sha256
    if digest:
        yield (*_model(result), given), Path(given).name, digest, ""


def _option_files(result: Result) -> _Found:
    options = config("model", "options")(result)
    for key, digest in result.contents.items():
        option = key.removeprefix("file of ").removeprefix("model.options.")
        if "model.options." in key and isinstance(path := _at(options, option), str):
            yield (*_model(result), option, path), Path(path).name, digest, ""


def _at(options: Any, dotted: str) -> Any:
    """Give the value at dotted keys, of which those of a list are numbers; None where there is none."""
    for key in dotted.split("."):
        if isinstance(options, list) and key.isdecimal() and int(key) < len(options):
            options = options[int(key)]
        else:
            options = options.get(key) if isinstance(options, dict) else None
    return options


def _sources(result: Result) -> _Found:
    for name, digest in result.sources.items():
        yield (*_model(result)[:2], name), name, digest, ""


def _data(result: Result) -> _Found:
    name = dataset_name(result)
    for part, shown, group in (("dataset", name, ()), ("train", f"{name} (training)", ("train",))):
        if digest := result.contents.get(part):
            places = [config("dataset", *group, key)(result) for key in ("images", "annotations")]
            yield (part, name), shown, digest, next((Path(place).name for place in places if place), "")
