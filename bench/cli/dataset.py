"""``maskbench check FILE [--images DIR] [KEY=VALUE ...]`` lists all that is wrong with a dataset, and what is in it.

``python -m bench.cli.dataset check`` is the same.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from bench.cli.arguments import filled_path, path_spelled
from bench.data.cautions import cautions
from bench.data.dataset import CocoDataset, made_of
from bench.data.findings import Findings
from bench.data.forms.read import Read, read_set
from bench.data.image_check import check_images
from bench.data.reading import GZIP, is_lvis, parse_json, read_file
from bench.errors import UserError, called_as_maskbench, nearest
from bench.files.paths import expanded
from bench.schema.config import MISSING, DatasetConfig, ProtocolConfig
from bench.schema.typed.overrides import kinds
from reports.text.output import tolerant_output
from reports.text.styled import shown

SIZE_LIMITS = (32**2, 96**2)
"""The limits of COCO's sizes by area in pixels: small is below the first, large from the second on."""

SHOWN_IDS = 8
"""Places that a line of the health check lists at most."""

SHOWN_CATEGORIES = 100
"""Categories that the table lists at most, those with the most instances: LVIS has 1,203."""

_NOISE = ("low_instance_category", "zero_instance_category", "extreme_aspect_ratio")
"""Findings of the health check that nearly every set has; of the first two the table has the numbers."""


_LIMIT = "protocol.max_detections"


@tolerant_output()
def main(arguments: Sequence[str] | None = None, program: str = "python -m bench.cli.dataset") -> int:
    """Run the command; give the exit status: 0 where the set can be used, 2 where not."""
    parser = _parser(program)
    given = list(sys.argv[1:] if arguments is None else arguments)
    word, rest = (given[0], given[1:]) if given else ("", [])
    if word not in ("check", "-h", "--help"):
        parser.error(f"{word or 'a command'}: must be check, as in {program} check FILE")
    options = parser.parse_intermixed_args(rest if word == "check" else given)
    try:
        form = form_of(options.file)
        config, max_detections = configured(options.overrides, form)
    except UserError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    config.name = options.file.stem
    images = options.images
    if config.images not in (None, "", MISSING):
        given_too = expanded(str(config.images), "images")
        if images is not None and images != given_too:
            print(f"{parser.prog}: {images} (--images), {given_too} (dataset.images): give one folder", file=sys.stderr)
            return 2
        images = given_too
    console = Console(highlight=False, soft_wrap=True)
    status = check_dataset(options.file, images, config, console, max_detections)
    if status == 0:
        console.print("The command that evaluates a results file (results.json):")
        console.print(shown(f"  {evaluating(options.file, images, options.overrides, form)}"))
    return status


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{program} check",
        description="List what is wrong with a set, what is repaired, what would mislead, and what is in it.",
    )
    parser.add_argument(
        "file", type=filled_path, metavar="FILE", help="COCO's or LVIS's JSON, also in gzip; or data.yaml of a YOLO set"
    )
    parser.add_argument(
        "--images",
        type=filled_path,
        metavar="DIR",
        help="image folder, without it none is looked at; of a YOLO set the folder in the place of path:",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help=f"keys as a message prints them: dataset.without_mask=drop, dataset.strict=true, {_LIMIT}=1000, ...",
    )
    return parser


def form_of(file: Path) -> str:
    """Give the format that an annotation file seems to have; the reader of ``coco`` names what is no such file."""
    if file.suffix.lower() in (".yaml", ".yml"):
        return "yolo"
    try:
        content = read_file(file, "FILE")
    except UserError:
        return "coco"
    if b"neg_category_ids" not in content and not content.startswith(GZIP):
        return "coco"
    try:
        return "lvis" if is_lvis(parse_json(content, file, "FILE")) else "coco"
    except UserError:
        return "coco"


def configured(overrides: Sequence[str], form: str = DatasetConfig.format) -> tuple[DatasetConfig, int]:
    """Give the dataset's configuration of the overrides, and the limit of detections.

    form: the option of ``dataset/`` that they start from

    Raises:
        UserError: an override is no key of a dataset, or has a wrong value.
    """
    if not overrides and form == DatasetConfig.format:
        return DatasetConfig(), ProtocolConfig.max_detections
    known = [key for key in kinds() if re.match(r"dataset\.(?!shapes|train|annotations)", key) or key == _LIMIT]
    for override in overrides:
        key = override.lstrip("+").partition("=")[0]
        if "=" not in override or not (key.startswith("dataset.") or key == _LIMIT):
            raise UserError(
                f"{override}: check takes keys of a dataset and {_LIMIT}, as KEY=VALUE; {nearest(key, known)}"
            )
        if key == "dataset.annotations":
            raise UserError(f"{override}: the annotation file is FILE; leave {key} out")
        if key.startswith(("dataset.shapes", "dataset.train")):
            raise UserError(f"{override}: check takes no keys of dataset.shapes or dataset.train; it looks into FILE")
    from bench.cli.run import compose

    jobs = compose([f"dataset={form}", "model=custom", "model._target_=any.Class", "study=none", *overrides])
    if len(jobs) > 1:
        raise UserError(f"{' '.join(overrides)}: a comma makes a sweep; check takes one value for each key")
    return jobs[0].config.dataset, jobs[0].config.protocol.max_detections


def check_dataset(
    file: Path,
    images: Path | None,
    config: DatasetConfig,
    console: Console,
    max_detections: int = ProtocolConfig.max_detections,
) -> int:
    """Print problems, repairs, cautions and a summary of the set; give the exit status of the command.

    config: has the set's name, its bounds and how it is read
    """
    console.print(shown(str(file), "bold"))
    findings = Findings()
    try:
        if config.format == "yolo" and images is not None:
            config.images = str(images)
        read = read_set(file, images, "FILE", config, findings)
    except UserError as error:
        return _verdict([str(error)], console)
    if findings.problems(config.strict):
        return _told(findings, config, [], console)
    images, dataset = read.images, made_of(read, file, config, findings)
    errors: list[str] = []
    if images is not None and not images.is_dir():
        errors = [f"{images}: no such folder (--images)"]
    elif images is not None and not findings.problems(config.strict):
        check_images(dataset, findings)
    wrong, notes = _health(dataset, read)
    _print_summary(dataset, console)
    _print_list("What would mislead a reader of its AP:", cautions(dataset, max_detections), console)
    _print_list("Worth a look (no error):", [*(note.line() for note in findings.notes()), *notes], console)
    if images is None:
        console.print("\nThe image files were not looked at; give --images DIR.")
    status = _told(findings, config, errors + wrong, console)
    if status == 0:
        console.print(_evaluable(dataset, read.total_annotations, max_detections))
    return status


def _evaluable(dataset: CocoDataset, total: int, max_detections: int) -> str:
    crowds = sum(annotation["iscrowd"] for annotation in dataset.annotations)
    ignored = f" ({crowds} of them crowds or ignored regions)" if crowds else ""
    return (
        f"Can be evaluated: {len(dataset.annotations)} of {total} annotations{ignored}, {len(dataset.categories)} "
        f"categories, {len(dataset.images)} images; mask AP at {max_detections} detections"
        f"{' of an image, by the rules of LVIS' if dataset.federation is not None else ''}"
    )


def evaluating(file: Path, images: Path | None, overrides: Sequence[str], form: str = DatasetConfig.format) -> str:
    """Give the command that evaluates a results file on the set, ready to paste; ``form`` is the option of dataset/."""
    program = "maskbench" if called_as_maskbench() else "python run_bench.py"
    places = {"annotations": file} if images is None else {"annotations": file, "images": images}
    given = [override for override in overrides if not override.lstrip("+").startswith("dataset.images=")]
    arguments = [f"dataset.{key}={path_spelled(str(path))}" for key, path in places.items()]
    words = [f"model={model_of_results()}", "model.options.results=results.json", f"dataset={form}", *arguments, *given]
    return f"{program} {shlex.join(words)}"


def model_of_results() -> str:
    """Give the option of configs/model that stands for a results file, the one that asks for ``options.results``."""
    for file in sorted((Path(__file__).resolve().parents[2] / "configs" / "model").glob("*.yaml")):
        if re.search(r"^  results: \?\?\?", file.read_text(), re.MULTILINE):
            return file.stem
    raise FileNotFoundError("configs/model has no option with options.results")


def _told(findings: Findings, config: DatasetConfig, errors: list[str], console: Console) -> int:
    """Print what was repaired and what is wrong; give the exit status."""
    problems = findings.problems(config.strict)
    repairs = [repair for repair in findings.repairs() if repair not in problems]
    done = [repair.line() for repair in repairs if not repair.kind.asked]
    _print_list("Repaired (dataset.strict=true refuses it):", done, console)
    _print_list("As your keys ask for:", [repair.line() for repair in repairs if repair.kind.asked], console)
    return _verdict([*(problem.line() for problem in problems), *errors], console)


def _print_list(title: str, lines: Sequence[str], console: Console) -> None:
    if lines:
        console.print(f"\n{title}", style="bold")
        for line in lines:
            console.print(shown(f"  {line}"))


def _verdict(problems: list[str], console: Console) -> int:
    if not problems:
        console.print("\nNo problem found.", style="bold green")
        return 0
    console.print(f"\n{len(problems)} kind{'s' if len(problems) > 1 else ''} of problems:", style="bold red")
    for problem in problems:
        console.print(shown(f"  {problem}"))
    return 2


def _health(dataset: CocoDataset, read: Read) -> tuple[list[str], list[str]]:
    """Give the errors and the notes of hotcoco's health check, which gets numbers of ours for ids."""
    try:
        import hotcoco
    except ModuleNotFoundError:
        return [], ["hotcoco is not installed here: its health check was left out"]
    truth = dataset.ground_truth()
    for image in truth["images"]:
        image["file_name"] = str(image["id"])  # files of one name in two folders are two files
    report = hotcoco.COCO(truth).healthcheck()
    told = [finding for finding in report["warnings"] if finding["code"] not in _NOISE]
    return [_health_line(f, dataset, read) for f in report["errors"]], [_health_line(f, dataset, read) for f in told]


def _health_line(finding: dict[str, Any], dataset: CocoDataset, read: Read) -> str:
    """Give a line of the health check with the places in the user's file in place of our numbers."""
    numbers, noun = sorted(finding["affected_ids"]), finding["message"].partition(" ")[2]
    if noun.startswith("categor"):
        places = [dataset.categories[n - 1].name for n in numbers[:SHOWN_IDS]]
    elif noun.startswith("image"):
        places = [f"image {dataset.images[n - 1].id}" for n in numbers[:SHOWN_IDS]]
    else:
        places = [read.place(dataset.annotations[n - 1]["id"]) for n in numbers[:SHOWN_IDS]]
    text = ", ".join(places) + (", ..." if len(numbers) > SHOWN_IDS else "")
    return f"{finding['message'].rstrip('.')}{f' ({text})' if text else ''}"


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
    listed = dataset.categories
    if len(listed) > SHOWN_CATEGORIES:
        counts = Counter(a["category_id"] for a in instances)
        most = {c.id for c in sorted(listed, key=lambda c: -counts[c.id])[:SHOWN_CATEGORIES]}
        listed = tuple(category for category in listed if category.id in most)
    for category in listed:
        row = [sizes[category.id, size] for size in ("small", "medium", "large")]
        figures = [sum(row), images[category.id], crowds[category.id], *row]
        table.add_row(shown(category.name), shown(str(category.id)), *map(str, figures))
    totals += [sum(sizes[c.id, size] for c in dataset.categories) for size in ("small", "medium", "large")]
    table.add_section()
    table.add_row("all", "", *map(str, totals))
    console.print(table)
    if left := len(dataset.categories) - len(listed):
        console.print(f"The table leaves out {left} categories, which have no more instances than those that it has.")


def bucket(area: float) -> str:
    """Give COCO's word for an area in pixels: small, medium or large."""
    return "small" if area < SIZE_LIMITS[0] else "medium" if area < SIZE_LIMITS[1] else "large"


if __name__ == "__main__":
    sys.exit(main())
