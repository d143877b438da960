"""The bytes of a file that others wrote, and what they are: JSON in UTF-8, which may be packed with gzip.

What is something else is named in one line with what to do, since half of the files that people try first are no COCO
annotations but what another tool made.
"""

from __future__ import annotations

import io
import json
import math
import re
import shlex
import stat
import zlib
from collections.abc import Mapping
from gzip import GzipFile
from pathlib import Path
from typing import Any

from bench.data.bounds import quoted
from bench.errors import UserError
from bench.schema.config import DatasetConfig

GZIP = b"\x1f\x8b"

_MAGIC = {
    b"PK\x03\x04": "is a ZIP archive; unpack it, and give the JSON file in it",
    b"BZh": "is packed with bzip2; unpack it: bunzip2 -k {file}",
    b"\xfd7zXZ\x00": "is packed with xz; unpack it: unxz -k {file}",
    b"\x28\xb5\x2f\xfd": "is packed with zstd; unpack it: unzstd {file}",
    b"\x89PNG": "is a PNG image; give the annotation file",
    b"\xff\xd8\xff": "is a JPEG image; give the annotation file",
    b"\x89HDF": "is an HDF5 file; export the set as COCO",
    b"\x93NUMPY": "is an array of NumPy; give COCO's JSON",
    b"version https://git-lfs": "is a pointer of Git LFS and not the file itself; get it: git lfs pull",
}
"""First bytes of files of other formats, and what to do with each."""

_YOLO_SET = "give dataset=yolo, and its data.yaml as dataset.annotations"
_TEXTS = (
    (r"<\?xml[^>]*>\s*<annotations>|<annotations>", "is CVAT's XML; export the task as COCO 1.0"),
    (r"(<\?xml[^>]*>\s*)?<annotation\b", "is a file of Pascal VOC, which has no masks; export the set as COCO"),
    (r"<!doctype html|<html", "is a page of the web and not the file; the download failed or asked for a login"),
    (r"<\?xml", "is XML; export the set as COCO"),
    (r"(#[^\n]*\n|\s)*(path|train|val|test|nc|names)\s*:", "is the data.yaml of a YOLO set; give dataset=yolo"),
    (r"\d+( -?\d*\.?\d+(e-?\d+)?){4,}\s*(\n|\Z)", f"is a label file of a YOLO set; {_YOLO_SET}"),
    (r"[\w ]+(,[\w ./:-]*){3,}\s*\n", "is a CSV table; export the set as COCO"),
)
"""Beginnings of texts that are no JSON."""


def read_file(path: Path, key: str, hint: str = "", max_gb: float | None = None) -> bytes:
    """Return the bytes of a file that the configuration names under ``key``; ``hint`` says how to get it.

    Raises:
        UserError: the file is absent, cannot be read, is a pipe or a device, or is larger than ``max_gb`` (10^9 bytes),
            the value of ``dataset.max_json_gb``.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UserError(f"{path}: {_folder(path)} ({key})")
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"{path}: is a pipe or a device, must be a file ({key})")  # one without end is never read
        if max_gb is not None and status.st_size > max_gb * 1e9:
            raise UserError(
                f"{path}: has {status.st_size / 1e9:.1f} GB, more than dataset.max_json_gb={max_gb:g} ({key}); with "
                f"about ten times that in free memory give dataset.max_json_gb={math.ceil(status.st_size / 1e9)}"
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else getattr(error, "strerror", "") or error
        raise UserError(f"{path}: {reason} ({key}){'; ' + hint if hint else ''}") from error


def _folder(path: Path) -> str:
    """Say what a folder is that was given for a file."""
    if (path / "data.yaml").exists() or (path / "labels").is_dir():
        return f"is the folder of a YOLO set; {_YOLO_SET}"
    if (path / "Annotations").is_dir():
        return "is the folder of a Pascal VOC set, which has no masks as COCO's; export the set as COCO"
    files = sorted(file.name for file in path.glob("*.json*"))[:3]
    return f"is a directory, must be a file{f'; in it lie {quoted(files)}' if files else ''}"


def parse_json(content: bytes, path: Path, key: str, max_gb: float = DatasetConfig.max_json_gb) -> Any:
    """Parse the JSON of a file that the configuration names under ``key``; the bytes may be packed with gzip.

    Args:
        content: the bytes of the file as it lies there
        max_gb: the most gigabytes (10^9 bytes) that they may have when they are unpacked

    Raises:
        UserError: the content is of another format or encoding, ends in the middle, or has a key twice in one object.
    """
    where = f"{path}: cannot be read ({key})"
    packed = content.startswith(GZIP)
    if packed:
        content = _unpacked(content, where, max_gb)
    file = shlex.quote(str(path))
    for magic, what in _MAGIC.items():
        if content.startswith(magic):
            raise UserError(f"{where}: {what.format(file=file)}")
    text, size = _decoded(content, where, path, packed), len(content)
    del content  # nobody needs the bytes beside the text, and of a results file they may be a gigabyte
    try:
        return json.loads(text, object_pairs_hook=_object)
    except _DoubleKeyError as error:
        raise UserError(f"{where}: one of two values would be lost: {error}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: {_why_no_json(text, size, error)}") from error


def _unpacked(content: bytes, where: str, max_gb: float) -> bytes:
    most = int(max_gb * 1e9)
    try:
        unpacked = GzipFile(fileobj=io.BytesIO(content)).read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{where}: gzip ends in the middle or is damaged, copy it again: {error}") from error
    if len(unpacked) > most:
        raise UserError(
            f"{where}: gzip unpacks to more than dataset.max_json_gb={max_gb:g}; with about ten times that in free "
            f"memory give dataset.max_json_gb={math.ceil(2 * max_gb)}"
        )
    return unpacked


def _decoded(content: bytes, where: str, path: Path, packed: bool) -> str:
    """Decode UTF-8, with or without a byte order mark."""
    encoding = json.detect_encoding(content)
    if encoding.startswith("utf-8"):
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            if error.reason == "unexpected end of data":
                raise UserError(f"{where}: it ends in the middle after {len(content)} bytes, copy it again") from error
            if b"\0" in content[:1000]:
                raise UserError(f"{where}: is a binary file, must be COCO's JSON") from error
            name, place = "WINDOWS-1252", f", byte {error.start} is no UTF-8, as in Latin-1"
    else:
        name, place = encoding.upper().replace("-LE", "LE").replace("-BE", "BE"), ""
        if content[:400].decode(encoding, "replace").lstrip("\ufeff \t\r\n")[:1] not in ("{", "["):
            raise UserError(f"{where}: is a binary file, must be COCO's JSON")
    source, target = shlex.quote(str(path)), shlex.quote(f"{path.with_suffix('')}_utf8.json")
    convert = f"iconv -f {name} -t UTF-8 {source} > {target}"
    if packed:
        convert = f"gzip -dc {source} | iconv -f {name} -t UTF-8 > {target}"
    raise UserError(f"{where}: its text is in {name}, must be in UTF-8{place}; convert it: {convert}")


def _why_no_json(text: str, size: int, error: Exception) -> str:
    if not text.strip():
        return f"the file is empty, it has {size} bytes" if size else "the file is empty"
    start = text[:2000].lstrip()
    if "\0" in start:
        return "is a binary file, must be COCO's JSON"
    for pattern, what in _TEXTS:
        if re.match(pattern, start, re.IGNORECASE):
            return what
    if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
        return f"holds more than one JSON value, as JSON Lines do; must be one object: {error}"
    if start.startswith(("{", "[")) and not text.rstrip().endswith(("}", "]")):
        return f"it ends in the middle after {size} bytes, copy it again: {error}"
    return f"not JSON: {error}"


class _DoubleKeyError(ValueError):
    """A key stands twice in one object of JSON."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _DoubleKeyError(f"the key {quoted(twice)} stands twice in the object {quoted(made)}")
    return made


def not_coco(data: Any, form: str = DatasetConfig.format) -> str | None:
    """Say what parsed JSON is that is no COCO annotation file, and what to do; None where it may be one.

    form: ``coco``, or ``lvis`` for a COCO file with LVIS's keys
    """
    if isinstance(data, list):
        return _list(data)
    if not isinstance(data, Mapping):
        return f"is a JSON {kind_of(data)}, must be a COCO object with images, annotations and categories"
    if tool := _object_of(data):
        return f"is {tool}; {_EXPORT}"
    for key in ("images", "annotations", "categories"):
        if key not in data:
            return f"{key} is missing, a COCO file has images, annotations and categories"
        if not isinstance(data[key], list):
            return f"{key} is a JSON {kind_of(data[key])}, must be a list"
    for key, what in (
        ("segments_info", "is a panoptic COCO file, whose masks are PNG files; convert it to COCO instances first"),
        ("caption", "is a COCO file of captions; give the file of instances, as instances_val2017.json"),
    ):
        first = next(iter(data["annotations"]), None)
        if isinstance(first, Mapping) and key in first and "segmentation" not in first:
            return what
    lvis = [key for key in _LVIS if any(isinstance(image, Mapping) and key in image for image in data["images"])]
    if lvis and form != "lvis":
        return (
            f"is a file of LVIS ({' and '.join(lvis)} of its images), whose AP is by other rules: COCO's count each "
            f"detection of a class that nobody looked for in an image as wrong; give dataset=lvis"
        )
    if form == "lvis" and not lvis:
        return f"is no file of LVIS, since no image has {' or '.join(_LVIS)}; give dataset=coco"
    return None


def is_lvis(data: Any) -> bool:
    """Say whether parsed JSON is a file of LVIS."""
    return not_coco(data) is not None and not_coco(data, "lvis") is None


_LVIS = ("neg_category_ids", "not_exhaustive_category_ids")
_EXPORT = "export or convert the set as COCO"


def _list(data: list[Any]) -> str:
    first = next(iter(data), None)
    keys = set(first) if isinstance(first, Mapping) else set()
    if {"image_id", "category_id"} <= keys or not data:
        return (
            "is a JSON list as a COCO results file, must be a COCO object with images, annotations and categories; "
            "results are given as model.options.results=FILE"
        )
    for wanted, tool in (
        ({"data", "annotations"}, "an export of Label Studio in its own JSON"),
        ({"image", "annotations"}, "a file of CreateML"),
        ({"external_id"}, "an export of Labelbox"),
        ({"data_row"}, "an export of Labelbox"),
    ):
        if wanted <= keys:
            return f"is {tool}; {_EXPORT}"
    return "is a JSON list, must be a COCO object with images, annotations and categories"


def _object_of(data: Mapping[str, Any]) -> str | None:
    """Name the tool that wrote an object that is no COCO file."""
    if {"images", "annotations"} <= set(data):
        return None
    for wanted, tool in (
        ({"shapes", "imagePath"}, "a file of Labelme, which has one image"),
        ({"_via_img_metadata"}, "a project of the VGG Image Annotator"),
        ({"items", "categories"}, "a file of Datumaro"),
        ({"objects", "size"}, "a file of Supervisely, which has one image"),
        ({"assets", "tags"}, "a project of VoTT"),
        ({"openlabel"}, "a file of OpenLABEL"),
    ):
        if wanted <= set(data):
            return tool
    if data.get("type") in ("FeatureCollection", "Feature"):
        return "a GeoJSON file"
    first = next(iter(data.values()), None)
    if isinstance(first, Mapping) and {"filename", "regions"} <= set(first):
        return "an export of the VGG Image Annotator in its own JSON"
    return None


def kind_of(value: object) -> str:
    """Give JSON's word for a value."""
    names = {dict: "object", list: "list", str: "string", type(None): "null", bool: "boolean"}
    return names.get(type(value), "number")
