"""The child's side of a job: build dataset and predictor, run the passes, write the Result.

    python -m bench.worker FOLDER FD        run the job of FOLDER/job.json; progress goes to the file descriptor FD
    python -m bench.worker --check          read jobs on standard input, say on standard output what stands against them

Runs in whatever environment the model's ``python`` names: imports torch, numpy and PIL, the adapter's library, and
an evaluator where accuracy is measured.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from bench import accuracy, machine, memory, speed
from bench.config import BenchConfig
from bench.dataset import CocoDataset, load, match_labels
from bench.errors import UserError
from bench.predictor import Predictor, ReplayPredictor, Settings
from bench.result import ModelInfo, Result, from_dict, read_result, write_result
from bench.weights import load_checkpoint

_PROGRESS_INTERVAL_SECONDS = 0.2
_AUTOCAST = {"fp16": torch.float16, "bf16": torch.bfloat16}


class Progress:
    """Sends the parent at most five lines a second; told between two timed batches, never inside one."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._last = 0.0

    def __call__(self, pass_name: str, done: float, total: float, images: int) -> None:
        now = time.monotonic()
        if self._descriptor is None or (now - self._last < _PROGRESS_INTERVAL_SECONDS and done < total):
            return
        self._last = now
        message = {"pass": pass_name, "done": done, "total": total, "images": images}
        # A parent that is gone must not end the measurement with a broken pipe.
        with contextlib.suppress(OSError):
            os.write(self._descriptor, json.dumps(message).encode() + b"\n")


def build_predictor(
    config: BenchConfig, dataset: CocoDataset, device: torch.device, weights_path: str | None
) -> Predictor | ReplayPredictor:
    """The model of a job, on its device and in eval mode, seeded.

    Raises:
        UserError: the class cannot be found, or the checkpoint does not fit.
        ModuleNotFoundError: the model's library is not installed here.
    """
    model = config.model
    checkpoint = load_checkpoint(Path(weights_path), allow_pickle=model.allow_pickle) if weights_path else None
    classes = tuple(model.classes) if model.classes else (checkpoint.classes if checkpoint else dataset.class_names)
    settings = Settings(
        device=device,
        checkpoint=checkpoint,
        classes=classes,
        score_threshold=0.0 if config.detections == "saturated" else model.score_threshold,
        max_detections=config.protocol.max_detections,
        config=model.config,
    )
    cls = locate(model._target_, model.library)
    torch.manual_seed(config.protocol.seed)
    try:
        predictor = cls(settings, **model.options)
    except TypeError as error:
        # A wrong keyword is the user's; a TypeError from inside the constructor is a bug and keeps its traceback.
        if "__init__() got an unexpected keyword" in str(error) or "missing" in str(error):
            raise UserError(f"model.options of {model.name}: {error}") from error
        raise
    if not isinstance(predictor, (Predictor, ReplayPredictor)):
        raise UserError(f"model._target_={model._target_}: not a bench.predictor.Predictor")
    return predictor


def locate(target: str, library: str) -> Any:
    """The class that ``_target_`` names, as "package.module.Class".

    Raises:
        UserError: the module or the class does not exist.
        ModuleNotFoundError: the module exists, but its library is not installed.
    """
    module_name, _, class_name = target.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if module_name == error.name or module_name.startswith(f"{error.name}.") or not module_name:
            raise UserError(
                f"model._target_={target}: no module {error.name!r}; it must be importable from the folder "
                f"where the command runs, or be installed"
            ) from error
        raise
    try:
        return getattr(module, class_name)
    except AttributeError:
        raise UserError(f"model._target_={target}: module {module_name} has no {class_name!r}") from None


def autocast(device: torch.device, precision: str) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    """A factory of the context that a precision means: fp16 and bf16 are ``torch.autocast``, fp32 is nothing."""
    dtype = _AUTOCAST.get(precision)
    return (lambda: torch.autocast(device.type, dtype=dtype)) if dtype else contextlib.nullcontext


def run(job: dict[str, Any], folder: Path, progress: Progress) -> None:
    """Run the passes that the result of ``folder`` still lacks, writing it after each of them."""
    config = from_dict(BenchConfig, job["config"])
    path = folder / "result.json"
    result = read_result(path)
    result.started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    device_memory = memory.DeviceMemory()  # before torch makes its CUDA context, so that the context counts
    try:
        _run_passes(job, config, folder, result, progress, device_memory)
        result.status, result.reason = "ok", None
    except KeyboardInterrupt:
        result.status, result.reason = "failed", "interrupted"
    except ModuleNotFoundError as error:
        traceback.print_exc()
        result.status, result.reason = "skipped", absent_library(error)
    except Exception as error:
        traceback.print_exc()
        result.status, result.reason = _classify(error)
    write_result(result, path)


def _run_passes(
    job: dict[str, Any],
    config: BenchConfig,
    folder: Path,
    result: Result,
    progress: Progress,
    device_memory: memory.DeviceMemory,
) -> None:
    if config.protocol.threads:
        torch.set_num_threads(config.protocol.threads)
    device = torch.device(job["device"])
    dataset = load(config.dataset)
    progress("load", 0, 1, 0)
    predictor = build_predictor(config, dataset, device, job["weights_path"])
    result.machine = machine.describe(device)
    result.model = ModelInfo(
        classes=list(predictor.classes), weights=config.model.weights, weights_sha256=job["weights_sha256"]
    )
    labels = match_labels(dataset, predictor.classes, config.dataset.aliases)
    context = autocast(device, config.precision)
    path = folder / "result.json"
    if isinstance(predictor, ReplayPredictor):
        if set(config.passes) - {"accuracy"}:
            result.notes.append("a replayed results file has no speed and no memory: only its accuracy is measured")
    else:
        module = predictor.module
        result.model.parameters = sum(p.numel() for p in module.parameters()) if module is not None else None
        # Memory first: its peaks must not contain what another pass left behind.
        if "memory" in config.passes and result.memory is None:
            result.memory = memory.measure(predictor, dataset, config, device, context, device_memory, progress)
            write_result(result, path)
        if "speed" in config.passes and result.speed is None:
            result.speed = speed.measure(predictor, dataset, config, device, context, progress)
            write_result(result, path)
    if "accuracy" in config.passes and result.accuracy is None:
        result.accuracy = accuracy.measure(predictor, dataset, labels, config, context, folder, progress)
        write_result(result, path)


def absent_library(error: ModuleNotFoundError) -> str:
    """The reason of a row that is skipped because its library is not installed."""
    name = (error.name or str(error)).partition(".")[0]
    return f"{name} is not installed in {sys.executable}; see docs/install.md#{name}"


def _classify(error: Exception) -> tuple[str, str]:
    text = " ".join(str(error).split())[:500]
    if isinstance(error, UserError):
        return "failed", text
    memory_words = ("can't allocate memory", "out of memory", "not enough memory")
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(w in text for w in memory_words):
        return "out_of_memory", text or "out of memory"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return "failed", f"{type(error).__name__}: {text} ({Path(frame.filename).name}:{frame.lineno}; see worker.log)"


def check(request: dict[str, Any]) -> dict[str, Any]:
    """What stands against each job in this environment, found without running it.

    request: ``device`` as the user gave it, ``jobs`` as in ``job.json``.
    Gives ``device`` (resolved) or ``error``; and per job ``{}``, ``{"skip": reason}`` or ``{"error": line}``.
    """
    try:
        device = resolve_device(request["device"])
    except UserError as error:
        return {"error": str(error)}
    return {"device": str(device), "jobs": [_check_job(job) for job in request["jobs"]]}


def _check_job(job: dict[str, Any]) -> dict[str, str]:
    config = from_dict(BenchConfig, job["config"])
    try:
        if job["weights_path"] is None:
            locate(config.model._target_, config.model.library)
            return {}
        dataset = load(config.dataset)
        # On the CPU: a check must not leave memory on the card that is to be measured.
        predictor = build_predictor(config, dataset, torch.device("cpu"), job["weights_path"])
        match_labels(dataset, predictor.classes, config.dataset.aliases)
    except ModuleNotFoundError as error:
        return {"skip": absent_library(error)}
    except UserError as error:
        return {"error": str(error)}
    return {}


def resolve_device(name: str) -> torch.device:
    """The device that a name means here; ``auto`` is ``cuda:0`` where there is one, else ``cpu``.

    Raises:
        UserError: this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            there = f"cpu, {', '.join(f'cuda:{i}' for i in range(count))}" if count else "cpu"
            raise UserError(f"device={name}: torch {torch.__version__} sees no such device here; available: {there}")
        return torch.device("cuda", device.index or 0)
    try:
        torch.empty(1, device=device)
    except Exception as error:
        raise UserError(f"device={name}: {str(error).splitlines()[0]}") from error
    return device


def main(arguments: list[str]) -> int:
    """Entry point; see the module's docstring."""
    if arguments == ["--check"]:
        with contextlib.redirect_stdout(sys.stderr):  # libraries print on import; the answer must stand alone
            answer = check(json.load(sys.stdin))
        print(json.dumps(answer))
        return 0
    if sys.platform == "linux":  # a worker whose parent was killed must not go on holding the card
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    folder = Path(arguments[0])
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    run(job, folder, Progress(int(arguments[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
