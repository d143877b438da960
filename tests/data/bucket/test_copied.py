"""Tests of data sets in a bucket, as fsspec has in memory: copied once, whole or not at all, and read here."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import known_implementations

from bench.data.bucket import copied
from bench.data.bucket.copied import COPIED, local_copy
from bench.data.dataset import digest, load, paths
from bench.errors import UserError
from bench.jobs.plan import _check_dataset
from bench.schema.config import DatasetConfig
from bench.schema.result import read_result

SET = "memory://shop/coco"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "datasets"


@pytest.fixture
def local(bright_squares: list[str]) -> DatasetConfig:
    """The bright squares on this machine."""
    given = dict(argument.split("=", 1) for argument in bright_squares)
    return DatasetConfig("coco", given["dataset.images"], given["dataset.annotations"])


@pytest.fixture
def bucket(local: DatasetConfig) -> Iterator[MemoryFileSystem]:
    """The same in a bucket, with a file in a folder below the images."""
    system = fsspec.filesystem("memory")
    system.put(str(local.images), "/shop/coco/images", recursive=True)
    system.put(str(local.annotations), "/shop/coco/annotations.json")
    system.pipe("/shop/coco/images/below/more.txt", b"more")
    yield system
    system.rm("/shop", recursive=True)


@pytest.fixture
def gets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What has been copied out of the bucket."""
    got: list[str] = []
    plain = MemoryFileSystem.get_file

    def get_file(self: Any, rpath: str, *rest: Any, **more: Any) -> None:
        got.append(rpath)
        plain(self, rpath, *rest, **more)

    monkeypatch.setattr(MemoryFileSystem, "get_file", get_file)
    return got


def remote() -> DatasetConfig:
    return DatasetConfig("coco", f"{SET}/images", f"{SET}/annotations.json")


@pytest.mark.usefixtures("bucket")
def test_the_set_is_that_of_the_files_and_is_copied_once(local: DatasetConfig, gets: list[str], cache: Path) -> None:
    here, there = load(local), load(remote())
    assert digest(there) == digest(here)
    assert there.annotations == here.annotations
    for one, other in zip(there.images, here.images, strict=True):
        assert one.path.is_relative_to(cache)
        assert one.path.read_bytes() == other.path.read_bytes()
    assert len(gets) == len(set(gets)) == 6
    load(remote())
    assert len(gets) == 6
    images, _ = paths(remote())
    assert images is not None
    assert (images / "below" / "more.txt").read_bytes() == b"more"


def test_a_file_that_has_changed_is_another_copy(bucket: MemoryFileSystem) -> None:
    before, _ = paths(remote())
    content = bucket.cat("/shop/coco/images/1.png")
    bucket.pipe("/shop/coco/images/1.png", content[:-1] + b"x")  # of the same size
    after, _ = paths(remote())
    assert before is not None
    assert after is not None
    assert before != after
    assert (before / "1.png").read_bytes() == content
    assert (after / "1.png").read_bytes() != content


def test_what_was_cut_off_goes_on(
    bucket: MemoryFileSystem, gets: list[str], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    """A file that came half, and one that never came: nothing stands under the name of the copy until all are there."""
    counted = MemoryFileSystem.get_file

    def half(self: Any, rpath: str, lpath: str, *rest: Any, **more: Any) -> None:
        if rpath.endswith("3.png"):
            Path(lpath).write_bytes(bucket.cat(rpath)[:20])
            raise ConnectionResetError("the line is dead\nand more")
        counted(self, rpath, lpath, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "get_file", half)
        with pytest.raises(UserError) as told:
            local_copy(f"{SET}/images", "dataset.images", folder=True)
    assert str(told.value) == f"dataset.images={SET}/images: cannot be read: the line is dead and more"
    assert [path.name for path in cache.iterdir() if not path.name.startswith(".")] == []
    assert len(gets) == 2
    images = local_copy(f"{SET}/images", "dataset.images", folder=True)
    assert sorted(Path(name).name for name in gets[2:]) == ["3.png", "4.png", "more.txt"]
    assert (images / "3.png").read_bytes() == bucket.cat("/shop/coco/images/3.png")
    assert [path.name for path in cache.iterdir() if path.name.endswith(".part")] == []


@pytest.mark.usefixtures("bucket")
def test_the_progress_is_told_in_bytes(local: DatasetConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copied, "FILES_AT_ONCE", 2)
    sizes = [path.stat().st_size for path in sorted(Path(str(local.images)).iterdir())]
    told: list[tuple[int, int]] = []
    for _ in range(2):
        local_copy(f"{SET}/images", "dataset.images", folder=True, progress=lambda *both: told.append(both))
    whole = sum(sizes) + len(b"more")
    assert told == [(0, whole), (sum(sizes[:2]), whole), (sum(sizes[:4]), whole)]


def test_a_row_is_planned_on_one_listing(bucket: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the bucket asked again after the set was read, a change in between would give the row other images."""
    plain, listings = MemoryFileSystem.find, []

    def find(self: Any, path: str, **more: Any) -> Any:
        listings.append(path)
        return plain(self, path, **more)

    monkeypatch.setattr(MemoryFileSystem, "find", find)
    resolved = _check_dataset(remote(), {}).config
    assert len(listings) == 1
    assert resolved.images is not None
    assert (Path(resolved.images) / "1.png").read_bytes() == bucket.cat("/shop/coco/images/1.png")


@pytest.mark.usefixtures("bucket")
def test_fewer_bytes_than_are_listed_are_no_copy(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(MemoryFileSystem, "get_file", lambda self, rpath, lpath, **_: Path(lpath).write_bytes(b"x"))
    with pytest.raises(UserError, match=r"1\.png has \d+ bytes there, and 1 were copied; run again"):
        local_copy(f"{SET}/images", "dataset.images", folder=True)
    assert not list(cache.glob(f"*/{COPIED}"))


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("change", ["bytes", "absent", "record"])
def test_a_copy_that_is_no_longer_what_was_copied_is_refused(change: str) -> None:
    images = local_copy(f"{SET}/images", "dataset.images", folder=True)
    picture = images / "2.png"
    if change == "bytes":
        content = bytearray(picture.read_bytes())
        content[-20] ^= 1
        picture.write_bytes(content)
    elif change == "absent":
        picture.unlink()
    else:
        (images.parent / COPIED).write_text("{}")
    with pytest.raises(UserError) as told:
        local_copy(f"{SET}/images", "dataset.images", folder=True)
    said = f"{images.parent} is no longer what was copied; delete that folder and run again"
    assert str(told.value) == f"dataset.images={SET}/images: {said}"
    shutil.rmtree(images.parent)  # as the line says
    assert local_copy(f"{SET}/images", "dataset.images", folder=True) == images


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize(
    ("address", "folder", "told"),
    [
        ("memory://shop/nowhere", True, "no such file, folder or bucket"),
        ("memory://other/coco/a.json", False, "no such file, folder or bucket"),
        (f"{SET}/annotations.json", True, "is a file, must be a folder"),
        (f"{SET}/images", False, "is a folder, must be a file"),
        ("nothing://shop/coco", True, "cannot be read: Protocol not known: nothing"),
    ],
)
def test_what_cannot_be_had_is_told_in_a_line(address: str, folder: bool, told: str, cache: Path) -> None:
    with pytest.raises(UserError) as error:
        local_copy(address, "dataset.images", folder=folder)
    assert str(error.value) == f"dataset.images={address}: {told}"
    assert not cache.exists()


def test_a_protocol_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its class is imported when it is asked for, and fsspec names the package; no password is repeated."""
    monkeypatch.setitem(known_implementations, "far", {"class": "farfs.Far", "err": "Install farfs"})
    with pytest.raises(UserError) as error:
        local_copy("far://me:pass-word@shop/coco", "dataset.images", folder=True)
    assert str(error.value) == "dataset.images=far://shop/coco: cannot be read: Install farfs"


@pytest.mark.usefixtures("bucket")
def test_without_fsspec_the_line_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(UserError, match=r"needs a package that is not here: pip install fsspec$"):
        local_copy(f"{SET}/images", "dataset.images", folder=True)


@pytest.mark.usefixtures("bucket")
def test_a_disk_without_room_is_told_before_anything_is_copied(
    gets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copied, "_room", lambda folder: copied.RESERVE_BYTES + 100)
    with pytest.raises(UserError, match=r"has 0\.0 GB, and .* has room for 0\.0 GB; set MASKBENCH_CACHE to a folder"):
        local_copy(f"{SET}/images", "dataset.images", folder=True)
    assert gets == []


@pytest.mark.parametrize("name", ["../../stolen.png", "a/../../stolen.png"])
def test_no_name_leads_out_of_the_copy(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    found = {f"{tmp_path}/in/{name}": {"type": "file", "size": 3, "mtime": 1.0}}
    monkeypatch.setattr(LocalFileSystem, "find", lambda *_, **__: found)
    with pytest.raises(UserError, match=r"stolen\.png is no name for a file of a copy"):
        local_copy(f"file://{tmp_path}/in", "dataset.images", folder=True)


def test_a_bucket_that_does_not_say_when_files_change_is_refused(
    bucket: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {path: {"type": "file", "size": 3} for path in bucket.find("/shop/coco/images")}
    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "find", lambda *_, **__: found)
        with pytest.raises(UserError) as told:
            local_copy(f"{SET}/images", "dataset.images", folder=True)
    assert "neither a digest of 1.png nor when it was changed, so a change would not be seen" in str(told.value)


def test_a_yolo_set_is_refused() -> None:
    with pytest.raises(UserError, match=r"dataset\.annotations=s3://shop/data\.yaml: a data\.yaml names folders of"):
        paths(DatasetConfig("yolo", None, "s3://shop/data.yaml", format="yolo"))


def test_a_row_of_a_bucket_is_that_of_the_files(
    local: DatasetConfig, run_command: Callable[..., Any], environment: dict[str, str], tmp_path: Path
) -> None:
    """The command reads a bucket, and finds the row again with the files of this machine: the job has one name."""
    copy = tmp_path / "shop"
    copy.mkdir()
    shutil.copytree(str(local.images), copy / "images")
    shutil.copy(str(local.annotations), copy / "annotations.json")
    content = json.loads((copy / "annotations.json").read_text())
    results = [
        {"image_id": each["image_id"], "category_id": 7, "score": 0.9, "segmentation": each["segmentation"]}
        for each in content["annotations"]
    ]
    (tmp_path / "results.json").write_text(json.dumps(results))
    replay = ["model=replay", f"model.options.results={tmp_path / 'results.json'}", "dataset=coco", "device=cpu"]
    replay.append(f"out={tmp_path / 'out'}")
    far = run_command(
        *replay, f"dataset.images=file://{copy}/images", f"dataset.annotations=file://{copy}/annotations.json"
    )
    assert far.returncode == 0, far.stdout + far.stderr
    [path] = tmp_path.glob("out/jobs/*/result.json")
    assert (read_result(path).status, str(tmp_path) in path.read_text()) == ("ok", False)
    near = run_command(*replay, f"dataset.images={local.images}", f"dataset.annotations={local.annotations}")
    assert "measured before" in near.stdout, near.stdout + near.stderr
    assert os.listdir(Path(environment["MASKBENCH_CACHE"]) / "datasets")
