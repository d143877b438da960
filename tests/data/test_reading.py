"""Bytes become JSON, or one line says what they are and what to do, with a command that works as it is printed."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import subprocess
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.data.dataset import load
from bench.data.reading import not_coco, parse_json, read_file
from bench.errors import UserError
from bench.schema.config import DatasetConfig

SET: dict[str, Any] = {
    "info": {"description": "Müller"},
    "images": [{"id": 1, "file_name": "a.png", "height": 20, "width": 30}],
    "categories": [{"id": 1, "name": "Größe"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]}],
}
TEXT = json.dumps(SET, ensure_ascii=False)


def loaded(folder: Path, content: bytes, name: str = "a.json", **keys: Any) -> Any:
    (folder / name).write_bytes(content)
    return load(DatasetConfig("mine", images=str(folder), annotations=str(folder / name), **keys))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", TEXT.encode()),
        ("a.json", TEXT.encode("utf-8-sig")),
        ("a.json.gz", gzip.compress(TEXT.encode())),
        ("no_ending", gzip.compress(TEXT.encode("utf-8-sig"))),
    ],
)
def test_utf8_with_or_without_a_mark_or_gzip_is_read(tmp_path: Path, name: str, content: bytes) -> None:
    found = loaded(tmp_path, content, name, strict=True)
    assert found.class_names == ("Größe",)
    assert found.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "latin-1", "cp1252"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_another_encoding_is_named_with_a_command_that_converts(
    tmp_path: Path, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    with pytest.raises(UserError) as caught:
        loaded(folder, pack(TEXT.encode(encoding)))
    name = (
        "WINDOWS-1252"
        if encoding in ("latin-1", "cp1252")
        else encoding.upper().replace("-LE", "LE").replace("-BE", "BE")
    )
    assert f"its text is in {name}, must be in UTF-8" in str(caught.value)
    subprocess.run(["bash", "-c", str(caught.value).partition("convert it: ")[2]], check=True)
    converted = load(DatasetConfig("mine", images=str(folder), annotations=str(folder / "a_utf8.json")))
    assert converted.class_names == ("Größe",)


def test_gzip_unpacks_no_more_than_is_allowed(tmp_path: Path) -> None:
    bomb = gzip.compress(b" " * 12_000_000 + TEXT.encode())
    assert len(bomb) < 100_000
    tracemalloc.start()
    with pytest.raises(UserError, match=r"unpacks to more than dataset\.max_json_gb=0\.001.*dataset\.max_json_gb=1$"):
        loaded(tmp_path, bomb, max_json_gb=0.001)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    assert loaded(tmp_path, bomb, max_json_gb=1).class_names == ("Größe",)


@pytest.mark.parametrize("damage", [lambda b: b[:-30], lambda b: b[:20], lambda b: b[:60] + b"xx" + b[62:]])
def test_damaged_gzip_is_told(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(UserError, match="gzip ends in the middle or is damaged"):
        loaded(tmp_path, damage(gzip.compress(TEXT.encode())))


def zipped() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("a.json", TEXT)
    return made.getvalue()


VOC = b"<annotation>\n<folder>VOC</folder><object><name>cat</name></object></annotation>"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "the file is empty"),
        (b" \n ", "the file is empty, it has 3 bytes"),
        (TEXT.encode()[:120], "it ends in the middle after 120 bytes, copy it again"),
        (TEXT.encode()[: TEXT.encode().index(b"\xc3") + 1], "it ends in the middle after"),
        (zipped(), "is a ZIP archive"),
        (bz2.compress(TEXT.encode()), "is packed with bzip2; unpack it: bunzip2 -k "),
        (lzma.compress(TEXT.encode()), "is packed with xz"),
        (b"\x89PNG\r\n\x1a\n", "is a PNG image"),
        (b"\xff\xd8\xff\xe0", "is a JPEG image"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
        (bytes(range(256)) * 9, "is a binary file"),
        (b"II*\0\x08\0\0\0", "is a binary file"),
        (b"path: ../coco\ntrain: images/train\nnames:\n  0: cat\n", "is the data.yaml of a YOLO set"),
        (b"# a set\nnames: [cat, dog]\nnc: 2\n", "is the data.yaml of a YOLO set"),
        (b"0 0.5 0.5 0.25 0.25\n1 0.1 0.2 0.3 0.4\n", "is a label file of a YOLO set"),
        (b"45 0.782016 0.986521 0.937078 0.874167 0.957297 0.782021\n", "is a label file of a YOLO set"),
        (VOC, "is a file of Pascal VOC"),
        (b'<?xml version="1.0" encoding="utf-8"?>\n' + VOC, "is a file of Pascal VOC"),
        (b'<?xml version="1.0"?>\n<annotations>\n<version>1.1</version>', "is CVAT's XML; export the task as COCO 1.0"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "is a page of the web"),
        (b"ImageID,Source,LabelName,Confidence,XMin\na,b,c,1,0.5\n", "is a CSV table"),
        (b'{"a": 1}\n{"a": 2}\n', "holds more than one JSON value, as JSON Lines do"),
        (b"{'images': 1}", "not JSON"),
        (b"[]", "is a JSON list as a COCO results file"),
        (b'[{"image_id": 1, "category_id": 1, "score": 0.5}]', "results are given as model.options.results=FILE"),
        (b'[{"id": 1, "data": {"image": "x"}, "annotations": []}]', "is an export of Label Studio"),
        (b'[{"image": "a.jpg", "annotations": []}]', "is a file of CreateML"),
        (b"[1, 2]", "is a JSON list, must be a COCO object"),
        (b"3", "is a JSON number"),
        (b'{"version": "5.1", "shapes": [], "imagePath": "a.jpg"}', "is a file of Labelme"),
        (b'{"type": "FeatureCollection", "features": []}', "is a GeoJSON file"),
        (b'{"a.jpg1234": {"filename": "a.jpg", "regions": []}}', "is an export of the VGG Image Annotator"),
        (b'{"categories": {}, "items": []}', "is a file of Datumaro"),
        (b'{"images": [], "categories": []}', "annotations is missing"),
        (b'{"images": {}, "annotations": [], "categories": []}', "images is a JSON object, must be a list"),
        (
            b'{"images": [], "annotations": [{"image_id": 1, "segments_info": []}], "categories": []}',
            "is a panoptic COCO file",
        ),
        (
            b'{"images": [], "annotations": [{"image_id": 1, "caption": "A cat"}], "categories": []}',
            "COCO file of captions",
        ),
    ],
)
def test_what_is_no_coco_file_is_named(tmp_path: Path, content: bytes, what: str) -> None:
    with pytest.raises(UserError) as caught:
        loaded(tmp_path, content)
    assert what in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'a.json'}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_folders_are_named(tmp_path: Path) -> None:
    yolo, plain = tmp_path / "yolo", tmp_path / "plain"
    (yolo / "labels").mkdir(parents=True)
    plain.mkdir()
    (plain / "instances.json").write_text("{}")
    for folder, what in ((yolo, "is the folder of a YOLO set"), (plain, r"is a directory.*instances\.json")):
        with pytest.raises(UserError, match=what):
            read_file(folder, "dataset.annotations")


def test_a_key_twice_is_refused_in_every_object() -> None:
    with pytest.raises(UserError, match="one of two values would be lost: the key 'b' stands twice"):
        parse_json(b'{"a": [{"b": 1, "b": 2}]}', Path("x"), "FILE")


def test_a_coco_file_is_not_taken_for_another_tools() -> None:
    assert not_coco(SET) is None
    assert not_coco({**SET, "shapes": [], "imagePath": "", "items": [], "type": "FeatureCollection"}) is None
    captioned = {**SET["annotations"][0], "caption": "A cat", "segments_info": []}
    assert not_coco({**SET, "annotations": [captioned]}) is None


def test_lvis_is_named(tmp_path: Path) -> None:
    data = json.loads(TEXT)
    data["images"][0].update(not_exhaustive_category_ids=[], coco_url="http://x/val2017/0139.jpg")
    with pytest.raises(UserError, match=r"is a file of LVIS \(not_exhaustive_category_ids of its images\)"):
        loaded(tmp_path, json.dumps(data).encode())
    del data["images"][0]["not_exhaustive_category_ids"], data["images"][0]["file_name"]
    data["categories"][0].update(frequency="r", image_count=1, instance_count=1)
    (tmp_path / "0139.jpg").touch()
    found = loaded(tmp_path, json.dumps(data).encode(), strict=True)
    assert found.file_names == {1: "0139.jpg"}
    assert found.images[0].path == tmp_path / "0139.jpg"
