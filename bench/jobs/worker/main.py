"""A worker: it loads the dataset, constructs the predictor, runs the passes and writes the Result.

    bootstrap.py FOLDER FD PHASE  does one phase of the job in FOLDER/job.json; its messages go to the descriptor FD
    bootstrap.py --check FD       reads jobs on standard input and tells of each, by a message, whether it can run

Each phase of a job has a process of its own. It imports what the model needs, reads the data set, and then waits for a
line on its standard input. The model's own code finds nothing there, and what it prints goes to a log. The phases are

    train         train the model
    memory,...    run these passes
    rounds        time one round whenever a further line asks for it
    shard-2-of-5  predict a share of the images; the folder is that of the shard
    merge-of-5    measure the accuracy of what all shards found

A worker runs in the environment that the model's ``python`` names: it imports numpy and PIL, the adapter's library,
torch unless the class says that it needs none, and an evaluator where accuracy is measured.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import importlib
import json
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from bench.data.classes import match_labels
from bench.data.dataset import CocoDataset, load, training_split
from bench.device import compiling, cores, numerics
from bench.device.gpu import Gpu
from bench.device.gpu_memory import DeviceMemory
from bench.files.digests import take_over
from bench.files.held import hold
from bench.files.json_file import from_dict
from bench.jobs.identity import shard_key
from bench.jobs.job import Question, WorkerJob, hide, read_job
from bench.jobs.launcher import ROUNDS, TRAIN
from bench.jobs.messages import Channel, Complete, Doing, Ready
from bench.jobs.once.flops import counted_by_another
from bench.jobs.shards.phase import merged_of, shard_of
from bench.jobs.worker.check import check
from bench.jobs.worker.depends import add_sources, record
from bench.jobs.worker.failures import classify
from bench.jobs.worker.load_model import build_predictor, note_on_module, trainable
from bench.jobs.worker.locate import import_library
from bench.jobs.worker.one_shape import refuse_other_shapes, wants_one_shape
from bench.jobs.worker.sources import own_files, own_sources
from bench.jobs.worker.told import notes_on_data
from bench.jobs.worker.without_torch.device import device_of
from bench.jobs.worker.without_torch.need import needs_torch
from bench.passes.base import Context, InterleavedRound, load_pass
from bench.passes.compiled import Compiled, batches_by_shape
from bench.passes.heap import keep_freed_memory
from bench.passes.laps import timed_images
from bench.passes.shards.division import Shard
from bench.passes.shards.merged import ToMerge
from bench.predictor import Predictor, ReplayPredictor, TorchPredictor
from bench.private.paths import publishable_path
from bench.schema.config import BenchConfig
from bench.schema.parts.training import FinetuneResult
from bench.schema.result import (
    FINETUNED,
    INTERRUPTED,
    PASSES,
    ModelInfo,
    Result,
    RuntimeInfo,
    read_own_result,
    write_result,
)

if TYPE_CHECKING:
    import torch

_WITH_TORCH = ("torch", "bench.passes.runner", "bench.weights.load", "bench.training.loop")
"""Modules that import torch and that a worker of a model that runs imports before it waits for its line."""


def work(
    job: WorkerJob,
    folder: Path,
    phase: str,
    channel: Channel,
    told: Iterable[str] = (),
    dataset: CocoDataset | None = None,
) -> None:
    """Do one phase of a job and write its measurements into the job's result.

    told: the requests for rounds
    dataset: the job's, where it has been read already

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
            context = _context(job, folder, result, device_memory, channel, dataset, merged_of(phase) or 0)
            passes = phase.split(",") if context.to_merge is None else ["accuracy"]
            _note_on_data(context, passes, job.image_notes)
            if phase == ROUNDS:
                _time_rounds(job, context, channel, told)
            elif shard := shard_of(phase):
                _predict_shard(job, context, shard, channel)
            else:
                _run_passes(job, context, passes, channel)
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
    from bench.training.initial_weights import start_from
    from bench.training.loop import Training

    config = job.config

    def save(so_far: FinetuneResult) -> None:
        result.finetune = so_far
        write_result(result, folder / "result.json")

    device = _prepare(config)
    channel.send(Doing("data"))
    measured, learned = load(config.dataset), load(training_split(config.dataset))
    channel.send(Doing("build"))
    channel("load", 0, 1, 0)
    start = start_from(trainable(job.filled), config, learned, device, job.weights_path)
    numerics.apply(config)
    record(job, result, device, start.predictor.packages, measured)
    channel.send(Doing("finetune"))
    Training(start, learned, measured, config, folder, job.command, channel, save).run()


def _prepare(config: BenchConfig) -> torch.device:
    threads = config.protocol.threads
    if config.protocol.pin:
        own = cores.pin_worker()
        threads = threads or own
    device = device_of(config.device)
    if "torch" not in sys.modules:
        return device
    import torch

    if threads:
        torch.set_num_threads(threads)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # events and libraries that say only "cuda" mean the current device
    return device


def _context(
    job: WorkerJob,
    folder: Path,
    result: Result,
    device_memory: DeviceMemory,
    channel: Channel,
    read_ahead: CocoDataset | None,
    merges: int,
) -> Context:
    """Prepare everything that a pass needs, and write machine and model into the result.

    merges: how many shards are to be merged; 0 where none are
    """
    config = job.config
    channel.send(Doing("data"))
    device = _prepare(config)
    dataset = load(config.dataset) if read_ahead is None else read_ahead
    channel.send(Doing("build"))
    channel("load", 0, 1, 0)
    notes: list[str | None] = []
    predictor = build_predictor(job.filled, dataset, device, job.weights_path, notes.append)
    if "torch" in sys.modules:
        numerics.apply(config)
    compiled = _ready(predictor, config, dataset, on_a_gpu=device.type != "cpu")
    now = record(job, result, device, predictor.packages, dataset)
    result.model = _model_info(job, predictor)
    labels = match_labels(dataset, predictor.classes, config.dataset.aliases)
    gpu = Gpu.of(device)
    context = Context(config, dataset, device, predictor, labels, folder, result, channel, gpu, device_memory)
    context.begins, context.compiled = lambda part: channel.send(Doing(part)), compiled
    context.counted_before = partial(counted_by_another, job, folder, result, now)
    context.to_merge = ToMerge(folder, merges, _shard_key(job), now) if merges else None
    if isinstance(predictor, ReplayPredictor):
        if set(config.passes) - {"accuracy"}:
            context.note("a replayed results file has no speed and no memory: only its accuracy is measured")
        return context
    in_use, emulated = device_memory.use_by_others(device), numerics.emulated(config.precision, device)
    for note in filter(None, (*notes, *predictor.notes, note_on_module(predictor), in_use, emulated)):
        context.note(note)
    return context


def _note_on_data(context: Context, passes: Sequence[str], image_notes: Sequence[str]) -> None:
    """Tell in the row what was found in the data set, and what would mislead a reader of its AP."""
    for note in (*image_notes, *notes_on_data(context.dataset, context.config, passes)):
        context.note(note)


def _ready(
    predictor: Predictor | ReplayPredictor, config: BenchConfig, dataset: CocoDataset, on_a_gpu: bool
) -> Compiled | None:
    """Set memory format and compiler as the job asks for them; give what there is to compile."""
    if isinstance(predictor, TorchPredictor) and config.protocol.channels_last:
        predictor.use_channels_last()
    compiles = isinstance(predictor, TorchPredictor) and config.compile != "none"
    if not isinstance(predictor, Predictor) or not (compiles or wants_one_shape(config)):
        return None
    timed = timed_images(dataset.images, config.protocol, on_a_gpu)
    shapes = batches_by_shape(predictor, dataset.images, config.batch_size, timed)
    refuse_other_shapes(config, predictor, shapes)
    if not (compiles and isinstance(predictor, TorchPredictor)):
        return None
    compiling.compile_parts(predictor, config.compile, many_shapes=len(shapes) > 1)
    return Compiled(config.compile, shapes)


def _model_info(job: WorkerJob, predictor: Predictor | ReplayPredictor) -> ModelInfo:
    parameters = predictor.module.parameters() if isinstance(predictor, TorchPredictor) else None
    runtime = predictor.runtime if isinstance(predictor, Predictor) else None
    return ModelInfo(
        classes=list(predictor.classes),
        weights=FINETUNED if job.config.finetune else publishable_path(job.config.model.weights),
        weights_sha256=job.weights_sha256,
        parameters=sum(p.numel() for p in parameters) if parameters is not None else None,
        runtime=RuntimeInfo(**dataclasses.asdict(runtime)) if runtime is not None else None,
    )


def _run_passes(job: WorkerJob, context: Context, names: Sequence[str], channel: Channel) -> None:
    """Run the passes one after the other; each is on disk before the next begins."""
    for place, name in enumerate(names):
        untimed = not any(PASSES[each].timed for each in names[place:])
        channel.send(Doing(name, untimed=untimed))
        if untimed and not PASSES[name].own_process:
            keep_freed_memory()
        chosen = load_pass(name)
        if PASSES[name].timed and not PASSES[name].in_rounds:
            context.warm_every_shape()  # the speed pass does it itself, after the first call, which it reports
        if chosen.applies(context.predictor):
            measured = chosen.measure(context)
            if measured is not None:
                hold(measured)  # one figure that cannot be read would take those of all passes with it
            setattr(context.result, name, measured)
        add_sources(job, type(context.predictor), context.result)
        write_result(context.result, context.folder / "result.json")


def _predict_shard(job: WorkerJob, context: Context, shard: Shard, channel: Channel) -> None:
    """Predict a shard; its file holds all that the worker of the merging has to know of it."""
    from bench.passes.predicting.shard import predict_shard

    channel.send(Doing("accuracy", untimed=True))
    keep_freed_memory()

    def sources() -> dict[str, str]:
        add_sources(job, type(context.predictor), context.result)
        return context.result.sources

    predict_shard(context, shard, _shard_key(job), sources)


def _shard_key(job: WorkerJob) -> str:
    return shard_key(job.config, job.contents, job.weights_sha256)


def _time_rounds(job: WorkerJob, context: Context, channel: Channel, told: Iterable[str]) -> None:
    """Time one round for each line that the worker is told, which is a number of batches or empty."""
    names = [name for name in context.config.passes if PASSES[name].in_rounds]
    channel.send(Ready())
    for number, line in enumerate(told):
        context.round = InterleavedRound(number == 0, int(line) if line.strip() else None)
        _run_passes(job, context, names, channel)
        channel.send(Ready())


def _take_stdin() -> TextIO:
    """Give the standard input, and leave an empty one to the code of the model, which may read it."""
    taken = os.fdopen(os.dup(0), encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    return taken


def _read_ahead(job: WorkerJob, phase: str, channel: Channel) -> CocoDataset | None:
    """Read the data set of a job before the worker begins; an error is met again, and told, when it has begun.

    What has changed meanwhile is noticed: the digest of what was read is compared with the one that was planned.
    """
    if phase == TRAIN:  # it reads another set too, and prepares the device first
        return None
    channel.send(Doing("data"))
    with contextlib.suppress(Exception):
        return load(job.config.dataset)
    return None


def main(arguments: list[str]) -> int:
    """Run the worker, as the module's docstring says; give the exit status."""
    told = _take_stdin()
    if arguments[0] == "--check":
        check(from_dict(Question, json.load(told)), Channel(int(arguments[1])).send)
        return 0
    folder, channel, phase = Path(arguments[0]), Channel(int(arguments[1])), arguments[2]
    job = read_job(folder)
    take_over(job.digests)
    target = job.config.model._target_
    if needs_torch(target):
        for name in _WITH_TORCH:
            importlib.import_module(name)
    import_library(target)
    own_sources(own_files(None))  # the files as they are imported: they may be edited while this process waits
    dataset = _read_ahead(job, phase, channel)
    if not told.readline():
        return 1  # the process that started this one has ended
    work(job, folder, phase, channel, told, dataset)
    channel.send(Complete())
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    gc.freeze()  # else Python looks for garbage in all of a library as it ends, which takes 2 s
    sys.exit(status)
