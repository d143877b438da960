"""Test that nothing compiles while it is timed, and that a row says it where something does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contexts import context_of
from PIL import Image
from toy_models import Blobs

from bench.data.dataset import CocoDataset
from bench.data.images import ImageRecord
from bench.device import compiling
from bench.errors import UserError
from bench.jobs.job import Question, WorkerJob
from bench.jobs.messages import Message, Verdict
from bench.jobs.worker.check import check
from bench.passes import memory
from bench.passes.base import Context
from bench.passes.compiled import Compiled, batches_by_shape
from bench.passes.speed import PASS
from bench.predictor import Settings
from bench.schema.config import BenchConfig, ProtocolConfig
from bench.schema.marks import marks
from bench.schema.parts.speed import SpeedResult
from run_bench import compose

CPU = torch.device("cpu")
SIZES = [(32, 32), (32, 48), (48, 32), (64, 40), (40, 64), (72, 56)]
SHORT = ProtocolConfig(rounds=1, min_samples=12, precision=10.0, warmup_batches=1, max_warmup_seconds=0.0)


class Photographs(Blobs):
    """Finds the blob of a convolved image of any size; ``shapes`` are those that its network was given."""

    stateless_preprocess = True

    def __init__(self, settings: Settings, cells: int = 1) -> None:
        super().__init__(settings)
        self.cells = cells
        self.module = torch.nn.ModuleDict({"backbone": torch.nn.Sequential(torch.nn.Conv2d(3, 1, 3, padding=1))})
        self.shapes: list[tuple[int, ...]] = []

    @classmethod
    def options_for_input_size(cls, shorter: int, longer: int) -> dict[str, Any]:
        return {}

    def preprocess(self, images: Sequence[np.ndarray]) -> list[torch.Tensor]:
        return [torch.from_numpy(image).permute(2, 0, 1).float() for image in images]

    def input_size(self, batch: list[torch.Tensor]) -> tuple[int, int]:
        height, width = (-(-max(image.shape[axis] for image in batch) // self.cells) * self.cells for axis in (1, 2))
        return height, width

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        self.shapes += [tuple(image.shape[1:]) for image in batch]
        return [self.module["backbone"](image[None])[0, 0] for image in batch]


class Pads(Photographs):
    """Says that it pads, and does not."""

    pads_inputs = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.pad_to = settings.pad_to


@pytest.fixture
def records(tmp_path: Path) -> list[ImageRecord]:
    made = []
    for number, (height, width) in enumerate(SIZES):
        pixels = np.random.default_rng(number).integers(0, 255, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        made.append(ImageRecord(number, tmp_path / f"{number}.png", height, width))
    return made


@pytest.fixture
def plain_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile without a C++ compiler, which takes 10 s: what is traced, and how often, is the same."""
    compile_module = torch.nn.Module.compile

    def with_eager(self: torch.nn.Module, *, mode: str | None, dynamic: bool | None) -> None:
        compile_module(self, backend="eager", dynamic=dynamic)

    monkeypatch.setattr(torch.nn.Module, "compile", with_eager)


def context(records: Sequence[ImageRecord], *, warms: bool, many: bool, **arguments: Any) -> Context:
    predictor = Photographs(Settings(CPU))
    compiling.compile_parts(predictor, "default", many_shapes=many)
    torch._dynamo.utils.counters.clear()
    dataset = CocoDataset("d", Path("none"), tuple(records), len(records), (), [], "")
    config = BenchConfig(compile="default", protocol=SHORT)
    made = context_of(predictor, dataset, config, **arguments)
    if warms:
        made.compiled = Compiled("default", batches_by_shape(predictor, records, 1))
    return made


def measured(made: Context) -> SpeedResult:
    made.result.speed = PASS.measure(made)
    return made.result.speed


@pytest.mark.usefixtures("plain_backend")
@pytest.mark.parametrize("many", [True, False])
def test_photographs_of_six_sizes_are_compiled_before_the_clock_starts(records: list[ImageRecord], many: bool) -> None:
    told: list[tuple[Any, ...]] = []
    made = context(records, warms=True, many=many, progress=lambda *progress: told.append(progress[:3]))
    speed = measured(made)
    assert len(speed.model.latency_ms) >= 12
    assert {tuple(size) for size in speed.image_sizes} == set(SIZES)
    assert [part.recompilations for part in speed.rounds] == [0]
    assert "recompiled" not in [mark.name for mark in marks(made.result)]
    compiled = made.result.compiled
    assert compiled is not None
    # The first call is of one size; another one has other guards, whose number is torch's affair.
    assert 1 <= compiled.recompilations <= 5
    assert compiled.graphs == 1 + compiled.recompilations
    assert [each for each in told if each[0] == "compile"] == [("compile", done, 6) for done in range(1, 7)]
    assert told.index(("compile", 6, 6)) < [each[0] for each in told].index("speed")
    assert made.result.notes == []


@pytest.mark.usefixtures("plain_backend")
def test_what_compiles_while_it_is_timed_is_counted_and_marked(records: list[ImageRecord]) -> None:
    made = context(records, warms=False, many=False)
    speed = measured(made)
    counted = torch._dynamo.utils.counters["frames"]["total"] - 1  # the first call was not timed
    assert [part.recompilations for part in speed.rounds] == [counted]
    assert counted >= 1
    [mark] = [mark for mark in marks(made.result) if mark.name == "recompiled"]
    assert f"{counted} times more" in mark.sentence


@pytest.mark.usefixtures("plain_backend")
def test_what_runs_uncompiled_is_told(records: list[ImageRecord]) -> None:
    made = context(records, warms=True, many=False)
    assert torch._dynamo.config.cache_size_limit >= compiling.MOST_RECOMPILATIONS
    with torch._dynamo.config.patch(recompile_limit=1):
        measured(made)
    [note] = made.result.notes
    assert note.startswith("compile=default: torch.compile gave up 1 of 2 pieces of the model's code, which ran")


@pytest.mark.usefixtures("plain_backend")
def test_the_memory_of_compiling_is_not_that_of_inference(
    records: list[ImageRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = context(records, warms=True, many=True)
    predictor, seen = made.predictor, []
    assert isinstance(predictor, Photographs)

    def reset() -> str:
        seen.append(list(predictor.shapes))
        return "process_peak"

    monkeypatch.setattr(memory, "_reset_host_peak", reset)
    assert memory.PASS.measure(made).host_rss_bytes
    assert [set(shapes) for shapes in seen] == [set(SIZES)]


def test_one_batch_of_each_shape(records: list[ImageRecord]) -> None:
    in_cells = Photographs(Settings(CPU), cells=64)
    assert {shape: batch[0].id for shape, batch in batches_by_shape(in_cells, records, 1).items()} == {
        (64, 64): 0,
        (128, 64): 5,
    }
    assert in_cells.shapes == []  # only preprocess was asked
    # In batches of four, a cycle through six images has three batches.
    assert [[r.id for r in batch] for batch in batches_by_shape(in_cells, records, 4).values()] == [
        [0, 1, 2, 3],
        [4, 5, 0, 1],
    ]
    in_cells.stateless_preprocess = False
    assert list(batches_by_shape(in_cells, records, 1)) == [(size,) for size in SIZES]


def verdict(records: Sequence[ImageRecord], tmp_path: Path, cls: str, **changes: Any) -> Verdict:
    images = [{"id": r.id, "file_name": r.path.name, "height": r.height, "width": r.width} for r in records]
    square = {"id": 1, "image_id": records[0].id, "category_id": 1, "iscrowd": 0, "area": 100}
    polygon = [[5, 5, 15, 5, 15, 15, 5, 15]]
    annotation = {**square, "bbox": [5, 5, 10, 10], "segmentation": polygon}
    file = tmp_path / "truth.json"
    file.write_text(
        json.dumps({"images": images, "annotations": [annotation], "categories": [{"id": 1, "name": "thing"}]})
    )
    config = BenchConfig(**changes)
    config.model.name, config.model._target_, config.model.weights = "mine", f"{__file__}:{cls}", "random"
    config.dataset.name, config.dataset.images, config.dataset.annotations = "photos", str(tmp_path), str(file)
    sent: list[Message] = []
    check(Question("cpu", [WorkerJob(config, None, None, "")]), sent.append)
    [answer] = sent[1:]
    assert isinstance(answer, Verdict)
    return answer


@pytest.mark.parametrize("mode", ["reduce-overhead", "max-autotune"])
def test_graphs_of_many_shapes_are_refused_before_anything_runs(
    records: list[ImageRecord], tmp_path: Path, mode: str
) -> None:
    wrong = verdict(records, tmp_path, "Photographs", compile=mode)
    assert wrong.reason == (
        f"compile={mode}: CUDA graphs need inputs of one shape; those of mine on photos have 6, and Photographs cannot "
        f"pad them to one (pads_inputs); give compile=default"
    )
    wrong = verdict(records, tmp_path, "Pads", compile=mode)
    assert (wrong.reason or "").endswith("give input_size=32x72 protocol.pad_to=true, or compile=default")
    assert verdict(records[:1], tmp_path, "Photographs", compile=mode).status == "ok"
    assert verdict(records, tmp_path, "Photographs", compile="default").status == "ok"


def test_padding_that_is_not_there_is_refused(records: list[ImageRecord], tmp_path: Path) -> None:
    padded = {"protocol": ProtocolConfig(pad_to=True), "input_size": "32x72"}
    assert "Photographs cannot pad its inputs to one shape" in (
        verdict(records, tmp_path, "Photographs", **padded).reason or ""
    )
    assert "Pads says pads_inputs, and its inputs have 6 shapes" in (
        verdict(records, tmp_path, "Pads", **padded).reason or ""
    )


def test_padding_is_asked_for_with_an_input_size() -> None:
    [job] = compose(["protocol.pad_to=1", "input_size=96x160", "model=demo_mask_rcnn_torchvision"])
    assert job.config.protocol.pad_to is True
    with pytest.raises(UserError, match=r"protocol.pad_to=true .* input_size, which is not given"):
        compose(["protocol.pad_to=true", "model=demo_mask_rcnn_torchvision"])


def test_a_class_that_overrides_forward_says_anew_that_it_pads() -> None:
    class Other(Pads):
        def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
            return super().forward(batch)

    class Renamed(Pads):
        pass

    assert (Pads.pads_inputs, Other.pads_inputs, Renamed.pads_inputs) == (True, False, True)
