"""The tables of what ``measure.py`` has measured: python docs/results/gate/table.py [OUT] > docs/results/gate/tables.md

``comparisons.csv`` beside this file has a line for each comparison and metric, and the tables are made from it alone.
What is in OUT replaces the lines of the run of that name (the folder's), so that comparisons of several days and
machines come together: a comparison is held against the one before it of the same run only.

The two other kinds of gate are given the same samples: pytest-benchmark's own check of
``--benchmark-compare-fail=mean:5%``, and the ratio of github-action-benchmark (``alert-threshold``: 200 % unless it is
set). Each also as they are mostly used: the base is what the comparison before this one measured, as a stored figure
would be. Both look at nothing but the mean time of a batch (``batch_mean_ms``), which the first run has not kept.
"""

from __future__ import annotations

import csv
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from pytest_benchmark.utils import parse_compare_fail
from scipy.stats import binomtest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2]))

from bench.gate.rows import load_rows  # noqa: E402
from bench.schema.gate_report import AMBIGUOUS, WORSE, read_report  # noqa: E402

SPEEDS = ("aa", "slow3", "slow5", "slow10")
KINDS = {
    "aa": "no fault",
    "slow3": "3 % slower",
    "slow5": "5 % slower",
    "slow10": "10 % slower",
    "memory0": "no fault, memory alone",
    "memory2": "2 % more host memory",
    "ap05": "mask AP 0.5 points lower",
}
RATIOS = (1.05, 1.1, 2.0)
BATCH_MEAN = "batch_mean_ms"


@dataclass(frozen=True)
class Line:
    """Of ``comparisons.csv``: one metric of one comparison.

    unit: of ``change``, "" where that is a share of the base; low, high, p: as in ``bench.schema.gate_report.Finding``
    """

    run: str
    kind: str
    number: str
    metric: str
    verdict: str
    base: str
    head: str
    change: str = ""
    unit: str = ""
    low: str = ""
    high: str = ""
    p: str = ""

    @property
    def comparison(self) -> tuple[str, str, str]:
        return self.run, self.kind, self.number


def main(arguments: Sequence[str]) -> int:
    path = HERE / "comparisons.csv"
    lines = read(path)
    for out in map(Path, arguments):
        lines = [line for line in lines if line.run != out.name] + list(measured(out))
    write(path, sorted(lines, key=lambda line: (list(KINDS).index(line.kind), line.run, line.number)))
    print(tables(read(path)), end="")
    return 0


def read(path: Path) -> list[Line]:
    with path.open(newline="", encoding="utf-8") as file:
        return [Line(**row) for row in csv.DictReader(file)]


def write(path: Path, lines: Iterable[Line]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Line)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(asdict, lines))


def measured(out: Path) -> Iterator[Line]:
    for kind in KINDS:
        for folder in sorted((out / kind).glob("[0-9]*")):
            if not (folder / "gate.json").exists():
                continue
            place = (out.name, kind, folder.name)
            for f in read_report(folder / "gate.json").findings:
                if f.change is not None or f.verdict == WORSE:
                    figures = [text(x) for x in (f.base, f.head, f.change)]
                    bounds = [text(x) for x in (f.low, f.high, f.p)]
                    yield Line(*place, f.metric, f.verdict, *figures, "" if f.relative else f.unit, *bounds)
            if kind in SPEEDS:
                yield Line(*place, BATCH_MEAN, "", *(text(mean_ms(folder / side)) for side in ("base", "head")))


def text(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.6g}"


def mean_ms(folder: Path) -> float:
    [row] = load_rows(folder)
    assert row.result.speed is not None
    return float(np.mean(row.result.speed.model.latency_ms))


def tables(lines: Sequence[Line]) -> str:
    """Both, in Markdown."""
    rows = [
        "| what was compared | comparisons | worse | ambiguous | median change |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for kind, words in KINDS.items():
        verdicts = by_comparison(line for line in lines if line.kind == kind and line.metric != BATCH_MEAN)
        if verdicts:
            shares = [share_with(verdicts, verdict) for verdict in (WORSE, AMBIGUOUS)]
            rows.append(f"| {' | '.join([words, str(len(verdicts)), *shares, median_change(verdicts)])} |")
    means = {kind: [line for line in lines if line.kind == kind and line.metric == BATCH_MEAN] for kind in SPEEDS}
    rows += [
        "",
        f"| gate | base | {' | '.join(KINDS[kind] for kind in SPEEDS)} |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        f"| (comparisons) | | {' | '.join(str(len(means[kind])) for kind in SPEEDS)} |",
    ]
    for name, fails in gates().items():
        for stored, base in ((False, "of the same comparison"), (True, "of the comparison before")):
            cells = [name, base, *(alarms(means[kind], fails, stored) for kind in SPEEDS)]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def by_comparison(lines: Iterable[Line]) -> list[list[Line]]:
    return [list(group) for _, group in itertools.groupby(lines, key=lambda line: line.comparison)]


def share_with(comparisons: Sequence[Sequence[Line]], verdict: str) -> str:
    return share(sum(any(line.verdict == verdict for line in lines) for lines in comparisons), len(comparisons))


def share(count: int, total: int) -> str:
    """A share with its 95 % interval (Wilson)."""
    if not total:
        return ""
    ends = binomtest(count, total).proportion_ci(method="wilson")
    return f"{100 * count / total:.1f} % [{100 * ends.low:.1f}, {100 * ends.high:.1f}]"


def median_change(comparisons: Sequence[Sequence[Line]]) -> str:
    """Of the metric that the fault is in: FPS, memory or AP, which is the first."""
    first = next(line for line in comparisons[0] if line.change)
    changes = [float(line.change) for lines in comparisons for line in lines if line.metric == first.metric]
    middle = float(np.median(changes))
    return f"{first.metric} {middle:+.2f} {first.unit}" if first.unit else f"{first.metric} {100 * middle:+.2f} %"


def gates() -> dict[str, Callable[[float, float], bool]]:
    """By name, whether the other gates fail, given the mean times of base and head."""
    check = parse_compare_fail("mean:5%")

    def by_mean(base: float, head: float) -> bool:
        return bool(check.fails({"mean": head}, {"mean": base}))

    def by_ratio(limit: float) -> Callable[[float, float], bool]:
        return lambda base, head: head / base > limit

    ratios = {f"github-action-benchmark, alert-threshold {100 * limit:.0f} %": by_ratio(limit) for limit in RATIOS}
    return {"pytest-benchmark, mean:5%": by_mean, **ratios}


def alarms(means: Sequence[Line], fails: Callable[[float, float], bool], stored: bool) -> str:
    if stored:
        pairs = [(before.base, line.head) for before, line in itertools.pairwise(means) if before.run == line.run]
    else:
        pairs = [(line.base, line.head) for line in means]
    return share(sum(fails(float(base), float(head)) for base, head in pairs), len(pairs))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
