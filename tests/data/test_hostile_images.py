"""Tests that image files which are huge, damaged or no images are found, each told in one line."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from bench.data.dataset import CocoDataset
from bench.data.findings import Findings
from bench.data.image_check import check_images
from bench.data.images import ImageRecord, read_image
from bench.errors import UserError

HEIGHT, WIDTH = 8, 12


def encoded(kind: str, size: tuple[int, int] = (WIDTH, HEIGHT), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(pixels) if mode == "RGB" else Image.new(mode, size)
    image.save(buffer, kind)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def checked(path: Path, height: int = HEIGHT, width: int = WIDTH) -> str | None:
    """Give what the check of a dataset says of a file, without its name; None where it is right."""
    findings = Findings()
    check_images(CocoDataset("", Path(), (ImageRecord(1, path, height, width),), 1, (), [], ""), findings)
    (place,) = [p for problem in findings.problems() for p in problem.examples] or [None]
    return place and place.removeprefix(f"{path.name} (id 1) ")


def told(path: Path, height: int = HEIGHT, width: int = WIDTH) -> tuple[str, str]:
    """Give what the check of a dataset and what the reader say of a file, without its path."""
    problem = checked(path, height, width)
    assert problem is not None
    with pytest.raises(UserError) as caught:
        read_image(ImageRecord(1, path, height, width))
    assert "\n" not in problem + str(caught.value)
    return problem, str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "1"), ("TIFF", "1"), ("GIF", "L"), ("BMP", "1")])
def test_a_file_that_is_larger_than_its_annotation_says_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, mode: str
) -> None:
    """13,300 x 13,300 pixels of one bit are 21 kB of PNG, and took 5.3 GB."""
    (tmp_path / "bomb").write_bytes(encoded(kind, (13_300, 1_330), mode))

    def decode(*_: Any) -> None:
        raise AssertionError("the image is decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", decode)
    for text in told(tmp_path / "bomb"):
        assert text == "has 1330 x 13300 pixels (height x width), the annotation file says 8 x 12"


def test_pillows_own_bound_does_not_stand_in_the_way_of_ours(tmp_path: Path) -> None:
    """Pillow warns of more than 89 million pixels and refuses twice as many; dataset.max_pixels decides here."""
    small = encoded("PNG", mode="1")
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 200_000, 1_000, 1, 0, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(small[:8] + header + small[33:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert checked(tmp_path / "a.png", 1_000, 200_000) is None
        for text in told(tmp_path / "a.png"):
            assert text.startswith("has 1000 x 200000 pixels")


@pytest.mark.timeout(30)
def test_what_is_no_file_is_told_and_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        assert set(told(path)) == {"is a folder, a pipe or a device, must be an image file"}
    assert set(told(tmp_path / ("x" * 300))) == {"cannot be read: File name too long"}
    assert set(told(tmp_path / "absent.png")) == {"no such image file"}


@pytest.mark.parametrize("kind", [b"iCCP", b"zTXt"])
def test_text_in_a_png_that_unpacks_to_gigabytes(tmp_path: Path, kind: bytes) -> None:
    """Pillow stops at 1 MB of it; what it raises is told in one line."""
    png = encoded("PNG")
    bomb = chunk(kind, b"name\0\0" + zlib.compress(bytes(50_000_000), 9))
    (tmp_path / "a.png").write_bytes(png[:33] + bomb + png[33:])
    check, read = told(tmp_path / "a.png")
    assert check.startswith("is truncated or damaged (")
    assert read.startswith("cannot be decoded, truncated or not an image (")


def test_a_png_whose_data_do_not_fill_its_header(tmp_path: Path) -> None:
    png = encoded("PNG")
    start = png.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(png[:start] + chunk(b"IDAT", zlib.compress(b"\0" * 10)) + png[-12:])
    with pytest.raises(UserError, match=r"a\.png: cannot be decoded, truncated"):
        read_image(ImageRecord(1, tmp_path / "a.png", HEIGHT, WIDTH))


def test_postscript_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow gives an EPS file to Ghostscript, whatever its name is."""
    head = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 12 8\n%%EndComments\n"
    (tmp_path / "a.jpg").write_bytes(head + b"showpage\n%%EOF\n")
    check, read = told(tmp_path / "a.jpg")
    assert check == "is a file of the format EPS, which is a program"
    assert read == f"{check}; convert it to PNG or JPEG"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM", "WEBP"])
def test_damaged_bytes_give_one_line_or_an_image(tmp_path: Path, kind: str) -> None:
    whole = encoded(kind)
    path = tmp_path / "a.img"
    places = [*range(0, min(len(whole), 160), 2), *range(len(whole) - 24, len(whole), 3)]
    for place in places:
        for byte in (0x00, 0x7F, 0xFF):
            path.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
            checked(path)
            with contextlib.suppress(UserError):
                assert read_image(ImageRecord(1, path, HEIGHT, WIDTH)).shape == (HEIGHT, WIDTH, 3)
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        checked(path)
        with contextlib.suppress(UserError):
            read_image(ImageRecord(1, path, HEIGHT, WIDTH))
