"""Where the image files of an annotation file are: its names, as other tools and systems write them, and the folder.

Each rule reads names in one more way than the rule before, where that finds no file. The first rule that finds all
files is taken; where none does, nothing is guessed, and what is missing is told with its cause.
"""

from __future__ import annotations

import itertools
import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from bench.data.bounds import MAX_PATH, leaves_folder, quoted, text_problem
from bench.data.findings import Findings, Kind
from bench.data.images import ABSENT_FILE

MOST_FILES = 2_000_000
"""How many files of a folder are looked through, at most, where the names are not found as they are written."""

_URL_KEYS = ("coco_url", "flickr_url")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # of two letters and more: C:/ is a drive
_DRIVE = re.compile(r"^[A-Za-z]:(?=/)")
_LABEL_STUDIO = "data/local-files"

NO_NAME = Kind("file_name", "images without a usable file_name", "must be a path relative to the image folder")
OUTSIDE = Kind(
    "outside",
    "images outside the image folder",
    "if you trust this file with your other images, give dataset.allow_outside=true",
)
FROM_URL_KEY = Kind("name_from_url", "images without a file_name", "their coco_url or flickr_url is read in its place")
SLASHES = Kind("name_slashes", "file names with backslashes", "read as slashes")
UNICODE = Kind(
    "name_unicode", "file names in another Unicode form than that of the files", "the names of the files are taken"
)
URLS = Kind("name_url", "file names that are URLs, or written as in one", "the path in them is taken")
FOLDERS = Kind(
    "name_folders", "file names that repeat the end of the image folder's own path", "the rest of them is taken"
)
BARE = Kind(
    "name_bare",
    "file names whose folders are not there, or have others around them",
    "the one file of this name in the image folder is taken",
)


def locate(
    entries: Sequence[Mapping[str, Any]], folder: Path | None, allow_outside: bool, findings: Findings
) -> list[Path]:
    """Give the path of the image file of each entry of ``images``, in their order.

    The rules, in their order, are: the name as written; backslashes as slashes; another Unicode normal form; the path
    in a URL; the name without the folders that the image folder itself ends with; the bare name, where one file alone
    has it, also in a subfolder. A rule that sends two names to one file is not taken. What is not found as written is
    a repair. The folder is walked once, and only where that is needed.

    Args:
        folder: the image folder; None where there is none: the paths are then bare names
        allow_outside: whether a name may be absolute, or lead out of the folder
        findings: gets problems: no name, a name outside the folder; repairs; and a note of URLs in the place of
            names. That a file is absent is no problem here: the path is then the name as written, and :func:`absence`
            gives the cause
    """
    places = [f"image {quoted(entry.get('id'))}" for entry in entries]
    names = [_written(entry, place, findings) for entry, place in zip(entries, places, strict=True)]
    if folder is None:
        return [Path(_bare(name) or "image") for name in names]
    search = _Search(folder, allow_outside)
    best = _best(names, search)
    is_whole = best.is_whole
    for entry, name, path, place in zip(entries, names, best.found, places, strict=True):
        if name and path is None and not search.may_be(name):
            findings.problem(OUTSIDE, f"{place}: file_name {quoted(name)}")
        elif not path or best.rule.kind is None or not is_whole or name != entry.get("file_name"):
            continue  # there is nothing to repair; a URL in the place of a name is LVIS's own way
        elif path != search.as_written(name):
            file = "" if best.rule.kind is UNICODE else f" is {quoted(search.shown(path))}"  # they look alike
            findings.repair(best.rule.kind, f"{place}: {quoted(publishable(name))}{file}")
    return [path or search.inside(name) for name, path in zip(names, best.found, strict=True)]


def absence(names: Sequence[str], folder: Path) -> Kind:
    """Say why files are absent: how many are there, and what the folder has in the place of the others.

    Args:
        names: of all images, as they are written
        folder: the image folder
    """
    search = _Search(folder, allow_outside=True)
    best = _best(names, search)
    missing = [name for name, path in zip(names, best.found, strict=True) if name and path is None]
    causes = (cause for name in missing if (cause := _cause(name, search)))
    there = f"{len(names) - len(missing)} of {len(names)} are in {folder}"
    read_as = (
        f" by another rule ({best.rule.kind.what}: {best.rule.kind.then})" if best.rule.kind and best.count else ""
    )
    return replace(ABSENT_FILE, then=f"{there}{read_as}; {next(causes, '') or _general(search)}")


@dataclass(frozen=True)
class _Rule:
    """A way to read names.

    kind:    what it repairs; None for names as they are written
    find:    gives the file of a name, None where there is none
    """

    kind: Kind | None
    find: Callable[[_Search, str], Path | None]


@dataclass
class _Attempt:
    """What a rule finds: a path or None for each name.

    wanted: how many names there are
    shared: two names that lead to one file
    """

    rule: _Rule
    found: list[Path | None]
    wanted: int
    shared: tuple[str, str] | None = None

    @property
    def count(self) -> int:
        """How many names it finds; 0 where two of them lead to one file."""
        return 0 if self.shared else sum(path is not None for path in self.found)

    @property
    def is_whole(self) -> bool:
        """Whether it finds all names that there are."""
        return self.count == self.wanted


class _Search:
    """An image folder, which is walked once, as soon as it is asked for more than a path."""

    def __init__(self, folder: Path, allow_outside: bool) -> None:
        self.folder, self._allow_outside = folder, allow_outside

    def as_written(self, name: str) -> Path | None:
        """Give the path that a name has as it is written; None where it may not be looked at."""
        # "link/../a.jpg" would lead out of the folder where the link does.
        return self.folder / os.path.normpath(name) if name and self.may_be(name) else None

    def may_be(self, name: str) -> bool:
        """Say whether a name lies inside the folder, or may lie outside."""
        return self._allow_outside or not leaves_folder(name)

    def inside(self, name: str) -> Path:
        """Give a path for a name that was not found, which never leads out where that is not allowed."""
        return self.as_written(name) or self.folder / (_bare(name) or "image")

    def there(self, name: str) -> Path | None:
        """Give the path of a name as it is written, where a file is there."""
        path = self.as_written(name)
        return path if path is not None and os.path.exists(path) else None

    def in_any_form(self, name: str) -> Path | None:
        """Give the file of a name, whatever the Unicode normal form of either is; None where several have it."""
        if path := self.there(name):
            return path
        found = self.by_form.get(_form(os.path.normpath(name)), [])
        return found[0] if len(found) == 1 else None

    def shown(self, path: Path) -> str:
        """Give a path as seen from the folder."""
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else path.name

    @cached_property
    def files(self) -> list[Path]:
        """All files of the folder, at most :data:`MOST_FILES`."""
        return list(itertools.islice(_walk(self.folder), MOST_FILES))

    @cached_property
    def by_form(self) -> dict[str, list[Path]]:
        """The files by their path from the folder, in one Unicode form."""
        return self._by(self.shown)

    @cached_property
    def by_name(self) -> dict[str, list[Path]]:
        """The files by their bare name, in one Unicode form."""
        return self._by(lambda path: path.name)

    @cached_property
    def by_case(self) -> dict[str, list[Path]]:
        """The files by their bare name, without the difference of capitals."""
        return self._by(lambda path: path.name.casefold())

    @cached_property
    def by_stem(self) -> dict[str, list[Path]]:
        """The files by their bare name without its ending."""
        return self._by(lambda path: path.stem)

    def _by(self, key: Callable[[Path], str]) -> dict[str, list[Path]]:
        grouped: dict[str, list[Path]] = {}
        for path in self.files:
            grouped.setdefault(_form(key(path)), []).append(path)
        return grouped


def _slashes(search: _Search, name: str) -> Path | None:
    return search.there(name) or search.there(_with_slashes(name))


def _any_form(search: _Search, name: str) -> Path | None:
    return search.there(name) or search.in_any_form(_with_slashes(name))


def _url(search: _Search, name: str) -> Path | None:
    return _any_form(search, name) or search.in_any_form(_url_path(name))


def _without_folders(search: _Search, name: str) -> Path | None:
    found = _url(search, name)
    for rest in [] if found else _rests(_url_path(name), search.folder):
        found = found or search.in_any_form(rest)
    return found


def _bare_name(search: _Search, name: str) -> Path | None:
    """Find the one file of the bare name, in its folder or in folders around it or within it.

    A folder that is there, and lacks the file, speaks against that; and a file in another folder is another file.
    """
    if path := search.there(name):
        return path
    written = _url_path(name)
    parent = os.path.dirname(os.path.normpath(written))
    if parent and not leaves_folder(parent) and os.path.isdir(search.folder / parent):
        return None
    found = search.by_name.get(_form(_bare(name)), [])
    return found[0] if len(found) == 1 and _may_be_in(name, parent, found[0], search) else None


def _may_be_in(name: str, parent: str, path: Path, search: _Search) -> bool:
    """Say whether one of two folders ends as the other is; those of a URL are a server's, and say nothing here."""
    if "://" in name:
        return True
    parts, others = (PurePosixPath(_form(folder)).parts for folder in (parent, search.shown(path.parent)))
    shorter, longer = sorted((parts, others), key=len)
    return longer[len(longer) - len(shorter) :] == shorter


_RULES = (
    _Rule(None, lambda search, name: search.there(name)),
    _Rule(SLASHES, _slashes),
    _Rule(UNICODE, _any_form),
    _Rule(URLS, _url),
    _Rule(FOLDERS, _without_folders),
    _Rule(BARE, _bare_name),
)


def _best(names: Sequence[str], search: _Search) -> _Attempt:
    """Give what the first rule finds that finds all, else what the rule finds that finds most."""
    best = _attempt(_RULES[0], names, search)
    for rule in _RULES[1:]:
        if best.is_whole:
            break
        attempt = _attempt(rule, names, search)
        best = attempt if attempt.count > best.count else best
    return best


def _attempt(rule: _Rule, names: Sequence[str], search: _Search) -> _Attempt:
    found = [rule.find(search, name) if name else None for name in names]
    wanted = sum(bool(name) for name in names)
    leading: dict[Path, str] = {}
    for name, path in zip(names, found, strict=True):
        if path is not None and rule.kind is not None and not _same(first := leading.setdefault(path, name), name):
            return _Attempt(rule, found, wanted, (first, name))
    return _Attempt(rule, found, wanted)


def publishable(name: str) -> str:
    """Give a name as a row's notes may have it: without the folders of the machine that an absolute name tells."""
    return f".../{_bare(name)}" if re.match(r"/|~|\\\\|[A-Za-z]:[\\/]|file:", name) else name


def name_of(entry: Mapping[str, Any]) -> str:
    """Give the name of an entry's file as the annotation file has it; "" where it has none.

    Where ``file_name`` is absent, it is the last part of a URL.
    """
    name = entry.get("file_name")
    return name if isinstance(name, str) and name else _bare(_url_of(entry))


def _url_of(entry: Mapping[str, Any]) -> str:
    """Give the URL that stands in the place of a name: the first that ends in one, "" where there is none."""
    urls = (entry.get(key) for key in _URL_KEYS)
    return next((url for url in urls if isinstance(url, str) and _bare(url) and not text_problem(url, MAX_PATH)), "")


def _written(entry: Mapping[str, Any], place: str, findings: Findings) -> str:
    """Give the name of an entry's file; "" where it has none, which is then a problem."""
    name = entry.get("file_name")
    if name in (None, "") and (url := _url_of(entry)):
        findings.note(FROM_URL_KEY, f"{place}: {quoted(url)}")
        return url
    if not isinstance(name, str) or not name:
        findings.problem(NO_NAME, f"{place}: file_name is {quoted(name)}")
        return ""
    if problem := text_problem(name, MAX_PATH):
        findings.problem(NO_NAME, f"{place}: file_name {quoted(name)} {problem}")
        return ""
    return name


def _cause(name: str, search: _Search) -> str | None:
    """Say what the folder has in place of a file; None where it has nothing like it."""
    bare = _form(_bare(name))
    if others := search.by_name.get(bare, []):
        shown = " and ".join(quoted(search.shown(path)) for path in others[:2])
        if len(others) > 1:
            return f"several files have the bare name: {shown}; the names must say which"
        return f"{quoted(name)} may be {shown}, but not all names can be read so"
    if others := search.by_case.get(bare.casefold(), []):
        return f"names and files differ in capitals: {quoted(bare)} and {quoted(others[0].name)}; write both alike"
    if others := search.by_stem.get(PurePosixPath(bare).stem, []):
        return f"names and files differ in their ending: {quoted(bare)} and {quoted(others[0].name)}"
    return None


def _general(search: _Search) -> str:
    if not search.files:
        return f"there is no file in that folder; {ABSENT_FILE.then}"
    if len(search.files) >= MOST_FILES:
        return f"it has more than {MOST_FILES} files, of which no more were looked at; {ABSENT_FILE.then}"
    return f"it has files as {quoted(search.shown(search.files[0]))}; {ABSENT_FILE.then}"


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder; links are followed, as a name does, but no folder is entered twice."""
    entered = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        try:
            status = os.stat(parent)
        except OSError:  # it was removed meanwhile
            continue
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        yield from (Path(parent, name) for name in files)


def _with_slashes(name: str) -> str:
    """Give a name with slashes for backslashes, without the drive of a path of Windows."""
    return _DRIVE.sub("", name.replace("\\", "/"), count=1)


def _url_path(name: str) -> str:
    """Give the path in a name that is a URL or written as in one, percent-decoded; a path as it is."""
    text = _with_slashes(name)
    try:
        parts = urlsplit(text) if _SCHEME.match(text) else None
    except ValueError:
        return text
    path, _, query = (parts.path, "?", parts.query) if parts else text.partition("?")
    if parts and parts.scheme.lower() != "file":
        path = path.lstrip("/")  # it begins at the host
    if path.strip("/").endswith(_LABEL_STUDIO) and query.startswith("d="):
        path = query.removeprefix("d=").partition("&")[0]
    return unquote(path) or text


def _rests(name: str, folder: Path) -> list[str]:
    """Give what follows in a name after folders that the image folder's own path ends with, longest match first."""
    parts = [_form(part) for part in PurePosixPath(name).parts if part != "/"]
    rests: list[tuple[int, int]] = []
    for own in {Path(os.path.abspath(folder)), Path(os.path.realpath(folder))}:
        ends = [_form(part) for part in own.parts]
        for place in range(1, len(parts)):
            length = 0
            while length < min(place, len(ends)) and parts[place - 1 - length] == ends[-1 - length]:
                length += 1
            if length:
                rests.append((-length, place))
    return ["/".join(PurePosixPath(name.lstrip("/")).parts[place:]) for _, place in sorted(rests)]


def _same(one: str, other: str) -> bool:
    """Say whether two names are the same path as they are written."""
    return one == other or os.path.normpath(_with_slashes(one)) == os.path.normpath(_with_slashes(other))


def _bare(name: str) -> str:
    """Give the last part of a name or URL."""
    return PurePosixPath(_url_path(name)).name


def _form(text: str) -> str:
    """Give a text in the one Unicode form in which names are compared: NFC."""
    return unicodedata.normalize("NFC", text)
