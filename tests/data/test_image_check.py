"""Tests of the check of a set's image files: what is a problem, what is a note, and the keys that the lines print."""

from __future__ import annotations

import io
import os
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.data import image_check
from bench.data.dataset import CocoDataset
from bench.data.findings import Findings, Kind
from bench.data.image_check import check_images
from bench.data.images import ABSENT_FILE, ImageRecord, Reading, read_image
from bench.data.names import OUTSIDE
from bench.data.pixels import ImageFileError

HEIGHT, WIDTH = 24, 36
RAMP = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)


def dataset(folder: Path, size: tuple[int, int] = (HEIGHT, WIDTH), **reading: Any) -> CocoDataset:
    """The files of a folder in the order of their names, with the ids 11, 12, ..."""
    paths = sorted(folder.iterdir())
    records = tuple(ImageRecord(11 + i, path, *size, Reading(**reading)) for i, path in enumerate(paths))
    names = {record.id: record.path.name for record in records}
    return CocoDataset("", Path("a.json"), records, len(records), (), [], "", names)


def lines(folder: Path, **reading: Any) -> tuple[list[str], list[str]]:
    """The lines of the problems and of the notes."""
    findings = Findings()
    check_images(dataset(folder, **reading), findings)
    found = ([one.line() for one in findings.problems()], [one.line() for one in findings.notes()])
    return tuple([re.sub("^1 images", "1 image", line) for line in some] for some in found)


def photograph(seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def oriented(path: Path, orientation: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    photograph().resize(size).save(path, exif=exif)


def test_problems_are_told_by_kind_with_their_first_places(tmp_path: Path) -> None:
    for number in range(5):
        photograph().resize((WIDTH, HEIGHT + 1)).save(tmp_path / f"a{number}.png")
    photograph().save(tmp_path / "b.jpg")
    (tmp_path / "b.jpg").write_bytes((tmp_path / "b.jpg").read_bytes()[:-100])
    (tmp_path / "c.png").write_bytes(b"no image")
    problems, notes = lines(tmp_path)
    assert notes == []
    other = "has 25 x 36 pixels (height x width), the annotation file says 24 x 36"
    problems[1] = re.sub(r"[0-9]+ bytes", "14 bytes", problems[1])
    assert problems == [
        "5 images of another size than in the annotation file: give the images that were annotated, or the annotations "
        f"of these (a0.png (id 11) {other}, a1.png (id 12) {other}, a2.png (id 13) {other}, ...)",
        "1 image that is truncated or damaged: copy them again (b.jpg (id 16) is truncated or damaged (image file is "
        "truncated (14 bytes not processed)))",
        "1 files that are no image that Pillow can read: convert them to PNG or JPEG (c.png (id 17) is not an image "
        "that Pillow can read)",
    ]


def test_absent_files_are_told_with_the_cause(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.PNG"):
        photograph().save(tmp_path / name)
    checked = dataset(tmp_path)
    checked.file_names = {11: "a.png", 12: "b.png", 13: "c.png"}
    checked.images = (*checked.images[:2], ImageRecord(13, tmp_path / "c.png", HEIGHT, WIDTH))
    findings = Findings()
    check_images(checked, findings)
    (problem,) = findings.problems()
    assert (problem.kind.name, problem.count, problem.examples) == (
        "absent_file",
        1,
        ["c.png (id 13) no such image file"],
    )
    assert problem.kind.then == (
        f"2 of 3 are in {tmp_path}; names and files differ in capitals: 'c.png' and 'c.PNG'; write both alike"
    )


def test_what_follows_from_a_name_is_not_told(tmp_path: Path) -> None:
    findings = Findings()
    findings.problem(OUTSIDE, "image 11: '/a.png'")
    photograph().save(tmp_path / "a.png")
    checked = dataset(tmp_path)
    (tmp_path / "a.png").unlink()
    check_images(checked, findings)
    assert [problem.kind for problem in findings.problems()] == [OUTSIDE]


def test_a_set_without_an_image_folder_has_nothing_to_check(tmp_path: Path) -> None:
    findings = Findings()
    checked = dataset(tmp_path)
    checked.images, checked.has_images = (ImageRecord(1, Path("a.png"), 2, 2),), False
    check_images(checked, findings)
    assert list(findings) == []


def twelve_bits(folder: Path, *highest: int, dtype: str = "uint16") -> None:
    for number, high in enumerate(highest):
        values = np.rint(RAMP / RAMP.max() * high).astype(dtype)
        Image.fromarray(values).save(folder / f"{number}.{'png' if dtype == 'uint16' else 'tif'}")


def test_twelve_bits_in_sixteen_are_refused_with_the_key(tmp_path: Path) -> None:
    twelve_bits(tmp_path, 2176, 300, 4000)
    (problem,), notes = lines(tmp_path)
    assert notes == []  # that they have no contrast follows from it
    assert problem == (
        "3 images of 16 bits that use less than an eighth of their range, and would be nearly black: nearly no value "
        "is above 4000; give 'dataset.image_range=[0,4095]' (0.png (id 11), 1.png (id 12), 2.png (id 13))"
    )
    assert lines(tmp_path, image_range=(0.0, 4095.0)) == ([], [])
    pixels = read_image(dataset(tmp_path, image_range=(0.0, 4095.0)).images[2])
    assert (pixels.min(), pixels.max()) == (0, 249)  # 4000 / 4095 * 255


def test_one_bright_image_is_enough_for_the_full_range(tmp_path: Path) -> None:
    twelve_bits(tmp_path, 2176, 3000, 8192)  # 8192 of 65535 is an eighth
    assert lines(tmp_path)[0] == []
    (tmp_path / "2.png").unlink()
    twelve_bits(tmp_path, 2176, 3000, 8191)
    assert "give 'dataset.image_range=[0,8191]'" in lines(tmp_path)[0][0]


def test_the_range_is_that_of_all_files_beyond_the_sample_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twelve_bits(tmp_path, 2176, 1000, 4000, 500)
    monkeypatch.setattr(image_check, "DECODED_PIXELS", HEIGHT * WIDTH)
    assert "4 images of 16 bits" in lines(tmp_path)[0][0]
    assert "nearly no value is above 4000" in lines(tmp_path)[0][0]
    twelve_bits(tmp_path, 2176, 1000, 4000, 60_000)
    assert lines(tmp_path)[0] == []


def test_sixteen_bits_without_any_value_are_no_question_of_the_range(tmp_path: Path) -> None:
    twelve_bits(tmp_path, 0)
    problems, (note,) = lines(tmp_path)
    assert problems == []
    assert note.startswith("1 image without contrast")


def test_colour_files_of_sixteen_bits_that_use_twelve(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    values = np.stack([RAMP * 4] * 3, axis=-1).astype(np.uint16)
    for name in ("a.png", "b.tif"):
        cv2.imwrite(str(tmp_path / name), values)
    (problem,), _ = lines(tmp_path)
    assert problem.startswith("2 images of 16 bits and several channels that use less than an eighth")
    assert "convert them to 8 bits a channel" in problem
    (problem,), _ = lines(tmp_path, image_range=(0.0, 4095.0))
    assert problem.startswith("2 images of 16 bits and several channels, of which only the high byte is read")
    cv2.imwrite(str(tmp_path / "c.png"), values * 16)
    assert lines(tmp_path)[0] == []


def test_floats_and_integers_of_32_bits_are_refused_with_the_key(tmp_path: Path) -> None:
    Image.fromarray((RAMP / RAMP.max()).astype(np.float32)).save(tmp_path / "a.tif")
    Image.fromarray((RAMP / RAMP.max() / 2 + 0.25).astype(np.float32)).save(tmp_path / "b.tif")
    assert lines(tmp_path)[0] == [
        "2 images of 32-bit integers or floats, whose darkest and brightest value no file tells: they hold values from "
        "0 to 1; give 'dataset.image_range=[0,1]' (a.tif (id 11), b.tif (id 12))"
    ]
    assert lines(tmp_path, image_range=(0.0, 1.0)) == ([], [])
    Image.fromarray((RAMP * 50).astype(np.int32)).save(tmp_path / "c.tif")
    (problem,), _ = lines(tmp_path)
    assert "from 0 to 43150; give 'dataset.image_range=[0,65535]', in which 2 of them have no contrast" in problem
    note = lines(tmp_path, image_range=(0.0, 1.0))[1][0]
    assert note.startswith("1 image with values beyond dataset.image_range: these values are clipped (c.tif (id 13)")


def test_values_that_are_no_numbers(tmp_path: Path) -> None:
    values = RAMP.astype(np.float32)
    values[1, 1] = np.nan
    Image.fromarray(values).save(tmp_path / "a.tif")
    for limits in (None, (0.0, 900.0)):
        (problem,), notes = lines(tmp_path, image_range=limits)
        assert problem.startswith("1 image that hold NaN or infinite values: ")
        assert notes == []


def test_clipped_values_and_a_range_that_nothing_uses_are_told(tmp_path: Path) -> None:
    twelve_bits(tmp_path, 4000, 5000)
    assert lines(tmp_path, image_range=(0.0, 4095.0)) == (
        [],
        [
            "1 image with values beyond dataset.image_range: these values are clipped (1.png (id 12) has 0 to 5000)",
        ],
    )
    for path in tmp_path.iterdir():
        photograph().save(path)
    problems, (note,) = lines(tmp_path, image_range=(0.0, 4095.0))
    assert problems == []
    assert note.startswith(
        "2 images of 8 bits at most, as all of this set are: dataset.image_range has no effect on them"
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "GIF"])
def test_files_without_contrast_are_noted(tmp_path: Path, kind: str) -> None:
    flat = np.full((HEIGHT, WIDTH), 100, np.uint8)
    flat[:, 18:] = 115  # a difference of 15; the columns of a JPEG's blocks end at 16
    if kind == "JPEG":
        flat[:] = 100
    seen = flat.copy()
    seen[3:5, 3:5] = 140  # a small thing, which a JPEG at an eighth of its size would lose
    for name, pixels in (("a", flat), ("b", seen)):
        Image.fromarray(pixels).save(tmp_path / name, kind, **({"quality": 95} if kind == "JPEG" else {}))
    assert lines(tmp_path) == (
        [],
        [
            "1 image without contrast, of which nearly all pixels are nearly equal: see whether they were written well"
            ", and whether dataset.image_range is right (a (id 11))"
        ],
    )


def test_what_only_pixels_tell_is_told_of_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(8):
        Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / f"{number}.jpg")
    monkeypatch.setattr(image_check, "DECODED_PIXELS", 2 * HEIGHT * WIDTH)
    assert lines(tmp_path)[1] == [
        "2 images without contrast, of which nearly all pixels are nearly equal, among 2 that were decoded: see "
        "whether they were written well, and whether dataset.image_range is right (0.jpg (id 11), 4.jpg (id 15))"
    ]


def test_a_jpeg_that_was_cut_off_is_found_without_being_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photograph().save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    monkeypatch.setattr(image_check, "DECODED_PIXELS", 1)
    assert lines(tmp_path) == ([], [])
    for missing in (1, 2, 100):
        (tmp_path / "a.jpg").write_bytes(whole[:-missing])
        (problem,), _ = lines(tmp_path)
        assert problem.startswith("1 image that is truncated or damaged"), missing


def test_both_sizes_fit_is_noted_with_both_keys(tmp_path: Path) -> None:
    oriented(tmp_path / "a.jpg", 3)
    oriented(tmp_path / "b.png", 2)
    oriented(tmp_path / "c.jpg", 1)
    oriented(tmp_path / "d.tif", 4)
    assert lines(tmp_path) == (
        [],
        [
            "3 images that fit the annotation file with their EXIF orientation and without it: they are read as "
            "stored, without it; dataset.exif=apply turns them, dataset.exif=ignore says that this is right (a.jpg "
            "(id 11), b.png (id 12), d.tif (id 14))"
        ],
    )
    for exif in ("apply", "ignore"):
        assert lines(tmp_path, exif=exif) == ([], [])
    oriented(tmp_path / "c.jpg", 6)  # turned, it would not fit
    assert lines(tmp_path)[1][0].startswith("3 images")
    oriented(tmp_path / "e.jpg", 8, (HEIGHT, WIDTH))
    _, notes = lines(tmp_path)
    assert notes[0].startswith("1 image that fit the annotation file only turned by their EXIF orientation: they are")
    assert "this is right (1 images of this set fit only when they are turned) (a.jpg" in notes[1]


def test_a_size_that_fits_under_another_key_is_a_problem_with_that_key(tmp_path: Path) -> None:
    oriented(tmp_path / "a.jpg", 6, (HEIGHT, WIDTH))
    (problem,), _ = lines(tmp_path, exif="ignore")
    assert "give dataset.exif=auto" in problem
    assert "a.jpg (id 11) fits the annotation file's 24 x 36 pixels (height x width) only turned" in problem
    assert lines(tmp_path, exif="auto")[0] == lines(tmp_path, exif="apply")[0] == []


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_several_frames_are_noted(tmp_path: Path, kind: str) -> None:
    photograph().save(tmp_path / "a", kind)
    photograph().save(tmp_path / "b", kind, save_all=True, append_images=[photograph(1)])
    assert lines(tmp_path) == ([], ["1 image files of several pages or frames: the first is read (b (id 12))"])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_the_check_accepts_the_reader_reads(tmp_path: Path) -> None:
    """And what it refuses, the reader refuses, for every byte that is changed in the head of each kind of file."""
    for kind in ("PNG", "TIFF", "GIF"):
        buffer = io.BytesIO()
        Image.fromarray((RAMP * 75).astype(np.uint16) if kind != "GIF" else RAMP.astype(np.uint8)).save(buffer, kind)
        whole, path = buffer.getvalue(), tmp_path / "a"
        for place in range(8, min(len(whole), 200), 3):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
            problems, _ = lines(tmp_path)
            try:
                pixels = read_image(dataset(tmp_path).images[0])
            except Exception:
                assert problems, (kind, place)
            else:
                assert pixels.shape == (HEIGHT, WIDTH, 3)
        path.unlink()


def test_a_kind_has_one_name(tmp_path: Path) -> None:
    from bench.data import images, names, pixels

    kinds = [k for room in (image_check, images, names, pixels) for k in vars(room).values() if isinstance(k, Kind)]
    assert len({kind.name for kind in kinds}) == len(set(kinds))
    assert str(ImageFileError(ABSENT_FILE, "is so", "do this")) == "is so; do this"


def test_many_jpeg_files_are_checked_in_little_time(tmp_path: Path) -> None:
    """5,000 of COCO's size took 2.5 s; this is bounded generously, since machines are busy."""
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((640, 480)).save(tmp_path / "0.jpg")
    for number in range(1, 2000):
        os.link(tmp_path / "0.jpg", tmp_path / f"{number}.jpg")
    checked, findings, start = dataset(tmp_path, (480, 640)), Findings(), time.perf_counter()
    check_images(checked, findings)
    assert list(findings) == []
    assert time.perf_counter() - start < 15


def test_a_hot_pixel_is_no_range(tmp_path: Path) -> None:
    """One pixel of 65535 in each file made the model see black images, with no word."""
    height, width = 40, 60
    pixels = np.random.default_rng(0).integers(100, 3000, (height, width), dtype=np.uint16)
    pixels[3, 5] = 65535
    Image.fromarray(pixels).save(tmp_path / "0.png")
    findings = Findings()
    check_images(dataset(tmp_path, (height, width)), findings)
    [problem] = findings.problems()
    assert "'dataset.image_range=[0,4095]'" in problem.line()


def test_a_value_for_no_data_is_no_range(tmp_path: Path) -> None:
    """The range that was printed, from -9999 on, gave white images."""
    pixels = np.random.default_rng(0).uniform(0, 299, (HEIGHT, WIDTH)).astype(np.float32)
    pixels[:2] = -9999
    Image.fromarray(pixels).save(tmp_path / "0.tif")
    [problem] = lines(tmp_path)[0]
    assert "and -9999 for no data; give 'dataset.image_range=[0,1023]'" in problem
