"""Tests that a row shows what ran: keys of one model reach no other, and a user's class has a name of its own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.gate.rows import labels
from bench.jobs.job import ComposedJob
from bench.schema.result import Result
from bench.schema.row import Row
from bench.schema.settings import SEPARATOR, SETTINGS
from reports.table.naming import row_labels
from run_bench import compose

BRIGHT = "model._target_=models.Bright"
CUSTOM = ["model=custom", BRIGHT]
DEMO = "demo_mask_rcnn_torchvision"


@pytest.mark.parametrize(
    "key",
    [
        BRIGHT,
        "model.name=mine",
        "model.family=Mine",
        "model.library=mine",
        "+model.published.mask_ap=99",
        "model.classes=[a,b]",
        "model.weights=w.pt",
        "model.config=solo_r50_fpn_3x_coco",
    ],
)
def test_a_key_of_one_model_meets_no_other(key: str) -> None:
    with pytest.raises(UserError) as refused:
        compose([f"model={DEMO},demo_solo_mmdet", key])
    assert f"belongs to one model, but would be given to 2: {DEMO}, demo_solo_mmdet" in str(refused.value)


def test_a_class_among_models_of_libraries() -> None:
    """The user's class stood in the rows of torchvision and mmdet: "Mask R-CNN torchvision, 4532 FPS"."""
    with pytest.raises(UserError, match=r"model\._target_=models\.Bright: belongs to one model"):
        compose([f"model=custom,{DEMO}", BRIGHT])
    with pytest.raises(UserError, match="belongs to one model, but would be given to 11"):
        compose([BRIGHT])  # the default is a study of several models


def test_a_class_under_the_name_of_a_library() -> None:
    with pytest.raises(UserError) as refused:
        compose([f"model={DEMO}", BRIGHT])
    remedy = str(refused.value).rpartition("give ")[2].split()
    assert remedy == CUSTOM
    [job] = compose(remedy)
    assert job.config.model._target_ == "models.Bright"


def test_an_option_of_the_users_own(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "mine.yaml").write_text("family: Mine\nlibrary: own\n_target_: mine.Net\n")
    (folder / "derived.yaml").write_text(f"defaults:\n  - {DEMO}\n  - _self_\nbackbone: R18\n")
    given = f"--config-dir={tmp_path}"
    [job] = compose([given, "model=mine"])
    assert (job.config.model.name, job.config.model._target_) == ("mine", "mine.Net")
    [job] = compose([given, "model=mine", "model._target_=mine.Other"])
    assert (job.config.model.name, job.config.model._target_) == ("Other", "mine.Other")
    with pytest.raises(UserError, match="model=derived is adapters"):
        compose([given, "model=derived", BRIGHT])


@pytest.mark.parametrize(
    "arguments",
    [
        [f"model={DEMO},demo_solo_mmdet", "model.weights=random"],
        [f"model={DEMO},demo_solo_mmdet", "model.score_threshold=0.1"],
        [f"model={DEMO}", "model.weights=a.pt,b.pt"],
        [f"model={DEMO},demo_solo_mmdet", "finetune=demo", "finetune.start=partial", "model.weights=w.pt"],
        ["model=mmdet_zoo", "model.config=a,b"],
        ["model=custom", "model._target_=models.Bright,models.Dark"],
    ],
)
def test_keys_that_every_model_of_a_sweep_can_have(arguments: list[str]) -> None:
    assert len(compose(arguments)) == 2


def row(job: ComposedJob) -> Row:
    return Row(Path("job-1") / "result.json", Result("ok", dataclasses.asdict(job.config)))


def test_a_row_is_called_by_its_class() -> None:
    [job] = compose(CUSTOM)
    assert (job.config.model.name, job.config.model.family) == ("Bright", "Bright")
    [job] = compose(["model=custom", "model._target_=nets/models.py:Bright", "model.family=Mask R-CNN"])
    assert (job.config.model.name, job.config.model.family) == ("Bright", "Mask R-CNN")
    [job] = compose([*CUSTOM, "model.name=mine"])
    assert (job.config.model.name, job.config.model.family) == ("mine", "mine")


def test_rows_of_one_name_are_told_apart_by_the_path_of_the_class() -> None:
    both = [row(job) for job in compose(["model=custom", "model._target_=models.Bright,others.Bright"])]
    assert [one.model for one in both] == ["Bright", "Bright"]
    apart = ["models.Bright", "others.Bright"]
    assert labels(both) == [f"Bright{SEPARATOR}{name}" for name in apart]
    assert row_labels(both) == [f"Bright{SEPARATOR}custom{SEPARATOR}{name}" for name in apart]
    files = "/home/someone/a/models.py:Bright"
    assert SETTINGS["_target_"].labels(
        [row(job).result for job in compose(["model=custom", f"model._target_={files}"])]
    ) == ["a/models.py:Bright"]
