"""Reads the results of many folders, each measurement once, and says which of them nobody can rely on.

A run that lies in two folders is one run. A file that contradicts itself, or two files of one measurement that
contradict each other, have been changed by somebody: none of them is shown.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from bench.errors import UserError
from bench.files.json_file import read_file
from bench.private.texts import publishable
from bench.schema.result import Result, parse_result, results_under
from bench.schema.row import identity

RESULT = "result.json"

_OF_LETTERS = 12
"""Digits of a digest that name a result in addresses."""


@dataclass(frozen=True)
class Measurement:
    """One result of the site.

    content: the bytes of its ``result.json``, without what must not be published
    digest: of what they say, whatever their spelling
    run: the folders below the source that its run lies in, such as ``("h200", "variants")``
    job: the name of its job's folder
    cleaned: whether something had to be taken out of its file
    """

    content: bytes
    result: Result
    digest: str
    run: tuple[str, ...]
    job: str
    folder: Path
    cleaned: bool = False

    @property
    def place(self) -> str:
        """Give the folder of its ``result.json`` in the site, relative to it. Its last part is the job's name."""
        return f"results/{self.digest[:_OF_LETTERS]}/{self.job}"


@dataclass
class Gathered:
    """What was found.

    copies: files that say what another file says
    left_out: (file, why) of each that is not shown
    """

    measurements: list[Measurement] = field(default_factory=list)
    copies: int = 0
    left_out: list[tuple[str, str]] = field(default_factory=list)


def gather(sources: Sequence[Path], out: Path) -> Gathered:
    """Read every ``result.json`` under the sources but those under ``out``, which are the site's own.

    Raises:
        UserError: a source does not exist, or no result in them can be read.
    """
    gathered = Gathered()
    read: dict[str, Measurement] = {}
    for source, path in _files(sources, out):
        shown = _shown(source, path)
        try:
            found = _measurement(source, path, shown)
        except UserError as error:
            gathered.left_out.append((shown, str(error).removeprefix(f"{path}: ").removeprefix(f"{shown}: ")))
            continue
        if found.digest in read:
            gathered.copies += 1
            continue
        read[found.digest] = found
    _one_of_each(list(read.values()), gathered)
    if not gathered.measurements:
        why = f": {gathered.left_out[0][0]}: {gathered.left_out[0][1]}" if gathered.left_out else ""
        raise UserError(
            f"{', '.join(map(str, sources))}: no result.json that can be shown{why}; give the out= folder of a "
            "finished run, or a folder of such folders"
        )
    return gathered


def _files(sources: Sequence[Path], out: Path) -> Iterator[tuple[Path, Path]]:
    own = out.resolve()
    seen: set[Path] = set()
    for source in sources:
        if not source.exists():
            raise UserError(f"{source}: no such file or folder; give the out= folder of a run, or a folder of them")
        for path in results_under(source) if source.is_dir() else [source]:
            resolved = path.resolve()
            if resolved not in seen and not resolved.is_relative_to(own):
                seen.add(resolved)
                yield source, path


def _shown(source: Path, path: Path) -> str:
    """Name a file without the folders above the source: they are nobody's business."""
    return "/".join((_name(source), *path.relative_to(source).parts)) if source.is_dir() else path.name


def _name(folder: Path) -> str:
    return folder.resolve().name or "results"


def _measurement(source: Path, path: Path, shown: str) -> Measurement:
    content = read_file(path)
    result = parse_result(content, shown)
    said = msgspec.json.decode(content)
    clean = publishable(said)
    if clean != said:
        content = msgspec.json.format(msgspec.json.encode(clean), indent=1) + b"\n"
        result = parse_result(content, shown)
    digest = hashlib.sha256(msgspec.json.encode(clean, order="deterministic")).hexdigest()
    folder = _run_folder(path)
    top = source if source.is_dir() else folder
    inside = folder.resolve().relative_to(top.resolve()).parts if folder.resolve().is_relative_to(top.resolve()) else ()
    return Measurement(content, result, digest, (_name(top), *inside), path.parent.name, folder, clean != said)


def _run_folder(path: Path) -> Path:
    """Give the folder of the run that a ``result.json`` is of: that which has ``jobs/``, or the one that it lies in."""
    return path.parents[2] if len(path.parents) > 2 and path.parents[1].name == "jobs" else path.parent


def _one_of_each(found: Sequence[Measurement], gathered: Gathered) -> None:
    """Take one file of each measurement: of a row that went on, the newest; of files that disagree, none."""
    same: dict[Any, list[Measurement]] = {}
    for number, one in enumerate(found):
        same.setdefault(identity(one.job, one.result) or number, []).append(one)
    for files in same.values():
        files.sort(key=_age)
        disagreeing = [(a, b) for a, b in itertools.pairwise(files) if not _goes_on(a.result, b.result)]
        if disagreeing:
            gathered.left_out += [(_where(one), _disagreement(one, files)) for one in files]
            continue
        gathered.measurements.append(files[-1])
        gathered.copies += len(files) - 1


def _age(one: Measurement) -> tuple[str, int]:
    return one.result.started or "", len(one.result.speed.model.latency_ms) if one.result.speed else 0


def _goes_on(before: Result, after: Result) -> bool:
    """Tell whether ``after`` is ``before`` with more rounds or more passes: all that was measured is still there."""
    for part in ("memory", "energy", "flops", "busy", "accuracy"):
        one, other = getattr(before, part), getattr(after, part)
        if one is not None and other is not None and _figures(one) != _figures(other):
            return False
    if before.speed is None or after.speed is None:
        return True
    samples = before.speed.model.latency_ms
    return after.speed.model.latency_ms[: len(samples)] == samples


def _figures(part: Any) -> Any:
    return getattr(part, "figures", None) if hasattr(part, "figures") else part


def _where(one: Measurement) -> str:
    return "/".join((*one.run, one.job, RESULT))


def _disagreement(one: Measurement, files: Iterable[Measurement]) -> str:
    others = ", ".join(dict.fromkeys(_where(other) for other in files if other is not one))
    return (
        f"{others} is of the same measurement and has other figures, so one of them was changed; give the true one "
        "alone"
    )
