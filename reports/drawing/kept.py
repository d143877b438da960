"""Pictures of an earlier report in the same folder that would be drawn the same again, and so are not.

A list in ``plots/`` says of each picture what it followed from and what its bytes were. A picture is kept while neither
has changed: never an old picture for new figures, and never one that somebody has edited.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any

import msgspec

from reports.masks.shown import Masks
from reports.page.beside import photographs_of
from reports.plots.picture import OTHER_FORMS, Picture

LIST = "plots/drawn.json"

FOLDERS = ("plots", "models")

ANSWERS: Mapping[str, Any] = {
    "plots": list[Picture],
    "accuracy": list[Picture],
    "trainings": dict[int, Picture],
    "panels": list[Picture],
    "masks": list[Masks],
    "pages": dict[int, str],
}
"""What drawing gives, section by section."""


@dataclass
class Entry:
    """One picture, or what else is drawn at once.

    key: the digest of what it followed from, see :mod:`reports.drawing.keys`
    answer: what drawing gave, as JSON
    files: the SHA-256 of each of its files, by its path in the folder of the report
    """

    key: str
    answer: msgspec.Raw
    files: dict[str, str] = field(default_factory=dict)


class Kept:
    """The pictures of the report that lies in a folder; on leaving, the list of those of this report is written."""

    def __init__(self, out: Path) -> None:
        self._out = out.resolve()
        self._earlier = _read(self._out / LIST)
        self._now: dict[str, Entry] = {}

    def __enter__(self) -> Kept:
        """Forget the list, so that whatever ends this report early leaves none that is not true."""
        with contextlib.suppress(OSError):
            (self._out / LIST).unlink(missing_ok=True)
        self._earlier = {name: entry for name, entry in self._earlier.items() if self._is_whole(entry)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove(self.files())
        with contextlib.suppress(OSError):
            if kind is None and self._now:
                text = msgspec.json.format(msgspec.json.encode(self._now), indent=1)
                (self._out / LIST).write_bytes(text + b"\n")

    def files(self) -> set[str]:
        """Give the files of the earlier report that may still be shown again, by their paths in its folder."""
        return {path for entry in self._earlier.values() for path in entry.files}

    def find(self, section: str, name: str, key: str | None) -> Any:
        """Give what drawing gave where it would give it again; None where it must be drawn, and the old files are gone.

        Each name is asked for once.
        """
        entry = self._earlier.pop(name, None)
        if entry is None:
            return None
        answer = self._answer(section, entry) if entry.key == key else None
        if answer is None:
            self._remove(entry.files)
        else:
            self._now[name] = entry
        return answer

    def _answer(self, section: str, entry: Entry) -> Any:
        try:
            return msgspec.json.decode(entry.answer, type=ANSWERS[section], dec_hook=self._path, strict=True)
        except (msgspec.ValidationError, msgspec.DecodeError, KeyError):
            return None

    def _remove(self, paths: Iterable[str]) -> None:
        with contextlib.suppress(OSError):  # a folder that cannot be written is told by what writes the report
            for path in paths:
                (self._out / path).unlink(missing_ok=True)

    def note(self, section: str, name: str, key: str | None, answer: Any) -> None:
        """Take down what was drawn; without a key, or without an answer, it will be drawn again the next time."""
        if key is None or not answer or section not in ANSWERS:
            return
        files: dict[str, str] = {}
        for path in self._paths(answer):
            sha256 = _sha256(path)
            if sha256 is None:
                return
            files[path.relative_to(self._out).as_posix()] = sha256
        encoded = msgspec.Raw(msgspec.json.encode(answer, enc_hook=self._relative))
        self._now[name] = Entry(key, encoded, files)

    def _paths(self, answer: Any) -> Iterator[Path]:
        """Give the files of an answer."""
        if isinstance(answer, Path):
            yield answer
        elif isinstance(answer, str):
            yield self._out / answer
            yield from photographs_of(self._out / answer)
        elif isinstance(answer, Mapping):
            for part in answer.values():
                yield from self._paths(part)
        elif isinstance(answer, (list, tuple)):
            for part in answer:
                yield from self._paths(part)
        elif isinstance(answer, Picture):
            yield answer.path
            yield from (other for end in OTHER_FORMS if (other := answer.path.with_suffix(end)).exists())
        elif isinstance(answer, Masks):
            yield from (answer.script, *answer.photographs)

    def _relative(self, value: Any) -> str:
        if isinstance(value, Path):
            return value.relative_to(self._out).as_posix()
        raise NotImplementedError

    def _path(self, kind: type, value: Any) -> Any:
        if kind is Path and isinstance(value, str) and _is_ours(value):
            return self._out / value
        raise NotImplementedError

    def _is_whole(self, entry: Entry) -> bool:
        """Tell whether all files of an entry are what they were."""
        return bool(entry.files) and all(
            _is_ours(path) and _sha256(self._out / path) == sha256 for path, sha256 in entry.files.items()
        )


def _read(path: Path) -> dict[str, Entry]:
    """Read the list; where there is none, or it is none, everything is drawn."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Entry])
    except (OSError, msgspec.DecodeError, RecursionError):
        return {}


def _is_ours(path: str) -> bool:
    """Tell whether a path, which anybody may have written into the list, is of a file of the report's own folders."""
    parts = PurePosixPath(path).parts
    return len(parts) == 2 and parts[0] in FOLDERS and parts[1] != ".."


def _sha256(path: Path) -> str | None:
    if path.is_symlink() or not path.is_file():
        return None
    return hashlib.sha256(path.read_bytes()).hexdigest()
