"""Tests the timing pass on models whose true times are known."""

from __future__ import annotations

import dataclasses
import sys
import time
import types
from collections.abc import Callable, Sequence
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
from bench.device.clock import Clock, MaskFunctionTimer
from bench.errors import UserError
from bench.evaluation.rle import masks_to_rle
from bench.passes import speed as speed_pass
from bench.passes.speed import PASS
from bench.predictor import Instances, Predictor, Settings
from bench.schema.config import BenchConfig, ProtocolConfig
from bench.schema.latency import images_per_second
from bench.schema.marks import Mark, marks
from bench.schema.parts.speed import SpeedResult
from bench.schema.result import Result, read_result

CPU = torch.device("cpu")


class Hours:
    """Time as these tests have it: it goes on where somebody naps, and by a microsecond where somebody looks."""

    now_ns = 0

    def perf_counter_ns(self) -> int:
        Hours.now_ns += 1000
        return Hours.now_ns

    def monotonic(self) -> float:
        return self.perf_counter_ns() / 1e9


@pytest.fixture(autouse=True)
def hours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clock and the pass see a time that no other process of the machine can lengthen."""
    monkeypatch.setattr("bench.device.clock.time", Hours())
    monkeypatch.setattr("bench.passes.speed.time", Hours())


def nap(milliseconds: float) -> None:
    Hours.now_ns += int(1e6 * milliseconds)


def slow(call: Callable[[Any], Any], milliseconds: float) -> Callable[[Any], Any]:
    """Give the function with a sleep before it."""

    def slower(argument: Any) -> Any:
        nap(milliseconds)
        return call(argument)

    return slower


class Naps(Blobs):
    """Sleeps 5 ms in preprocess, 10 ms in forward, 20 ms in postprocess."""

    def preprocess(self, images: Sequence[np.ndarray]) -> list[torch.Tensor]:
        nap(5)
        return super().preprocess(images)

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        nap(10)
        return super().forward(batch)

    def postprocess(self, raw: list[torch.Tensor]) -> list[Instances]:
        nap(20)
        return super().postprocess(raw)


class PastesInside(Naps):
    """Makes its masks inside forward, in a function of its "library"."""

    mask_functions = ("test_speed_library:Head.paste",)

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        sys.modules["test_speed_library"].Head().paste(7)
        return super().forward(batch)


@pytest.fixture
def library() -> types.ModuleType:
    """Make a module with a class whose method sleeps 30 ms."""
    module = types.ModuleType("test_speed_library")

    class Head:
        def paste(self, value: int) -> int:
            nap(30)
            return value

        @staticmethod
        def still(value: int) -> int:
            nap(15)
            return value

    module.Head = Head  # type: ignore[attr-defined]
    sys.modules["test_speed_library"] = module
    return module


@pytest.fixture
def dataset(tmp_path: Path) -> CocoDataset:
    records = []
    for i, (height, width) in enumerate([(20, 30), (40, 20), (25, 25)]):
        path = tmp_path / f"{i}.png"
        Image.fromarray(np.full((height, width, 3), i, np.uint8)).save(path)
        records.append(ImageRecord(i, path, height, width))
    return CocoDataset("d", tmp_path / "a.json", tuple(records), 3, (), [], "")


def config(batch_size: int = 1) -> BenchConfig:
    protocol = ProtocolConfig(rounds=1, warmup_batches=1, min_samples=8, precision=1.0, max_seconds=20.0)
    return BenchConfig(protocol=protocol, batch_size=batch_size)


def measure(predictor: Predictor, dataset: CocoDataset, config: BenchConfig, **context: Any) -> SpeedResult:
    """Run one round of the speed pass."""
    return PASS.measure(context_of(predictor, dataset, config, **context))


def test_boundaries_and_stages_hold_what_they_should(dataset: CocoDataset) -> None:
    speed = measure(Naps(Settings(CPU)), dataset, config())
    for timing, slept in (
        (speed.model, 30),
        (speed.end_to_end, 35),
        (speed.preprocess, 5),
        (speed.network, 10),
        (speed.postprocess, 20),
    ):
        assert slept <= min(timing.latency_ms) <= max(timing.latency_ms) < slept + 0.1
    assert len(speed.model.latency_ms) == 9, "three laps of three images, for at least 8 samples"
    assert speed.image_sizes[:4] == [[20, 30], [40, 20], [25, 25], [20, 30]]
    assert speed.input_sizes == speed.image_sizes


def test_five_stages_add_up_to_end_to_end(dataset: CocoDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stage sleeps for a time of its own: reading the files 12 ms, the model 5, 10 and 20, its masks' RLE 16."""
    monkeypatch.setattr(speed_pass, "read_images", slow(speed_pass.read_images, 12))
    monkeypatch.setattr(speed_pass, "masks_to_rle", slow(speed_pass.masks_to_rle, 16))
    speed = measure(Naps(Settings(CPU)), dataset, config())
    stages = {"decode": 12, "preprocess": 5, "network": 10, "postprocess": 20, "encode": 16}
    for name, slept in stages.items():
        timed = getattr(speed, name).latency_ms
        assert slept <= min(timed) <= max(timed) < slept + 0.1, name
    total = sum(float(np.median(getattr(speed, name).latency_ms)) for name in stages)
    assert total == pytest.approx(float(np.median(speed.end_to_end.latency_ms)), rel=0.01)


def test_the_first_encoding_is_not_timed(dataset: CocoDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU it compiles kernels."""
    calls: list[int] = []

    def compiles(masks: torch.Tensor) -> list[dict[str, Any]]:
        calls.append(len(masks))
        nap(500 if len(calls) == 1 else 0)
        return masks_to_rle(masks)

    monkeypatch.setattr(speed_pass, "masks_to_rle", compiles)
    speed = measure(Blobs(Settings(CPU)), dataset, config())
    assert speed.encode is not None
    assert max(speed.encode.latency_ms + speed.end_to_end.latency_ms) < 400


class ChoosesKernels(Blobs):
    """Takes half a second for the first batch of each shape, as a GPU does that has to choose kernels for it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.met: list[tuple[int, ...]] = []

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        if (shape := tuple(batch[0].shape)) not in self.met:
            self.met.append(shape)
            nap(500)
        return super().forward(batch)


def test_the_first_call_of_each_shape_is_not_timed(dataset: CocoDataset) -> None:
    predictor = ChoosesKernels(Settings(CPU))
    speed = measure(predictor, dataset, config())
    assert len(predictor.met) == 3, "the images have three sizes, of which the warm-up meets one"
    assert max(speed.end_to_end.latency_ms + speed.network.latency_ms + speed.model.latency_ms) < 400


def test_batches_count_images(dataset: CocoDataset) -> None:
    speed = measure(Naps(Settings(CPU)), dataset, config(batch_size=2))
    assert len(speed.model.latency_ms) == 9
    assert len(speed.detections_per_image) == 18


def test_mask_functions_inside_forward_count_as_postprocess(dataset: CocoDataset, library: types.ModuleType) -> None:
    original = vars(library.Head)["paste"]
    speed = measure(PastesInside(Settings(CPU)), dataset, config())
    assert speed.network.latency_ms == pytest.approx([10] * 9, abs=0.1)
    assert speed.postprocess.latency_ms == pytest.approx([50] * 9, abs=0.1)
    assert speed.model.latency_ms == pytest.approx([60] * 9, abs=0.1)
    assert vars(library.Head)["paste"] is original


def test_a_static_method_stays_one(library: types.ModuleType) -> None:
    with MaskFunctionTimer(["test_speed_library:Head.still"], Clock(CPU)) as timer:
        assert library.Head.still(3) == 3
        assert library.Head().still(4) == 4
    assert timer.spent_ms == pytest.approx(30, abs=0.1)
    assert isinstance(vars(library.Head)["still"], staticmethod)


def test_max_seconds_ends_a_slow_boundary(dataset: CocoDataset) -> None:
    slow = config()
    slow.protocol = ProtocolConfig(rounds=1, warmup_batches=0, min_samples=10_000, max_seconds=0.5)
    speed = measure(Naps(Settings(CPU)), dataset, slow)
    assert len(speed.model.latency_ms) == 15, "another lap of three times 30 ms would be more than half a second"


class WarmsUp(Blobs):
    """Takes 40 ms for its first four batches, 20 ms for the next three, 4 ms from then on."""

    calls = 0

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        self.calls += 1
        nap(40 if self.calls <= 4 else 20 if self.calls <= 7 else 4)
        return super().forward(batch)


class Irregular(Blobs):
    """Takes 2 and 12 ms alternately, so that the median is never known to 1 %."""

    calls = 0

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        self.calls += 1
        nap(12 if self.calls % 2 else 2)
        return super().forward(batch)


def test_warm_up_goes_on_until_batches_take_no_less_time(dataset: CocoDataset) -> None:
    """After the first call come repetitions of three batches: 40 40 40, 20 20 20, 4 4 4, 4 4 4 ms."""
    warm = config()
    warm.protocol.warmup_batches = 3
    speed = measure(WarmsUp(Settings(CPU)), dataset, warm)
    [only] = speed.rounds
    assert only.first_call_ms >= 40
    assert len(only.warmup_ms) == 12
    assert [ms >= 20 for ms in only.warmup_ms[:9]] == [True] * 6 + [False] * 3
    assert only.warmup_stable
    assert min(speed.model.latency_ms) < 20


def test_warm_up_ends_with_its_time(dataset: CocoDataset) -> None:
    warm = config()
    warm.protocol.warmup_batches, warm.protocol.max_warmup_seconds = 3, 0.1
    speed = measure(WarmsUp(Settings(CPU)), dataset, warm)
    assert len(speed.rounds[0].warmup_ms) == 3
    assert not speed.rounds[0].warmup_stable


def test_timing_ends_when_the_median_is_known(dataset: CocoDataset) -> None:
    """The median of sleeps of 30 ms is known to 10 % at once; that of 2 and 12 ms never is, and the time ends it."""
    until_known = config()
    until_known.protocol = ProtocolConfig(rounds=1, warmup_batches=1, min_samples=6, precision=0.1, max_seconds=20)
    regular = measure(Naps(Settings(CPU)), dataset, until_known)
    assert 6 <= len(regular.model.latency_ms) <= 60  # of the 600 that there is time for
    until_known.protocol.max_seconds = 0.5
    irregular = measure(Irregular(Settings(CPU)), dataset, until_known)
    assert 450 <= sum(irregular.model.latency_ms) <= 500, "another lap would be over"


def test_rounds_share_samples_and_stand_one_behind_the_other(dataset: CocoDataset) -> None:
    twice = config()
    twice.protocol.rounds, twice.protocol.min_samples = 2, 13
    predictor = Naps(Settings(CPU))
    first = measure(predictor, dataset, twice)
    kept = list(first.model.latency_ms)
    both = measure(predictor, dataset, twice, speed=first)
    assert [part.samples for part in both.rounds] == [9, 9]
    assert len(both.model.latency_ms) == len(both.end_to_end.latency_ms) == 18
    assert both.model.latency_ms[:9] == kept
    assert both.image_sizes[9:12] == both.image_sizes[:3]


@pytest.mark.parametrize(("end_ns", "took"), [(3_000_000, "-2"), (5_000_000, "0")])
def test_a_clock_that_goes_backwards_or_stands(monkeypatch: pytest.MonkeyPatch, end_ns: int, took: str) -> None:
    times = iter([5_000_000, end_ns])
    monkeypatch.setattr("bench.device.clock.time.perf_counter_ns", lambda: next(times))
    with pytest.raises(UserError, match=f"the clock says that a batch took {took} ms"):
        Clock(CPU).time(lambda: None)


class StandingEvent:
    """A CUDA event of a device whose clock stands."""

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        """Takes no time."""

    def elapsed_time(self, end: StandingEvent) -> float:
        return 0.0


def test_a_device_s_clock_that_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "Event", StandingEvent)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    with pytest.raises(UserError, match="the clock says that a batch took 0 ms"):
        Clock(torch.device("cuda:0")).time(lambda: time.sleep(0.001))


def test_a_clock_that_is_not_fit_is_a_row_and_the_others_go_on(
    run_command: Any, bright_squares: list[str], tmp_path: Path
) -> None:
    targets = "model._target_=toy_models.BendsTime,toy_models.Blobs"
    done = run_command("model=custom", targets, *bright_squares, "protocol=quick", "passes=[speed]", f"out={tmp_path}")
    assert done.returncode == 1, done.stderr
    results = [read_result(path) for path in tmp_path.glob("jobs/*/result.json")]
    result_of = {result.config["model"]["_target_"].rpartition(".")[2]: result for result in results}
    assert (result_of["Blobs"].status, result_of["BendsTime"].status) == ("ok", "failed")
    reason = "the clock says that a batch took 0 ms: it is not fit for timing on this machine"
    assert result_of["BendsTime"].reason == reason
    assert result_of["BendsTime"].speed is None


class OfItsPixels(Blobs):
    """Takes the milliseconds that ``slowness`` says for each unit of brightness: images differ in what they cost."""

    slowness = 1.0

    def preprocess(self, images: Sequence[np.ndarray]) -> list[torch.Tensor]:
        self.brightness = sum(int(image.max()) for image in images)
        return super().preprocess(images)

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        nap(self.slowness * self.brightness)
        return super().forward(batch)


class FiftyTimesSlower(OfItsPixels):
    slowness = 50.0


@pytest.fixture
def unequal(tmp_path: Path) -> CocoDataset:
    """Ten images of which the first two cost 9 and the others 1."""
    records = []
    for place in range(10):
        path = tmp_path / f"{place}.png"
        Image.fromarray(np.full((20, 20, 3), 9 if place < 2 else 1, np.uint8)).save(path)
        records.append(ImageRecord(place, path, 20, 20))
    return CocoDataset("unequal", tmp_path / "a.json", tuple(records), 3, (), [], "")


def _fps(speed: SpeedResult) -> float:
    found = images_per_second(speed.batch_size, speed.model.latency_ms)
    assert found is not None
    return found


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_slow_row_is_timed_on_the_images_of_a_fast_one(unequal: CocoDataset, batch_size: int) -> None:
    """A model that takes 50 times as long for every image has a fiftieth of the FPS, to the last digit.

    The fast one goes round many times for its 1,000 samples; the slow one has time for two laps.
    """
    given = config(batch_size)
    given.protocol = ProtocolConfig(rounds=1, warmup_batches=1, min_samples=1000, timed_images=10, max_seconds=3.0)
    fast, slow_one = (measure(cls(Settings(CPU)), unequal, given) for cls in (OfItsPixels, FiftyTimesSlower))
    assert len(fast.model.latency_ms) > 20 * len(slow_one.model.latency_ms)
    assert _fps(fast) == pytest.approx(50 * _fps(slow_one), rel=1e-3)
    assert "fewer images" not in [mark.name for speed in (fast, slow_one) for mark in marks_of(speed, given)]


def test_a_row_too_slow_for_one_lap_is_told(unequal: CocoDataset) -> None:
    """Nothing bounds a lap but the time; such a row has other images, and its speed is never the best."""
    given = config()
    given.protocol = ProtocolConfig(rounds=1, warmup_batches=1, min_samples=3, timed_images=10, max_seconds=1.0)
    speed = measure(FiftyTimesSlower(Settings(CPU)), unequal, given)
    assert len(speed.model.latency_ms) == 4, "450 450 50 50 ms are a second"
    [mark] = [mark for mark in marks_of(speed, given) if mark.name == "fewer images"]
    assert mark.never_best
    assert mark.sentence.startswith("a round timed 4 of 10 batches that its 10 images are")


def marks_of(speed: SpeedResult, given: BenchConfig) -> list[Mark]:
    return marks(Result("ok", dataclasses.asdict(given), speed=speed))
