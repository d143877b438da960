"""The page of what was measured on a GPU, from the files beside it and nothing else.

    python docs/results/gpu/page.py collect OUT FOLDER
    python docs/results/gpu/page.py show FOLDER > FOLDER/README.md

``collect`` copies from OUT what gpu.sh left there, without paths and names of the machine. FOLDER then has
comparison.csv (the report's own), seconds.csv (of each row), the XML files of the benchmarks, and round.json: machine
and versions, and what a person writes there: ``title``, ``caution``, ``commit``, ``command``, and ``seen``, a list of
remarks. A figure that is in no file is empty.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[2])]

import aims  # noqa: E402
from aims import Line  # noqa: E402
from junit_file import Test, read_tests  # noqa: E402

from bench.errors import UserError  # noqa: E402
from reports.text.markdown import grid  # noqa: E402

ABSOLUTE_PATH = re.compile(r"(?<![\w.])/(?:[\w.+-]+/)+")
WRITTEN_BY_HAND = ("title", "caution", "commit", "command", "seen")

ROWS: Mapping[str, tuple[str, int]] = {
    "fps_model": ("FPS model", 2),
    "latency_ms_p50": ("p50 [ms]", 1),
    "decode_ms": ("Decode [ms]", 1),
    "preprocess_ms": ("Preprocess [ms]", 1),
    "network_ms": ("Network [ms]", 1),
    "postprocess_ms": ("Postprocess [ms]", 1),
    "gpu_busy_percent": ("GPU busy [%]", 0),
    "gpu_ms": ("GPU time [ms]", 1),
    "peak_allocated_mb": ("Peak allocated [MB]", 0),
    "process_device_mb": ("Device, process [MB]", 0),
    "energy_j_per_image": ("Energy [J/image]", 1),
}
"""The figures of the table: name in comparison.csv, title, decimals. ``fps_end_to_end`` and ``encode_ms`` are not among
them: the weights are random, and masks of noise have RLE many times as long as real ones."""


OTHER_WAYS = {
    "copy_and_pycocotools_ms": "Copied and pycocotools [ms]",
    "times_as_fast": "Times as fast",
    "one_read_of_the_masks_ms": "One read of the masks [ms]",
}


def main(arguments: Sequence[str]) -> int:
    if len(arguments) == 3 and arguments[0] == "collect":
        try:
            collect(Path(arguments[1]), Path(arguments[2]))
        except UserError as error:
            print(f"page: {error}", file=sys.stderr)
            return 2
        return 0
    if len(arguments) == 2 and arguments[0] == "show":
        print(page(Path(arguments[1])), end="")
        return 0
    print(__doc__, file=sys.stderr)
    return 2


def collect(out: Path, folder: Path) -> None:
    """Copy what the page needs; what a person has written into round.json stays.

    Raises:
        UserError: OUT has no table of the study.
    """
    study = out / "variants" if (out / "variants").is_dir() else out
    benchmarks = out / "benchmarks" if (out / "benchmarks").is_dir() else out
    if not (study / "comparison.csv").is_file():
        raise UserError(f"{study}: no comparison.csv; run the parts variants-* of docs/results/gpu.sh first")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(study / "comparison.csv", folder / "comparison.csv")
    for path in benchmarks.glob("*.xml"):
        (folder / path.name).write_text(stripped(path), encoding="utf-8")
    results = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(study.glob("jobs/*/result.json"))}
    with (folder / "seconds.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["result", "seconds"])
        for path, result in results.items():
            seconds = result.get("seconds")
            writer.writerow([path.relative_to(study), "" if seconds is None else f"{seconds:.1f}"])
    about = {key: _read_round(folder).get(key, "") for key in WRITTEN_BY_HAND}
    machines = [result["machine"] for result in results.values() if result.get("machine")]
    about.update(_machine(machines) if machines else {})
    (folder / "round.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def stripped(path: Path) -> str:
    """Give a JUnit file with the names, ends and properties of the tests, without the host, outputs and tracebacks."""
    suites = ElementTree.parse(path).getroot()
    for suite in suites.iter("testsuite"):
        suite.attrib.pop("hostname", None)
    for case in suites.iter("testcase"):
        for child in list(case):
            if child.tag in ("system-out", "system-err"):
                case.remove(child)
            elif child.tag != "properties":
                child.text = None
                child.set("message", ABSOLUTE_PATH.sub("", (child.get("message") or "").split("\n")[0]))
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode") + "\n"


def _machine(machines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give what a reader needs to know of it. The system's kernel names the machine in some clouds, and is left out.

    machines: the one machine, as each result has it with the versions of its own libraries
    """
    machine = machines[0]
    gpu, cpu = machine["gpu"], machine["cpu"]
    return {
        "measured": machine["time_utc"][:10],
        "gpu": f"{gpu['name']}, {gpu['memory_bytes'] / 1e9:.1f} GB, power limit {gpu['power_limit_watts']:.0f} W",
        "driver": gpu["driver_version"],
        "cpu": f"{cpu['name']}, {cpu['usable_cores'] or cpu['logical_cores']} cores",
        "system": machine["os"].split(",")[0],
        "versions": {"python": machine["python"]} | {k: v for each in machines for k, v in each["versions"].items()},
    }


def _read_round(folder: Path) -> dict[str, Any]:
    path = folder / "round.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def page(folder: Path) -> str:
    """Give the whole page in Markdown."""
    about = _read_round(folder)
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    parts = [f"# {about['title'] or about['gpu']}", f"**{about['caution']}**" if about["caution"] else ""]
    parts += [
        f"- measured on {about['measured']}, at commit {about['commit'] or '(not said)'}\n"
        f"- {about['gpu']}, driver {about['driver']}; {about['cpu']}; {about['system']}\n- {versions}",
        f"    {about['command']}" if about["command"] else "",
        "## Speed, memory, energy",
        "Random weights, 100 detections an image. FPS with its 95 % interval. What was not measured is empty.",
        _rows(folder),
        *_seconds(folder),
        *_benchmarks(folder),
    ]
    if about["seen"]:
        parts += ["## Seen besides", "\n".join(f"- {remark}" for remark in about["seen"])]
    return "\n\n".join(part for part in parts if part) + "\n"


def _csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _rows(folder: Path) -> str:
    titles = ["Model", "Precision", *(title for title, _ in ROWS.values())]
    return grid(titles, [_row(row) for row in _csv(folder / "comparison.csv")])


def _row(row: Mapping[str, str]) -> list[str]:
    cells = [f"{row['model']} {row['backbone']} ({row['library']})", row["precision"]]
    if row["status"] != "ok":
        return [*cells, f"{row['status']}: {row['reason']}", *[""] * (len(ROWS) - 1)]
    figures = [_figure(row.get(name, ""), decimals) for name, (_, decimals) in ROWS.items()]
    figures[0] += f" [{_figure(row['fps_model_low'], 2)}, {_figure(row['fps_model_high'], 2)}]"
    return [*cells, *figures]


def _figure(text: str, decimals: int) -> str:
    return f"{float(text):.{decimals}f}" if text else ""


def _seconds(folder: Path) -> Iterator[str]:
    """Give what a row took, from the command's start of its first process to the end of its last."""
    known = {row["result"]: row["seconds"] for row in _csv(folder / "seconds.csv")}
    rows = [row for row in _csv(folder / "comparison.csv") if row["status"] == "ok" and known.get(row["result"])]
    if rows:
        seconds = sorted(float(known[row["result"]]) for row in rows)
        yield "## Seconds a row"
        yield f"{len(rows)} rows took {seconds[0]:.0f} to {seconds[-1]:.0f} s each, {sum(seconds):.0f} s in all."


def _benchmarks(folder: Path) -> Iterator[str]:
    """Give the figures of the benchmarks beside their aims."""
    evaluations = [line for path in sorted(folder.glob("evaluation*.xml")) for line in aims.evaluation_lines(path)]
    for title, lines in (
        ("The libraries' own time over ours", aims.agreement_lines(*sorted(folder.glob("agreement*.xml")))),
        ("Masks on the GPU to RLE on the host", aims.rle_lines(folder / "rle.xml")),
        ("The accuracy pass over the model boundary", evaluations or aims.evaluation_lines(folder / "evaluation.xml")),
        ("The GPU's busy share where it is known", aims.busy_lines(folder / "busy.xml")),
    ):
        yield f"## {title}"
        yield grid(["What", "Measured", "Aim", "Reached"], [_cells(line) for line in lines])
        if "RLE" in title:
            yield _other_ways(folder / "rle.xml")


def _other_ways(path: Path) -> str:
    """Give what else compresses the same masks, and how long one read of them takes."""
    rows = [
        [aims.size_of(test), *(_only(test, key) for key in OTHER_WAYS)]
        for test in read_tests(path)
        if set(OTHER_WAYS) <= test.properties.keys()
    ]
    return grid(["100 masks", *OTHER_WAYS.values()], rows)


def _only(test: Test, key: str) -> str:
    [value] = test.properties[key]
    return value


def _cells(line: Line) -> list[str]:
    measured = line.measured.partition(" (its test failed")[0]
    missing = measured.startswith(aims.NOT_MEASURED)
    return [line.what, "" if missing else measured, line.aim, "" if missing else "yes" if line.ok else "no"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
