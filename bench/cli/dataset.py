"""``maskbench check FILE [--images DIR]`` lists everything that is wrong with a dataset, and what is in it.

``python -m bench.cli.dataset check`` is the same.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from bench.cli.arguments import filled_path
from bench.data.coco_json import parse_json, read_file
from bench.data.dataset import CocoDataset, from_coco
from bench.data.images import image_file_problem
from bench.data.problems import annotation_problems
from bench.errors import UserError
from bench.schema.config import DatasetConfig
from reports.text.output import tolerant_output
from reports.text.styled import shown

SIZE_LIMITS = (32**2, 96**2)
"""The limits of COCO's sizes by area in pixels: small is below the first, large from the second on."""

SHOWN_IDS = 8
"""Ids that a line lists at most."""


@tolerant_output()
def main(arguments: Sequence[str] | None = None, program: str = "python -m bench.cli.dataset") -> int:
    """Run the command; give the exit status: 0 where the set can be used, 2 where not."""
    parser = argparse.ArgumentParser(prog=program)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="list what is wrong with a COCO-format set, and what is in it")
    check.add_argument("file", type=filled_path, metavar="FILE", help="COCO annotation file (JSON)")
    check.add_argument(
        "--images", type=filled_path, metavar="DIR", help="image folder; without it no image is looked at"
    )
    for key, kind in (("max_pixels", int), ("max_json_gb", float)):
        name = f"--{key.replace('_', '-')}"
        default = getattr(DatasetConfig, key)
        check.add_argument(name, type=kind, metavar="N", default=default, help=f"as dataset.{key}; default {default}")
    check.add_argument("--allow-outside", action="store_true", help="as dataset.allow_outside=true")
    options = parser.parse_args(arguments)
    config = DatasetConfig(
        name=options.file.stem,
        max_pixels=options.max_pixels,
        max_json_gb=options.max_json_gb,
        allow_outside=options.allow_outside,
    )
    return check_dataset(options.file, options.images, config, Console(highlight=False, soft_wrap=True))


def check_dataset(file: Path, images: Path | None, config: DatasetConfig, console: Console) -> int:
    """Print problems, notes and a summary of the set; give the exit status of the command.

    config: has the set's name and its bounds
    """
    console.print(shown(str(file), "bold"))
    try:
        content = read_file(file, "FILE", max_gb=config.max_json_gb)
        data = parse_json(content, file, "FILE")
    except UserError as error:
        return _verdict([str(error)], console)
    problems = list(annotation_problems(data, config))
    if problems:
        return _verdict(problems, console)
    dataset = from_coco(config.name, data, images or Path(), file, hashlib.sha256(content).hexdigest())
    if images is not None:
        problems += _image_problems(dataset, images)
    errors, notes = _health(dataset)
    _print_summary(dataset, console)
    if notes:
        console.print("\nWorth a look (no error):", style="bold")
        for note in notes:
            console.print(shown(f"  {note}"))
    if images is None:
        console.print("\nThe image files were not looked at; give --images DIR.")
    return _verdict(problems + errors, console)


def _verdict(problems: list[str], console: Console) -> int:
    if not problems:
        console.print("\nNo problem found.", style="bold green")
        return 0
    console.print(f"\n{len(problems)} problem{'s' if len(problems) > 1 else ''}:", style="bold red")
    for problem in problems:
        console.print(shown(f"  {problem}"))
    return 2


def _image_problems(dataset: CocoDataset, images: Path) -> list[str]:
    if not images.is_dir():
        return [f"{images}: no such folder (--images)"]
    problems = (image_file_problem(image.path, image.height, image.width) for image in dataset.images)
    return [problem for problem in problems if problem]


def _health(dataset: CocoDataset) -> tuple[list[str], list[str]]:
    """Give the errors and the notes of hotcoco's health check."""
    try:
        import hotcoco
    except ModuleNotFoundError:
        return [], ["hotcoco is not installed here: its health check was left out"]
    report = hotcoco.COCO(dataset.ground_truth()).healthcheck()
    return [_health_line(f) for f in report["errors"]], [_health_line(f) for f in report["warnings"]]


def _health_line(finding: dict[str, Any]) -> str:
    ids = sorted(finding["affected_ids"])
    shown = ", ".join(map(str, ids[:SHOWN_IDS])) + (", ..." if len(ids) > SHOWN_IDS else "")
    return f"{finding['message']}{f' (ids {shown})' if ids else ''}"


def _print_summary(dataset: CocoDataset, console: Console) -> None:
    instances = [a for a in dataset.annotations if not a["iscrowd"]]
    crowds = Counter(a["category_id"] for a in dataset.annotations if a["iscrowd"])
    annotated = {a["image_id"] for a in dataset.annotations}
    heights, widths = [i.height for i in dataset.images], [i.width for i in dataset.images]
    console.print(
        f"{len(dataset.images)} images ({len(dataset.images) - len(annotated)} without annotations), "
        f"{min(widths)} to {max(widths)} pixels wide and {min(heights)} to {max(heights)} high; "
        f"{len(instances)} instances, {crowds.total()} crowds, {len(dataset.categories)} categories"
    )
    numbers = ("id", "instances", "images", "crowds", "small", "medium", "large")
    table = Table("category", *(Column(name, justify="right") for name in numbers))
    sizes = Counter((a["category_id"], bucket(a["area"])) for a in instances)
    pairs = {(a["category_id"], a["image_id"]) for a in instances}
    images = Counter(category_id for category_id, _ in pairs)
    totals = [len(instances), len({a["image_id"] for a in instances}), crowds.total()]
    for category in dataset.categories:
        row = [sizes[category.id, size] for size in ("small", "medium", "large")]
        figures = [sum(row), images[category.id], crowds[category.id], *row]
        table.add_row(shown(category.name), str(category.id), *map(str, figures))
    totals += [sum(sizes[c.id, size] for c in dataset.categories) for size in ("small", "medium", "large")]
    table.add_section()
    table.add_row("all", "", *map(str, totals))
    console.print(table)


def bucket(area: float) -> str:
    """Give COCO's word for an area in pixels: small, medium or large."""
    return "small" if area < SIZE_LIMITS[0] else "medium" if area < SIZE_LIMITS[1] else "large"


if __name__ == "__main__":
    sys.exit(main())
