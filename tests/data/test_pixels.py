"""Tests of what becomes of the values of each kind of image file, against Pillow, OpenCV and closed forms."""

from __future__ import annotations

import io
import shlex
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, TiffImagePlugin

from bench.cli.run import compose
from bench.data.images import ImageRecord, Reading, read_image
from bench.data.pixels import range_key
from bench.errors import UserError

HEIGHT, WIDTH = 8, 12
RAMP = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
ORIENTATION = 0x0112


def record(path: Path, size: tuple[int, int] = (HEIGHT, WIDTH), **reading: Any) -> ImageRecord:
    return ImageRecord(1, path, *size, Reading(**reading))


def read(path: Path, **reading: Any) -> np.ndarray:
    pixels = read_image(record(path, **reading))
    assert pixels.dtype == np.uint8
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert pixels.flags["C_CONTIGUOUS"]
    return pixels


def gray(path: Path, **reading: Any) -> np.ndarray:
    """The one channel of a file that is gray."""
    pixels = read(path, **reading)
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


def tiff(path: Path, values: np.ndarray, big_endian: bool = False, **tags: int) -> Path:
    """Write a TIFF of one channel byte by byte: 16 bits or more, of either byte order."""
    order = ">" if big_endian else "<"
    entries = {
        **{256: values.shape[1], 257: values.shape[0], 258: values.itemsize * 8, 259: 1, 262: 1, 277: 1},
        **{278: values.shape[0], 279: values.nbytes, 339: {"u": 1, "i": 2, "f": 3}[values.dtype.kind]},
        **{int(tag.removeprefix("t")): value for tag, value in tags.items()},
    }
    entries[273] = 8 + 2 + 12 * (len(entries) + 1) + 4
    directory = np.array([len(entries)], f"{order}u2").tobytes()
    for tag, value in sorted(entries.items()):
        directory += np.array([tag, 4], f"{order}u2").tobytes() + np.array([1, value], f"{order}u4").tobytes()
    head = (b"MM\0*" if big_endian else b"II*\0") + np.array([8], f"{order}u4").tobytes()
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    path.write_bytes(head + directory + bytes(4) + data)
    return path


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
def test_read_image_gives_rgb_of_every_kind_of_file(tmp_path: Path, mode: str) -> None:
    # Gray 85 and 170 survive all of these kinds, a palette and a CMYK file of gray included.
    gray = np.full((12, 20), 85, dtype=np.uint8)
    gray[:, 10:] = 255 if mode == "1" else 170
    gray[:, :10] = 0 if mode == "1" else 85
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    Image.fromarray(gray).convert("RGB").convert(mode, dither=Image.Dither.NONE).save(path)
    pixels = read_image(ImageRecord(1, path, 12, 20))
    assert pixels.dtype == np.uint8
    assert pixels.shape == (12, 20, 3)
    assert pixels.flags["C_CONTIGUOUS"]
    # The web palette has steps of 51.
    assert np.abs(pixels.astype(int) - gray[..., None]).max() <= (26 if mode == "P" else 0)


def test_read_image_scales_sixteen_bits(tmp_path: Path) -> None:
    values = np.array([[0, 256, 0x80FF, 0xFFFF]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "x.png")
    pixels = read_image(ImageRecord(1, tmp_path / "x.png", 1, 4))
    assert pixels[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("big_endian", [False, True])
def test_sixteen_bits_of_either_byte_order_give_the_high_byte(tmp_path: Path, big_endian: bool) -> None:
    values = (RAMP * 680).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    for path in (tmp_path / "a.png", tiff(tmp_path / "a.tif", values, big_endian)):
        assert (gray(path) == values // 256).all()


def test_sixteen_bits_are_read_as_opencv_reads_them(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    values = np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH, 3), dtype=np.uint16)
    for name, content in (("gray.png", values[..., 0]), ("gray.tif", values[..., 0]), ("colour.png", values)):
        cv2.imwrite(str(tmp_path / name), content)
        assert (read(tmp_path / name) == cv2.imread(str(tmp_path / name))[..., ::-1]).all(), name


def test_a_range_scales_sixteen_bits_and_clips_what_is_beyond(tmp_path: Path) -> None:
    values = np.zeros((HEIGHT, WIDTH), np.uint16)
    values[0, :7] = [0, 100, 1600, 2147, 3100, 4095, 65535]
    Image.fromarray(values).save(tmp_path / "a.png")
    assert gray(tmp_path / "a.png", image_range=(0, 4095))[0, :7].tolist() == [0, 6, 100, 134, 193, 255, 255]
    assert gray(tmp_path / "a.png", image_range=(100, 3100))[0, :7].tolist() == [0, 0, 128, 174, 255, 255, 255]


def test_a_file_of_twelve_bits_is_scaled_by_twelve(tmp_path: Path) -> None:
    packed = np.array([[0x000, 0x800, 0xFFF, 0x10F]], np.uint16)
    nibbles = "".join(f"{value:03x}" for value in packed[0])
    path = tiff(tmp_path / "a.tif", np.frombuffer(bytes.fromhex(nibbles), np.uint8).reshape(1, -1), t256=4, t258=12)
    pixels = read_image(record(path, (1, 4)))
    assert pixels[0, :, 0].tolist() == [0, 128, 255, 16]


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_where_white_is_zero_the_values_are_turned_round(tmp_path: Path, dtype: str) -> None:
    """As Pillow does with 8 bits, and TIFF 6.0 says of PhotometricInterpretation 0."""
    values = (RAMP * 680).astype(dtype)
    white, black = tiff(tmp_path / "w.tif", values, t262=0), tiff(tmp_path / "b.tif", values)
    limits = (0, 65535)
    assert (gray(white, image_range=limits) == 255 - gray(black, image_range=limits)).all()


@pytest.mark.parametrize("dtype", ["int32", "uint32", "float32", "int16"])
def test_files_without_a_known_range_need_one(tmp_path: Path, dtype: str) -> None:
    values = (RAMP * 40 - (0 if dtype == "uint32" else 95)).astype(dtype)
    path = tiff(tmp_path / "a.tif", values)
    low, high = int(values.min()), int(values.max())
    key = "[0,4095]" if low == 0 else f"[{low},{high}]"
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(caught.value) == f"{path}: has values from {low} to {high}; give 'dataset.image_range={key}'"
    expected = np.rint((RAMP * 40) / (95 * 40) * 255)
    assert np.abs(gray(path, image_range=(low, high)) - expected).max() == 0


def test_unsigned_integers_beyond_the_signed_ones(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", (RAMP * 45_000_000).astype(np.uint32))
    assert gray(path, image_range=(0, 95 * 45_000_000))[-1, -1] == 255
    with pytest.raises(
        UserError, match=r"has values from 0 to 4\.275e\+09; give 'dataset\.image_range=\[0,4\.275e\+09\]'"
    ):
        read(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    values = RAMP.astype(np.float32)
    values[3, 4] = value
    for limits in (None, (0.0, 95.0)):
        with pytest.raises(UserError, match=r"a\.tif: holds NaN or infinite values"):
            read(tiff(tmp_path / "a.tif", values), image_range=limits)


@pytest.mark.parametrize(
    ("low", "high", "key"),
    [
        (0, 1, "[0,1]"),
        (0.098, 0.53, "[0,1]"),
        (0, 0.01, "[0,0.01]"),
        (25, 136, "[0,255]"),
        (400, 2176, "[0,4095]"),
        (0, 300, "[0,1023]"),
        (0, 7, "[0,7]"),
        (6425, 34952, "[0,65535]"),
        (0, 70_000, "[0,70000]"),
        (-0.5, 1.25, "[-0.5,1.25]"),
        (-1.23456, 9.87654, "[-1.235,9.877]"),
        (0, 0, "[0,1]"),
    ],
)
def test_the_range_that_is_proposed(low: float, high: float, key: str) -> None:
    assert range_key(low, high) == f"'dataset.image_range={key}'"


@pytest.mark.parametrize(("low", "high"), [(0, 4095), (-1.23456, 9.87654), (0, 0.000012), (0, 4.275e9), (-3e-7, 2e12)])
def test_the_range_that_is_proposed_works_as_pasted(low: float, high: float) -> None:
    override, *more = shlex.split(range_key(low, high))
    (job,) = compose(["dataset=coco", "model=custom", "model._target_=any.Class", "study=none", override])
    assert more == []
    darkest, brightest = job.config.dataset.image_range
    assert darkest <= low < high <= brightest
    assert brightest - darkest < 1.01 * (high - low)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def colours() -> Image.Image:
    pixels = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_alpha_is_dropped_and_never_mixed_with_a_background(tmp_path: Path) -> None:
    image = colours()
    image.putalpha(Image.fromarray((RAMP * 2).astype(np.uint8)))
    (tmp_path / "a.png").write_bytes(saved(image, "PNG"))
    assert (read(tmp_path / "a.png") == np.asarray(colours())).all()
    luminance = Image.merge("LA", [colours().getchannel(0), image.getchannel("A")])
    (tmp_path / "la.png").write_bytes(saved(luminance, "PNG"))
    assert (gray(tmp_path / "la.png") == np.asarray(colours())[..., 0]).all()
    palette = colours().quantize(16, dither=Image.Dither.NONE)
    (tmp_path / "p.png").write_bytes(saved(palette, "PNG", transparency=3))
    assert (read(tmp_path / "p.png") == np.asarray(palette.convert("RGB"))).all()


def test_colours_that_are_no_rgb(tmp_path: Path) -> None:
    image = Image.new("RGB", (WIDTH, HEIGHT), (200, 60, 30))
    lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    (tmp_path / "lab").write_bytes(saved(ImageCms.applyTransform(image, lab), "TIFF"))
    # Pillow writes CMYK into a JPEG as Adobe does, inverted.
    (tmp_path / "cmyk.jpg").write_bytes(saved(image.convert("CMYK"), "JPEG", quality=100))
    (tmp_path / "cmyk.tif").write_bytes(saved(image.convert("CMYK"), "TIFF"))
    (tmp_path / "ycc.tif").write_bytes(saved(image, "TIFF", compression="jpeg", quality=100))
    for name in ("lab", "cmyk.jpg", "cmyk.tif", "ycc.tif"):
        assert np.abs(read(tmp_path / name).astype(int) - (200, 60, 30)).max() <= 4, name


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    bits = (RAMP % 3 == 0).astype(np.uint8) * 255
    for kind in ("PNG", "TIFF", "BMP", "PPM"):
        (tmp_path / kind).write_bytes(saved(Image.fromarray(bits).convert("1"), kind))
        assert (gray(tmp_path / kind) == bits).all(), kind


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_the_first_of_several_frames_is_read_whatever_the_name_says(tmp_path: Path, kind: str) -> None:
    first, second = Image.new("RGB", (WIDTH, HEIGHT), (255, 0, 0)), Image.new("RGB", (WIDTH, HEIGHT), (0, 0, 255))
    options = {"lossless": True} if kind == "WEBP" else {}
    path = tmp_path / "a.jpg"
    path.write_bytes(saved(first, kind, save_all=True, append_images=[second], **options))
    assert (read(path) == (255, 0, 0)).all()


def with_orientation(value: object, kind: str, size: tuple[int, int] = (WIDTH, HEIGHT), **options: Any) -> bytes:
    image = colours().resize(size)
    if kind == "TIFF":
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[ORIENTATION] = value
        return saved(image, "TIFF", tiffinfo=tags, **options)
    exif = Image.Exif()
    exif[ORIENTATION] = value
    return saved(image, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))


FORMS = [("JPEG", {}), ("PNG", {}), ("WEBP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"})]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("kind", "options"), FORMS)
def test_orientations_are_applied_as_pillow_applies_them_and_ignored(
    tmp_path: Path, kind: str, options: dict[str, Any], orientation: int
) -> None:
    path = tmp_path / "a"
    path.write_bytes(with_orientation(orientation, kind, **options))
    stored = np.asarray(Image.open(io.BytesIO(with_orientation(1, kind, **options))))
    upright = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    assert orientation == 1 or upright.shape != stored.shape or (upright != stored).any()
    applied = read_image(record(path, upright.shape[:2], exif="apply"))
    assert (applied == upright).all()
    assert (read(path, exif="ignore") == stored).all()
    # Both sizes fit up to 4, and the pixels stay as they are stored; from 5 on, the record says which it is.
    assert (read(path) == stored).all()
    if orientation >= 5:
        assert (read_image(record(path, upright.shape[:2])) == upright).all()


@pytest.mark.parametrize(("kind", "options"), FORMS)
def test_a_square_stays_as_it_is_stored(tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
    path, square = tmp_path / "a", (WIDTH, WIDTH)
    path.write_bytes(with_orientation(6, kind, square, **options))
    stored = np.asarray(Image.open(io.BytesIO(with_orientation(1, kind, square, **options))))
    assert (read_image(record(path, square)) == stored).all()
    assert (read_image(record(path, square, exif="apply")) == np.rot90(stored, -1)).all()


def test_a_size_that_fits_only_under_another_key(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(with_orientation(6, "JPEG"))
    with pytest.raises(UserError, match=r"fits .* 12 x 8 pixels .* only turned by its EXIF orientation 6; give"):
        read_image(record(path, (WIDTH, HEIGHT), exif="ignore"))
    with pytest.raises(UserError, match=r"fits .* 8 x 12 pixels .* only as it is stored; give dataset\.exif=auto"):
        read_image(record(path, exif="apply"))
    for exif in ("auto", "apply", "ignore"):
        with pytest.raises(UserError, match=r"has 8 x 12 pixels \(height x width\), the annotation file says 8 x 13"):
            read_image(record(path, (8, 13), exif=exif))
    path.write_bytes(with_orientation(3, "JPEG"))  # its turn does not exchange height and width
    with pytest.raises(UserError, match=r"has 8 x 12 pixels \(height x width\), the annotation file says 12 x 8"):
        read_image(record(path, (WIDTH, HEIGHT)))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("exif", ["auto", "apply", "ignore"])
def test_damaged_metadata_do_not_end_a_reading(tmp_path: Path, exif: str) -> None:
    whole = with_orientation(6, "JPEG")
    start = whole.index(b"Exif\0\0")
    path = tmp_path / "a.jpg"
    for place in range(start, start - 2 + int.from_bytes(whole[start - 2 : start], "big")):
        for byte in (0x00, 0x7F, 0xFF):
            path.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
            try:
                read_image(record(path, exif=exif))
            except UserError as error:
                assert "only as it is stored" in str(error)  # noqa: PT017  the orientation is still whole
                assert exif == "apply"
    for value in (0, 9, 255):
        path.write_bytes(with_orientation(value, "JPEG"))
        assert read(path, exif=exif).any()


def test_metadata_behind_the_pixels_of_a_png_are_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    path, png = tmp_path / "a.png", saved(colours(), "PNG")
    path.write_bytes(png[:-12] + chunk + png[-12:])
    for reading in ("auto", "apply"):
        pixels = read_image(record(path, (WIDTH, HEIGHT), exif=reading))
        assert (pixels == np.rot90(np.asarray(colours()), -1)).all()


def test_a_range_leaves_files_of_eight_bits_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(saved(colours(), "PNG"))
    assert (read(tmp_path / "a.png", image_range=(0, 4095)) == np.asarray(colours())).all()


def test_a_range_cannot_scale_what_pillow_gives_the_high_byte_of(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    cv2.imwrite(str(tmp_path / "a.png"), np.full((HEIGHT, WIDTH, 3), 4000, np.uint16))
    with pytest.raises(UserError, match=r"has 16 bits in several channels, which dataset\.image_range cannot scale"):
        read(tmp_path / "a.png", image_range=(0, 4095))
    assert (read(tmp_path / "a.png", image_range=(0, 65535)) == 15).all()
