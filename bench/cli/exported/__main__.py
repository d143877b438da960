"""``python -m bench.cli.exported model=NAME`` gives a model with its trained weights as an ONNX file, from the cache.

The last line on standard output is the file's path, with status 0; or the error, with status 2 for wrong input and
:data:`ABSENT` where this interpreter lacks a library. The plan of a study runs it in a process of its own, since it
needs torch and the library of the model, which a plan never imports.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from bench.cli import export as exports
from bench.cli.run import compose
from bench.device.machine import installed
from bench.errors import UserError, absent_library
from bench.jobs.identity import digest_together
from bench.jobs.plan import weights_file
from bench.jobs.start import ROOT
from bench.jobs.worker.locate import locate
from bench.schema.config import BenchConfig
from bench.weights.cache import cache_folder, prepare_folder, remove_planted
from bench.weights.zoo_export import ABSENT

PACKAGES = ("torch", "onnx", "onnxscript")
"""The packages whose versions an export depends on, beside those of the model's class."""

LOCK = "exports.lock"
"""Is held in the cache of weights while a file is exported."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Give the file, exported where the cache has none that is of these weights, versions and code."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        alike = [*given, "device=cpu", "study=none"]
        [job] = compose(alike)
        if job.config.model.weights == "random":
            [job] = compose([*alike, "model.weights=zoo"])
        print(exported_file(job.config))
    except UserError as error:
        print(error)
        return 2
    except OSError as error:
        where = error.filename or cache_folder()
        print(f"{where}: {error.strerror or error}; set MASKBENCH_CACHE to a folder with room")
        return 2
    except ModuleNotFoundError as error:
        print(absent_library(error))
        return ABSENT
    return 0


def exported_file(config: BenchConfig) -> Path:
    """Give the path of the ONNX file of a job's trained weights in the cache of weights.

    Of several processes one exports, and the others wait for it.
    """
    weights = weights_file(config, lambda name, received, total: None)
    file = cache_folder() / f"{config.model.name}-{_key(config, weights)}.onnx"
    if file.is_file():
        return file
    prepare_folder(file.parent)
    lock = file.with_name(LOCK)
    remove_planted(lock)
    with FileLock(lock):
        if not file.is_file():
            for unfinished in file.parent.glob(f"{exports.UNFINISHED_PREFIX}*"):  # of a process that was killed
                shutil.rmtree(unfinished, ignore_errors=True)
            print(f"{config.model.name}: is exported to ONNX once, about a minute", file=sys.stderr)
            exports.export(config, file)
    return file


def _key(config: BenchConfig, weights: Path | None) -> str:
    """Give a digest of all that decides what is in the file."""
    packages = (*PACKAGES, *locate(config.model._target_).packages)
    # All adapters: that of the model has the network, and another one writes what the file says of itself.
    code = [*(ROOT / "adapters").rglob("*.py"), Path(exports.__file__)]
    deciding: dict[str, Any] = {
        **exports.origin_of(config, weights),
        "code": digest_together(code),
        "packages": installed(packages),
    }
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(main())
