"""False alarms and power of the gate, by comparisons of a real model with itself and with a known fault in it.

    python docs/results/gate/measure.py KIND FIRST COUNT OUT

KIND is ``aa`` (no fault), ``slow3``, ``slow5``, ``slow10`` (%, by a busy wait), ``memory0`` or ``memory2`` (%
of the host's memory), ``ap05`` (labels flipped on some images until mask AP has fallen by half a point). Comparisons
FIRST to FIRST + COUNT - 1 are made, each with workers of its own, by the gate's defaults, and OUT/KIND/NNN holds their
results and verdicts; those that are there already are kept. ``table.py`` makes the tables.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import random
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(ROOT), str(HERE)]
os.environ["PYTHONPATH"] = str(HERE)  # where the workers find changed.py

from bench.cli.gate import from_settings  # noqa: E402
from bench.gate.compare import compare  # noqa: E402
from bench.gate.interleaved import measure_pair  # noqa: E402
from bench.gate.rows import load_rows  # noqa: E402
from bench.jobs.job import PlannedJob  # noqa: E402
from bench.jobs.local import LocalLauncher  # noqa: E402
from bench.jobs.plan import plan  # noqa: E402
from bench.jobs.run_job import run_job  # noqa: E402
from bench.schema.gate_report import write_report  # noqa: E402
from bench.schema.result import read_result  # noqa: E402
from run_bench import compose  # noqa: E402

MODEL = ["model=demo_mask_rcnn_torchvision", "model._target_=changed.Changed", "device=cpu", "protocol.threads=1"]
FAST = ["input_size=96x128", "+model.options.proposals=100"]
"""A batch of 30 ms on a core."""
FEW = "protocol.min_samples=72"
"""Six batches a round, where the gate by itself takes ten."""
SPEED = ["study=ci", *MODEL, *FAST, FEW, "passes=[speed]"]
MEMORY = ["study=none", *MODEL, "passes=[memory]"]
IMAGES = 500
SLOWDOWN = {"aa": 0.0, "slow3": 0.03, "slow5": 0.05, "slow10": 0.10}
MEMORY_SHARE = {"memory0": 0.0, "memory2": 0.02}
AP_FALL = 0.5


def planned(out: Path, *overrides: str) -> PlannedJob:
    """The one job of a command, ready to run."""
    [job] = plan(compose(overrides), out, lambda *_: None)
    return job


def placed(job: PlannedJob, folder: Path) -> PlannedJob:
    """The same job with its results elsewhere."""
    return dataclasses.replace(job, folder=folder / job.folder.name)


def judge(folder: Path) -> None:
    base, head = (load_rows(folder / side) for side in ("base", "head"))
    report = compare(base, head, from_settings([]), ("base", "head"))
    write_report(report, folder / "gate.json")
    print(
        folder.name,
        ", ".join(f"{f.metric} {f.verdict} {f.change:+.4f}" for f in report.findings if f.change is not None),
    )


def comparisons(kind: str, first: int, count: int, out: Path) -> list[Path]:
    """The folders that are still to be filled; one that was begun is begun anew."""
    folders = [out / kind / f"{number:03d}" for number in range(first, first + count)]
    left = [folder for folder in folders if not (folder / "gate.json").exists()]
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)
    return left


def speeds(kind: str, folders: list[Path], out: Path) -> None:
    gate = compose([*SPEED, "gate=interleaved"])[0].config.gate
    assert gate is not None
    assert gate.rounds is not None
    base = planned(out / "plan" / kind / "base", *SPEED, "+model.options.slowdown=0")
    head = planned(out / "plan" / kind / "head", *SPEED, f"+model.options.slowdown={SLOWDOWN[kind]}")
    for folder in folders:
        sides = placed(base, folder / "base"), placed(head, folder / "head")
        measure_pair(*sides, gate, gate.rounds, LocalLauncher(), lambda _: None)
        judge(folder)


def memories(kind: str, folders: list[Path], out: Path) -> None:
    base = planned(out / "plan" / kind / "base", *MEMORY, "+model.options.extra_bytes=0")
    run(placed(base, out / "plan" / kind / "once"), "memory")
    once = read_result(out / "plan" / kind / "once" / base.folder.name / "result.json").memory
    assert once is not None
    assert once.host_rss_bytes is not None
    extra = int(MEMORY_SHARE[kind] * once.host_rss_bytes)
    head = planned(out / "plan" / kind / "head", *MEMORY, f"+model.options.extra_bytes={extra}")
    for folder in folders:
        for job, side in ((base, "base"), (head, "head")):
            run(placed(job, folder / side), "memory")
        judge(folder)


def accuracies(folders: list[Path], plans: Path) -> None:
    shapes = ["study=none", f"dataset.shapes.count={IMAGES}", "device=cpu", "passes=[accuracy]"]
    model = planned(plans / "ap", *shapes, *MODEL)
    if not model.result_path.exists():
        run(model, "accuracy")
    original = model.folder / "predictions.json"
    predictions = json.loads(original.read_text())
    replay = [*shapes, "model=replay"]
    base = planned(plans / "ap-base", *replay, f"model.options.results={original}")
    if not base.result_path.exists():
        run(base, "accuracy")
    for folder in folders:
        changed = folder / "flipped.json"
        folder.mkdir(parents=True)
        changed.write_text(json.dumps(flipped(predictions, int(folder.name), base)))
        head = planned(folder / "plan", *replay, f"model.options.results={changed}")
        shutil.copytree(base.folder, folder / "base" / base.folder.name)  # the same predictions have the same AP
        run(placed(head, folder / "head"), "accuracy")
        changed.unlink()
        judge(folder)


def run(job: PlannedJob, name: str) -> None:
    """Run one pass of a job."""
    run_job(job, [name], LocalLauncher(), lambda _: None)


def flipped(predictions: list[dict[str, object]], seed: int, base: PlannedJob) -> list[dict[str, object]]:
    """The predictions with the label of the surest thing in some images, drawn at random, moved to the next class: in
    as many images as bring mask AP down by half a point."""
    annotations = Path(str(base.config.dataset.annotations))
    order = sorted({p["image_id"] for p in predictions})  # type: ignore[type-var]
    random.Random(seed).shuffle(order)
    classes = sorted({int(str(p["category_id"])) for p in predictions})

    following = dict(zip(classes, classes[1:] + classes[:1], strict=True))
    surest: dict[object, int] = {}
    for place, p in enumerate(predictions):
        best = surest.setdefault(p["image_id"], place)
        if float(str(p["score"])) > float(str(predictions[best]["score"])):
            surest[p["image_id"]] = place

    def with_flipped(count: int) -> list[dict[str, object]]:
        changed = list(predictions)
        for place in (surest[image] for image in order[:count]):
            changed[place] = {**changed[place], "category_id": following[int(str(changed[place]["category_id"]))]}
        return changed

    whole = mask_ap(annotations, predictions)
    low, high = 0, len(order)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if whole - mask_ap(annotations, with_flipped(middle)) < AP_FALL else (low, middle)
    return with_flipped(high)


def mask_ap(annotations: Path, predictions: list[dict[str, object]]) -> float:
    """In points, by an evaluator that the gate does not use."""
    import contextlib
    import io

    from faster_coco_eval import COCO, COCOeval_faster

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        evaluation = COCOeval_faster(truth, truth.loadRes(copy.deepcopy(predictions)), "segm")
        evaluation.run()
    return 100 * float(evaluation.stats[0])


def main() -> int:
    kind, first, count, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]).resolve()
    left = comparisons(kind, first, count, out)
    if kind in SLOWDOWN:
        speeds(kind, left, out)
    elif kind in MEMORY_SHARE:
        memories(kind, left, out)
    elif kind == "ap05":
        accuracies(left, out / "plan" / f"from{first:03d}")  # of its own: two processes may begin at once
    else:
        print(f"{kind}: must be one of {', '.join([*SLOWDOWN, *MEMORY_SHARE, 'ap05'])}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
