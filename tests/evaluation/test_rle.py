"""Compressed masks against pycocotools, byte for byte."""

from __future__ import annotations

import itertools
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from bench.evaluation import device_rle, rle
from bench.evaluation.device_rle import bounds_by_torch, bounds_on_device
from bench.evaluation.rle import RunStarts, masks_to_rle, run_starts


def pycocotools_rle(masks: torch.Tensor) -> list[dict[str, object]]:
    encoded = [coco_mask.encode(np.asfortranarray(mask.numpy().astype(np.uint8))) for mask in masks]
    return [{"size": [int(v) for v in e["size"]], "counts": e["counts"].decode("ascii")} for e in encoded]


def random_masks(seed: int) -> torch.Tensor:
    """A stack of up to six masks of a random size, one in four very wide or very tall, the kinds in turn: noise of any
    density, rectangles, stripes both ways, one pixel, full, empty."""
    rng = np.random.default_rng(seed)
    height, width = (int(v) for v in rng.choice([1, 2, 3, 7, 8, 9, 16, 31, 64, 100], 2))
    if seed % 8 == 0:
        width = int(rng.integers(20, 41)) * height
    elif seed % 8 == 4:
        height = int(rng.integers(20, 41)) * width
    masks = np.zeros((int(rng.integers(1, 7)), height, width), bool)
    for kind, mask in enumerate(masks, start=seed):
        kind %= 7
        if kind == 0:
            mask[:] = rng.random((height, width)) < rng.random() ** 2
        elif kind == 1:
            y, x = rng.integers(height), rng.integers(width)
            mask[y : y + rng.integers(1, height + 1), x : x + rng.integers(1, width + 1)] = True
        elif kind == 2:
            mask[:: rng.integers(1, 4)] = True
        elif kind == 3:
            mask[:, :: rng.integers(1, 4)] = True
        elif kind == 4:
            mask[rng.integers(height), rng.integers(width)] = True
        elif kind == 5:
            mask[:] = True
    return torch.from_numpy(masks)


@pytest.mark.parametrize("block", range(10))
def test_ten_thousand_masks(block: int) -> None:
    """A thousand in each block, and where runs begin as a GPU would find it."""
    seen = 0
    for seed in itertools.count(block * 1000):
        masks = random_masks(seed)
        assert masks_to_rle(masks) == pycocotools_rle(masks), f"seed {seed}, masks {tuple(masks.shape)}"
        assert np.array_equal(bounds_by_torch(masks), run_starts(masks).bounds), f"seed {seed}"
        seen += len(masks)
        if seen >= 1000:
            break


def test_both_ways_of_finding_runs_agree_with_a_plain_loop() -> None:
    for masks in map(random_masks, range(250)):
        if masks.numel() > 20_000:  # slow in a plain loop
            continue
        number, height, width = masks.shape
        columns = masks.numpy().transpose(0, 2, 1).reshape(number, -1)
        expected: list[int] = []
        for mask in columns:
            expected += [i for i in range(len(mask)) if mask[i] != (mask[i - 1] if i else False)]
            expected.append(height * width)
        assert run_starts(masks).bounds.tolist() == expected
        assert bounds_by_torch(masks).tolist() == expected


@pytest.mark.parametrize("shape", [(1, 1), (1, 1000), (1000, 1), (3, 40000), (40000, 3), (480, 640), (427, 641)])
@pytest.mark.parametrize("fill", ["empty", "full", "first", "last", "corners", "checkerboard"])
def test_shapes_and_corners(shape: tuple[int, int], fill: str) -> None:
    mask = torch.zeros(2, *shape, dtype=torch.bool)
    flat = mask[1].view(-1)
    if fill == "full":
        flat[:] = True
    elif fill == "checkerboard":
        mask[1] = (torch.arange(shape[0])[:, None] + torch.arange(shape[1])) % 2 == 0
    elif fill != "empty":
        flat[0] = fill in ("first", "corners")
        flat[-1] = fill in ("last", "corners")
    assert masks_to_rle(mask) == pycocotools_rle(mask)


def test_literal_counts() -> None:
    """By hand: 2 rows, 3 columns, read down the columns 0 1, 1 1, 0 0: one background, three mask, two background."""
    mask = torch.tensor([[[0, 1, 0], [1, 1, 0]]], dtype=torch.bool)
    assert masks_to_rle(mask) == [{"size": [2, 3], "counts": "132"}]


@pytest.mark.parametrize("run", [15, 16, 17, 511, 512, 513, 16383, 16384, 16385, 524287, 524288, 524289])
def test_counts_around_each_further_character(run: int) -> None:
    """Runs of about 16 * 32**k pixels, and the same as positive and negative differences to the run before the last."""
    column = torch.zeros(4 * run + 20, dtype=torch.bool)
    column[3 : 3 + run] = True
    column[6 + run : 6 + 2 * run + 4] = True
    column[2 * run + 13 : 2 * run + 14] = True
    mask = column.view(1, -1, 1)
    assert masks_to_rle(mask) == pycocotools_rle(mask)


def test_more_pixels_than_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = torch.cat([random_masks(5)[:1, :1, :1].expand(9, 37, 53), torch.rand(9, 37, 53) < 0.1]).clone()
    masks[3:6, 5:30, 7:40] = True
    whole = run_starts(masks).bounds.tolist()
    monkeypatch.setattr(rle, "BLOCK_BYTES", 64)
    monkeypatch.setattr(device_rle, "DEVICE_PIXELS", 5000)
    assert run_starts(masks).bounds.tolist() == whole
    assert bounds_on_device(masks).tolist() == whole
    assert masks_to_rle(masks) == pycocotools_rle(masks)


@pytest.mark.parametrize(
    "view",
    [
        lambda m: m.transpose(1, 2),
        lambda m: m[:, ::2, 1:],
        lambda m: m[:1].expand(5, -1, -1),
        lambda m: m.permute(2, 0, 1),
        lambda m: m[:1].permute(2, 0, 1),
        lambda m: m.view(-1)[1 : 1 + 4 * 30 * 43].view(4, 30, 43),
    ],
    ids=["transposed", "strided", "expanded", "batch_last", "batch_last_one_row", "unaligned"],
)
def test_views(view: Callable[[torch.Tensor], torch.Tensor]) -> None:
    torch.manual_seed(0)
    masks = view(torch.rand(4, 31, 45) < 0.2)
    assert masks_to_rle(masks) == pycocotools_rle(masks.contiguous())
    assert bounds_by_torch(masks).tolist() == run_starts(masks).bounds.tolist()


def test_input_is_not_changed_and_inference_tensors_work() -> None:
    with torch.inference_mode():
        masks = torch.rand(3, 20, 30) < 0.5
        before = masks.clone()
        assert masks_to_rle(masks) == pycocotools_rle(before)
        assert torch.equal(masks, before)


def test_where_runs_begin_goes_to_another_process_and_is_small() -> None:
    masks = torch.rand(4, 90, 110) < 0.3
    starts = run_starts(masks)
    sent = pickle.dumps(starts)
    runs = [int((np.diff(mask.numpy().T.reshape(-1).astype(int), prepend=0) != 0).sum()) for mask in masks]
    assert len(sent) < 4 * (sum(runs) + len(runs)) + 500
    assert pickle.loads(sent).rles() == pycocotools_rle(masks)


def test_strings_are_made_without_torch(tmp_path: Path) -> None:
    masks = torch.rand(2, 30, 40) < 0.3
    (tmp_path / "starts").write_bytes(pickle.dumps(run_starts(masks)))
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).rles(), 'torch' in sys.modules)"
    command, root = [sys.executable, "-c", code, str(tmp_path / "starts")], Path(rle.__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == f"{pycocotools_rle(masks)} False\n"


@pytest.mark.parametrize("pixels", [(1 << 31) - 1, 1 << 31])
def test_counts_of_the_largest_masks(pixels: int) -> None:
    """By hand, five bits a character, for positions that no tensor here could hold: 1 pixel, then all the others."""
    counts, expected = (1, pixels - 1), ""
    for value in counts:
        characters = []
        while True:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            characters.append(chr(bits + 32 * more + 48))
            if not more:
                break
        expected += "".join(characters)
    if pixels < 1 << 31:
        starts = RunStarts(np.array([1, pixels], np.int32), 1, pixels)
        assert [rle["counts"] for rle in starts.rles()] == [expected]
    else:
        with pytest.raises(ValueError, match="at most 2147483647 pixels"):
            run_starts(torch.zeros(1, 1, 1, dtype=torch.bool).expand(1, 1 << 16, 1 << 15))


def test_largest_differences_of_counts() -> None:
    """A count of nearly 2**31 after one of 0 and before one of 0: the differences need all 32 bits with their sign."""
    pixels = (1 << 31) - 1
    counts = [0, 1, 1, pixels - 5, 1, 1, 1]
    starts = RunStarts(np.cumsum(counts).astype(np.int32), 1, pixels)
    encoded = {"size": [1, pixels], "counts": counts}
    assert starts.rles()[0]["counts"].encode() == coco_mask.frPyObjects(encoded, 1, pixels)["counts"]


@pytest.mark.parametrize("shape", [(3, 0, 5), (2, 7, 0)])
def test_masks_without_pixels(shape: tuple[int, int, int]) -> None:
    assert [rle["counts"] for rle in masks_to_rle(torch.zeros(shape, dtype=torch.bool))] == ["0"] * shape[0]


@pytest.mark.parametrize("shape", [(0, 480, 640), (0, 0, 0)])
def test_no_masks(shape: tuple[int, int, int]) -> None:
    assert masks_to_rle(torch.zeros(shape, dtype=torch.bool)) == []


def test_decoding_gives_the_masks_back() -> None:
    masks = torch.rand(5, 60, 70) < 0.3
    decoded = coco_mask.decode([{**r, "counts": r["counts"].encode()} for r in masks_to_rle(masks)])
    assert np.array_equal(decoded.transpose(2, 0, 1).astype(bool), masks.numpy())


@pytest.mark.parametrize("masks", [torch.zeros(2, 3, 4), torch.zeros(3, 4, dtype=torch.bool)])
def test_other_tensors_are_refused(masks: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"must be torch\.bool \(N, H, W\)"):
        masks_to_rle(masks)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_masks_on_a_gpu() -> None:
    for seed in range(50):
        masks = random_masks(seed)
        assert masks_to_rle(masks.cuda()) == pycocotools_rle(masks)
