"""Compares counts with closed forms, and with each other for one architecture in several libraries."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contexts import context_of
from PIL import Image
from plain_runtime import Level
from toy_models import Blobs

from bench.data.dataset import CocoDataset
from bench.data.images import ImageRecord
from bench.passes.flops import PASS, count_image
from bench.predictor import Settings

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[2]


class Network(Blobs):
    """Has a convolution of 3 to 8 channels, attention of 4 heads over 16 tokens of 32 channels, a matrix product."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.convolution = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.layer = torch.nn.TransformerEncoderLayer(32, 4, dim_feedforward=64, batch_first=True).eval()

    def preprocess(self, images: Sequence[np.ndarray]) -> list[torch.Tensor]:
        return [torch.from_numpy(image).permute(2, 0, 1).float() for image in images]

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        for image in batch:
            self.convolution(image[None])
            self.layer(torch.zeros(1, 16, 32))
        return [image.mean(0) for image in batch]


@pytest.fixture
def dataset(tmp_path: Path) -> CocoDataset:
    """Make seven images of 20x30, 10x30, 20x30 ... pixels."""
    records = []
    for i in range(7):
        height, path = (20, 10)[i % 2], tmp_path / f"{i}.png"
        Image.fromarray(np.full((height, 30, 3), 9, np.uint8)).save(path)
        records.append(ImageRecord(i, path, height, 30))
    return CocoDataset("d", tmp_path / "a.json", tuple(records), 7, (), [], "")


def test_closed_form(dataset: CocoDataset) -> None:
    """A multiplication and an addition count as two operations.

    The convolution has 3 x 3 x 3 x 8 such pairs a pixel. The encoder layer has the projections in and out, both
    products of attention, and the two feed-forward matrices.
    """
    convolution = 2 * 3 * 3 * 3 * 8 * 30
    layer = 2 * 16 * (32 * 96 + 32 * 32 + 2 * 32 * 64) + 2 * 2 * 4 * 16 * 16 * 8
    predictor = Network(Settings(CPU))
    assert count_image(predictor, dataset.images[0]) == 20 * convolution + layer
    # Five of seven: images 0, 1, 2, 4 and 5, of 20, 10, 20, 20 and 10 rows.
    flops = PASS.measure(context_of(predictor, dataset))
    assert flops is not None
    assert flops.images == 5
    assert flops.mean == pytest.approx(16 * convolution + layer)
    assert flops.std == pytest.approx(convolution * np.std([20, 10, 20, 20, 10]))


class Queries(Blobs):
    """Gives a module the first 16 of 20 learnt queries of 32 channels: a view of a parameter."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.queries, self.head = torch.nn.Embedding(20, 32), torch.nn.Linear(32, 8)

    def forward(self, batch: Any) -> Any:
        self.head(self.queries.weight[:16].unsqueeze(0).expand(len(batch), -1, -1))
        return super().forward(batch)


def test_a_view_of_a_parameter_is_given_to_a_module(dataset: CocoDataset) -> None:
    """The cell of RF-DETR was empty: torch's counter of each module's part looks for the gradient of such a view."""
    flops = PASS.measure(context_of(Queries(Settings(CPU)), dataset))
    assert flops is not None
    assert flops.counts == [2 * 16 * 32 * 8] * 5


class Counting(Network):
    """Counts how often it is called."""

    calls = 0

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        self.calls += 1
        return super().forward(batch)


def test_what_another_row_has_counted_is_taken_where_the_first_image_agrees(dataset: CocoDataset) -> None:
    first = PASS.measure(context_of(Counting(Settings(CPU)), dataset))
    assert first is not None
    assert (len(first.counts), first.counted_by) == (5, None)
    for change, calls in ((0, 1), (2, 5), (-2, 5)):
        predictor = Counting(Settings(CPU, precision="bf16"))
        context = context_of(predictor, dataset)
        known = replace(first, counts=[first.counts[0] + change, *first.counts[1:]], counted_by="net-fp32")
        context.counted_before = lambda known=known: known
        # A row whose own count differs counts all, so that it can have the figure of no other model.
        assert PASS.measure(context) == (first if change else known)
        assert predictor.calls == calls


def test_the_figure_of_fewer_images_is_not_taken(dataset: CocoDataset) -> None:
    first = PASS.measure(context_of(Network(Settings(CPU)), dataset))
    assert first is not None
    context = context_of(Network(Settings(CPU)), dataset)
    context.counted_before = lambda: replace(first, images=1, counts=first.counts[:1], counted_by="net-fp32")
    assert PASS.measure(context) == first


def test_the_setting_of_fast_paths_is_restored(dataset: CocoDataset) -> None:
    assert torch.backends.mha.get_fastpath_enabled()
    count_image(Network(Settings(CPU)), dataset.images[0])
    assert torch.backends.mha.get_fastpath_enabled()


WITHOUT_COMPILER = """
import sys
from pathlib import Path

import torch
from bench.data.images import ImageRecord
from bench.passes.flops import count_image


class Product:
    preprocess = staticmethod(lambda images: torch.zeros(len(images), 5))
    forward = staticmethod(lambda batch: batch @ torch.zeros(5, 7))
    postprocess = staticmethod(lambda raw: [])


print(count_image(Product(), ImageRecord(0, Path(sys.argv[1]), 20, 30)), "torch._dynamo" in sys.modules)
"""


def test_the_compiler_is_not_imported_for_it(dataset: CocoDataset) -> None:
    """That import takes 2 s of every job."""
    code = [sys.executable, "-c", WITHOUT_COMPILER, str(dataset.images[0].path)]
    done = subprocess.run(code, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(2 * 5 * 7), "False"]


def test_a_model_outside_of_torch_has_no_count(dataset: CocoDataset, tmp_path: Path) -> None:
    (tmp_path / "level.txt").write_text("100")
    assert PASS.measure(context_of(Level(Settings(CPU, weights_path=tmp_path / "level.txt")), dataset)) is None
    assert PASS.measure(context_of(Blobs(Settings(CPU)), dataset)) is None


def test_one_architecture_in_every_library(tmp_path: Path) -> None:
    """Counts of Mask R-CNN R50-FPN agree within 3 %: untrained, 100 detections, an image that no library resizes."""
    libraries = [name for name in ("torchvision", "mmdet", "detectron2") if importlib.util.find_spec(name)]
    if len(libraries) < 2:
        pytest.skip("fewer than two of torchvision, mmdet and detectron2 are installed")
    from bench.jobs.worker.load_model import build_predictor
    from run_bench import compose

    path = tmp_path / "0.png"
    noise = np.random.default_rng(0).integers(0, 255, (800, 1088, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    record = ImageRecord(0, path, 800, 1088)
    dataset: Any = CocoDataset("d", tmp_path / "a.json", (record,), 1, (), [], "")
    counts = {}
    for name in libraries:
        config = compose(
            [f"model=mask_rcnn_r50_{name}", "model.weights=random", "device=cpu", "model.classes=[a,b,c]"]
        )[0].config
        predictor = build_predictor(config, dataset, CPU, None)
        counts[name] = count_image(predictor, record)
    assert max(counts.values()) == pytest.approx(min(counts.values()), rel=0.03), counts
