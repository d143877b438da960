"""Tests that a user's wrong input ends with exit status 2 and one line of what and where, before any model runs."""

from __future__ import annotations

import json
import pickle
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import UserError

TOY = ["model=custom", "model._target_=toy_models.Blobs"]
DEMO = "model=demo_mask_rcnn_torchvision"


def refused(done: Any, *words: str) -> None:
    """Check that the command was refused in one line that holds the words."""
    assert done.returncode == 2, done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("maskbench: ")
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["model.family='two\nlines'"], ["model.family='two\\nlines': holds a line break", "must be one line of text"]),
        (["protocol.min_sample=3"], ["protocol.min_sample: no such key", "protocol.min_samples"]),
        (["+protocol.min_sample=3"], ["protocol.min_sample: no such key", "protocol.min_samples"]),
        (["+typo=1"], ["typo: no such key"]),
        (["modle=custom"], ["modle", "did you mean model?"]),
        (["model=mask_rcnn_r50_torchvison"], ["no such model", "mask_rcnn_r50_torchvision"]),
        (["dataset=cocoa"], ["no such dataset", "coco"]),
        (["study=demmo"], ["no such study", "demo"]),
        ([*TOY, "batch_size=0"], ["batch_size=0: must be 1 or more"]),
        ([*TOY, "batch_size=two"], ["batch_size", "'two'"]),
        ([*TOY, "precision=fp15"], ["precision=fp15", "fp16"]),
        ([*TOY, "passes=[sped]"], ["passes=sped", "speed"]),
        ([*TOY, "passes=[]"], ["passes=[]"]),
        ([*TOY, "accuracy.parts=[boundry]"], ["accuracy.parts=[boundry]: no such part", "did you mean boundary?"]),
        ([*TOY, "device=gpu"], ["device=gpu", "cuda:0"]),
        ([*TOY, "protocol.max_seconds=0"], ["protocol.max_seconds=0: must be 0.1 or more"]),
        ([*TOY, "dataset.limit=0"], ["dataset.limit=0"]),
        (["model=custom"], ["model._target_ is missing"]),
        (["just words"], ["just words"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_command_line(run_here: Any, arguments: list[str], words: list[str]) -> None:
    refused(run_here(*arguments), *words)


def test_a_process_says_the_same_and_ends_with_the_status(run_command: Any, run_here: Any) -> None:
    """All others that are refused before a model is constructed are called in the process of these tests."""
    wrong = [*TOY, "batch_size=0"]
    by_itself, here = run_command(*wrong), run_here(*wrong)
    refused(by_itself, "batch_size=0: must be 1 or more")
    assert (by_itself.stdout, by_itself.stderr) == (here.stdout, here.stderr)


def test_a_mistyped_key_and_help_answer_at_once(run_command: Any) -> None:
    def seconds(call: Callable[[], Any]) -> float:
        # Processor time: the command uses one core and waits for nothing, and the machine may be busy with other work.
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        call()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    imports = [sys.executable, "-c", "import hydra, omegaconf, hydra.core.hydra_config, hydra.plugins.sweeper"]
    calls: dict[str, Callable[[], Any]] = {
        "imports": lambda: subprocess.run(imports, check=True),
        "help": lambda: run_command("--help"),
        "a mistyped key": lambda: run_command("protocol.min_sample=3"),
    }
    # In turns: a core that others share, or that is slowed down, also needs more processor time for a while.
    turns = [{name: seconds(call) for name, call in calls.items()} for _ in range(5)]
    least = {name: min(turn[name] for turn in turns) for name in calls}
    # A slow core needs longer for the command's imports, and gets more time accordingly.
    limit = max(0.8, 2.5 * least["imports"])
    assert least["help"] < limit, least
    assert least["a mistyped key"] < limit, least


def test_the_command_imports_no_torch(run_command: Any, environment: dict[str, str]) -> None:
    root = Path(__file__).resolve().parents[2]
    code = "import sys, run_bench; print('torch' in sys.modules, 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("toy_models.Blob", ["module toy_models has no 'Blob'"]),
        ("toy_modles.Blobs", ["no module 'toy_modles'"]),
        ("toy_models.NotAPredictor", ["not a bench.predictor.Predictor"]),
    ],
)
def test_a_class_that_is_none(run_here: Any, bright_squares: list[str], target: str, words: list[str]) -> None:
    refused(run_here("model=custom", f"model._target_={target}", *bright_squares), *words)


def test_an_option_that_the_class_lacks(run_here: Any, bright_squares: list[str]) -> None:
    refused(run_here(*TOY, "+model.options.dleay_ms=1", *bright_squares), "model.options", "dleay_ms")


def test_an_absent_device(run_here: Any, bright_squares: list[str]) -> None:
    arguments = [a for a in bright_squares if not a.startswith("device=")]
    refused(run_here(*TOY, *arguments, "device=cuda:7"), "device=cuda:7", "available: cpu")


def test_a_precision_that_the_device_lacks(run_here: Any, bright_squares: list[str]) -> None:
    """The whole sweep is refused before its first row runs."""
    command = [*TOY, *bright_squares, "precision=fp32,tf32"]
    refused(run_here(*command), "precision=tf32: cpu has no TF32", "give fp32")


def test_an_out_that_cannot_be_written(run_here: Any, bright_squares: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(run_here(*TOY, *bright_squares, f"out={tmp_path / 'file' / 'out'}"), "out=", "cannot be written")


def test_a_refused_command_leaves_no_folder(run_here: Any, bright_squares: list[str], tmp_path: Path) -> None:
    out = tmp_path / "new"
    refused(run_here(*TOY, *bright_squares, "model.weights=absent.pth", f"out={out}"), "absent.pth")
    assert not out.exists()


def test_an_interpreter_that_is_none(run_here: Any, bright_squares: list[str]) -> None:
    refused(run_here(*TOY, *bright_squares, "model.python=/no/such/python"), "model.python=/no/such/python")


def test_dataset_files(run_here: Any, bright_squares: list[str], tmp_path: Path) -> None:
    dataset = dict(a.split("=", 1) for a in bright_squares)
    images, annotations = dataset["dataset.images"], Path(dataset["dataset.annotations"])
    arguments = [*TOY, "device=cpu", "dataset=coco"]
    given = f"dataset.annotations={annotations}"
    refused(run_here(*arguments, given), "dataset.images=PATH")
    refused(run_here(*arguments, given, "dataset.images=/no/such"), "/no/such", "no such folder")
    cut = tmp_path / "cut.json"
    cut.write_text(annotations.read_text()[:100])
    refused(run_here(*arguments, f"dataset.images={images}", f"dataset.annotations={cut}"), "cut.json")
    absent = json.loads(annotations.read_text())
    absent["images"][0]["file_name"] = "absent.png"
    (tmp_path / "absent.json").write_text(json.dumps(absent))
    refused(
        run_here(*arguments, f"dataset.images={images}", f"dataset.annotations={tmp_path / 'absent.json'}"),
        "absent.png",
    )
    refused(run_here(*TOY, "dataset=coco_val2017", "device=cpu"), "cocodataset.org")


def test_a_polygon_far_beyond_its_image(run_here: Any, bright_squares: list[str], tmp_path: Path) -> None:
    """It ended the command with SIGSEGV (139) while the report was drawn, after an ok row."""
    dataset = dict(a.split("=", 1) for a in bright_squares)
    data = json.loads(Path(dataset["dataset.annotations"]).read_text())
    data["annotations"][0]["segmentation"] = [[5, 5, 1e9, 5, 20, 20]]
    (tmp_path / "far.json").write_text(json.dumps(data))
    arguments = [*bright_squares, f"dataset.annotations={tmp_path / 'far.json'}"]
    refused(run_here(*TOY, *arguments), "far.json", "annotations[0]", "coordinate 1000000000.0", "1000000 pixels")


def test_classes_that_do_not_match(run_here: Any, bright_squares: list[str]) -> None:
    refused(run_here(*TOY, *bright_squares, "model.classes=[circle,rectangel]"), "rectangle", "rectangel")


def test_checkpoints(run_here: Any, bright_squares: list[str], tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    command = [DEMO, *bright_squares]
    whole = tmp_path / "other.pth"
    torch.save({"weight": torch.ones(3)}, whole)
    refused(run_here(*command, f"model.weights={whole}"), "other.pth", "does not fit this model")
    cut = tmp_path / "cut.pth"
    cut.write_bytes(whole.read_bytes()[:-200])
    refused(run_here(*command, f"model.weights={cut}"), "cut.pth")
    refused(run_here(*command, f"model.weights={tmp_path / 'absent.pth'}"), "absent.pth", "no such file")
    proof = tmp_path / "proof"
    dangerous = tmp_path / "dangerous.pth"
    dangerous.write_bytes(pickle.dumps(_Runs(str(proof))))
    refused(run_here(*command, f"model.weights={dangerous}"), "dangerous.pth", "model.allow_pickle=true")
    assert not proof.exists()


class _Runs:
    """Unpickling it makes a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"score": float("nan")}, ["score"]),
        ({"score": float("inf")}, ["score"]),
        ({"image_id": 99}, ["image_id", "99"]),
        ({"segmentation": {"size": [5, 5], "counts": "i0"}}, ["segmentation"]),
    ],
)
def test_results_files(
    run_here: Any, bright_squares: list[str], tmp_path: Path, change: dict[str, Any], words: list[str]
) -> None:
    good = {"image_id": 1, "category_id": 7, "segmentation": [[5, 10, 45, 10, 45, 40, 5, 40]], "score": 0.5}
    path = tmp_path / "results.json"
    path.write_text(json.dumps([good, {**good, **change}]))
    refused(run_here("model=replay", f"model.options.results={path}", *bright_squares), "results.json", *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["study=ci", "gate.on_ambigous=fail"], "gate.on_ambigous: no such key; did you mean gate.on_ambiguous?"),
        (["gate.rounds=12"], "a key of finetune or gate needs that group; give finetune=default, or gate=default"),
        (["finetune.iterations=3"], "give finetune=default"),
        (
            ["finetune=demo", "finetune.iteratons=3"],
            "finetune.iteratons: no such key; did you mean finetune.iterations",
        ),
    ],
)
def test_keys_of_groups_that_may_be_absent(arguments: list[str], words: str) -> None:
    from run_bench import compose

    with pytest.raises(UserError) as caught:
        compose(arguments)
    assert words in str(caught.value)
