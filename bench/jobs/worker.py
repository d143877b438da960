"""The child's side of a job: build dataset and predictor, run the passes, write the Result.

    python -m bench.jobs.worker FOLDER FD STAGE  a stage of the job of FOLDER/job.json; progress goes to descriptor FD
    python -m bench.jobs.worker --check          reads jobs on standard input, answers what stands against each of them

Each stage of a job has a process of its own, which imports what the model needs before it does anything else:

    train    trains the model
    memory   measures its memory alone
    waiting  measures the other passes, once a line on standard input tells it to
    turns    measures one round of its speed whenever a line on standard input tells it to

Runs in whatever environment the model's ``python`` names: imports torch, numpy and PIL, the adapter's library, and
an evaluator where accuracy is measured.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from bench.data.dataset import CocoDataset, load, match_labels, training_split
from bench.device import compiling, machine, numerics
from bench.device.gpu import Gpu
from bench.errors import UserError, absent_library
from bench.jobs.load_model import build_predictor, check, trainable
from bench.jobs.locate import import_library
from bench.passes import accuracy, energy, flops, memory, speed
from bench.passes.runner import Runner
from bench.predictor import Predictor, ReplayPredictor
from bench.schema.config import BenchConfig
from bench.schema.json_file import from_dict
from bench.schema.result import FINETUNED, INTERRUPTED, FinetuneResult, ModelInfo, Result, read_result, write_result
from bench.training.initial_weights import start_from
from bench.training.loop import Training

_PROGRESS_INTERVAL_SECONDS = 0.2


class Progress:
    """Sends the parent at most five lines a second; told between two timed batches, never inside one."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._last = 0.0
        self._images: Counter[str] = Counter()

    def __call__(
        self,
        pass_name: str,
        done: float,
        total: float,
        images: int,
        status: str | None = None,
        line: str | None = None,
    ) -> None:
        """``images`` more are through; ``done`` of ``total`` of the pass is. ``status`` stands beside the bar from now
        on, ``line`` is for the user to read and is never held back."""
        self._images[pass_name] += images
        now = time.monotonic()
        too_soon = now - self._last < _PROGRESS_INTERVAL_SECONDS and done < total and line is None
        if self._descriptor is None or too_soon:
            return
        self._last = now
        message = {"pass": pass_name, "done": done, "total": total, "images": self._images[pass_name]}
        message |= {key: text for key, text in (("status", status), ("line", line)) if text is not None}
        self.say(message)

    def say(self, message: dict[str, Any]) -> None:
        """Tell the parent at once."""
        # A parent that is gone must not end the measurement with a broken pipe.
        with contextlib.suppress(OSError):
            if self._descriptor is not None:
                os.write(self._descriptor, json.dumps(message).encode() + b"\n")


def run(job: dict[str, Any], folder: Path, progress: Progress, stage: str) -> None:
    """Run the passes that are ``due``, writing the result of ``folder`` after each of them; of the stage ``memory``
    that pass alone, and the result is left open for the others."""
    due = ["memory"] if stage == "memory" else job["due"]
    config = from_dict(BenchConfig, job["config"])
    path = folder / "result.json"
    result = read_result(path, of_any_version=True)
    result.started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    device_memory = memory.DeviceMemory()  # before torch makes its CUDA context, so that the context counts
    with _failures_recorded(result):
        _run_passes({**job, "due": due}, config, folder, result, progress, device_memory, stage == "turns")
        if stage != "memory":
            result.status, result.reason = "ok", None
    write_result(result, path)


def train(job: dict[str, Any], folder: Path, progress: Progress) -> None:
    """Train the job's model and leave the result open for the passes that measure it."""
    config = from_dict(BenchConfig, job["config"])
    path = folder / "result.json"
    result = read_result(path, of_any_version=True)
    result.started = datetime.now(timezone.utc).isoformat(timespec="seconds")

    def save(so_far: FinetuneResult) -> None:
        result.finetune = so_far
        write_result(result, path)

    with _failures_recorded(result):
        _train(job, config, folder, result, progress, save)
    write_result(result, path)


@contextlib.contextmanager
def _failures_recorded(result: Result) -> Iterator[None]:
    """Whatever ends the block early becomes the result's status and reason."""
    try:
        yield
    except KeyboardInterrupt:
        result.status, result.reason = "failed", INTERRUPTED
    except ModuleNotFoundError as error:
        traceback.print_exc()
        result.status, result.reason = "skipped", absent_library(error)
    except Exception as error:
        traceback.print_exc()
        result.status, result.reason = _classify(error)


def _train(
    job: dict[str, Any],
    config: BenchConfig,
    folder: Path,
    result: Result,
    progress: Progress,
    save: Callable[[FinetuneResult], None],
) -> None:
    device = _prepare(config)
    measured, learned = load(config.dataset), load(training_split(config.dataset))
    progress("load", 0, 1, 0)
    start = start_from(trainable(config), config, learned, device, job["weights_path"])
    numerics.apply(config)
    result.machine = machine.describe(device)
    Training(start, learned, measured, config, folder, job["command"], progress, save).run()


def _prepare(config: BenchConfig) -> torch.device:
    if config.protocol.threads:
        torch.set_num_threads(config.protocol.threads)
    device = torch.device(config.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # events and libraries that say only "cuda" mean the current device
    return device


def _run_passes(
    job: dict[str, Any],
    config: BenchConfig,
    folder: Path,
    result: Result,
    progress: Progress,
    device_memory: memory.DeviceMemory,
    turns: bool,
) -> None:
    device = _prepare(config)
    dataset = load(config.dataset)
    progress("load", 0, 1, 0)
    predictor = build_predictor(config, dataset, device, job["weights_path"])
    numerics.apply(config)
    if config.protocol.channels_last and isinstance(predictor, Predictor) and predictor.module is not None:
        predictor.module.to(memory_format=torch.channels_last)
    if config.compile != "none" and isinstance(predictor, Predictor):
        compiling.compile_parts(predictor, config.compile)
    result.machine = machine.describe(device)
    earlier = result.model
    result.model = ModelInfo(
        classes=list(predictor.classes),
        weights=FINETUNED if config.finetune else config.model.weights,
        weights_sha256=job["weights_sha256"],
        flops_mean=earlier.flops_mean if earlier else None,
        flops_std=earlier.flops_std if earlier else None,
    )
    labels = match_labels(dataset, predictor.classes, config.dataset.aliases)
    path = folder / "result.json"
    model: Runner | ReplayPredictor
    if isinstance(predictor, ReplayPredictor):
        model = predictor
        if set(config.passes) - {"accuracy"}:
            _note(result, "a replayed results file has no speed and no memory: only its accuracy is measured")
    else:
        model = Runner(predictor, device, config.precision)
        module = predictor.module
        result.model.parameters = sum(p.numel() for p in module.parameters()) if module is not None else None
        gpu = Gpu.of(device)
        if in_use := device_memory.use_by_others(device):
            _note(result, in_use)
        if emulated := numerics.emulated(config.precision, device):
            _note(result, emulated)
        if "memory" in job["due"]:
            result.memory = memory.measure(model, dataset, config, device, device_memory, progress)
            write_result(result, path)
        if "speed" in job["due"]:
            for turn in _turns(progress) if turns else [None]:
                result.speed = speed.measure(model, dataset, config, device, progress, result.speed, gpu, turn)
                write_result(result, path)
            if config.compile != "none":
                result.compiled = compiling.outcome(predictor, config.compile)
            write_result(result, path)
            if result.model.flops_mean is None:
                _count_flops(predictor, dataset, result, result.model)
                write_result(result, path)
        if "energy" in job["due"]:
            result.energy = energy.measure(model, dataset, config, device, gpu, progress)
            if result.energy is None and device.type == "cuda":
                _note(result, "energy: the GPU has no counter that NVML may read")
            write_result(result, path)
    if "accuracy" in job["due"]:
        result.accuracy = accuracy.measure(model, dataset, labels, config, folder, progress)
        write_result(result, path)


def _note(result: Result, text: str) -> None:
    """Say it once, however many of the job's workers find it."""
    if text not in result.notes:
        result.notes.append(text)


def _turns(progress: Progress) -> Iterator[speed.Turn]:
    """A turn for each line on standard input, which is a number of batches or empty; says when it is ready for one."""
    progress.say({"ready": True})
    for number, line in enumerate(sys.stdin):
        yield speed.Turn(number == 0, int(line) if line.strip() else None)
        progress.say({"ready": True})


def _count_flops(predictor: Predictor, dataset: CocoDataset, result: Result, model: ModelInfo) -> None:
    """A figure beside the others, which must not cost them: what goes wrong is a note."""
    try:
        model.flops_mean, model.flops_std = flops.count(predictor, dataset)
    except Exception as error:
        traceback.print_exc()
        _note(result, f"floating-point operations could not be counted: {' '.join(str(error).split())[:200]}")


def _classify(error: Exception) -> tuple[str, str]:
    text = " ".join(str(error).split())[:500]
    if isinstance(error, UserError):
        return "failed", text
    memory_words = ("can't allocate memory", "out of memory", "not enough memory")
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(w in text for w in memory_words):
        return "out_of_memory", text or "out of memory"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return "failed", f"{type(error).__name__}: {text} ({Path(frame.filename).name}:{frame.lineno}; see worker.log)"


def main(arguments: list[str]) -> int:
    """Entry point; see the module's docstring."""
    if arguments == ["--check"]:
        with contextlib.redirect_stdout(sys.stderr):  # libraries print on import; the answer must stand alone
            answer = check(json.load(sys.stdin))
        print(json.dumps(answer))
        return 0
    if sys.platform == "linux":  # a worker whose parent was killed must not go on holding the GPU
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    folder = Path(arguments[0])
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    progress, stage = Progress(int(arguments[1])), arguments[2]
    import_library(job["config"]["model"]["_target_"])
    if stage == "waiting" and not sys.stdin.readline():
        return 1  # who started us is gone
    if stage == "train":
        train(job, folder, progress)
    else:
        run(job, folder, progress, stage)
    if stage in ("train", "memory"):  # others go on from there
        progress.say({"complete": stage})
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    gc.freeze()  # else Python looks through all of a library for garbage as it ends, which takes 2 s
    sys.exit(status)
