"""YOLO sets as people have them: where their files are, what their lines mean, and what is refused in one line."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_library
from rich.console import Console
from yolo_sets import TRIANGLE, YAML, plain, write_set

from bench.cli.dataset import check_dataset
from bench.data.dataset import CocoDataset, digest, load, paths, training_split
from bench.data.images import read_image
from bench.errors import UserError
from bench.schema.config import DatasetConfig, TrainSplitConfig


def config_of(file: Path, **keys: object) -> DatasetConfig:
    made = DatasetConfig(name="yolo", format="yolo", annotations=str(file), train=TrainSplitConfig())
    for key, value in keys.items():
        setattr(made, key, value)
    return made


def loaded(file: Path, **keys: object) -> CocoDataset:
    return load(config_of(file, **keys))


def refusal(file: Path, **keys: object) -> str:
    with pytest.raises(UserError) as caught:
        loaded(file, **keys)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_polygon_is_in_pixels_of_its_own_image(tmp_path: Path) -> None:
    """A triangle from (4, 2) to (20, 10) in an image 40 wide and 20 high; an empty label file has no object."""
    dataset = loaded(plain(tmp_path))
    [annotation] = dataset.annotations
    assert annotation["segmentation"] == [pytest.approx([4, 2, 20, 2, 20, 10])]
    assert (annotation["category_id"], annotation["image_id"], annotation["iscrowd"]) == (1, "a", 0)
    assert annotation["area"] == mask_library.area(mask_library.frPyObjects([[4, 2, 20, 2, 20, 10]], 20, 40))[0]
    assert dataset.class_names == ("cat", "dog")
    assert [(i.id, i.width, i.height) for i in dataset.images] == [("a", 40, 20), ("b", 30, 30)]
    assert dataset.notes == ()


def test_a_polygon_that_joins_a_hole_stays_as_it_is_drawn(tmp_path: Path) -> None:
    """A frame: around, along a seam to the hole, around that the other way, and back. Its middle is no part of it."""
    around, hole = [(2, 2), (18, 2), (18, 18), (2, 18), (2, 2)], [(6, 6), (6, 14), (14, 14), (14, 6), (6, 6)]
    line = " ".join(f"{value / 20}" for point in [*around, *hole, (2, 2)] for value in point)
    file = write_set(tmp_path, {"images/val/1.png": (20, 20), "labels/val/1.txt": f"0 {line}\n"})
    [annotation] = loaded(file).annotations
    assert [len(part) for part in annotation["segmentation"]] == [22]
    mask = mask_library.decode(mask_library.merge(mask_library.frPyObjects(annotation["segmentation"], 20, 20)))
    assert mask[10, 10] == 0
    assert mask[4, 10] == 1
    assert annotation["area"] == mask.sum() == 16 * 16 - 8 * 8


@pytest.mark.parametrize(("exif", "size"), [("auto", (20, 40)), ("apply", (20, 40)), ("ignore", (40, 20))])
def test_shares_are_of_the_image_as_it_is_seen(tmp_path: Path, exif: str, size: tuple[int, int]) -> None:
    """Stored 40 x 20 with orientation 6: 20 wide and 40 high to whoever drew the polygon, as to Ultralytics."""
    file = write_set(tmp_path, {"labels/val/1.txt": f"0 {TRIANGLE}\n"})
    tags = Image.Exif()
    tags[0x0112] = 6
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 30:] = 255  # the right quarter, which is the lower one once it is turned
    (tmp_path / "images/val").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "images/val/1.jpg", exif=tags, quality=95)
    dataset = loaded(file, exif=exif)
    [image], [annotation] = dataset.images, dataset.annotations
    assert (image.width, image.height) == size
    assert annotation["segmentation"][0][:2] == pytest.approx([0.1 * size[0], 0.1 * size[1]])
    seen = read_image(image)
    assert seen.shape == (size[1], size[0], 3)
    assert bool(seen[-3:].mean() > 200) is (exif != "ignore")


def test_a_square_image_is_turned_too(tmp_path: Path) -> None:
    """Its size fits both ways, so that nothing but the rule says that labels are of the image as it is seen."""
    file = write_set(tmp_path, {"labels/val/1.txt": f"0 {TRIANGLE}\n"})
    tags = Image.Exif()
    tags[0x0112] = 3
    pixels = np.zeros((20, 20, 3), np.uint8)
    pixels[:10] = 255
    (tmp_path / "images/val").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "images/val/1.jpg", exif=tags)
    assert read_image(loaded(file).images[0])[-5:].mean() > 200
    assert read_image(loaded(file, exif="ignore").images[0])[:5].mean() > 200


@pytest.mark.parametrize(
    ("yaml", "classes"),
    [
        ("names: [cat, dog]", ("cat", "dog")),
        ("names:\n  1: dog\n  0: cat", ("cat", "dog")),  # by number, not by place
        ("names: [no, 007, 1.50]", ("no", "007", "1.50")),  # texts as they stand there
        ("nc: 2\nnames:\n- b\n- a", ("b", "a")),  # not by name
    ],
)
def test_names(tmp_path: Path, yaml: str, classes: tuple[str, ...]) -> None:
    dataset = loaded(plain(tmp_path, f"val: images/val\n{yaml}\n"))
    assert dataset.class_names == classes
    assert [category.id for category in dataset.categories] == list(range(len(classes)))


def test_two_classes_of_one_name(tmp_path: Path) -> None:
    """One without objects is left out, and told; two with objects are refused."""
    file = plain(tmp_path, YAML.replace("[cat, dog]", "[cat, dog, dog]"))
    assert [category.id for category in loaded(file).categories] == [0, 1]
    (tmp_path / "labels/val/b.txt").write_text(f"2 {TRIANGLE}\n")
    assert "1 category with the name of another, both with annotations" in refusal(file)


@pytest.mark.parametrize(
    ("yaml", "what"),
    [
        ("val: images/val\n", "names is missing"),
        ("val: images/val\nnames: []\n", "names is missing"),
        ("val: images/val\nnames: {0: cat, 2: dog}\n", "without gaps"),
        ("val: images/val\nnames: {1: cat, 2: dog}\n", "without gaps"),
        ("val: images/val\nnames: {a: cat}\n", "without gaps"),
        ("val: images/val\nnames: {0: cat, 0: dog}\n", "the key '0' stands twice"),
        ("val: images/val\nnames: cat\n", "must be a list or a map"),
        ("val: images/val\nnames: [[a], b]\n", "must be a list or a map"),
        ("val: images/val\nnc: 3\nnames: [cat, dog]\n", "nc is '3', and names has 2 classes"),
        ("names: [cat, dog]\ntrain: images/train\ntest:\n", r"has no val: (dataset.split=val); its splits: train"),
        ("val: images/other\nnames: [cat, dog]\n", "val: 'images/other' is no folder and no list of images in"),
        ("path: other\nval: images/none\nnames: [cat]\n", "give the folder as dataset.images=DIR"),
        ("val: labels/val\nnames: [cat, dog]\n", "no image file"),
        ("val: images/val\nnames: [cat, dog]\nkpt_shape: [17, 2]\n", "its labels are poses"),
        ("val: [images/val\n", "is no YAML"),
        ("- a\n", "must be the data.yaml"),
        ('{"images": []}', "give dataset=coco"),
        ("0 0.1 0.1 0.5 0.1 0.5 0.5\n", "is a label file"),
        ("a: &a [x]\nval: *b\n", "is no YAML"),
    ],
)
def test_a_wrong_data_yaml_is_refused(tmp_path: Path, yaml: str, what: str) -> None:
    message = refusal(plain(tmp_path, yaml))
    assert what in message
    assert str(tmp_path) in message


@pytest.mark.parametrize(
    ("labels", "kind", "place"),
    [
        (
            f"2 {TRIANGLE}",
            "1 line with a class that names in data.yaml does not have",
            "labels/val/a.txt:1 class 2 of 2",
        ),
        (f"-1 {TRIANGLE}", "1 line with a class", "class -1 of 2"),
        ("0 0.1 0.1 1.5 0.1 0.5 0.5", "1 line with a coordinate below -0.01 or above 1.01", "a.txt:1 1.5"),
        ("0 0.1 0.1 -0.2 0.1 0.5 0.5", "1 line with a coordinate below -0.01 or above 1.01", "a.txt:1 -0.2"),
        ("0 0.1 0.1 1.0101 0.1 0.5 0.5", "; divide pixels by these, and cut polygons off at the", "a.txt:1 1.0101"),
        ("0 0.1 -0.0101 0.5 0.1 0.5 0.5", "1 line with a coordinate below -0.01", "a.txt:1 -0.0101"),
        ("0 10 10 30 10 30 15", "1 line with a coordinate", "a.txt:1 30"),  # in pixels
        (f"0 {TRIANGLE}\n\n1 0.5 0.5 0.2 0.2", "1 line with a box and no polygon: give the labels of a", "a.txt:3"),
        ("0 0.5 0.5 0.2 0.2 0.9", "1 line of label files in another form", "0.2 0.9"),  # a box and its score
        (f"0 {TRIANGLE} 0.9", "1 line of label files in another form", "0.9"),  # a polygon and its score
        ("0 0.1 0.1", "1 line of label files in another form", "a.txt:1 '0 0.1 0.1'"),
        (f"0.5 {TRIANGLE}", "1 line of label files in another form", "0.5"),
        (f"cat {TRIANGLE}", "1 line of label files in another form", "cat"),
        (f"0 {TRIANGLE} nan nan", "1 line of label files in another form", "nan"),
    ],
)
def test_a_wrong_line_is_refused_with_its_place(tmp_path: Path, labels: str, kind: str, place: str) -> None:
    message = refusal(plain(tmp_path, labels=labels))
    assert kind in message
    assert place in message


def test_a_coordinate_a_little_beyond_the_edge_is_clipped_and_told(tmp_path: Path) -> None:
    """As tools round it; the image is 40 wide and 20 high."""
    file = plain(tmp_path, labels="0 0.5 0.5 1.0002 0.5 1.01 1\n0 -0.01 0 0.5 0 0.5 1.005\n0 0 0 1 0 1 1\n")
    dataset = loaded(file)
    outlines = [annotation["segmentation"] for annotation in dataset.annotations]
    assert outlines == [[[20, 10, 40, 10, 40, 20]], [[0, 0, 20, 0, 20, 20]], [[0, 0, 40, 0, 40, 20]]]
    assert dataset.notes == (
        "2 lines with a coordinate up to 0.01 beyond the edge of the image: clipped to the edge "
        "(labels/val/a.txt:1 1.01, labels/val/a.txt:2 -0.01)",
    )
    assert "dataset.strict=true refuses what would be repaired: 2 lines with a coordinate" in refusal(file, strict=True)


def test_a_finding_of_any_stage_names_the_line(tmp_path: Path) -> None:
    """Outlines of no area are found by hotcoco's health check, and boxes are repaired; empty lines count."""
    flat = "0 0.1 0.1 0.1 0.1 0.1 0.1"
    file = plain(tmp_path, labels=f"\n{flat}\n0 {TRIANGLE}\n\n1 0.5 0.5 0.2 0.4\n{flat}\n")
    console = Console(file=io.StringIO(), width=400)
    assert check_dataset(file, None, config_of(file, without_mask="ignore"), console) == 0
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "degenerate bboxes (width or height <= 0) (labels/val/a.txt:2, labels/val/a.txt:6)" in text
    [ignored] = [note for note in loaded(file, without_mask="ignore").notes if "box" in note]
    assert ignored.endswith("(labels/val/a.txt:5)")
    assert "annotations[" not in text + ignored


def test_images_that_share_a_label_file_are_told(tmp_path: Path) -> None:
    """Ultralytics reads one file for both too."""
    file = plain(tmp_path)
    Image.new("RGB", (40, 20)).save(tmp_path / "images/val/a.jpg")
    dataset = loaded(file)
    assert [annotation["image_id"] for annotation in dataset.annotations] == ["images/val/a.jpg", "images/val/a.png"]
    [note] = dataset.notes
    assert note.startswith("2 images that share a label file: the same objects count in each of them; ")
    assert note.endswith("(images/val/a.jpg of labels/val/a.txt, images/val/a.png of labels/val/a.txt)")


def test_boxes_are_left_out_or_ignored_as_asked(tmp_path: Path) -> None:
    """The box lies from (16, 6) to (24, 14)."""
    file = plain(tmp_path, labels=f"1 {TRIANGLE}\n0 0.5 0.5 0.2 0.4\n")
    assert [a["category_id"] for a in loaded(file, without_mask="drop").annotations] == [1]
    kept, ignored = loaded(file, without_mask="ignore").annotations
    assert (kept["iscrowd"], ignored["iscrowd"], ignored["bbox"], ignored["area"]) == (0, 1, [16, 6, 8, 8], 64)


def test_an_image_without_a_label_file_is_counted(tmp_path: Path) -> None:
    file = plain(tmp_path)
    (tmp_path / "labels/val/b.txt").unlink()
    (tmp_path / "labels/val/lost.txt").write_text("")
    (tmp_path / "labels/val/classes.txt").write_text("cat\ndog\n")
    no_label, alone = loaded(file).notes
    assert no_label.startswith("1 image without a label file: they count as images without objects")
    assert no_label.endswith("(labels/val/b.txt)")
    assert alone.startswith("1 label without an image: ")
    assert alone.endswith("(labels/val/lost.txt)")


def test_a_split_without_any_label_is_refused(tmp_path: Path) -> None:
    file = plain(tmp_path)
    shutil.rmtree(tmp_path / "labels")
    assert "2 images without a label file, all of the split: " in refusal(file)


def test_images_that_are_trained_on_too_are_told(tmp_path: Path) -> None:
    """As coco128.yaml, whose val: is its train:."""
    file = plain(tmp_path, YAML.replace("val: images/val", "val: [images/val, images/train]"))
    [note] = loaded(file).notes
    assert note.startswith("1 image that belongs to train: too: the AP of a model that was trained on them")
    assert note.endswith("(t.png)")
    assert loaded(file, split="train").notes == ()


@pytest.mark.parametrize("file_name", ["val.txt", "lists/val.txt"])
def test_a_list_names_images_from_its_folder_or_the_set(tmp_path: Path, file_name: str) -> None:
    file = plain(tmp_path, YAML.replace("val: images/val", f"val: {file_name}"))
    start = "./" if file_name == "val.txt" else "./../"
    listed = f"{start}images/val/b.png\nimages/val/a.png\n\n{tmp_path}/images/val/b.png\n"
    (tmp_path / file_name).parent.mkdir(exist_ok=True)
    (tmp_path / file_name).write_text(listed)
    dataset = loaded(file)
    assert [image.id for image in dataset.images] == ["a", "b"]
    assert dataset.notes == ("1 image that the lists of a split name again: read once (b.png)",)
    (tmp_path / file_name).write_text(listed + "images/val/gone.png\n")
    assert "1 image whose file is absent" in refusal(file)


def test_a_list_may_not_lead_out_of_the_set_unless_it_is_trusted(tmp_path: Path) -> None:
    file = plain(tmp_path / "set", YAML.replace("val: images/val", "val: val.txt"))
    Image.new("RGB", (30, 30)).save(tmp_path / "secret.png")
    (tmp_path / "secret.txt").write_text("")
    (tmp_path / "set/val.txt").write_text(f"images/val/a.png\n{tmp_path}/secret.png\n")
    assert "1 image outside the image folder" in refusal(file)
    assert [image.id for image in loaded(file, allow_outside=True).images] == ["a", "secret"]


@pytest.mark.parametrize(
    ("yaml_at", "path"),
    [
        ("set/data.yaml", None),
        ("set/data.yaml", "."),
        ("data.yaml", "set"),
        ("cfg/data.yaml", "../set"),
        ("cfg/data.yaml", "{root}/set"),
        ("cfg/data.yaml", "set"),  # from the current folder
    ],
)
def test_path_leads_where_ultralytics_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, yaml_at: str, path: str | None
) -> None:
    plain(tmp_path / "set")
    entry = "" if path is None else f"path: {path.format(root=tmp_path)}\n"
    (tmp_path / "cfg").mkdir()
    (tmp_path / yaml_at).write_text(f"{entry}val: images/val\nnames: [cat, dog]\n")
    monkeypatch.chdir(tmp_path)
    config = config_of(Path(yaml_at))
    dataset = load(config)
    assert [image.id for image in dataset.images] == ["a", "b"]
    assert [len(dataset.annotations), *dataset.notes] == [1]
    assert paths(config)[0] == tmp_path / "set"


def test_roboflow_writes_one_folder_too_many(tmp_path: Path) -> None:
    files = {"valid/images/a.png": (40, 20), "valid/labels/a.txt": f"0 {TRIANGLE}\n"}
    file = write_set(tmp_path / "set", files, "train: ../train/images\nval: ../valid/images\nnames: [cat]\n")
    assert len(loaded(file).annotations) == 1


def test_a_set_that_was_moved_is_read_where_it_is(tmp_path: Path) -> None:
    read = f"'.../set' is absent, {tmp_path.name!r} is read"
    file = plain(tmp_path, YAML.replace("path: .", "path: /home/of/someone/set"))
    [note] = loaded(file).notes
    assert note.startswith("1 folder that path: in data.yaml names and this machine lacks: ")
    assert note.endswith(f": the folder of data.yaml is read in its place, or dataset.images ({read})")
    assert "someone" not in note
    assert loaded(file, images=str(tmp_path)).notes == (note,)
    assert "no such folder (dataset.images" in refusal(file, images=str(tmp_path / "gone"))


def test_two_meanings_of_path_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = plain(tmp_path / "a", YAML.replace("path: .", "path: set"))
    plain(tmp_path / "a/set")
    plain(tmp_path / "b/set")
    monkeypatch.chdir(tmp_path / "b")
    assert "has two meanings" in (message := refusal(file))
    assert message.endswith("give one of them as dataset.images=DIR")
    assert [image.path.parents[2] for image in loaded(file, images="set").images] == [tmp_path / "b/set"] * 2


def test_images_of_one_name_in_two_folders(tmp_path: Path) -> None:
    labels = {"labels/val/x/1.txt": f"0 {TRIANGLE}", "labels/val/y/1.txt": f"1 {TRIANGLE}"}
    file = write_set(tmp_path, {"images/val/x/1.png": (40, 20), "images/val/y/1.png": (20, 20), **labels})
    dataset = loaded(file)
    assert [(a["image_id"], a["category_id"]) for a in dataset.annotations] == [
        ("images/val/x/1.png", 0),
        ("images/val/y/1.png", 1),
    ]


def test_the_set_to_train_on_is_of_the_same_file(tmp_path: Path) -> None:
    config = training_split(config_of(plain(tmp_path)))
    assert [(image.id, image.path.parent.name) for image in load(config).images] == [("t", "train")]
    config = training_split(config_of(tmp_path / "data.yaml", train=TrainSplitConfig(split="learn")))
    with pytest.raises(UserError, match=r"has no learn: \(dataset\.train\.split=learn\)"):
        load(config)


def test_the_digest_is_of_the_labels_and_not_of_the_place(tmp_path: Path) -> None:
    one, other = loaded(plain(tmp_path / "one")), loaded(plain(tmp_path / "other"))
    assert (one.sha256, digest(one)) == (other.sha256, digest(other))
    (tmp_path / "other/labels/val/b.txt").write_text(f"0 {TRIANGLE}\n")
    assert loaded(tmp_path / "other/data.yaml").sha256 != one.sha256
    renamed = plain(tmp_path / "renamed", YAML.replace("cat", "cow"))
    assert loaded(renamed).sha256 != one.sha256


def test_damaged_images_are_told_with_the_labels_problems(tmp_path: Path) -> None:
    file = plain(tmp_path)
    (tmp_path / "images/val/b.png").write_bytes(b"no image")
    assert "1 image that is truncated or damaged" in refusal(file)


def test_limit_keeps_the_first_images(tmp_path: Path) -> None:
    dataset = loaded(plain(tmp_path), limit=1)
    assert ([image.id for image in dataset.images], dataset.total_images) == (["a"], 2)
