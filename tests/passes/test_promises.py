"""Tests that a class's promises are checked before a pass takes any figure, and the order of its stages."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import habits
import numpy as np
import orderly
import pytest
import torch
from bright_set import bright_set
from contexts import context_of
from fake_nvml import UUID, FakeNvml
from torch.nn.functional import interpolate

from bench.data.dataset import CocoDataset
from bench.data.images import read_images
from bench.device.gpu import Gpu
from bench.errors import UserError
from bench.evaluation.rle import masks_to_rle
from bench.jobs.worker.load_model import make
from bench.passes.accuracy import mask_ap_of
from bench.passes.base import load_pass
from bench.passes.runner import Runner
from bench.predictor import Instances, Predictor, Settings
from bench.schema.config import BenchConfig, ModelConfig, ProtocolConfig
from bench.schema.result import PASSES, Result

CPU = torch.device("cpu")
LABELS = [7, *[None] * 5]
ON_A_CPU = [name for name in PASSES if name != "busy"]
"""Without a GPU the busy pass runs no model: tests/passes/test_busy_pass.py."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> CocoDataset:
    return bright_set(tmp_path_factory.mktemp("bright"), 24)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    """A GPU with an energy counter, for the energy pass."""
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    return Gpu(UUID)


def config(batch_size: int = 1, **protocol: Any) -> BenchConfig:
    short = {"rounds": 1, "warmup_batches": 1, "min_samples": 2, "precision": 1.0, "max_seconds": 1.0}
    short |= {"energy_seconds": 0.02, **protocol}
    return BenchConfig(model=ModelConfig(weights="own"), batch_size=batch_size, protocol=ProtocolConfig(**short))


def measure(
    name: str, predictor: Predictor, dataset: CocoDataset, folder: Path, gpu: Gpu | None = None, batch_size: int = 1
) -> tuple[Any, Result]:
    """Run one pass; give its part of the result, and the result with its notes."""
    context = context_of(predictor, dataset, config(batch_size), labels=LABELS, folder=folder, gpu=gpu)
    return load_pass(name).measure(context), context.result


def mask_ap(predictor: Predictor, dataset: CocoDataset, folder: Path, batch_size: int = 1) -> float:
    return measure("accuracy", predictor, dataset, folder, batch_size=batch_size)[0].figures["mask_ap"]


class CarriesSizes(habits.Bright):
    """Does what Remembers does, with the sizes in the batch."""

    def preprocess(self, images: Sequence[np.ndarray]) -> Any:
        gray = super().preprocess(images)
        return [(interpolate(each[None, None], (128, 128))[0, 0], each.shape) for each in gray]

    def forward(self, batch: Any) -> Any:
        return [(image.to(self.device), size) for image, size in batch]

    def postprocess(self, raw: Any) -> list[Instances]:
        return [self.one(interpolate(image[None, None], size)[0, 0]) for image, size in raw]


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize(
    ("remembers", "carries", "size"),
    [(habits.Remembers, CarriesSizes, None), (habits.RemembersMeans, habits.Bright, (64, 80))],
)
def test_a_class_that_remembers_has_the_ap_of_one_that_carries(
    remembers: Any, carries: Any, size: tuple[int, int] | None, batch_size: int, tmp_path: Path
) -> None:
    """While preprocess ran ahead, RemembersMeans lost up to a fifth of its AP, and Remembers had masks of other sizes.

    Scaling to 128 pixels and back costs both classes of that pair some AP.
    """
    dataset = bright_set(tmp_path / "images", 24, size)
    expected = mask_ap(carries(Settings(CPU)), dataset, tmp_path, batch_size)
    assert expected > 0.6
    model = remembers(Settings(CPU), sleep_ms=2)
    assert mask_ap(model, dataset, tmp_path, batch_size) == expected
    figures = mask_ap_of(Runner(model, CPU, "fp32"), dataset, LABELS, config(batch_size))
    assert figures["mask_ap"] == expected


@pytest.mark.parametrize("name", ON_A_CPU)
def test_stages_come_in_order_in_one_thread(name: str, dataset: CocoDataset, tmp_path: Path, gpu: Gpu) -> None:
    model = orderly.TellsOrder(Settings(CPU))
    measure(name, model, dataset, tmp_path, gpu, batch_size=2)
    assert len(model.stages) >= 6
    assert model.stages == ["preprocess", "forward", "postprocess"] * (len(model.stages) // 3)
    assert model.threads == {threading.get_ident()}


def test_a_class_that_says_so_is_prepared_ahead(dataset: CocoDataset, tmp_path: Path, gpu: Gpu) -> None:
    class Ahead(orderly.TellsOrder):
        preprocess = orderly.TellsOrder.preprocess
        stateless_preprocess = True

    model = Ahead(Settings(CPU), sleep_ms=5)
    assert mask_ap(model, dataset, tmp_path) == pytest.approx(1.0)
    assert model.stages != ["preprocess", "forward", "postprocess"] * 24
    assert len(model.threads) > 1
    model.stages.clear()
    energy, result = measure("energy", model, dataset, tmp_path, gpu)
    assert energy.images > 0
    assert "preprocess" not in model.stages[model.stages.index("forward") :]
    assert result.notes == []


def test_energy_of_a_class_that_keeps_something_is_noted(dataset: CocoDataset, tmp_path: Path, gpu: Gpu) -> None:
    _, result = measure("energy", habits.Remembers(Settings(CPU)), dataset, tmp_path, gpu)
    assert result.notes == [
        "energy: Remembers does not say stateless_preprocess, so its preprocess runs between the batches, and what the "
        "GPU draws meanwhile is counted"
    ]


def test_the_promise_is_not_inherited_by_a_class_with_other_stages() -> None:
    class Says(habits.Bright):
        stateless_preprocess = True

    class Overrides(Says):
        def preprocess(self, images: Any) -> Any:
            self.sizes = [image.shape for image in images]
            return super().preprocess(images)

    class Mixin:
        def postprocess(self, raw: Any) -> Any:
            return raw

    assert [Says.stateless_preprocess, type("Same", (Says,), {}).stateless_preprocess] == [True, True]
    assert not Overrides.stateless_preprocess
    assert not type("Mixed", (Mixin, Says), {}).stateless_preprocess
    assert type("Again", (Overrides,), {"stateless_preprocess": True}).stateless_preprocess


BROKEN: dict[type[Predictor], str] = {
    habits.NanScores: "NanScores.postprocess: image 0 of the batch: Instances.scores holds NaN or infinity",
    habits.NanBoxes: "NanBoxes.postprocess: image 0 of the batch: Instances.boxes holds NaN or infinity",
    habits.Unsorted: "Unsorted.postprocess: image 0 of the batch: Instances.scores rises",
    habits.HalfScores: r"HalfScores.*Instances.scores is torch.float16 \(1,\), must be torch.float32 \(1,\)",
    habits.LabelTooBig: "LabelTooBig.*Instances.labels holds 17, must be 0 to 5",
    habits.TooMany: "TooMany.*Instances.scores holds 300 instances, must be at most 100",
    habits.FloatMasks: "FloatMasks.*Instances.masks is torch.float32",
    habits.OnlyFirst: "OnlyFirst.postprocess: gave 1 of them, must be a list of 2 Instances",
}


@pytest.mark.parametrize("name", ON_A_CPU)
@pytest.mark.parametrize("broken", BROKEN, ids=lambda cls: cls.__name__)
def test_the_first_batch_is_refused_before_a_figure_is_taken(
    broken: Any, name: str, dataset: CocoDataset, tmp_path: Path, gpu: Gpu
) -> None:
    if (broken, name) == (habits.OnlyFirst, "flops"):
        pytest.skip("flops are counted with one image")
    calls = []

    class Counted(broken):  # type: ignore[misc]
        def forward(self, batch: Any) -> Any:
            calls.append(len(batch))
            return super().forward(batch)

    Counted.__name__ = broken.__name__
    with pytest.raises(ValueError, match=BROKEN[broken]):
        measure(name, Counted(Settings(CPU)), dataset, tmp_path, gpu, batch_size=2)
    assert len(calls) == 1


def test_a_batch_that_is_answered_in_part_later_on(dataset: CocoDataset, tmp_path: Path) -> None:
    class TiresSoon(habits.Bright):
        calls = 0

        def postprocess(self, raw: Any) -> list[Instances]:
            self.calls += 1
            return super().postprocess(raw)[: 2 if self.calls < 4 else 1]

    with pytest.raises(ValueError, match=r"TiresSoon\.postprocess: gave 1 Instances for 2 images of a batch"):
        measure("speed", TiresSoon(Settings(CPU)), dataset, tmp_path, batch_size=2)


def test_masks_in_memory_that_is_used_again(dataset: CocoDataset, tmp_path: Path) -> None:
    """The masks of earlier images were overwritten before they were encoded."""
    same = bright_set(tmp_path / "same", 24, (64, 80))
    assert mask_ap(orderly.UsesMasksAgain(Settings(CPU)), same, tmp_path) == pytest.approx(1.0)
    with pytest.raises(ValueError, match=r"SaysItsMasksAreNew\.postprocess: gave Instances\.masks in the memory of"):
        mask_ap(orderly.SaysItsMasksAreNew(Settings(CPU)), same, tmp_path)


def test_scores_in_memory_that_is_used_again(dataset: CocoDataset, tmp_path: Path) -> None:
    accuracy, _ = measure("accuracy", orderly.UsesScoresAgain(Settings(CPU)), dataset, tmp_path)
    written = [entry["score"] for entry in json.loads((tmp_path / accuracy.predictions).read_text())]
    model = habits.Bright(Settings(CPU))
    expected = [float(gray.mean() / 255) for gray in model.preprocess(read_images(dataset.images))]
    assert len(set(expected)) > 12
    assert written == pytest.approx(expected)


def test_a_batch_that_forward_changes(dataset: CocoDataset, tmp_path: Path, gpu: Gpu) -> None:
    """The second call with it found nothing, and the energy of finding nothing was the row's."""
    energy, _ = measure("energy", orderly.ChangesItsBatch(Settings(CPU)), dataset, tmp_path, gpu)
    assert energy.images > 0
    with pytest.raises(ValueError, match=r"SaysItsBatchIsLeftAlone\.forward: a second call on the same batch gave 0"):
        measure("energy", orderly.SaysItsBatchIsLeftAlone(Settings(CPU)), dataset, tmp_path, gpu)
    speed, _ = measure("speed", orderly.SaysItsBatchIsLeftAlone(Settings(CPU)), dataset, tmp_path)
    assert set(speed.detections_per_image) == {1}


def test_masks_of_any_layout_have_the_same_rle() -> None:
    masks = torch.rand(3, 40, 56, generator=torch.Generator().manual_seed(0)) > 0.7
    expected = masks_to_rle(masks)
    assert masks_to_rle(masks.permute(1, 2, 0).contiguous().permute(2, 0, 1)) == expected
    assert masks_to_rle(masks[:1].expand(2, -1, -1)) == [expected[0]] * 2
    bytes_of_255 = (masks.to(torch.uint8) * 255).view(torch.bool)
    assert masks_to_rle(bytes_of_255) == expected


def test_scores_above_one_have_an_ap_and_no_calibration(dataset: CocoDataset, tmp_path: Path) -> None:
    class Confident(habits.Bright):
        def one(self, gray: torch.Tensor) -> Instances:
            found = super().one(gray)
            found.scores = torch.tensor([1.5])
            return found

    accuracy, result = measure("accuracy", Confident(Settings(CPU)), dataset, tmp_path)
    assert accuracy.figures["mask_ap"] == pytest.approx(1.0)
    assert accuracy.calibration is None
    assert result.notes == ["accuracy: scores lie outside 0 to 1, so they are no probabilities: no calibration"]
    _, plain = measure("accuracy", habits.Bright(Settings(CPU)), dataset, tmp_path)
    assert plain.notes == []


class WrapsStages(habits.Bright):
    """Replaces methods on the object, as a cache or a profiler around them does."""

    stateless_preprocess = True
    pads_inputs = True

    def __init__(self, settings: Settings, stages: str, says_so: bool = False) -> None:
        super().__init__(settings)
        for name in stages.split():
            setattr(self, name, getattr(self, name))
        if says_so:
            self.stateless_preprocess = self.pads_inputs = True


@pytest.mark.parametrize(
    ("stages", "stateless", "pads"),
    [
        ("", True, True),
        ("preprocess", False, True),
        ("forward", False, False),
        ("preprocess postprocess", False, True),
    ],
)
def test_the_promise_is_taken_back_where_the_object_has_other_stages(stages: str, stateless: bool, pads: bool) -> None:
    """Such an object kept what it saw of one image for another, and AP was 11 for 100."""
    config = BenchConfig(model=ModelConfig("m", _target_="wraps.Stages", options={"stages": stages}))
    made = make(WrapsStages, config, Settings(CPU, classes=("a",)))
    assert isinstance(made, Predictor)
    assert (made.stateless_preprocess, made.pads_inputs) == (stateless, pads)
    config.model.options["says_so"] = True
    made = make(WrapsStages, config, Settings(CPU, classes=("a",)))
    assert isinstance(made, Predictor)
    assert (made.stateless_preprocess, made.pads_inputs) == (True, True)
    config.model.options["says_so"] = False
    config.protocol.pad_to = True
    if not pads:
        with pytest.raises(UserError, match=r"protocol\.pad_to: wraps\.Stages cannot pad its inputs"):
            make(WrapsStages, config, Settings(CPU, classes=("a",), pad_to=64))
