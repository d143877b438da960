"""Imports ultralytics so that it reaches no network, leaves no file behind, and leaves the process as it was.

By itself the import asks a name server whether the machine is online, writes a settings file into the user's home,
enables anonymous usage reports and the installation of packages by pip, and replaces or changes what
:func:`_unchanged_process` restores. One change stays, because the library computes under it everywhere: OpenCV, which
resizes the images, works in one thread (``cv2.setNumThreads(0)``).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from bench.errors import UserError

OLDEST = (8, 4, 190)
"""Earlier versions scale boxes and masks by other rules (``ops.scale_boxes``, ``ops.scale_masks``)."""

SWITCHES = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}
"""Variables that the library reads once, while it is imported."""

MODULES = ("ultralytics.nn.tasks", "ultralytics.data.augment", "ultralytics.utils.nms", "ultralytics.utils.ops")

REMEDY = "`make env LIB=ultralytics` in the folder of maskbench makes an environment with it (licence: AGPL-3.0)"


def import_quietly() -> None:
    """Import the parts of ultralytics that the adapter uses, and switch its usage reports off.

    Raises:
        ModuleNotFoundError: it is not installed; the message says how to get it.
        UserError: the installed version is older than :data:`OLDEST`.
    """
    if "ultralytics" not in sys.modules:
        if importlib.util.find_spec("ultralytics") is None:
            raise ModuleNotFoundError(REMEDY, name="ultralytics")
        with tempfile.TemporaryDirectory() as folder, _unchanged_process():
            os.environ.update(SWITCHES, YOLO_CONFIG_DIR=folder)
            for name in MODULES:
                importlib.import_module(name)
    library: Any = importlib.import_module("ultralytics")
    _refuse_older(library.__version__)
    # A plain update would write the settings to their file.
    dict.__setitem__(importlib.import_module("ultralytics.utils").SETTINGS, "sync", False)


def _refuse_older(version: str) -> None:
    if tuple(int(number) for number in re.findall(r"\d+", version)[:3]) < OLDEST:
        oldest = ".".join(str(number) for number in OLDEST)
        raise UserError(
            f"ultralytics {version} in {sys.executable} scales masks by other rules than this adapter; install a later "
            f"one: {sys.executable} -m pip install 'ultralytics>={oldest}'"
        )


@contextlib.contextmanager
def _unchanged_process() -> Iterator[None]:
    """Restore what an import inside changes for the whole process.

    These are the environment (``OMP_NUM_THREADS=1`` would reach every process that is started later), ``torch.save``,
    the way in which torch and numpy print numbers, and the filters of warnings.
    """
    environment, save, numpy_printing = dict(os.environ), torch.save, np.get_printoptions()
    names = ("precision", "threshold", "edgeitems", "linewidth", "sci_mode")
    torch_printing = {name: getattr(torch._tensor_str.PRINT_OPTS, name) for name in names}
    try:
        with warnings.catch_warnings():
            yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        torch.save = save
        np.set_printoptions(**numpy_printing)
        torch.set_printoptions(**torch_printing)
