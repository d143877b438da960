"""Measure on a GPU what has an aim, print each figure beside it, and exit with 1 where one falls short.

    python docs/results/gpu/check.py IMAGES ANNOTATIONS OUT [--rehearse] [--only STEP,...]

IMAGES and ANNOTATIONS are a COCO-format set of photographs. Each call writes into a new folder of OUT. What is only
right or wrong runs first, at once; what is timed follows, alone. Without a GPU nothing runs, and the exit status is 2.

--rehearse runs every step with the demo models on the CPU: the figures are printed beside the aims of a GPU, and the
exit status is 1 only where a step itself breaks.

--only runs some of the steps, for a machine that is lent for less time than all of them take.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE))

import aims  # noqa: E402
from aims import Line  # noqa: E402

from bench.errors import UserError  # noqa: E402

REHEARSAL_IS_SLOWER = 6
LONGEST_SECONDS = 540
"""After which every step is interrupted, so that the table is printed while a lent machine is still there."""

CORES_A_STEP = 3
"""How many cores a step gets that runs beside others."""


@dataclass(frozen=True)
class Models:
    """The models of a check: full-size ones on a GPU, their small relatives in a rehearsal.

    every_precision: those that must run in every precision, each of another library or family
    precisions: what every precision is: a CPU has no TF32
    rows: those whose rows are timed as in a study, each in fp32 and fp16
    compiled: the one whose compiling is watched
    """

    every_precision: tuple[str, ...]
    precisions: tuple[str, ...]
    rows: tuple[str, ...]
    compiled: str


FULL_SIZE = Models(
    (
        "mask_rcnn_r50_torchvision",
        "point_rend_r50_mmdet",
        "point_rend_r50_detectron2",
        "mask2former_swin_t_transformers",
    ),
    ("fp32", "tf32", "fp16", "bf16"),
    ("mask_rcnn_r50_torchvision", "solov2_r50_mmdet"),
    "mask_rcnn_r50_torchvision",
)
DEMO = Models(
    ("demo_mask_rcnn_torchvision", "demo_point_rend_mmdet"),
    ("fp32", "fp16", "bf16"),
    ("demo_mask_rcnn_torchvision", "demo_solov2_mmdet"),
    "demo_mask_rcnn_torchvision",
)


@dataclass(frozen=True)
class Step:
    """One command of the check.

    name: of its log, and of the file or folder that it writes
    command: what is run, in the checkout
    limit_s: after which it is interrupted; a figure that it then lacks was not measured
    lines: reads what it has written, and gives the lines of the table
    """

    name: str
    command: Sequence[str]
    limit_s: float
    lines: Callable[[], list[Line]]


@dataclass(frozen=True)
class Ended:
    """How a step ended.

    began, ended: by the clock of the times of files, seconds
    status: its exit status; None where it was interrupted
    last_words: the last line of its log
    """

    step: Step
    began: float
    ended: float
    status: int | None
    last_words: str = ""

    def broken(self) -> list[Line]:
        """Give a line where the command itself broke: a test or a row that failed (status 1) has lines of its own."""
        if self.status in (0, 1):
            return []
        words = "it was interrupted at its limit" if self.status is None else f"exit status {self.status}"
        return [Line(f"the command of {self.step.name}", f"{words}: {self.last_words[:100]}", "exit status 0", False)]

    def lines(self) -> list[Line]:
        """Give the figures of the step."""
        try:
            return self.step.lines()
        except (UserError, ValueError) as error:
            return [Line(f"the figures of {self.step.name}", str(error)[:200], "can be read", False)]


@dataclass
class Check:
    """What is measured, on what, and where it is written."""

    images: Path
    annotations: Path
    out: Path
    rehearse: bool = False
    only: tuple[str, ...] = ()
    python: str = sys.executable
    ended: dict[str, Ended] = field(default_factory=dict)
    began: float = field(default_factory=time.time)

    @property
    def models(self) -> Models:
        return DEMO if self.rehearse else FULL_SIZE

    def together(self) -> list[Step]:
        """Give what is right or wrong, whatever else runs beside it."""
        precisions = [self._precisions(model) for model in self.models.every_precision]
        steps = [*precisions, self._compile(), self._pytest("card", 120, self._of("card"), *NOT_TIMED)]
        return [step for step in steps if self.asked_for(step)]

    def alone(self) -> list[Step]:
        """Give what is timed."""
        steps = [
            self._pytest("busy", 60, self._of("busy", aims.busy_lines), *TIMED),
            self._pytest(
                "rle", 60, self._of("rle", aims.rle_lines), f"{BENCHMARKS}/test_rle_speed.py::test_on_the_gpu"
            ),
            self._rows(),
            *(self._agreement(library, function) for library, function in aims.AGREEMENTS.items()),
            self._pytest("evaluation", 110, self._of("evaluation", aims.evaluation_lines), EVALUATION),
        ]
        return [step for step in steps if self.asked_for(step)]

    def asked_for(self, step: Step) -> bool:
        return not self.only or step.name in self.only

    def _pytest(self, name: str, limit_s: float, lines: Callable[[], list[Line]], *arguments: str) -> Step:
        written = ["-p", "no:cacheprovider", "-o", "junit_family=xunit1", f"--junitxml={self.out / name}.xml"]
        return Step(name, [self.python, "-m", "pytest", *written, *arguments], limit_s, lines)

    def _agreement(self, library: str, function: str) -> Step:
        """Compare one library: on an H100, two did not end within 110 s."""
        name = f"agreement-{library}"
        lines = functools.partial(aims.agreement_lines, libraries=(library,))
        return self._pytest(name, 80, self._of(name, lines), f"{BENCHMARKS}/test_agreement.py::{function}")

    def _of(self, name: str, *reads: Callable[[Path], list[Line]]) -> Callable[[], list[Line]]:
        path = self.out / f"{name}.xml"
        return lambda: [*(line for read in reads for line in read(path)), aims.of_tests(path)]

    def _measure(self, name: str, limit_s: float, lines: Callable[[], list[Line]], *arguments: str) -> Step:
        dataset = ["dataset=coco", f"dataset.images={self.images}", f"dataset.annotations={self.annotations}"]
        where = (
            ["device=cpu", "protocol=quick", "model.weights=random"]
            if self.rehearse
            else ["device=cuda:0", "input_size=800x1333"]
        )
        settings = [*where, "detections=saturated", *arguments, f"out={self.out / name}"]
        return Step(name, [self.python, "run_bench.py", *dataset, *settings], limit_s, lines)

    def _precisions(self, model: str) -> Step:
        name = f"precisions-{model}"
        given = [f"model={model}", f"precision={','.join(self.models.precisions)}", "passes=[speed]", "dataset.limit=2"]
        given += ["protocol.rounds=1", "protocol.min_samples=2", "protocol.max_seconds=0.2", "protocol.threads=2"]
        return self._measure(
            name, 120, lambda: [aims.precision_line(self.out / name, model, self.models.precisions)], *given
        )

    def _compile(self) -> Step:
        given = [f"model={self.models.compiled}", "compile=default", "passes=[speed]", "dataset.limit=12"]
        given += ["protocol.rounds=1", "protocol.max_seconds=2", "protocol.max_warmup_seconds=2"]
        return self._measure("compile", 150, lambda: [aims.compile_line(self.out / "compile")], *given)

    def _rows(self) -> Step:
        """Measure rows with the samples of the first round on a GPU, whose rows took 24 to 37 s."""
        given = [f"model={','.join(self.models.rows)}", "precision=fp32,fp16", "study=variants", "dataset.limit=48"]
        given += ["passes=[speed,busy,memory,energy,flops]", "protocol.rounds=1", "protocol.max_seconds=1.5"]
        given += ["protocol.max_warmup_seconds=1", "protocol.energy_seconds=1.5"]
        return self._measure("rows", 150, self._row_lines, *given)

    def _row_lines(self) -> list[Line]:
        folder, rows = self.out / "rows", self.ended.get("rows")
        lines = aims.row_lines(folder, 2 * len(self.models.rows))
        ends = [path.stat().st_mtime for path in folder.glob("jobs/*/result.json")] if rows else []
        return [*lines, aims.study_line(ends, rows.began if rows else 0, rows.ended if rows else 0)]


BENCHMARKS = "tests/benchmarks"
EVALUATION = f"{BENCHMARKS}/test_evaluation_speed.py::test_torchvision_reference"
TIMED = ("tests/test_gpu.py", "tests/passes/test_busy_on_a_card.py", "-k", "busy_on_a_card or memory_of_a_tensor")
NOT_TIMED = ("tests/test_gpu.py", "tests/evaluation", "-k", "(test_gpu or rle) and not memory_of_a_tensor")
"""What needs a card: the share of the time and the memory of the whole GPU are measured with nothing beside them."""


def main(arguments: Sequence[str]) -> int:
    check = _check_of(arguments)
    if not check.rehearse and not _has_gpu(check.python):
        print("check: torch sees no CUDA device here; --rehearse runs every step on the CPU", file=sys.stderr)
        return 2
    check.out.mkdir(parents=True)
    try:
        ended = _run(check.together(), check)
        for step in check.alone():
            ended += _run([step], check)
    except KeyboardInterrupt:
        return 130
    seconds = aims.CHECK_SECONDS.line("seconds of this check", time.time() - check.began, 0)
    broken = [line for one in ended for line in one.broken()]
    lines = [*(line for one in ended for line in one.lines()), *broken, seconds]
    print(f"\n{aims.table(lines)}\n")
    short = broken if check.rehearse else [line for line in lines if not line.ok]
    what = "steps broke" if check.rehearse else f"of {len(lines)} figures fall short"
    print(f"{len(short)} {what}; logs and files: {check.out}")
    return 1 if short else 0


def _check_of(arguments: Sequence[str]) -> Check:
    parser = argparse.ArgumentParser(prog="check", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, with the demo models")
    parser.add_argument("--only", metavar="STEP,...", help="the steps to run, by the names of their logs")
    given = parser.parse_args(arguments)
    for path, is_there in ((given.images, given.images.is_dir()), (given.annotations, given.annotations.is_file())):
        if not is_there:
            parser.error(f"{path} is not there")
    out = given.out.resolve()
    number = next(n for n in range(1, 10_000) if not (out / str(n)).exists())  # stale files would be taken for figures
    only = tuple(given.only.split(",")) if given.only else ()
    check = Check(given.images.resolve(), given.annotations.resolve(), out / str(number), given.rehearse)
    names = [step.name for step in (*check.together(), *check.alone())]
    if unknown := [name for name in only if name not in names]:
        parser.error(f"--only: there is no step {', '.join(unknown)}; there are {', '.join(names)}")
    return replace(check, only=only)


def _has_gpu(python: str) -> bool:
    """Ask another process, so that this one holds no memory of the GPU."""
    code = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([python, "-c", code], cwd=ROOT, check=False).returncode == 0


def _run(steps: Sequence[Step], check: Check) -> list[Ended]:
    """Run the steps, several at once where there are cores, and give their ends. None is left running."""
    waiting = list(steps)
    running: list[_Running] = []
    ends: dict[str, Ended] = {}
    try:
        while waiting or running:
            while waiting and len(running) < max(1, (os.cpu_count() or 1) // CORES_A_STEP):
                running.append(_start(waiting.pop(0), check))
            for one in [one for one in running if one.is_over()]:
                running.remove(one)
                ended = ends[one.step.name] = check.ended[one.step.name] = one.end()
                print(f"{one.step.name}: {ended.ended - ended.began:.0f} s", flush=True)
            time.sleep(0.05)
    finally:
        for one in running:
            _interrupt(one.process)
    return [ends[step.name] for step in steps]


@dataclass(frozen=True)
class _Running:
    """A step that runs, in a session of its own, so that all its processes can be ended."""

    step: Step
    process: subprocess.Popen[bytes]
    log: Path
    began: float
    limit_s: float

    def is_over(self) -> bool:
        return self.process.poll() is not None or time.time() - self.began > self.limit_s

    def end(self) -> Ended:
        status = self.process.poll()
        if status is None:
            _interrupt(self.process)
        return Ended(self.step, self.began, time.time(), status, _last_line(self.log))


def _start(step: Step, check: Check) -> _Running:
    path, began = check.out / f"{step.name}.log", time.time()
    slower = REHEARSAL_IS_SLOWER if check.rehearse else 1
    limit_s = min(slower * step.limit_s, slower * LONGEST_SECONDS - (began - check.began))
    with path.open("wb") as log:
        process = subprocess.Popen(
            step.command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    return _Running(step, process, path, began, limit_s)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "")


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    """Let the command end what it has started, then end its processes whatever it does."""
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(15)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
