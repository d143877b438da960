"""Test that ``compile=`` keeps the results and reports what it took, and that a failure to compile is a row."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from toy_models import Blobs

from bench.data.images import ImageRecord
from bench.device.compiling import compile_parts, outcome
from bench.errors import UserError
from bench.passes.flops import count_image
from bench.predictor import Settings, predict
from bench.schema.result import read_result

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")


class Backbone(torch.nn.Module):
    """Two convolutions, with code between them that the compiler cannot trace if ``breaks_graph``."""

    def __init__(self, breaks_graph: bool) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Conv2d(4, 1, 3, padding=1)
        self.breaks_graph = breaks_graph

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features = torch.relu(self.first(image))
        if self.breaks_graph:
            torch._dynamo.graph_break()
        return self.second(features)


class Network(Blobs):
    """A predictor that finds blobs in a convolved image."""

    def __init__(self, settings: Settings, breaks_graph: bool = False) -> None:
        super().__init__(settings)
        torch.manual_seed(0)
        self.module = torch.nn.ModuleDict({"backbone": Backbone(breaks_graph)})

    def preprocess(self, images: Sequence[np.ndarray]) -> list[torch.Tensor]:
        return [torch.from_numpy(image).permute(2, 0, 1).float() for image in images]

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        return [self.module["backbone"](image[None])[0, 0] for image in batch]


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize(("breaks_graph", "graphs", "breaks"), [(False, 1, 0), (True, 2, 1)])
def test_the_same_results_and_what_it_took(
    breaks_graph: bool, graphs: int, breaks: int, image: np.ndarray, tmp_path: Path
) -> None:
    eager, compiled = Network(Settings(CPU), breaks_graph), Network(Settings(CPU), breaks_graph)
    compile_parts(compiled, "default")
    torch._dynamo.utils.counters.clear()
    [expected], [actual] = predict(eager, [image]), predict(compiled, [image])
    assert 0 < expected.masks.float().mean() < 1
    assert torch.equal(actual.masks, expected.masks)
    result = outcome(compiled, "default")
    assert (result.mode, result.parts, result.graphs, result.graph_breaks) == ("default", ["backbone"], graphs, breaks)
    assert result.seconds > 0
    # The counter of operations sees the compiled model as it sees the other.
    path = tmp_path / "0.png"
    Image.fromarray(image).save(path)
    record = ImageRecord(0, path, 24, 32)
    assert count_image(compiled, record) == count_image(eager, record) == 2 * 24 * 32 * 9 * (3 * 4 + 4)


def test_nothing_to_compile() -> None:
    with pytest.raises(UserError, match=r"compile=default: Blobs has no part backbone or neck"):
        compile_parts(Blobs(Settings(CPU)), "default")


def test_a_model_that_cannot_be_compiled_is_a_row(run_command: Any, bright_squares: list[str], tmp_path: Path) -> None:
    command = ["model=custom", "model._target_=toy_models.Blobs", *bright_squares, "protocol=quick", f"out={tmp_path}"]
    done = run_command(*command, "passes=[speed]", "compile=none,max-autotune")
    assert done.returncode == 1
    table = (tmp_path / "comparison.csv").read_text()
    assert "compile=max-autotune: Blobs has no part backbone or neck" in table
    assert table.count(",ok,") == 1


def test_a_compilation_that_fails_is_a_row_and_the_others_go_on(
    environment: dict[str, str], bright_squares: list[str], tmp_path: Path
) -> None:
    """The machine has no C++ compiler, which torch needs for a CPU."""
    command = ["model=custom", "model._target_=toy_models.HasBackbone", *bright_squares, "protocol=quick"]
    no_compiler = {"CXX": "/no/such/compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_bench.py"), *command, "passes=[speed]", "compile=none,default", "out=out"],
        capture_output=True,
        text=True,
        env={**environment, **no_compiler},
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    results = {}
    for path in tmp_path.glob("out/jobs/*/result.json"):
        result = read_result(path)
        results[result.config["compile"]] = result
    assert (results["none"].status, results["default"].status) == ("ok", "failed")
    assert "InvalidCxxCompiler: No working C++ compiler found" in (results["default"].reason or "")
    assert "No working C++ compiler found" in (tmp_path / "out" / "comparison.csv").read_text()
