"""The training of a model, through the command and in parts."""

from __future__ import annotations

import hashlib
import json
import math
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from trainable import Painter

from bench.data.dataset import CocoDataset, load
from bench.data.images import read_image
from bench.data.shapes import generate as shapes
from bench.errors import UserError
from bench.jobs.job import ComposedJob
from bench.jobs.worker.load_model import trainable
from bench.predictor import Checkpoint, Instances, Settings
from bench.schema.config import BenchConfig, DatasetConfig, FinetuneConfig, ShapesConfig
from bench.training.data import TrainingSet, training_batches, training_size
from bench.training.initial_weights import Start, start_from
from bench.training.loop import Training
from bench.training.optimizer import (
    build_optimizer,
    freeze_batch_norm,
    learning_rate,
    peak_rate,
    total_iterations,
)
from bench.weights.load import load_checkpoint
from bench.weights.save import write_weights
from run_bench import compose

Command = Callable[..., "subprocess.CompletedProcess[str]"]
FINETUNE = [
    *("model=custom", "model._target_=trainable.Painter", "finetune=default", "finetune.iterations=12"),
    *("finetune.log_every=1", "finetune.checkpoint_every=5", "finetune.evaluate_every=6", "finetune.batch_size=2"),
    *("finetune.learning_rate=0.05", "passes=[accuracy]"),
]


def started(config: BenchConfig, train: CocoDataset, device: torch.device, weights: str | None) -> Start:
    """What a training of this configuration starts from."""
    return start_from(trainable(config), config, train, device, weights)


def train_on(bright_squares: list[str]) -> list[str]:
    """The arguments of a set that is learned and measured at once."""
    return [*bright_squares, *(a.replace("dataset.", "dataset.train.") for a in bright_squares if "dataset." in a)]


def only_result(out: Path) -> dict[str, Any]:
    (path,) = out.glob("jobs/*/result.json")
    return {**json.loads(path.read_text()), "folder": path.parent}


@pytest.fixture(scope="module")
def uninterrupted(run_once: Any, bright_squares: list[str]) -> dict[str, Any]:
    done, out = run_once("trained", *FINETUNE, *train_on(bright_squares))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "iteration 12 of 12: mask AP" in done.stdout
    return only_result(out)


def test_a_model_is_trained_and_then_measured(uninterrupted: dict[str, Any]) -> None:
    training = uninterrupted["finetune"]
    assert uninterrupted["status"] == "ok"
    assert uninterrupted["model"]["weights"] == "fine-tuned"
    assert (training["start"], training["iterations"], training["epochs"]) == ("scratch", 12, 6.0)
    assert [entry["iteration"] for entry in training["curve"]] == list(range(1, 13))
    for entry in training["curve"]:
        assert entry["total"] == pytest.approx(entry["mask"] + entry["dice"], abs=1e-6)
    assert training["curve"][-1]["mask"] < 0.7 * training["curve"][0]["mask"]
    assert [entry["iteration"] for entry in training["evaluations"]] == [6, 12]
    # The last evaluation was of the very weights that are measured afterwards, by a process of its own.
    assert uninterrupted["accuracy"]["figures"]["mask_ap"] == training["evaluations"][-1]["mask_ap"]


def test_checkpoints_say_what_they_are(uninterrupted: dict[str, Any]) -> None:
    for name in ("last", "best"):
        path = uninterrupted["folder"] / f"{name}.safetensors"
        if uninterrupted["finetune"]["checkpoint"] == path.name:
            assert uninterrupted["finetune"]["checkpoint_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        checkpoint = load_checkpoint(path)
        assert checkpoint.classes == ("rectangle",)
        assert checkpoint.metadata["dataset_sha256"] == uninterrupted["finetune"]["dataset_sha256"]
        assert json.loads(checkpoint.metadata["config"])["finetune"]["iterations"] == 12
        assert "finetune.iterations=12" in checkpoint.metadata["command"]
        assert "out=" not in checkpoint.metadata["command"]  # a folder of this machine is no part of a published file


def test_a_killed_training_goes_on_with_the_same_losses(
    uninterrupted: dict[str, Any], run_command: Command, bright_squares: list[str], tmp_path: Path
) -> None:
    once = f"+model.options.once={tmp_path / 'once'}"
    command = [*FINETUNE, *train_on(bright_squares), "+model.options.dies_at=8", once, f"out={tmp_path / 'out'}"]
    killed = run_command(*command)
    assert killed.returncode == 1
    result = only_result(tmp_path / "out")
    assert result["status"] == "crashed"
    assert "SIGKILL" in result["reason"]
    assert len(result["finetune"]["curve"]) == 5  # what the checkpoint of iteration 5 knew

    resumed = run_command(*command)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    result = only_result(tmp_path / "out")
    # The command, which the file of weights holds, says here when to die.
    other = {"seconds", "images_per_second", "evaluation_seconds", "checkpoint_sha256"}
    expected = {k: v for k, v in uninterrupted["finetune"].items() if k not in other}
    assert {k: v for k, v in result["finetune"].items() if k not in other} == expected
    name = expected["checkpoint"]
    found, once_through = (load_checkpoint(each["folder"] / name).state_dict for each in (result, uninterrupted))
    assert found.keys() == once_through.keys()
    assert all(torch.equal(found[key], tensor) for key, tensor in once_through.items())
    assert "resumed after iteration 5" in (result["folder"] / "worker.log").read_text()

    again = run_command(*command)
    assert "measured before" in again.stdout


def test_a_loss_that_is_nan_stops_the_training(run_command: Command, bright_squares: list[str], tmp_path: Path) -> None:
    done = run_command(*FINETUNE, *train_on(bright_squares), "+model.options.nan_at=8", f"out={tmp_path}")
    assert done.returncode == 1
    result = only_result(tmp_path)
    assert result["status"] == "failed"
    assert result["reason"].startswith(
        "finetune: iteration 8 of 12: loss mask is nan; stopped, the last good checkpoint"
    )
    kept = load_checkpoint(result["folder"] / "last.safetensors")
    assert kept.metadata["iteration"] == "5"


def test_nothing_to_learn_from_is_found_before_anything_runs(
    run_here: Command, bright_squares: list[str], tmp_path: Path
) -> None:
    (annotations,) = (a.partition("=")[2] for a in bright_squares if a.startswith("dataset.annotations="))
    data = json.loads(Path(annotations).read_text())
    for annotation in data["annotations"]:
        annotation["iscrowd"] = 1
    (tmp_path / "crowds.json").write_text(json.dumps(data))
    arguments = [*train_on(bright_squares), f"dataset.train.annotations={tmp_path / 'crowds.json'}"]
    done = run_here(*FINETUNE, *arguments, f"out={tmp_path / 'out'}")
    assert done.returncode == 2
    assert "crowds.json: no annotation to learn from" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["model._target_=toy_models.Blobs"], "toy_models.Blobs defines no training_step, so it cannot be trained"),
        (["finetune.start=published"], "finetune.start=published: Painter has no published weights"),
        (["finetune.start=weights"], "finetune.start=weights: model.weights=own is nothing to start from"),
        (["finetune.start=partial"], "finetune.start=partial: model.weights=own is nothing to start from"),
        (["finetune.optimizer=adam"], "finetune.optimizer=adam: unknown, must be adamw or sgd"),
        (["finetune.scales=[1.0,0.5]"], "finetune.scales=[1.0, 0.5]: must be two rising shares"),
        (["finetune.iteratons=3"], "finetune.iteratons: no such key"),
    ],
)
def test_a_training_that_cannot_be(
    arguments: list[str], line: str, run_here: Command, bright_squares: list[str], tmp_path: Path
) -> None:
    done = run_here(*FINETUNE, *train_on(bright_squares), *arguments, f"out={tmp_path / 'out'}")
    assert done.returncode == 2
    assert line in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_a_training_set_the_line_names_the_keys(
    run_here: Command, bright_squares: list[str], tmp_path: Path
) -> None:
    done = run_here(*FINETUNE, *bright_squares, f"out={tmp_path / 'out'}")
    assert done.returncode == 2
    assert "dataset.train.images=PATH and dataset.train.annotations=PATH" in done.stderr


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    """The limit on a file's size stands for the disk's: the write fails half-way."""
    path = tmp_path / "last.safetensors"
    write_weights(path, {"w": torch.arange(4.0)}, {}, "fp32")
    script = (
        "import resource, signal, sys, torch\n"
        "from pathlib import Path\n"
        "from bench.weights.save import write_weights\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))\n"
        "write_weights(Path(sys.argv[1]), {'w': torch.zeros(100_000)}, {}, 'fp32')\n"
    )
    assert resource.RLIMIT_FSIZE is not None
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    assert "UserError" in done.stderr
    assert "the checkpoint cannot be written (File too large); the one written before is kept" in done.stderr
    assert load_checkpoint(path).state_dict["w"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert [p.name for p in tmp_path.iterdir()] == ["last.safetensors"]


def test_half_precision_is_for_matrices_and_refuses_what_overflows(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(
        path, {"kernel": torch.full((2, 2), 1 / 3), "bias": torch.full((2,), 1 / 3)}, {"classes": "[]"}, "fp16"
    )
    read = load_checkpoint(path).state_dict
    assert (read["kernel"].dtype, read["bias"].dtype) == (torch.float16, torch.float32)
    for value, words in ((70000.0, "kernel overflows fp16"), (math.nan, "kernel holds NaN")):
        with pytest.raises(UserError, match=words):
            write_weights(path, {"kernel": torch.full((2, 2), value)}, {}, "fp16")
    assert load_checkpoint(path).state_dict["kernel"][0, 0].item() == pytest.approx(1 / 3, abs=1e-4)


@pytest.mark.parametrize(
    ("decay", "rates"),
    [
        ("step", {0: 1e-6, 5: 5.005e-4, 10: 1e-3, 79: 1e-3, 80: 1e-4, 109: 1e-4, 110: 1e-5}),
        (
            "cosine",
            {10: 1e-3 * 0.5 * (1 + math.cos(math.pi / 12)), 60: 5e-4, 119: 1e-3 * 0.5 * (1 - math.cos(math.pi / 120))},
        ),
        ("none", {10: 1e-3, 119: 1e-3}),
    ],
)
def test_learning_rate(decay: str, rates: dict[int, float]) -> None:
    config = FinetuneConfig(decay=decay, warmup_iterations=10)
    for iteration, rate in rates.items():
        assert learning_rate(iteration, 120, 1e-3, config) == pytest.approx(rate, rel=1e-9)


def test_the_rate_where_none_is_given() -> None:
    assert peak_rate(FinetuneConfig(), from_weights=True) == 1e-4
    assert peak_rate(FinetuneConfig(), from_weights=False) == 1e-3
    assert peak_rate(FinetuneConfig(optimizer="sgd", batch_size=4, accumulate=2), from_weights=True) == 0.01
    assert peak_rate(FinetuneConfig(learning_rate=0.5), from_weights=True) == 0.5


def test_schedules_are_in_epochs() -> None:
    assert total_iterations(FinetuneConfig(schedule="1x", batch_size=16), 1000) == 750
    assert total_iterations(FinetuneConfig(schedule="3x", batch_size=8, accumulate=2), 1000) == 2250
    assert total_iterations(FinetuneConfig(iterations=7), 1000) == 7


def test_parameter_groups_and_frozen_batch_norm() -> None:
    module = torch.nn.ModuleDict(
        {
            "backbone": torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)),
            "head": torch.nn.Linear(4, 2),
        }
    )
    module.train()
    freeze_batch_norm(module)
    assert not module["backbone"][1].training
    optimizer = build_optimizer(module, "backbone.", 0.1, FinetuneConfig(weight_decay=0.05))
    groups = {(g["factor"], g["weight_decay"]): [p.shape for p in g["params"]] for g in optimizer.param_groups}
    assert groups == {
        (0.1, 0.05): [(4, 3, 3, 3)],
        (0.1, 0.0): [(4,)],  # the convolution's bias: scale and shift of the frozen norm are not trained
        (1.0, 0.05): [(2, 4)],
        (1.0, 0.0): [(2,)],
    }


@pytest.mark.parametrize(
    ("size", "share", "expected"),
    [
        ((480, 640), 1.0, (800, 1067)),
        ((480, 640), 0.6, (480, 640)),
        ((300, 900), 1.0, (444, 1333)),
        ((640, 480), 0.6, (640, 480)),
    ],
)
def test_training_size(size: tuple[int, int], share: float, expected: tuple[int, int]) -> None:
    assert training_size(size, (800, 1333), share) == expected


@pytest.fixture(scope="module")
def small_shapes(tmp_path_factory: pytest.TempPathFactory) -> CocoDataset:
    cache = str(tmp_path_factory.mktemp("shapes"))
    return load(DatasetConfig(name="shapes", shapes=ShapesConfig(split="train", count=8, cache=cache)))


def test_samples_at_full_size_are_the_annotations(small_shapes: CocoDataset) -> None:
    config = FinetuneConfig(flip=0.0, scales=[1.0, 1.0])
    by_size: dict[tuple[int, int], Any] = {(r.height, r.width): r for r in small_shapes.images}
    assert len(by_size) == 8
    for record in small_shapes.images:
        one = replace(small_shapes, images=(record,))
        wanted = [a for a in small_shapes.annotations if a["image_id"] == record.id and not a["iscrowd"]]
        if not wanted:
            with pytest.raises(UserError, match="no image has an annotation to learn from"):
                TrainingSet(one, (100, 200), config)
            continue
        edges = (min(record.height, record.width), max(record.height, record.width))
        image, target = TrainingSet(one, edges, config)[0]
        np.testing.assert_array_equal(image, read_image(record))
        x, y, w, h = np.array([a["bbox"] for a in wanted]).T
        np.testing.assert_array_equal(target.boxes.numpy(), np.stack([x, y, x + w, y + h], 1))
        assert target.masks.flatten(1).sum(1).tolist() == [a["area"] for a in wanted]
        assert target.labels.tolist() == [a["category_id"] - 1 for a in wanted]


def test_a_flip_mirrors_image_masks_and_boxes(small_shapes: CocoDataset) -> None:
    straight = TrainingSet(small_shapes, (100, 200), FinetuneConfig(flip=0.0, scales=[1.0, 1.0]))[0]
    mirrored = TrainingSet(small_shapes, (100, 200), FinetuneConfig(flip=1.0, scales=[1.0, 1.0]))[0]
    np.testing.assert_array_equal(mirrored[0], straight[0][:, ::-1])
    assert torch.equal(mirrored[1].masks, straight[1].masks.flip(2))
    width = straight[0].shape[1]
    assert torch.equal(mirrored[1].boxes[:, 0], width - straight[1].boxes[:, 2])


def test_every_image_once_an_epoch_in_an_order_of_its_own(small_shapes: CocoDataset) -> None:
    samples = TrainingSet(small_shapes, (200, 400), FinetuneConfig(scales=[1.0, 1.0], batch_size=1))
    count = len(samples.images)
    assert count == 7  # image 7 is empty
    orders = [[tuple(samples[p][1].labels.tolist()) for p in range(e * count, (e + 1) * count)] for e in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]


def test_a_batch_lies_or_stands_at_one_scale(small_shapes: CocoDataset) -> None:
    samples = TrainingSet(small_shapes, (100, 200), FinetuneConfig(batch_size=2, scales=[0.5, 1.0]))
    assert samples.batches_an_epoch == 3
    lying = sum(image.height <= image.width for image in samples.images)
    assert 2 <= lying <= 5
    alike, shorter_edges = 0, set()
    for images, _ in training_batches(samples, 2, 0, 9, 0):
        one, other = (image.shape[:2] for image in images)
        alike += (one[0] <= one[1]) == (other[0] <= other[1])
        assert min(one) == min(other)
        shorter_edges.add(min(one))
    assert alike >= 6  # at most one batch of the three is made of what was left
    assert len(shorter_edges) > 5


@pytest.mark.parametrize("processes", [0, 2])
def test_a_batch_is_the_same_whoever_loads_it(small_shapes: CocoDataset, processes: int) -> None:
    samples = TrainingSet(small_shapes, (32, 64), FinetuneConfig(batch_size=3))
    expected = [samples[p] for p in (6, 7, 8)]
    (images, targets) = next(training_batches(samples, 3, 2, 3, processes))
    for (image, target), got, wanted in zip(expected, images, targets, strict=True):
        np.testing.assert_array_equal(image, got)
        assert torch.equal(target.masks, wanted.masks)


def composed(*arguments: str) -> ComposedJob:
    return compose(
        ["model=demo_mask_rcnn_torchvision", "dataset=shapes", "device=cpu", "finetune=default", *arguments]
    )[0]


def test_class_dependent_layers_start_anew(small_shapes: CocoDataset, tmp_path: Path) -> None:
    """Weights for six classes, learned on three, and on six of other names: the box and mask outputs start anew."""
    config = composed("finetune.seed=1").config
    cpu = torch.device("cpu")
    trained = started(config, small_shapes, cpu, None).predictor
    path = tmp_path / "six.safetensors"
    write_weights(path, trained.module.state_dict(), {"classes": json.dumps(list(shapes.CLASSES))}, "fp32")
    outputs = {
        *(
            f"roi_heads.box_predictor.{part}.{kind}"
            for part in ("cls_score", "bbox_pred")
            for kind in ("weight", "bias")
        ),
        *(f"roi_heads.mask_predictor.mask_fcn_logits.{kind}" for kind in ("weight", "bias")),
    }
    three = replace(small_shapes, categories=small_shapes.categories[:3])
    renamed = replace(small_shapes, categories=tuple(replace(c, name=f"my {c.name}") for c in small_shapes.categories))
    config.finetune.start, config.finetune.seed = "weights", 2
    for dataset in (three, renamed):
        start = started(config, dataset, cpu, str(path))
        assert set(start.reinitialised) == outputs
        state = start.predictor.module.state_dict()
        for name, tensor in trained.module.state_dict().items():
            if name not in outputs:
                assert torch.equal(state[name], tensor), name
            elif dataset is renamed and name.endswith("weight"):
                assert not torch.equal(state[name], tensor), name
    assert started(config, small_shapes, cpu, str(path)).reinitialised == []


def test_a_partial_start_takes_what_fits_from_another_model(small_shapes: CocoDataset, tmp_path: Path) -> None:
    """The mask outputs of one mask for all classes have another shape; the box outputs depend on the classes."""
    cpu, path = torch.device("cpu"), tmp_path / "other.safetensors"
    other = started(
        composed("+model.options.mask_head=class_agnostic").config,
        small_shapes,
        cpu,
        None,
    ).predictor
    weights = other.module.state_dict()
    config = composed("finetune.start=partial", "finetune.seed=2").config
    mask_outputs = {f"roi_heads.mask_predictor.mask_fcn_logits.{kind}" for kind in ("weight", "bias")}
    for classes, fewer in ((list(shapes.CLASSES), 2), ([f"my {name}" for name in shapes.CLASSES], 6)):
        write_weights(path, weights, {"classes": json.dumps(classes)}, "fp32")
        start = started(config, small_shapes, cpu, str(path))
        assert len(start.reinitialised) == fewer
        assert mask_outputs <= set(start.reinitialised)
        state = start.predictor.module.state_dict()
        kept = [name for name in weights if name not in start.reinitialised]
        assert all(torch.equal(state[name], weights[name]) for name in kept)
        of = sum(not name.endswith("num_batches_tracked") for name in state)
        assert start.description == f"{of - fewer} of {of} tensors of other.safetensors"
        assert start.from_weights


def test_a_checkpoint_of_another_architecture_is_refused(small_shapes: CocoDataset, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    write_weights(path, {"w": torch.ones(2, 2)}, {"classes": json.dumps(list(shapes.CLASSES))}, "fp32")
    with pytest.raises(UserError, match="does not fit this model"):
        started(composed().config, small_shapes, torch.device("cpu"), str(path))
    with pytest.raises(UserError, match=r"other\.safetensors: finetune\.start=partial: none of its parameters"):
        started(
            composed("finetune.start=partial").config,
            small_shapes,
            torch.device("cpu"),
            str(path),
        )
    assert isinstance(load_checkpoint(path), Checkpoint)


class LabelsTooHigh(Painter):
    def postprocess(self, raw: list[torch.Tensor]) -> list[Instances]:
        outputs = super().postprocess(raw)
        for instances in outputs:
            instances.labels = torch.tensor([17])
        return outputs


def test_what_the_model_predicts_is_checked_before_it_learns(small_shapes: CocoDataset, tmp_path: Path) -> None:
    """It was told at the first evaluation, which may be hours later."""
    predictor = LabelsTooHigh(Settings(torch.device("cpu"), classes=small_shapes.class_names))
    start = Start(predictor, False, "scratch")
    config = BenchConfig(device="cpu", finetune=FinetuneConfig(iterations=3, batch_size=2))
    nothing: Any = lambda *_: None  # noqa: E731
    training = Training(start, small_shapes, small_shapes, config, tmp_path, "", nothing, nothing)
    with pytest.raises(ValueError, match=r"LabelsTooHigh\.postprocess: .*Instances\.labels holds 17, must be 0 to 5"):
        training.run()
    assert predictor.steps == 0
