"""The first bytes of a file that is being downloaded, and what the server said of the whole file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.weights.cache import is_own_file, write_note


@dataclass
class Version:
    """What is known of the file at the server: which version it is, and its full length in bytes."""

    etag: str | None = None
    last_modified: str | None = None
    total: int | None = None

    @property
    def validator(self) -> str | None:
        """The value for If-Range, where RFC 9110 forbids weak ETags."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified

    def contradicts(self, other: Version) -> bool:
        """Say whether a field has a value in both, and not the same one."""
        mine, theirs = asdict(self), asdict(other)
        return any(mine[key] and theirs[key] and mine[key] != theirs[key] for key in mine)

    def completed(self, other: Version) -> Version:
        """Give the version with the fields of ``other`` where this one has none."""
        return Version(**{key: value or getattr(other, key) for key, value in asdict(self).items()})


@dataclass(frozen=True)
class Part:
    """The file ``NAME.part``, and beside it ``NAME.part.json`` with its :class:`Version`."""

    path: Path

    @property
    def notes(self) -> Path:
        """The file of the version."""
        return self.path.with_name(f"{self.path.name}.json")

    def size(self) -> int:
        """Give its bytes; 0 where it is absent, or not a file of our own."""
        return self.path.stat().st_size if is_own_file(self.path) else 0

    def version(self) -> Version:
        """Give its version; an empty one where nothing is known of it."""
        try:
            return (
                Version(**json.loads(self.notes.read_text(encoding="utf-8"))) if is_own_file(self.notes) else Version()
            )
        except (OSError, ValueError, TypeError, RecursionError):
            return Version()

    def note(self, version: Version) -> None:
        """Write down its version."""
        write_note(self.notes, json.dumps(asdict(version)))

    def forget(self) -> None:
        """Delete it."""
        self.path.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)
