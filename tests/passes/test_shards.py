"""Tests the accuracy pass in shards against the pass as a whole: the same bytes and figures, or a refusal."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import habits
import pytest
import torch
from bright_set import bright_set
from contexts import context_of

from bench.data.dataset import CocoDataset, load
from bench.data.images import ImageRecord
from bench.device.fingerprint import Fingerprint
from bench.errors import UserError
from bench.passes.accuracy import PASS
from bench.passes.predicting import shard as predicting
from bench.passes.predicting.shard import predict_shard
from bench.passes.shards import file
from bench.passes.shards.division import Shard, images_of, owners, witnesses
from bench.passes.shards.file import Head, Recorded, ShardRecorder, Tail, ends_of, path_of
from bench.passes.shards.merged import ToMerge, wrong_with
from bench.predictor import Checkpoint, Instances, Predictor, Settings
from bench.schema.config import (
    AccuracyConfig,
    BenchConfig,
    DatasetConfig,
    ModelConfig,
    ProtocolConfig,
    ShapesConfig,
)
from bench.schema.parts.accuracy import AccuracyResult

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
LABELS = [7, *[None] * 5]
IMAGES = 11
KEY, NOW = "key", Fingerprint()

Make = Callable[[], Predictor]


class Several(habits.Bright):
    """Gives four overlapping masks an image, with scores of its own, one of a class that the dataset lacks."""

    stateless_preprocess = True

    def one(self, gray: torch.Tensor) -> Instances:
        mean = gray.mean()
        height, width = gray.shape
        masks = torch.stack([gray > mean, gray > mean * 0.9, gray >= gray.min(), gray > mean + 1])
        masks[3, : height // 2] = False
        scores = torch.tensor([0.9, 0.8, 0.7, 0.6]) - mean / 1000
        boxes = torch.tensor([[0.0, 0.0, width, height]]).repeat(4, 1)
        return Instances(masks, boxes, scores, torch.tensor([0, 0, 1, 0]))


class Remembering(Several):
    """Keeps the number of images that it has seen, and finds something else by it."""

    stateless_preprocess = True
    seen = 0

    def one(self, gray: torch.Tensor) -> Instances:
        found = super().one(gray)
        self.seen += 1
        found.scores = found.scores / self.seen
        return found


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> CocoDataset:
    return bright_set(tmp_path_factory.mktemp("bright"), IMAGES)


def config_of(**settings: Any) -> BenchConfig:
    return BenchConfig(**{"model": ModelConfig(weights="own"), **settings})


def make_shard(
    make: Make, dataset: CocoDataset, config: BenchConfig, folder: Path, shard: Shard, labels: list[Any] | None = None
) -> None:
    """Do what the worker of a shard does."""
    place = path_of(folder, shard).parent
    place.mkdir(parents=True)
    context = context_of(make(), dataset, config, labels=labels or LABELS, folder=place)
    predict_shard(context, shard, KEY, lambda: {"toy.py": "aa"})


def merge(
    make: Make,
    dataset: CocoDataset,
    config: BenchConfig,
    folder: Path,
    of: int,
    labels: list[Any] | None = None,
    key: str = KEY,
    now: Fingerprint = NOW,
) -> tuple[AccuracyResult, list[str], bytes]:
    """Do what the merging worker does; the model must not run there."""
    context = context_of(make(), dataset, config, labels=labels or LABELS, folder=folder)
    context.predictor.forward = None  # type: ignore[method-assign, union-attr, assignment]
    context.to_merge = ToMerge(folder, of, key, dataclasses.replace(now, sources={"toy.py": "aa", **now.sources}))
    accuracy = PASS.measure(context)
    return accuracy, context.result.notes, (folder / accuracy.predictions).read_bytes()


def in_shards(
    make: Make, dataset: CocoDataset, config: BenchConfig, folder: Path, of: int, labels: list[Any] | None = None
) -> tuple[AccuracyResult, list[str], bytes]:
    for number in range(1, of + 1):
        make_shard(make, dataset, config, folder, Shard(number, of), labels)
    return merge(make, dataset, config, folder, of, labels)


def whole(
    make: Make, dataset: CocoDataset, config: BenchConfig, folder: Path, labels: list[Any] | None = None
) -> tuple[AccuracyResult, list[str], bytes]:
    """Measure without shards."""
    folder.mkdir()
    context = context_of(make(), dataset, config, labels=labels or LABELS, folder=folder)
    accuracy = PASS.measure(context)
    return accuracy, context.result.notes, (folder / accuracy.predictions).read_bytes()


def assert_alike(one: tuple[AccuracyResult, list[str], bytes], other: tuple[AccuracyResult, list[str], bytes]) -> None:
    assert one[2] == other[2]
    assert dataclasses.replace(one[0], seconds=None) == dataclasses.replace(other[0], seconds=None)
    assert one[1] == other[1]


def records(*sizes: tuple[int, int]) -> list[ImageRecord]:
    return [ImageRecord(number, Path(), height, width) for number, (height, width) in enumerate(sizes, 1)]


def test_batches_go_to_the_shard_that_has_least() -> None:
    """Costs 100, 80, 70, 30, 20: 100 to the first, 80 to the second, 70 there too, 30 and 20 to the first."""
    images = records((10, 10), (8, 10), (2, 10), (7, 10), (3, 10))
    assert owners(images, 1, 2) == [1, 2, 1, 2, 1]
    assert [image.id for image in images_of(Shard(1, 2), images, 1)] == [1, 3, 5]
    assert [image.id for image in witnesses(Shard(2, 2), images, 1)] == [1, 3, 5]
    assert witnesses(Shard(1, 2), images, 1) == []
    assert owners(images, 2, 2) == [1, 2, 2]  # 180, 90, 30
    assert [image.id for image in images_of(Shard(2, 2), images, 2)] == [3, 4, 5]
    assert owners([], 1, 3) == []


@pytest.mark.parametrize("of", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("size", [1, 4])
def test_every_image_is_in_one_shard_and_no_shard_has_much_more_than_its_share(of: int, size: int) -> None:
    images = records(*((40 + 13 * (n % 7), 60 + 17 * (n % 5)) for n in range(101)))
    shares = [images_of(Shard(number, of), images, size) for number in range(1, of + 1)]
    assert sorted(image.id for share in shares for image in share) == list(range(1, 102))
    pixels = [sum(image.height * image.width for image in share) for share in shares]
    dearest_batch = size * 118 * 128
    assert max(pixels) <= sum(pixels) / of + dearest_batch


WAYS: list[tuple[type[Predictor], dict[str, Any]]] = [
    (Several, {}),
    (Several, {"batch_size": 2}),
    (Several, {"batch_size": 3, "evaluator": "pycocotools", "overlap": "highest_score"}),
    (Several, {"accuracy": AccuracyConfig(parts=[])}),
    (Several, {"model": ModelConfig(weights="random")}),
    (habits.RemembersMeans, {"batch_size": 2}),
]


@pytest.mark.parametrize("of", [1, 2, 3, 5])
@pytest.mark.parametrize(("cls", "settings"), WAYS, ids=str)
def test_the_same_bytes_and_figures(
    cls: type[Predictor], settings: dict[str, Any], of: int, dataset: CocoDataset, tmp_path: Path
) -> None:
    config = config_of(**settings)
    expected = whole(lambda: cls(Settings(CPU)), dataset, config, tmp_path / "whole")
    assert expected[0].detections >= IMAGES
    assert_alike(in_shards(lambda: cls(Settings(CPU)), dataset, config, tmp_path / "shards", of), expected)


def test_the_same_bytes_and_figures_of_a_network(tmp_path: Path) -> None:
    """The demo's Mask R-CNN, whose boxes and masks are floats, in batches that are padded together."""
    pytest.importorskip("torchvision")
    from adapters.torchvision.predictor import TorchvisionPredictor
    from bench.weights.load import load_checkpoint

    data = load(DatasetConfig(name="s", shapes=ShapesConfig(count=7, seed=3, cache=str(tmp_path / "shapes"))))
    checkpoint: Checkpoint = load_checkpoint(ROOT / "weights/demo_mask_rcnn_torchvision.safetensors")

    def make() -> Predictor:
        settings = Settings(CPU, checkpoint, classes=checkpoint.classes)
        return TorchvisionPredictor(settings, builder="demo", min_size=288, max_size=384)

    labels = [data.categories[data.class_names.index(name)].id for name in make().classes]
    for size, numbers in ((1, (2, 5)), (2, (1, 3))):
        config = config_of(batch_size=size)
        expected = whole(make, data, config, tmp_path / f"whole-{size}", labels)
        assert (expected[0].figures or {})["mask_ap"] or 0 > 0.3
        for of in numbers:
            assert_alike(in_shards(make, data, config, tmp_path / f"{size}-{of}", of, labels), expected)


def test_shards_may_use_processes_beside_the_model(
    dataset: CocoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One shard uses them, the other is too small."""
    config, make = config_of(batch_size=2), lambda: Several(Settings(CPU))
    expected = whole(make, dataset, config, tmp_path / "whole")
    monkeypatch.setattr(predicting, "loaders_that_pay", lambda images, device: 2 if images == 6 else 0)
    folder = tmp_path / "shards"
    assert sorted(len(images_of(Shard(number, 2), dataset.images, 2)) for number in (1, 2)) == [5, 6]
    assert_alike(in_shards(make, dataset, config, folder, 2), expected)


def test_more_shards_than_batches_leave_some_without_images(dataset: CocoDataset, tmp_path: Path) -> None:
    config, make = config_of(batch_size=4), lambda: Several(Settings(CPU))
    expected = whole(make, dataset, config, tmp_path / "whole")
    assert_alike(in_shards(make, dataset, config, tmp_path / "shards", 5), expected)


def test_a_class_that_keeps_something_between_batches_is_told(dataset: CocoDataset, tmp_path: Path) -> None:
    _, notes, _ = in_shards(lambda: Remembering(Settings(CPU)), dataset, config_of(), tmp_path, 3)
    [note] = notes
    first = owners(dataset.images, 1, 3)[0]
    others = " and ".join(str(number) for number in (1, 2, 3) if number != first)
    assert note.startswith(
        f"accuracy.shards: shards {others} of 3 found other instances in images of shard {first} than"
    )


class Keyframes(Several):
    """Halves the scores of every fourth image, as a tracker does that looks closely at some images."""

    seen = 0

    def postprocess(self, raw: list[torch.Tensor]) -> list[Instances]:
        self.seen += 1
        found = super().postprocess(raw)
        return [dataclasses.replace(each, scores=each.scores / 2) for each in found] if self.seen % 4 == 0 else found


def test_a_class_that_looks_closely_at_every_fourth_image_is_told(dataset: CocoDataset, tmp_path: Path) -> None:
    """The first image of the data set, alone, would not show it."""
    _, notes, _ = in_shards(lambda: Keyframes(Settings(CPU)), dataset, config_of(), tmp_path, 2)
    [note] = notes
    assert "found other instances in images of shard" in note


@pytest.mark.parametrize("cls", [habits.NanScores, habits.Unsorted, habits.OnlyFirst, habits.TooMany])
def test_a_shard_of_a_class_that_breaks_a_promise_is_none(
    cls: type[Predictor], dataset: CocoDataset, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"postprocess: "):
        make_shard(lambda: cls(Settings(CPU)), dataset, config_of(batch_size=2), tmp_path, Shard(1, 2))
    assert not path_of(tmp_path, Shard(1, 2)).exists()


def rewritten(path: Path, change: Callable[[list[Any]], list[Any]], **of_head: Any) -> None:
    """Write a shard's file anew with other lines, as a bug of ours would: its digest fits."""
    head, tail = ends_of(path)
    lines = [json.loads(line) for line in path.read_bytes().splitlines()[1:-1]]
    lines = change(lines)
    head = dataclasses.replace(head, images=len(lines), **of_head)
    file.begin(path, head)
    recorded = Recorded()
    with file.shard_recording(path, len(lines)) as recorder:
        for image_id, results in lines:
            recorder.write(image_id, results)
        recorder.complete(recorded)
    file.finish(path, head, dataclasses.replace(tail, recorded=recorded))


TAMPERED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "absent": (Path.unlink, "2-of-3/shard.jsonl: no whole shard"),
    "cut": (lambda p: p.write_bytes(p.read_bytes()[:-9]), "2-of-3/shard.jsonl: no whole shard"),
    "a byte": (lambda p: p.write_bytes(p.read_bytes().replace(b'"score": 0.8', b'"score": 0.7', 1)), "has changed sin"),
    "an image is absent": (lambda p: rewritten(p, lambda lines: lines[1:]), r"it holds image \d+ where image \d+ belo"),
    "the last is absent": (lambda p: rewritten(p, lambda lines: lines[:-1]), r"shard 2 of 3 .*: it lacks image \d+"),
    "an image is there twice": (lambda p: rewritten(p, lambda lines: [*lines, lines[-1]]), "it holds more images than"),
    "another order": (lambda p: rewritten(p, lambda lines: lines[::-1]), r"it holds image \d+ where image \d+ belongs"),
    "another type of id": (lambda p: rewritten(p, lambda ls: [[str(i), r] for i, r in ls]), r"holds image \d+ where"),
    "another shard": (lambda p: rewritten(p, list, shard=Shard(3, 3)), "its file is of shard 3 of 3"),
    "another number": (lambda p: rewritten(p, list, shard=Shard(2, 4)), "its file is of shard 2 of 4"),
    "another key": (lambda p: rewritten(p, list, key="other"), "another configuration or from other files"),
    "fewer overlaps": (
        lambda p: rewritten(p, list, overlaps=["keep"]),
        "for the way with overlaps highest_score",
    ),
    "another form": (lambda p: rewritten(p, list, form=0), "a shard of another version of maskbench"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_a_shard_that_does_not_belong_is_never_merged(what: str, dataset: CocoDataset, tmp_path: Path) -> None:
    config, make = config_of(), lambda: Several(Settings(CPU))
    in_shards(make, dataset, config, tmp_path, 3)
    tamper, says = TAMPERED[what]
    tamper(path_of(tmp_path, Shard(2, 3)))
    with pytest.raises(UserError, match=says):
        merge(make, dataset, config, tmp_path, 3)


def with_tail(path: Path, **fields: Any) -> None:
    """Write other facts into a shard's last line."""
    first, *lines, last = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([first, *lines, json.dumps({**json.loads(last), **fields}).encode(), b""]))


MACHINE = {"cpu": {"name": "AMD EPYC 9354"}, "versions": {"torch": "2.14.1"}}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"sources": {"toy.py": "bb"}}, "toy.py has changed"),
        ({"sources": {"gone.py": "aa"}}, "gone.py is gone"),
        ({"machine": {**MACHINE, "cpu": {"name": "Xeon"}}}, "processor was Xeon and is AMD EPYC 9354"),
        ({"machine": {**MACHINE, "versions": {"torch": "2.13.0"}}}, "torch was 2.13.0 and is 2.14.1"),
        ({"measurement_version": 1}, "the version of the way of measuring was 1"),
    ],
    ids=str,
)
def test_other_code_and_other_machines_are_never_merged(
    fields: dict[str, Any], says: str, dataset: CocoDataset, tmp_path: Path
) -> None:
    config, make = config_of(), lambda: Several(Settings(CPU))
    now = Fingerprint(sources={"toy.py": "aa"}, facts={"processor": "AMD EPYC 9354", "torch": "2.14.1"})
    in_shards(make, dataset, config, tmp_path, 2)
    path, overlaps = path_of(tmp_path, Shard(2, 2)), ["keep", "highest_score"]
    with_tail(path, machine=MACHINE)
    merge(make, dataset, config, tmp_path, 2, now=now)
    assert wrong_with(path, Shard(2, 2), KEY, overlaps, now) == ""
    with_tail(path, **fields)
    assert says in wrong_with(path, Shard(2, 2), KEY, overlaps, now)
    with pytest.raises(UserError, match=f"shard 2 of 2 cannot be merged: {says}.*; the same command predicts it anew"):
        merge(make, dataset, config, tmp_path, 2, now=now)
    assert not path.exists()


def test_shards_that_ran_different_contents_of_a_file_are_not_merged(dataset: CocoDataset, tmp_path: Path) -> None:
    """Neither is what the merging process sees: it has not imported the file, and finds none by the name now."""
    config, make = config_of(), lambda: Several(Settings(CPU))
    in_shards(make, dataset, config, tmp_path, 2)
    (tmp_path / "late.py").write_text("x = 1\n")
    digest = hashlib.sha256(b"x = 1\n").hexdigest()[:16]
    now = Fingerprint(sources={"toy.py": "aa"}, folders=[str(tmp_path)])
    for number in (1, 2):
        with_tail(path_of(tmp_path, Shard(number, 2)), sources={"toy.py": "aa", "late.py": digest})
    merge(make, dataset, config, tmp_path, 2, now=now)
    with_tail(path_of(tmp_path, Shard(2, 2)), sources={"toy.py": "aa", "late.py": "0" * 16})
    with pytest.raises(UserError, match=r"shard 2 of 2 cannot be merged: late.py has changed"):
        merge(make, dataset, config, tmp_path, 2, now=now)


def test_what_only_a_shard_has_imported_is_among_the_sources(dataset: CocoDataset, tmp_path: Path) -> None:
    config, make = config_of(), lambda: Several(Settings(CPU))
    in_shards(make, dataset, config, tmp_path, 2)
    with_tail(path_of(tmp_path, Shard(1, 2)), sources={"late.py": "cc"})
    context = context_of(make(), dataset, config, labels=LABELS, folder=tmp_path, sources={"toy.py": "aa"})
    context.to_merge = ToMerge(tmp_path, 2, KEY, Fingerprint(sources={"toy.py": "aa", "late.py": "cc"}))
    accuracy = PASS.measure(context)
    assert context.result.sources == {"toy.py": "aa", "late.py": "cc"}
    tails = [ends_of(path_of(tmp_path, Shard(number, 2)))[1] for number in (1, 2)]
    assert (accuracy.seconds or 0) > max(tail.seconds for tail in tails)


def test_a_shard_lacks_its_name_until_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / file.NAME
    head = Head(Shard(1, 2), KEY, ["keep"], 2)
    file.begin(path, head)
    recorded = Recorded()
    with file.shard_recording(path, 2) as recorder:
        recorder.write(1, {"keep": []})
        recorder.complete(recorded)
    assert not path.exists()
    with pytest.raises(RuntimeError, match="shard 1 of 2 has 2 images, and 1 were predicted"):
        file.finish(path, head, Tail(recorded, 1.0))
    assert not path.exists()


def test_witnesses_are_not_written() -> None:
    class Kept(bytearray):
        write = bytearray.extend

    written = Kept()
    recorder = ShardRecorder(written, 1)  # type: ignore[arg-type]
    recorded = Recorded()
    recorder.write(5, {"keep": [{"score": 0.5}, {"score": 0.25}]})
    recorder.write(1, {"keep": []})
    recorder.complete(recorded)
    line = b'[5, {"keep": [{"score": 0.5}, {"score": 0.25}]}]\n'
    assert written == line
    assert (recorded.images, recorded.detections) == (1, 2)
    assert recorded.sha256 == hashlib.sha256(line).hexdigest()
    assert recorded.witness == hashlib.sha256(b'[1, {"keep": []}]\n').hexdigest()


def test_parts_measured_before_decide_what_a_shard_holds(dataset: CocoDataset, tmp_path: Path) -> None:
    """A run that asks for fewer parts than an earlier one computes those of both."""
    make, asked = lambda: Several(Settings(CPU)), config_of(accuracy=AccuracyConfig(parts=[]))
    measured = whole(make, dataset, config_of(), tmp_path / "whole")[0]
    for before, overlaps in ((None, ["keep"]), (measured, ["keep", "highest_score"])):
        folder = tmp_path / str(len(overlaps))
        folder.mkdir()
        context = context_of(make(), dataset, asked, labels=LABELS, folder=folder, accuracy=before)
        predict_shard(context, Shard(1, 2), KEY, dict)
        assert ends_of(folder / file.NAME)[0].overlaps == overlaps


def test_the_limit_of_detections_is_held_in_a_shard(dataset: CocoDataset, tmp_path: Path) -> None:
    config = config_of(protocol=ProtocolConfig(max_detections=3))
    with pytest.raises(ValueError, match="must be at most 3"):
        make_shard(lambda: Several(Settings(CPU)), dataset, config, tmp_path, Shard(1, 2))
