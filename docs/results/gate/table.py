"""The tables of what ``measure.py`` has measured: python docs/results/gate/table.py OUT > docs/results/gate/tables.md

Also writes ``comparisons.csv`` beside this file: a line for each comparison and metric. The two other kinds of gate are
given the same samples: pytest-benchmark's own check of ``--benchmark-compare-fail=mean:5%``, and the ratio of
github-action-benchmark (``alert-threshold``: 200 % unless it is set). Each also as they are mostly used: the base is
what the comparison before this one measured, as a stored figure would be.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pytest_benchmark.utils import parse_compare_fail
from scipy.stats import binomtest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2]))

from bench.gate_rows import load_rows  # noqa: E402
from bench.result import Result  # noqa: E402
from bench.verdicts import AMBIGUOUS, WORSE, GateReport, read_report  # noqa: E402

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
FIELDS = ("kind", "number", "metric", "verdict", "base", "head", "change", "low", "high", "p")


def main() -> int:
    out = Path(sys.argv[1])
    with (HERE / "comparisons.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(FIELDS)
        for kind in KINDS:
            for folder in done(out, kind):
                for f in read_report(folder / "gate.json").findings:
                    if f.change is not None:
                        figures = [
                            f"{x:.6g}" if x is not None else "" for x in (f.base, f.head, f.change, f.low, f.high, f.p)
                        ]
                        writer.writerow([kind, folder.name, f.metric, f.verdict, *figures])
    print("| what was compared | comparisons | worse | ambiguous | median change |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for kind, words in KINDS.items():
        reports = [read_report(folder / "gate.json") for folder in done(out, kind)]
        if reports:
            cells = [words, str(len(reports)), rate(reports, WORSE), rate(reports, AMBIGUOUS), median_change(reports)]
            print(f"| {' | '.join(cells)} |")
    print(f"\n| gate | base | {' | '.join(KINDS[kind] for kind in SPEEDS)} |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for name, fails in gates().items():
        for stored, base in ((False, "of the same comparison"), (True, "of the comparison before")):
            cells = [name, base, *(alarms(done(out, kind), fails, stored) for kind in SPEEDS)]
            print(f"| {' | '.join(cells)} |")
    return 0


def done(out: Path, kind: str) -> list[Path]:
    return sorted(folder for folder in (out / kind).glob("[0-9]*") if (folder / "gate.json").exists())


def rate(reports: Sequence[GateReport], verdict: str) -> str:
    return share(sum(bool(report.of(verdict)) for report in reports), len(reports))


def share(count: int, total: int) -> str:
    """A share with its 95 % interval (Wilson)."""
    if not total:
        return ""
    ends = binomtest(count, total).proportion_ci(method="wilson")
    return f"{100 * count / total:.1f} % [{100 * ends.low:.1f}, {100 * ends.high:.1f}]"


def median_change(reports: Sequence[GateReport]) -> str:
    """Of the metric that the fault is in: FPS, memory or AP."""
    metric = next(f for f in reports[0].findings if f.change is not None)
    changes = [
        f.change for report in reports for f in report.findings if f.metric == metric.metric and f.change is not None
    ]
    middle = float(np.median(changes))
    return (
        f"{metric.metric} {100 * middle:+.2f} %" if metric.relative else f"{metric.metric} {middle:+.2f} {metric.unit}"
    )


def gates() -> dict[str, Callable[[Sequence[float], Sequence[float]], bool]]:
    """By name, whether the other gates fail, given the seconds of base and head."""
    check = parse_compare_fail("mean:5%")

    def by_mean(base: Sequence[float], head: Sequence[float]) -> bool:
        return bool(check.fails({"mean": float(np.mean(head))}, {"mean": float(np.mean(base))}))

    def by_ratio(limit: float) -> Callable[[Sequence[float], Sequence[float]], bool]:
        return lambda base, head: float(np.mean(head)) / float(np.mean(base)) > limit

    ratios = {f"github-action-benchmark, alert-threshold {100 * limit:.0f} %": by_ratio(limit) for limit in RATIOS}
    return {"pytest-benchmark, mean:5%": by_mean, **ratios}


def alarms(folders: Sequence[Path], fails: Callable[[Sequence[float], Sequence[float]], bool], stored: bool) -> str:
    count = total = 0
    before: list[float] | None = None
    for folder in folders:
        base, head = seconds(folder, "base"), seconds(folder, "head")
        against = before if stored else base
        before = base
        if against is not None:
            count, total = count + fails(against, head), total + 1
    return share(count, total)


def seconds(folder: Path, side: str) -> list[float]:
    [row] = load_rows(folder / side)
    result: Result = row.result
    assert result.speed is not None
    return [ms / 1000 for ms in result.speed.model.latency_ms]


if __name__ == "__main__":
    sys.exit(main())
