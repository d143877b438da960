"""``maskbench export model=NAME FILE.onnx``, or ``python -m bench.cli.export``, writes a trained model as an ONNX file.

    maskbench export FILE.onnx model=NAME [--int8] [KEY=VALUE ...]

The file says in its metadata how its outputs are read, what images are made of before it, and from which weights it
is, so that ``model=onnx model.weights=FILE.onnx`` measures it as it stands and a report says what the conversion costs.
Exit status: 0, or 2 for wrong input.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.arguments import filled_path, path_spelled
from bench.cli.calibration import IMAGES, Calibration, calibration_images
from bench.cli.run import compose
from bench.errors import UserError, absent_library, called_as_maskbench
from reports.text.output import tolerant_output

if TYPE_CHECKING:
    from bench.schema.config import BenchConfig

ORIGIN_KEY = "maskbench_origin"
"""The key of the file's metadata under which stands, as JSON, what it was exported from."""

UNFINISHED_PREFIX = ".maskbench-export-"
"""Begins the name of the folder in which a file is written, beside its place."""


@tolerant_output()
def main(arguments: Sequence[str] | None = None, program: str = "python -m bench.cli.export") -> int:
    """Run the command; give the exit status: 0, or 2 for wrong input."""
    options = _parser(program).parse_intermixed_args(arguments)
    try:
        if options.calibration_images is not None and not options.int8:
            raise UserError("--calibration-images: only --int8 needs images; give --int8 too, or leave it out")
        jobs = compose([*options.settings, "device=cpu"])
        if len(jobs) != 1:
            raise UserError(f"export: {len(jobs)} models are named; give one, as model=NAME")
        count = IMAGES if options.calibration_images is None else options.calibration_images
        export(jobs[0].config, options.file, count if options.int8 else None)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"error: {absent_library(error)}", file=sys.stderr)
        return 2
    measures = "maskbench" if called_as_maskbench() else "python run_bench.py"
    precision = " precision=int8" if options.int8 else ""
    weights = shlex.quote(f"model.weights={path_spelled(str(options.file))}")
    print(f"{options.file} is written; measure it with: {measures} model=onnx {weights}{precision}")
    return 0


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program, description="Write a trained model as an ONNX file. Exit status: 0, or 2 for wrong input."
    )
    parser.add_argument("file", type=filled_path, metavar="FILE.onnx", help="the file to write")
    parser.add_argument("settings", nargs="+", metavar="KEY=VALUE", help="model=NAME, and keys of model and data set")
    parser.add_argument(
        "--int8",
        action="store_true",
        help="quantise it, by ONNX Runtime's static quantisation calibrated on images of dataset.train",
    )
    parser.add_argument(
        "--calibration-images",
        type=int,
        metavar="N",
        help=f"number of images that --int8 is calibrated on ({IMAGES})",
    )
    return parser


def export(config: BenchConfig, file: Path, calibration_count: int | None = None) -> None:
    """Write the model of a job into an ONNX file, which is there whole or not at all.

    calibration_count: the number of training images by which an int8 file is calibrated; None exports as it is

    Raises:
        UserError: there are no trained weights, the class cannot be exported or quantised, the images for the
            calibration are not those of a train set, or the file cannot be written.
    """
    if not config.trained or config.model.weights == "own" or config.finetune is not None:
        raise UserError(
            f"model={config.model.name}: model.weights={config.model.weights} is no file of trained weights; give "
            f"model.weights=PATH"
        )
    if file.suffix != ".onnx":
        raise UserError(f"{file}: the name of the file must end in .onnx")
    calibration = None if calibration_count is None else calibration_images(config.dataset, calibration_count)
    import torch

    from bench.jobs.plan import weights_file
    from bench.jobs.worker.load_model import build_predictor
    from bench.predictor import Predictor

    weights = weights_file(config, lambda name, received, total: None)
    predictor = build_predictor(config, _NoData(), torch.device("cpu"), str(weights))  # type: ignore[arg-type]
    if not isinstance(predictor, Predictor):
        raise UserError(f"model={config.model.name}: replays results and has no network to export")
    try:
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=UNFINISHED_PREFIX) as folder:
            whole = Path(folder, file.name)
            predictor.export_onnx(whole)
            if calibration is not None:
                _quantise(whole, calibration)
            _say_origin(whole, config, weights, calibration)
            os.replace(whole, file)
    except OSError as error:
        raise UserError(f"{file}: cannot be written ({error.strerror}); give a file in a folder that can") from error


def _quantise(file: Path, calibration: Calibration) -> None:
    """Put the int8 file in the place of a file, by the runtime that ``model=onnx`` is."""
    import torch

    from bench.jobs.worker.load_model import build_predictor
    from bench.predictor import Predictor

    [job] = compose(["model=onnx", f"model.weights={file}", "device=cpu", "study=none"])
    runtime = build_predictor(job.config, _NoData(), torch.device("cpu"), str(file))  # type: ignore[arg-type]
    assert isinstance(runtime, Predictor)
    quantised = file.with_name(f"int8-{file.name}")
    runtime.quantise_onnx(calibration.images(), quantised)
    os.replace(quantised, file)


def origin_of(config: BenchConfig, weights: Path | None) -> dict[str, str]:
    """Give what decides an exported network: the SHA-256 of the network and of the weights, and the input size."""
    import dataclasses

    from bench.files.digests import sha256_of
    from bench.private.paths import publishable_config
    from bench.schema.facts import network_sha256

    origin = {"network_sha256": network_sha256(publishable_config(dataclasses.asdict(config))["model"])}
    if weights is not None:
        origin["weights_sha256"] = sha256_of(weights)
    if config.input_size is not None:
        origin["input_size"] = str(config.input_size)
    return origin


def _say_origin(file: Path, config: BenchConfig, weights: Path | None, calibration: Calibration | None) -> None:
    """Write into the file's metadata what it was exported from."""
    import json

    import onnx

    origin = origin_of(config, weights)
    if calibration is not None:
        origin["calibration"] = calibration.words
    written = onnx.load(str(file))
    entry = written.metadata_props.add()
    entry.key, entry.value = ORIGIN_KEY, json.dumps(origin)
    onnx.save(written, str(file))


class _NoData:
    """Stands for the data set, of which a model with trained weights takes nothing."""

    class_names = ()


if __name__ == "__main__":
    sys.exit(main())
