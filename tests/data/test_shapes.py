from __future__ import annotations

import collections
import hashlib
import json
import math
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.data import dataset
from bench.data.shapes import generate as shapes
from bench.data.shapes import geometry as geometry
from bench.errors import UserError
from bench.schema.config import DatasetConfig, ShapesConfig


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    start = time.perf_counter()
    made = shapes.ensure(ShapesConfig(cache=str(tmp_path_factory.mktemp("shapes"))))
    assert time.perf_counter() - start < 5 * 3, "50 images should take under 5 s; 3 times that on a busy machine"
    return made


@pytest.fixture(scope="module")
def coco(files: tuple[Path, Path]) -> Any:
    from pycocotools.coco import COCO

    return COCO(str(files[1]))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_set_passes_every_check(files: tuple[Path, Path]) -> None:
    loaded = dataset.load(DatasetConfig(name="shapes", images=str(files[0]), annotations=str(files[1])))
    dataset.check_images(loaded)
    assert loaded.class_names == ("circle", "square", "triangle", "star", "ring", "bar")
    assert len(loaded.images) == 50
    assert {Image.open(image.path).format for image in loaded.images} == {"JPEG"}


def test_area_and_box_are_those_of_the_visible_mask(coco: Any) -> None:
    for annotation in coco.dataset["annotations"]:
        mask = coco.annToMask(annotation)
        assert annotation["area"] == mask.sum()
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        x, y, width, height = annotation["bbox"]
        assert (x, y) == (columns[0], rows[0])
        assert (x + width, y + height) == (columns[-1] + 1, rows[-1] + 1)


def test_a_pixel_belongs_to_one_instance_at_most(coco: Any) -> None:
    touching = 0
    for image in coco.imgs.values():
        total, labels = np.zeros((2, image["height"], image["width"]), dtype=int)
        for annotation in coco.loadAnns(coco.getAnnIds(image["id"])):
            mask = coco.annToMask(annotation).astype(bool)
            total += mask
            labels[mask] = annotation["id"]
        assert total.max() <= 1
        left, right = labels[:, :-1], labels[:, 1:]
        touching += bool(((left != right) & (left > 0) & (right > 0)).any())
    assert touching >= 10


def test_the_set_has_all_that_it_should_have(coco: Any) -> None:
    annotations = coco.dataset["annotations"]
    instances = [a for a in annotations if not a["iscrowd"]]
    sizes = collections.Counter(dataset_bucket(a["area"]) for a in instances)
    assert min(sizes[s] for s in ("small", "medium", "large")) >= 20, sizes
    per_class = collections.Counter(a["category_id"] for a in instances)
    assert min(per_class[category] for category in range(1, 7)) >= 20, per_class
    crowds = [a for a in annotations if a["iscrowd"]]
    assert len(crowds) >= 4
    assert all(isinstance(a["segmentation"]["counts"], str) for a in crowds)
    forms = collections.Counter(type(a["segmentation"]) for a in instances)
    assert min(forms[list], forms[dict]) >= 30, forms
    empty = [i for i in coco.imgs if not coco.getAnnIds(i)]
    assert empty == [7, 19, 31, 43]
    orientation = collections.Counter(i["height"] > i["width"] for i in coco.imgs.values())
    assert min(orientation.values()) >= 10
    assert {s for i in coco.imgs.values() for s in (i["height"], i["width"])} <= set(range(200, 421))


def dataset_bucket(area: int) -> str:
    return "small" if area < 1024 else "medium" if area < 9216 else "large"


@pytest.mark.parametrize("radius", [10.0, 25.5, 60.0])
def test_a_circle_covers_its_area_and_no_pixel_far_from_it(radius: float) -> None:
    outline = geometry.outline("circle", 80.3, 70.6, radius, 0.0)
    mask = geometry.rasterise(outline, 150, 160)
    assert mask.sum() == pytest.approx(math.pi * radius**2, rel=0.02)
    y, x = np.mgrid[0:150, 0:160] + 0.5
    distance = np.hypot(x - 80.3, y - 70.6)
    assert mask[distance < radius - 1.5].all()
    assert not mask[distance > radius + 1.5].any()


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        ("square", 2 * 40**2),
        ("triangle", 3 * math.sqrt(3) / 4 * 40**2),
        # Ten triangles of the centre, a tip and a notch.
        ("star", 10 * 0.5 * 40 * 18 * math.sin(math.pi / 5)),
        # A rectangle with this diagonal and sides as 1 to 0.12.
        ("bar", 80**2 * 0.12 / (1 + 0.12**2)),
    ],
)
def test_shapes_have_the_area_of_their_formula(shape: str, area: float) -> None:
    mask = geometry.rasterise(geometry.outline(shape, 70.0, 70.0, 40.0, 0.7), 140, 140)
    assert mask.sum() == pytest.approx(area, rel=0.03)


def test_rings_have_holes(coco: Any) -> None:
    """An unoccluded ring: its mask does not hold the middle of its box, and its area is that of a ring."""
    found = 0
    for annotation in coco.dataset["annotations"]:
        x, y, width, height = annotation["bbox"]
        if annotation["category_id"] != 5 or annotation["iscrowd"] or width < 20 or abs(width - height) > 1:
            continue
        if abs(annotation["area"] / (math.pi * (width / 2) ** 2 * (1 - 0.55**2)) - 1) < 0.06:
            found += 1
            assert coco.annToMask(annotation)[int(y + height / 2), int(x + width / 2)] == 0
    assert found >= 5


def test_an_instance_hidden_almost_wholly_is_dropped_and_hides_nothing() -> None:
    front, middle, back = (np.zeros((40, 40), dtype=bool) for _ in range(3))
    front[:, :20] = True
    middle[:, 5:22] = True
    back[:, 10:40] = True
    items = [shapes.Item(0, mask, [0.0] * 6, (0, 0), 1) for mask in (back, middle, front)]
    visible = shapes.visible_items(items)
    assert [item.mask.sum() for item in visible] == [20 * 40, 20 * 40]
    assert [item.polygon is None for item in visible] == [True, False]


def test_the_same_seed_gives_the_same_annotations_and_pixels(tmp_path: Path, files: tuple[Path, Path]) -> None:
    images, annotations = shapes.ensure(ShapesConfig(cache=str(tmp_path)))
    assert digest(annotations) == digest(files[1])
    assert [digest(p) for p in sorted(images.iterdir())] == [digest(p) for p in sorted(files[0].iterdir())]


ANNOTATIONS_SHA256 = "f7b6acea1c82445f1555c4c6914f5ad2658f9929614c56cec6e9a4a760463f7c"


def test_the_annotations_are_the_same_on_every_machine(files: tuple[Path, Path]) -> None:
    """Guards against libraries whose random numbers or masks change; a wanted change raises ``shapes.VERSION``."""
    assert digest(files[1]) == ANNOTATIONS_SHA256


def test_hotcoco_and_pycocotools_make_the_same_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for name in ("hotcoco", "pycocotools"):
        library = pytest.importorskip(f"{name}.mask" if name == "pycocotools" else name)
        library = getattr(library, "mask", library)
        for room in (shapes, geometry):
            monkeypatch.setattr(room, "mask_library", lambda library=library: library)
        digests.add(digest(shapes.ensure(ShapesConfig(count=12, cache=str(tmp_path / name)))[1]))
    assert len(digests) == 1


def test_images_of_a_seed_do_not_depend_on_their_number(tmp_path: Path, files: tuple[Path, Path]) -> None:
    _, few = shapes.ensure(ShapesConfig(count=5, cache=str(tmp_path)))
    all_images = json.loads(files[1].read_text())
    five = json.loads(few.read_text())
    assert five["annotations"] == [a for a in all_images["annotations"] if a["image_id"] <= 5]


def test_splits_and_seeds_share_no_image(tmp_path: Path) -> None:
    seen: set[str] = set()
    for split, seed in (("val", 0), ("train", 0), ("val", 1), ("train", 1)):
        images, _ = shapes.ensure(ShapesConfig(split=split, count=4, seed=seed, cache=str(tmp_path)))
        seen |= {digest(path) for path in images.iterdir()}
    assert len(seen) == 16


def ensure_in(cache: str) -> str:
    return str(shapes.ensure(ShapesConfig(count=6, cache=cache))[1])


def test_two_processes_at_once_end_with_one_whole_set(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        first, second = pool.map(ensure_in, [str(tmp_path)] * 2, chunksize=1)
    assert first == second
    assert [path.name for path in tmp_path.iterdir()] == [Path(first).parent.name]
    assert len(list((Path(first).parent / "images").iterdir())) == 6


def test_the_cache_is_found_by_key_then_by_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "environment"))
    images, annotations = shapes.ensure(ShapesConfig(count=1))
    assert annotations == tmp_path / "environment" / "shapes" / f"val-1-seed0-v{shapes.VERSION}" / "instances.json"
    assert images == annotations.parent / "images"
    written = annotations.stat().st_mtime_ns
    shapes.ensure(ShapesConfig(count=1))
    assert annotations.stat().st_mtime_ns == written
    assert shapes.ensure(ShapesConfig(count=1, cache=str(tmp_path / "key")))[1].is_relative_to(tmp_path / "key")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"count": 0}, r"dataset\.shapes\.count=0"),
        ({"seed": -1}, r"dataset\.shapes\.seed=-1"),
        ({"split": "../val"}, r"dataset\.shapes\.split='../val'"),
        ({"cache": "/proc/nowhere"}, r"give dataset\.shapes\.cache=DIR or set MASKBENCH_CACHE"),
    ],
)
def test_bad_keys(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        shapes.ensure(ShapesConfig(**{"count": 1, "cache": str(tmp_path), **keys}))
