"""The ``data.yaml`` of a YOLO set: its classes, and the folder and the images of each split.

Paths lead where Ultralytics finds them (``check_det_dataset``): ``path:`` from the current folder, ``train:`` and
``val:`` from ``path:``. ``path:`` may start from the folder of ``data.yaml`` too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.data.bounds import quoted
from bench.data.findings import Findings, Kind
from bench.data.names import publishable
from bench.data.reading import read_file
from bench.errors import UserError, absent_library
from bench.schema.config import DatasetConfig

NO_PATH = Kind(
    "yolo_path",
    "folders that path: in data.yaml names and this machine lacks",
    "the folder of data.yaml is read in its place, or dataset.images",
)

_NO_SPLITS = ("path", "names", "nc", "download", "roboflow", "channels", "kpt_shape", "flip_idx", "yaml_file")
"""Keys of a ``data.yaml`` that are no splits."""


@dataclass(frozen=True)
class DataYaml:
    """A ``data.yaml``.

    file: where it is
    root: the folder from which the entries of its splits start
    names: the classes, by their numbers in the label files
    entries: split -> the folders and lists of images that it names
    """

    file: Path
    root: Path
    names: tuple[str, ...]
    entries: Mapping[str, tuple[str, ...]]

    def places(self, split: str, group: str = "dataset") -> list[Path]:
        """Give the folders of images and the lists of images of a split.

        group: of the keys that name the set

        Raises:
            UserError: what it names is not there.
        """
        found = []
        for entry in self.entries[split]:
            place = next((place for place in _readings(self.root, entry) if os.path.exists(place)), None)
            if place is None:
                raise UserError(
                    f"{self.file}: {split}: {quoted(entry)} is no folder and no list of images in {self.root}; give "
                    f"the folder from which it starts as {group}.images=DIR"
                )
            found.append(place)
        return found


def read_data_yaml(file: Path, key: str, config: DatasetConfig, findings: Findings) -> DataYaml:
    """Read a ``data.yaml``.

    Args:
        key: under which the user named the file
        config: ``images`` is the folder in place of ``path:``; ``split`` is the one that will be read, whose images
            tell the folder where ``path:`` has several meanings
        findings: gets a note where the folder of ``path:`` is absent

    Raises:
        UserError: it cannot be read, is none, has no names or no such split, or its folder is absent or ambiguous.
    """
    split = config.split
    content = _mapping(read_file(file, key, config.how_to_get, config.max_json_gb), file, key)
    if "kpt_shape" in content:
        raise UserError(f"{file}: has kpt_shape, so that its labels are poses and no masks; give a segmentation set")
    texts = {"val" if name == "validation" else name: _texts(value) for name, value in content.items()}
    entries = {name: of for name, of in texts.items() if of is not None and name not in _NO_SPLITS}
    names = _names(content, file)
    if not entries.get(split):
        known = ", ".join(name for name, entry in entries.items() if entry) or "none"
        raise UserError(f"{file}: has no {split}: ({group_of(config)}.split={split}); its splits: {known}")
    root = _root(file, content.get("path", ""), entries[split], config, findings)
    return DataYaml(file, root, names, entries)


def group_of(config: DatasetConfig) -> str:
    """Give the group of keys that a dataset was configured by: ``dataset``, or ``dataset.train``."""
    return "dataset.train" if config.name.endswith(" train") else "dataset"


def _mapping(content: bytes, file: Path, key: str) -> dict[str, Any]:
    if content.lstrip()[:1] in (b"{", b"["):
        raise UserError(
            f"{file}: is JSON, must be the data.yaml of a YOLO set ({key}); give dataset=coco for this file"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: must be the data.yaml of a YOLO set, in UTF-8 ({key}): {error}") from error
    if re.match(r"\d+( -?\d*\.?\d+(e-?\d+)?){4,}\s*(\n|\Z)", text):
        raise UserError(f"{file}: is a label file, must be the data.yaml of the set ({key})")
    try:
        parsed = _parsed(text)
    except ValueError as error:
        raise UserError(f"{file}: is no YAML ({key}): {error}") from error
    if not isinstance(parsed, dict) or not all(isinstance(name, str) for name in parsed):
        raise UserError(f"{file}: must be the data.yaml of a YOLO set, with names, train and val ({key})")
    return parsed


def _parsed(text: str) -> Any:
    """Parse YAML with all scalars as texts: ``no`` is the name of a class, and not false.

    Raises:
        ValueError: it is none, or has a key twice in one map.
    """
    try:
        import yaml  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise UserError(f"dataset=yolo: {absent_library(error)}; pip install pyyaml") from error

    class Loader(yaml.BaseLoader):
        """Refuses what would lose one of two values."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            if twice := [key for key in keys if keys.count(key) > 1]:
                raise ValueError(f"the key {quoted(twice[0])} stands twice in one map")
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from error


def _texts(value: Any) -> tuple[str, ...] | None:
    """Give the entries of a split; None for what is none."""
    if isinstance(value, str):
        return (value,) if value and value.lower() not in ("null", "~") else ()
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return tuple(value)
    return None


def _names(content: Mapping[str, Any], file: Path) -> tuple[str, ...]:
    """Give the classes in the order of their numbers, of a list or a map from 0 on."""
    names, right = content.get("names"), "give names: [cat, dog], or a line 0: cat for each class"
    if not names:
        raise UserError(f"{file}: names is missing, so that nobody knows what class 0 is; {right}")
    if isinstance(names, dict):
        numbers = sorted(int(key) if key.isdecimal() else -1 for key in names)
        if numbers != list(range(len(names))):
            raise UserError(f"{file}: names must count its classes from 0 without gaps, as 0: cat, 1: dog")
        names = [name for _, name in sorted(names.items(), key=lambda pair: int(pair[0]))]
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise UserError(f"{file}: names must be a list or a map of texts; {right}")
    count = content.get("nc")
    if count is not None and (not isinstance(count, str) or count != str(len(names))):
        raise UserError(f"{file}: nc is {quoted(count)}, and names has {len(names)} classes; must be equal")
    return tuple(names)


def _root(file: Path, path: Any, entries: tuple[str, ...], config: DatasetConfig, findings: Findings) -> Path:
    """Give the folder from which the entries of the splits start."""
    own = Path(os.path.abspath(file)).parent
    meant = [place for place in _meant(path if isinstance(path, str) else "", own) if os.path.isdir(place)]
    if not meant:
        read = Path(os.path.abspath(os.path.expanduser(config.images))) if config.images else own
        findings.note(NO_PATH, f"{_as_written(path)} is absent, {quoted(read.name)} is read")
    if config.images:
        root = Path(os.path.abspath(os.path.expanduser(config.images)))
        if not root.is_dir():
            raise UserError(f"{root}: no such folder ({group_of(config)}.images, in place of path: in {file})")
        return root
    fitting = [place for place in meant or [own] if _has(place, entries)]
    if len(fitting) > 1:
        raise UserError(
            f"{file}: path: {quoted(path)} has two meanings, {fitting[0]} and {fitting[1]}; give one of them as "
            f"{group_of(config)}.images=DIR"
        )
    if not meant and not fitting:
        raise UserError(f"{file}: path: {quoted(path)} is no folder; give the folder as {group_of(config)}.images=DIR")
    return (fitting or meant)[0]


def _as_written(path: Any) -> str:
    """Give ``path:`` for a note, which may be published, so that an absolute one is cut to its last part."""
    return quoted(publishable(path.rstrip("/\\")) if isinstance(path, str) else path)


def _meant(path: str, own: Path) -> Iterator[Path]:
    """Give the folders that ``path:`` may mean, each once."""
    expanded = os.path.expanduser(path)
    seen: list[str] = []
    for start in (own, Path.cwd()) if path else (own,):
        place = os.path.normpath(start / expanded)
        if not any(os.path.realpath(place) == os.path.realpath(other) for other in seen):
            seen.append(place)
            yield Path(place)


def _has(root: Path, entries: tuple[str, ...]) -> bool:
    return all(any(os.path.exists(place) for place in _readings(root, entry)) for entry in entries)


def _readings(root: Path, entry: str) -> Iterator[Path]:
    """Give the places that an entry may mean: Roboflow writes ../valid/images for valid/images."""
    entry = entry.replace("\\", "/")
    yield Path(os.path.normpath(root / os.path.expanduser(entry)))
    if entry.startswith("../"):
        yield Path(os.path.normpath(root / entry[3:]))
