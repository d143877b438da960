"""A worker: it loads the dataset, constructs the predictor, runs the passes and writes the Result.

    bootstrap.py FOLDER FD PHASE  does one phase of the job in FOLDER/job.json; its messages go to the descriptor FD
    bootstrap.py --check FD       reads jobs on standard input and tells of each, by a message, whether it can run

Each phase of a job has a process of its own. It imports what the model needs, and then waits for a line on its standard
input. The model's own code finds nothing there, and what it prints goes to a log. The phases are

    train         train the model
    memory,...    run these passes
    rounds        time one round whenever a further line asks for it

A worker runs in the environment that the model's ``python`` names: it imports torch, numpy and PIL, the adapter's
library, and an evaluator where accuracy is measured.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TextIO

import torch

from bench.data.dataset import load, match_labels, training_split
from bench.device import compiling, numerics
from bench.device.gpu import Gpu
from bench.device.gpu_memory import DeviceMemory
from bench.files.json_file import from_dict
from bench.jobs.job import Question, WorkerJob, hide, read_job
from bench.jobs.launcher import ROUNDS, TRAIN
from bench.jobs.messages import Channel, Complete, Ready
from bench.jobs.worker.check import check
from bench.jobs.worker.depends import add_sources, record
from bench.jobs.worker.failures import classify
from bench.jobs.worker.load_model import build_predictor, note_on_module, trainable
from bench.jobs.worker.locate import import_library
from bench.jobs.worker.sources import own_files, own_sources
from bench.passes.base import Context, InterleavedRound, load_pass
from bench.predictor import Predictor, ReplayPredictor, TorchPredictor
from bench.private.paths import publishable_path
from bench.schema.config import BenchConfig
from bench.schema.result import (
    FINETUNED,
    INTERRUPTED,
    PASSES,
    FinetuneResult,
    ModelInfo,
    Result,
    read_own_result,
    write_result,
)
from bench.training.initial_weights import start_from
from bench.training.loop import Training


def work(job: WorkerJob, folder: Path, phase: str, channel: Channel, told: Iterable[str] = ()) -> None:
    """Do one phase of a job and write its measurements into the job's result; ``told`` are the requests for rounds.

    The result stays unfinished for the phases after this one. An error becomes the result's status and reason.
    """
    path = folder / "result.json"
    result = read_own_result(path)
    result.started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    device_memory = DeviceMemory()  # before torch makes its CUDA context, so that the context counts
    with _failures_recorded(result, job):
        if phase == TRAIN:
            _train(job, folder, result, channel)
        else:
            context = _context(job, folder, result, device_memory, channel)
            if phase == ROUNDS:
                _time_rounds(job, context, channel, told)
            else:
                _run_passes(job, context, phase.split(","))
    hide(job.from_environment, result)
    write_result(result, path)


@contextlib.contextmanager
def _failures_recorded(result: Result, job: WorkerJob) -> Iterator[None]:
    """Turn an exception of the block into the result's status and reason."""
    try:
        yield
    except KeyboardInterrupt:
        result.status, result.reason = "failed", INTERRUPTED
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        result.status, result.reason = classify(
            error, job.config.model._target_, "worker.log", job.from_environment.hide
        )


def _train(job: WorkerJob, folder: Path, result: Result, channel: Channel) -> None:
    config = job.config

    def save(so_far: FinetuneResult) -> None:
        result.finetune = so_far
        write_result(result, folder / "result.json")

    device = _prepare(config)
    measured, learned = load(config.dataset), load(training_split(config.dataset))
    channel("load", 0, 1, 0)
    start = start_from(trainable(job.filled), config, learned, device, job.weights_path)
    numerics.apply(config)
    record(job, result, device, start.predictor.packages, measured)
    Training(start, learned, measured, config, folder, job.command, channel, save).run()


def _prepare(config: BenchConfig) -> torch.device:
    if config.protocol.threads:
        torch.set_num_threads(config.protocol.threads)
    device = torch.device(config.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # events and libraries that say only "cuda" mean the current device
    return device


def _context(job: WorkerJob, folder: Path, result: Result, device_memory: DeviceMemory, channel: Channel) -> Context:
    """Prepare everything that a pass needs, and write machine and model into the result."""
    config = job.config
    device = _prepare(config)
    dataset = load(config.dataset)
    channel("load", 0, 1, 0)
    notes: list[str | None] = []
    predictor = build_predictor(job.filled, dataset, device, job.weights_path, notes.append)
    numerics.apply(config)
    _ready(predictor, config)
    record(job, result, device, predictor.packages, dataset)
    result.model = _model_info(job, predictor)
    labels = match_labels(dataset, predictor.classes, config.dataset.aliases)
    gpu = Gpu.of(device)
    context = Context(config, dataset, device, predictor, labels, folder, result, channel, gpu, device_memory)
    if isinstance(predictor, ReplayPredictor):
        if set(config.passes) - {"accuracy"}:
            context.note("a replayed results file has no speed and no memory: only its accuracy is measured")
        return context
    in_use, emulated = device_memory.use_by_others(device), numerics.emulated(config.precision, device)
    for note in (*notes, note_on_module(predictor), in_use, emulated):
        if note:
            context.note(note)
    return context


def _ready(predictor: Predictor | ReplayPredictor, config: BenchConfig) -> None:
    """Set memory format and compiler as the job asks for them."""
    if isinstance(predictor, TorchPredictor):
        if config.protocol.channels_last:
            predictor.use_channels_last()
        if config.compile != "none":
            compiling.compile_parts(predictor, config.compile)


def _model_info(job: WorkerJob, predictor: Predictor | ReplayPredictor) -> ModelInfo:
    parameters = predictor.module.parameters() if isinstance(predictor, TorchPredictor) else None
    return ModelInfo(
        classes=list(predictor.classes),
        weights=FINETUNED if job.config.finetune else publishable_path(job.config.model.weights),
        weights_sha256=job.weights_sha256,
        parameters=sum(p.numel() for p in parameters) if parameters is not None else None,
    )


def _run_passes(job: WorkerJob, context: Context, names: Sequence[str]) -> None:
    """Run the passes one after the other; each is on disk before the next begins."""
    for name in names:
        chosen = load_pass(name)
        if chosen.applies(context.predictor):
            setattr(context.result, name, chosen.measure(context))
        add_sources(job, type(context.predictor), context.result)
        write_result(context.result, context.folder / "result.json")


def _time_rounds(job: WorkerJob, context: Context, channel: Channel, told: Iterable[str]) -> None:
    """Time one round for each line that the worker is told, which is a number of batches or empty."""
    names = [name for name in context.config.passes if PASSES[name].in_rounds]
    channel.send(Ready())
    for number, line in enumerate(told):
        context.round = InterleavedRound(number == 0, int(line) if line.strip() else None)
        _run_passes(job, context, names)
        channel.send(Ready())


def _take_stdin() -> TextIO:
    """Give the standard input, and leave an empty one to the code of the model, which may read it."""
    taken = os.fdopen(os.dup(0), encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    return taken


def main(arguments: list[str]) -> int:
    """Run the worker, as the module's docstring says; give the exit status."""
    told = _take_stdin()
    if arguments[0] == "--check":
        check(from_dict(Question, json.load(told)), Channel(int(arguments[1])).send)
        return 0
    folder, channel, phase = Path(arguments[0]), Channel(int(arguments[1])), arguments[2]
    job = read_job(folder)
    import_library(job.config.model._target_)
    own_sources(own_files(None))  # the files as they are imported: they may be edited while this process waits
    if not told.readline():
        return 1  # the process that started this one has ended
    work(job, folder, phase, channel, told)
    channel.send(Complete())
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    gc.freeze()  # else Python looks for garbage in all of a library as it ends, which takes 2 s
    sys.exit(status)
