"""Imports mmdet without two libraries that it would take along for other tasks.

transformers is for detectors that read text, scikit-learn for one head of boxes and for tracking. mmdet does without
either where it is not installed, so it is told that they are not there while it is imported: half of the processor
time of a worker's start, and 260 MB of its memory, which no model of a row used. Others import both as ever.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def hidden(*names: str) -> Iterator[None]:
    """Let imports of these modules fail within the block, as they do where they are absent.

    A module that has been imported before is not hidden: it costs nothing any more.
    """
    absent = [name for name in names if name not in sys.modules]
    # None is how Python itself says that a module must not be imported (its reference, "The module cache").
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)


with hidden("transformers", "sklearn"):
    # All parts that an inference or a training registers later, so that none of them is imported outside of the block.
    import mmdet.datasets
    import mmdet.engine
    import mmdet.evaluation
    import mmdet.models
    import mmdet.visualization  # noqa: F401
