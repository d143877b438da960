"""Results in a notebook: the table as a data frame, and the raw samples behind it.

    import maskbench

    run = maskbench.load("runs/demo")
    run.frame[["model", "mask_ap", "fps_model"]]
    run.samples.groupby(["row", "timing"])["latency_ms"].median()

Nothing of it needs torch. It reads result files alone, so it works on results from any machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.schema.latency import TIMINGS
from bench.schema.result import Result

if TYPE_CHECKING:
    import pandas as pd

    from reports.table.comparison import Comparison

UNITS = {"points": "points", "images/s": "images_per_s", "images": "images", "per image": "per_image", "%": "percent"}
"""How units stand in the name of a column, where they are no word."""

SAMPLES = ("row", "job", "timing", "round", "batch", "latency_ms", "wall_ms", "batch_size", "clock")
REPLICATES = ("row", "job", "metric", "replicate", "points")
CLASSES = ("row", "job", "category", "mask_ap")


class Results:
    """The results of one run or several. ``results`` are the files themselves, by the label of the row."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison

    def __len__(self) -> int:
        return len(self._comparison.rows)

    def __repr__(self) -> str:
        return f"<maskbench results: {len(self)} rows>"

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Give the table: a line for each row, indexed by its label, in the order of the report.

        The columns have the names that ``--where`` and comparison.csv have; what was not measured is empty. AP is in
        points. ``attrs["units"]`` has the unit of each column, and :attr:`with_units` has it in the names.
        """
        frame = self._comparison.frame.copy()
        frame.index = self._labels()
        frame.attrs["units"] = dict(self.units)
        return frame

    @cached_property
    def with_units(self) -> pd.DataFrame:
        """Give the table with the unit in the name of every column: ``mask_ap_points``, ``latency_ms_p50``."""
        return self.frame.rename(columns={name: _with_unit(name, unit) for name, unit in self.units.items()})

    @property
    def units(self) -> Mapping[str, str]:
        """Give the unit of each column that has one."""
        from reports.table.columns import COLUMNS

        return {name: column.unit for name, column in COLUMNS.items() if column.unit}

    @property
    def results(self) -> dict[str, Result]:
        """Give each ``result.json`` as its dataclass, by the label of the row."""
        rows = zip(self._comparison.labels, self._comparison.rows, strict=True)
        return {label: row.result for label, row in rows}

    @cached_property
    def samples(self) -> pd.DataFrame:
        """Give every latency that was measured, one a line, in the columns :data:`SAMPLES`.

        ``timing`` is a boundary or a stage; ``round`` counts from 1 and ``batch`` from 0 over all rounds.
        ``latency_ms`` is of one batch of ``batch_size`` images, by ``clock``; ``wall_ms`` by the host's clock, empty
        where that is it.
        """
        import numpy as np
        import pandas as pd

        parts = []
        for label, job, result in self._each():
            speed = result.speed
            if speed is None:
                continue
            rounds = np.repeat(np.arange(1, len(speed.rounds) + 1), [part.samples for part in speed.rounds])
            for name in TIMINGS:
                if (timing := getattr(speed, name)) is not None:
                    count = len(timing.latency_ms)
                    wall = np.full(count, np.nan) if timing.wall_ms is None else np.asarray(timing.wall_ms, float)
                    same = {"row": label, "job": job, "timing": name}
                    own = {
                        "round": rounds,
                        "batch": np.arange(count),
                        "latency_ms": np.asarray(timing.latency_ms, float),
                    }
                    what = {"wall_ms": wall, "batch_size": speed.batch_size, "clock": timing.clock}
                    parts.append(pd.DataFrame({**same, **own, **what}, columns=list(SAMPLES)))
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(SAMPLES))

    @cached_property
    def replicates(self) -> pd.DataFrame:
        """Give the AP of every resampled set of images in points, in the columns :data:`REPLICATES`.

        Replicate r is the same draw in all rows on the same images: the difference of two rows is a paired bootstrap.
        """
        import pandas as pd

        lines: list[tuple[Any, ...]] = []
        for label, job, result in self._each():
            bootstrap = result.accuracy.bootstrap if result.accuracy else None
            for metric in ("mask_ap", "boundary_ap"):
                values = getattr(bootstrap, metric, None) or ()
                lines += [(label, job, metric, number, 100 * value) for number, value in enumerate(values)]
        return pd.DataFrame(lines, columns=list(REPLICATES))

    @cached_property
    def classes(self) -> pd.DataFrame:
        """Give mask AP of each category in points, in the columns :data:`CLASSES`; empty where it has no object."""
        import pandas as pd

        lines: list[tuple[Any, ...]] = []
        for label, job, result in self._each():
            found = (result.accuracy.per_class if result.accuracy else None) or {}
            lines += [(label, job, name, None if ap is None else 100 * ap) for name, ap in found.items()]
        return pd.DataFrame(lines, columns=list(CLASSES)).astype({"mask_ap": float})

    def _each(self) -> Iterator[tuple[str, str, Result]]:
        for label, row in zip(self._comparison.labels, self._comparison.rows, strict=True):
            yield label, row.job, row.result

    def _labels(self) -> Any:
        import pandas as pd

        return pd.Index(self._comparison.labels, name="row")


def load(*sources: str | os.PathLike[str]) -> Results:
    """Read every result below folders of runs; a file that cannot be read is left out, with a warning on stderr.

    sources: folders, or ``result.json`` files

    Raises:
        UserError: a source does not exist, there is none, or no result in them can be read.
    """
    from bench.errors import UserError
    from reports.table.comparison import load as read

    if not sources:
        raise UserError('load(): give a folder of results, as load("runs/demo")')
    return Results(read([Path(source).expanduser() for source in sources], Path.cwd()))


def _with_unit(name: str, unit: str) -> str:
    word = UNITS.get(unit, unit.lower().replace("/", "_per_"))
    # Most names have it already: latency_ms_p50, host_rss_mb, energy_j_per_image.
    return name if set(word.split("_")) <= set(name.split("_")) else f"{name}_{word}"
