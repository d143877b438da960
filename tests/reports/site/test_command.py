"""Tests that the command which the site prints for a result composes the very job that the result is of."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import pytest

from bench.jobs.identity import without_no_figure
from bench.private.paths import publishable_config
from bench.schema.result import Result
from bench.schema.row import Row
from reports.site.command import command_of
from run_bench import compose

COCO = "dataset=coco dataset.images=val2017 dataset.annotations=instances.json"

COMMANDS = (
    "",
    "study=field dataset.images=val dataset.annotations=a.json device=cuda:0 model.weights=zoo",
    "model=mask_rcnn_r50_torchvision dataset=coco dataset.images='val, 2017' 'dataset.annotations=\"ann (1).json\"'",
    f"model=mask_rcnn_r50_torchvision {COCO} device=cuda:0 precision=fp16 batch_size=4 input_size=800x1333",
    "model=demo_solo_mmdet protocol=gate protocol.rounds=2 finetune=demo finetune.iterations=12",
    "model=custom model._target_=my_pkg.Mine model.options.depth=3 model.options.name=ab model.options.parts.one=[1,2]",
    "model=custom model._target_=my_pkg.Mine passes=[speed] model.name=mine model.family='My net (2)'",
    "model=mmdet_zoo model.config=solo/solo_r50_fpn_1x_coco model.weights=zoo dataset.shapes.count=20",
    "model=demo_solo_mmdet model.weights=random detections=thresholded",
    "model=mask_rcnn_r50_torchvision dataset=yolo dataset.annotations=data.yaml dataset.split=test "
    "\"dataset.aliases={'t-shirt, red': shirt, cat: dog}\"",
    "model=onnx model.weights=w.onnx 'model.classes=[a,\"b c\"]' " + COCO + " dataset.image_range=[0,4095]",
    "model=replay model.weights=own model.options.results=preds.json dataset=lvis dataset.images=val "
    "dataset.annotations=a.json overlap=highest_score",
    f"model=demo_solo_mmdet finetune=default {COCO} dataset.train.images=tx dataset.train.annotations=ty.json",
    "model=demo_solo_mmdet model.score_threshold=0.3 protocol=quick protocol.threads=2 compile=default",
)


@pytest.mark.parametrize("typed", COMMANDS)
def test_the_command_of_a_result_composes_its_job(typed: str) -> None:
    for job in compose(shlex.split(typed)):
        result = Result("ok", publishable_config(dataclasses.asdict(job.config)), choices=job.choices)
        program, *arguments = shlex.split(command_of(Row(Path("jobs/any/result.json"), result)))
        assert program == "maskbench"
        [again] = compose(arguments)
        assert without_no_figure(again.config) == without_no_figure(job.config)
        assert again.config.passes == job.config.passes
        assert again.config.protocol.rounds == job.config.protocol.rounds


def test_the_command_says_no_more_than_it_must() -> None:
    [job] = compose(["model=demo_solo_mmdet", "precision=bf16"])
    result = Result("ok", publishable_config(dataclasses.asdict(job.config)), choices=job.choices)
    said = command_of(Row(Path("result.json"), result))
    assert said == "maskbench model=demo_solo_mmdet dataset=shapes protocol=default precision=bf16"
