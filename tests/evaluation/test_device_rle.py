"""Where runs begin, found by Triton's kernels: interpreted on the CPU against a plain loop, and compiled for a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from bench.evaluation import device_rle
from bench.evaluation.device_rle import bounds_by_torch, bounds_on_device, strings_on_device, way_to_find, way_to_spell
from bench.evaluation.rle import RunStarts

KERNELS = "bench.evaluation.triton_rle"


def plain(masks: torch.Tensor) -> list[int]:
    """Compare each pixel with the one before it, read down the columns; behind each mask its number of pixels."""
    bounds: list[int] = []
    for mask in masks.numpy():
        pixels = np.concatenate([[False], mask.T.reshape(-1)])
        bounds += [*np.flatnonzero(pixels[1:] != pixels[:-1]).tolist(), mask.size]
    return bounds


def referee(masks: torch.Tensor) -> list[str]:
    return [coco_mask.encode(np.asfortranarray(mask.numpy().view(np.uint8)))["counts"].decode() for mask in masks]


def cases() -> dict[str, torch.Tensor]:
    """Give noise of several densities and sizes, single pixels and holes, columns that join, masks in other orders."""
    rng = np.random.default_rng(0)
    masks = {str(shape): torch.from_numpy(rng.random(shape) < 0.5) for shape in SHAPES}
    masks["sparse"] = torch.from_numpy(rng.random((2, 17, 33)) < 0.05)
    corners = torch.zeros(5, 9, 17, dtype=torch.bool)
    for mask, pixel in zip(corners, ((0, 0), (8, 0), (0, 16), (8, 16)), strict=False):
        mask[pixel] = True
    masks |= {"one pixel, or none": corners, "all but one pixel, or all": ~corners}
    joined = torch.from_numpy(rng.random((3, 17, 9)) < 0.5)
    joined[:2] = False
    joined[0, :, 2:5] = True
    joined[1, 5:, 3] = joined[1, :2, 4] = True
    return masks | {"joined": joined, "across": joined.transpose(1, 2), "twice": joined[2:].expand(2, -1, -1)}


SHAPES = [(1, 1, 1), (1, 1, 40), (1, 40, 1), (2, 8, 16), (2, 17, 33), (3, 3, 7)]

INTERPRET = """
import sys, torch
from bench.evaluation import triton_rle

triton_rle.ROWS, triton_rle.COLUMNS = 8, 16
cases = torch.load(sys.argv[1])
if len(sys.argv) > 3:
    pixels, bounds, ends = cases
    found = triton_rle.spelled(bounds, ends, pixels)
else:
    found = {n: (triton_rle.bounds_by_triton(m), triton_rle.strings_by_triton(m)) for n, m in cases.items()}
torch.save(found, sys.argv[2])
"""


def with_triton(script: str, folder: Path, *arguments: Path, interpret: bool) -> str:
    """Run a script in a process of its own: the first import of Triton settles whether its kernels are interpreted."""
    pytest.importorskip("triton", minversion="3.3")  # older ones have other names for what is used here
    env = {**os.environ, "TRITON_CACHE_DIR": str(folder), "TRITON_INTERPRET": str(int(interpret))}
    root, command = Path(device_rle.__file__).parents[2], [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
    if interpret and "only 0-dimensional arrays can be converted" in done.stderr:
        pytest.skip("the interpreter of this Triton does not run with NumPy 2.5 or newer")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_kernels_find_what_a_plain_loop_finds(tmp_path: Path) -> None:
    """Triton interprets them on the CPU, in blocks so small that little masks have many of them."""
    torch.save(cases(), tmp_path / "masks.pt")
    with_triton(INTERPRET, tmp_path, tmp_path / "masks.pt", tmp_path / "bounds.pt", interpret=True)
    found = torch.load(tmp_path / "bounds.pt")
    assert found.keys() == cases().keys()
    for name, masks in cases().items():
        bounds, strings = found[name]
        assert bounds.dtype == torch.int32
        assert bounds.tolist() == plain(masks), name
        assert strings == referee(masks), name


def test_counts_of_every_length_are_spelled_as_on_the_host(tmp_path: Path) -> None:
    """Counts of 1 to 31 bits, rising and falling, so that differences of both signs take one to seven characters."""
    pixels = (1 << 31) - 1
    rng = np.random.default_rng(0)
    starts = [np.unique((2.0 ** rng.uniform(0, 30.9, size)).astype(np.int32)) for size in (1, 2, 3, 4, 300)]
    falling = [np.sort(pixels - 1 - row) for row in starts]
    masks = [np.array([], np.int32), *starts, np.array([0], np.int32), *falling]
    bounds = np.concatenate([part for row in masks for part in (row, [pixels])]).astype(np.int32)
    runs = RunStarts(bounds, pixels, 1)
    torch.save((pixels, torch.from_numpy(bounds), torch.from_numpy(runs.ends.astype(np.int32))), tmp_path / "in.pt")
    with_triton(INTERPRET, tmp_path, tmp_path / "in.pt", tmp_path / "out.pt", Path("spell"), interpret=True)
    strings = [rle["counts"] for rle in runs.rles()]
    assert torch.load(tmp_path / "out.pt") == strings
    assert max(len(text) for text in strings[1:3]) >= 7, "there are long counts"


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from bench.evaluation import triton_rle

kinds = dict.fromkeys(("masks", "text"), "*u8") | dict.fromkeys(("height", "width", "count", "pixels"), "i32")
kinds |= dict.fromkeys(("counts", "ends", "bounds", "lengths", "text_ends"), "*i32")
blocks = {"block_rows": triton_rle.ROWS, "block_columns": triton_rle.COLUMNS, "block": triton_rle.VALUES}
for kernel in (triton_rle._count, triton_rle._write, triton_rle._lengths, triton_rle._spell):
    signature = {name: kinds.get(name, "constexpr") for name in kernel.arg_names}
    constants = {name: blocks[name] for name in kernel.arg_names if name in blocks}
    compiled = triton.compile(ASTSource(kernel, signature, constexprs=constants), target=GPUTarget("cuda", 90, 32))
    print(kernel.__name__, len(compiled.asm["cubin"]))
"""


def test_the_kernels_compile_for_a_gpu_that_is_not_here(tmp_path: Path) -> None:
    """For NVIDIA's compute capability 9.0."""
    sizes = dict(line.split() for line in with_triton(COMPILE, tmp_path, interpret=False).splitlines())
    assert sizes.keys() == {"_count", "_write", "_lengths", "_spell"}
    assert min(map(int, sizes.values())) > 1000


def test_without_triton_torch_finds_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton is absent, or finds something else than torch: it is not used."""
    masks = torch.rand(2, 20, 30) < 0.5
    assert way_to_find(masks.device) is bounds_by_torch
    monkeypatch.setattr(device_rle, "_trial", lambda device: masks)  # there is no GPU to have it on
    monkeypatch.setitem(sys.modules, KERNELS, None)
    assert way_to_find.__wrapped__(torch.device("cuda:0")) is bounds_by_torch
    wrong = ModuleType(KERNELS)
    wrong.bounds_by_triton = lambda masks: bounds_by_torch(masks) + 1  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, KERNELS, wrong)
    assert way_to_find.__wrapped__(torch.device("cuda:0")) is bounds_by_torch
    right = ModuleType(KERNELS)
    right.bounds_by_triton = lambda masks: bounds_by_torch(masks)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, KERNELS, right)
    assert way_to_find.__wrapped__(torch.device("cuda:0")) is right.bounds_by_triton


def test_strings_that_differ_from_those_of_the_host_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = torch.rand(2, 20, 30) < 0.5
    device, module = torch.device("cuda:0"), ModuleType(KERNELS)
    assert way_to_spell(masks.device) is None
    monkeypatch.setattr(device_rle, "_trial", lambda device: masks)
    monkeypatch.setattr(device_rle, "way_to_find", lambda device: None)
    monkeypatch.setitem(sys.modules, KERNELS, module)
    module.strings_by_triton = lambda masks: [text + "0" for text in referee(masks)]  # type: ignore[attr-defined]
    assert way_to_spell.__wrapped__(device) is None
    module.strings_by_triton = referee  # type: ignore[attr-defined]
    assert way_to_spell.__wrapped__(device) is referee


def test_out_of_memory_is_no_reason_to_do_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(masks: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("full")

    module = ModuleType(KERNELS)
    module.bounds_by_triton = full  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, KERNELS, module)
    monkeypatch.setattr(device_rle, "_trial", lambda device: torch.zeros(1, 2, 3, dtype=torch.bool))
    with pytest.raises(torch.OutOfMemoryError):
        way_to_find.__wrapped__(torch.device("cuda:0"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu() -> None:
    """Both ways, of masks with sizes around the kernels' blocks, of noise, and of masks in another order in memory."""
    device = torch.device("cuda", torch.cuda.current_device())
    for shape in [*SHAPES, (5, 32, 128), (3, 33, 129), (2, 480, 640), (7, 427, 641)]:
        masks = torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.4
        for view in (masks, masks.transpose(1, 2)):
            assert bounds_on_device(view.to(device)).tolist() == plain(view)
            assert bounds_by_torch(view.to(device)).tolist() == plain(view)
            assert strings_on_device(view.to(device)) == referee(view)
    assert way_to_spell(device) is not None, "Triton works here"
