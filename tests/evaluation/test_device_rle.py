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

from bench.evaluation import device_rle
from bench.evaluation.device_rle import bounds_by_torch, bounds_on_device, way_to_find

KERNELS = "bench.evaluation.triton_rle"


def plain(masks: torch.Tensor) -> list[int]:
    """Compare each pixel with the one before it, read down the columns; behind each mask its number of pixels."""
    bounds: list[int] = []
    for mask in masks.numpy():
        pixels = np.concatenate([[False], mask.T.reshape(-1)])
        bounds += [*np.flatnonzero(pixels[1:] != pixels[:-1]).tolist(), mask.size]
    return bounds


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
torch.save({name: triton_rle.bounds_by_triton(masks) for name, masks in cases.items()}, sys.argv[2])
"""


def with_triton(script: str, folder: Path, *arguments: Path, interpret: bool) -> str:
    """Run a script in a process of its own: the first import of Triton settles whether its kernels are interpreted."""
    pytest.importorskip("triton", minversion="3.3")  # older ones have other names for what is used here
    env = {**os.environ, "TRITON_CACHE_DIR": str(folder), "TRITON_INTERPRET": str(int(interpret))}
    root, command = Path(device_rle.__file__).parents[2], [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_kernels_find_what_a_plain_loop_finds(tmp_path: Path) -> None:
    """Triton interprets them on the CPU, in blocks so small that little masks have many of them."""
    torch.save(cases(), tmp_path / "masks.pt")
    with_triton(INTERPRET, tmp_path, tmp_path / "masks.pt", tmp_path / "bounds.pt", interpret=True)
    found = torch.load(tmp_path / "bounds.pt")
    assert found.keys() == cases().keys()
    for name, masks in cases().items():
        assert found[name].dtype == torch.int32
        assert found[name].tolist() == plain(masks), name


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from bench.evaluation import triton_rle

kinds = {"masks": "*u8", "counts": "*i32", "ends": "*i32", "bounds": "*i32", "height": "i32", "width": "i32"}
blocks = {"block_rows": triton_rle.ROWS, "block_columns": triton_rle.COLUMNS}
for kernel in (triton_rle._count, triton_rle._write):
    signature = {name: kinds.get(name, "constexpr") for name in kernel.arg_names}
    compiled = triton.compile(ASTSource(kernel, signature, constexprs=blocks), target=GPUTarget("cuda", 90, 32))
    print(kernel.__name__, len(compiled.asm["cubin"]))
"""


def test_the_kernels_compile_for_a_gpu_that_is_not_here(tmp_path: Path) -> None:
    """For NVIDIA's compute capability 9.0."""
    sizes = dict(line.split() for line in with_triton(COMPILE, tmp_path, interpret=False).splitlines())
    assert sizes.keys() == {"_count", "_write"}
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
