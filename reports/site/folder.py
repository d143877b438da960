"""The folder of a site: what maskbench wrote into it, and nothing else, is replaced when it is written anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path, PurePosixPath

from bench.errors import UserError
from reports.writing import GENERATOR

LISTED = "site.json"
"""Holds the names of the files that a site has, so that those of an older one can be removed."""

_READ = 2000


class SiteFolder:
    """Writes the files of a site below ``out`` and keeps their names.

    Raises:
        UserError: ``out`` has an ``index.html`` that maskbench did not write, or cannot be written.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._before, self._written = _listed(out), dict[str, None]()
        index = out / "index.html"
        if index.exists() and GENERATOR not in index.read_text(encoding="utf-8", errors="replace")[:_READ]:
            raise UserError(f"{index}: not a page of maskbench's, so it is not overwritten; give another --out")

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file; one that has this content already is left, with its time."""
        path = self._place(name)
        data = content.encode("utf-8", "replace") if isinstance(content, str) else content
        try:
            if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror or error}); give another --out") from error

    def copy(self, source: Path, name: str) -> None:
        """Copy a file into the site; a link is not followed out of its folder, but left out."""
        if not source.is_symlink() and source.is_file():
            path = self._place(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, path)

    def keep(self, name: str) -> None:
        """Count a file as the site's that another part of the program has written."""
        self._place(name)

    def finish(self) -> None:
        """Remove what an older site had and this one has not, and write the list of its files."""
        for name in self._before - set(self._written):
            path = self.out / name
            path.unlink(missing_ok=True)
            for folder in path.parents:
                if folder == self.out or any(folder.iterdir()):
                    break
                folder.rmdir()
        (self.out / LISTED).write_text(json.dumps({"files": sorted(self._written)}, indent=0) + "\n", encoding="utf-8")

    def _place(self, name: str) -> Path:
        self._written[name] = None
        return self.out / name


def _listed(out: Path) -> set[str]:
    """Give the files of the site that is there, but nothing that would lead out of it."""
    try:
        names = json.loads((out / LISTED).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    root = out.resolve()
    return {
        name
        for name in names
        if isinstance(name, str)
        and not PurePosixPath(name).is_absolute()
        and (out / name).resolve().is_relative_to(root)
        and (out / name).is_file()
    }
