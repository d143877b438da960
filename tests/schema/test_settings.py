"""Tests that the table of settings has every key of the configuration, and that its readers see a new setting."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gate_cases import result

from bench.errors import UserError
from bench.gate.comparable import check_allowed, obstacles
from bench.gate.rows import labels, matched
from bench.jobs.identity import job_name
from bench.schema.config import BenchConfig, FinetuneConfig
from bench.schema.facts import config
from bench.schema.result import PASSES, Result
from bench.schema.row import Row
from bench.schema.settings import GATE, NO_FIGURE, REPORT, SERIES, SETTINGS, Setting, describe, held_equal
from bench.schema.words import said

GROUPS = ("model", "dataset", "protocol")
"""Parts of the configuration whose keys are looked at one by one."""


@dataclass
class Wider(BenchConfig):
    """A configuration with one key more."""

    made_up: str = "one"


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Setting:
    setting = Setting(
        "made_up",
        "Made up",
        "made-up thing",
        config("made_up"),
        ("made_up",),
        held=(GATE, REPORT, SERIES),
        paired=config("made_up"),
        label=said("made {}"),
        spelled=said("m-{}"),
    )
    monkeypatch.setitem(SETTINGS, "made_up", setting)
    return setting


def _keys(of: type[BenchConfig]) -> set[str]:
    names = {field.name for field in dataclasses.fields(of)}
    plain = dataclasses.asdict(of())
    return (names - set(GROUPS)) | {f"{group}.{name}" for group in GROUPS for name in plain[group]}


def _row(job: str, **changes: Any) -> Row:
    return Row(Path(job) / "result.json", result(**changes))


def _unknown(keys: set[str]) -> set[str]:
    told = [key for setting in SETTINGS.values() for key in setting.config]
    assert len(told) == len(set(told)), "two settings stand for one key"
    of_finetune = {key for key in NO_FIGURE if key.startswith("finetune.")}
    assert set(told) | NO_FIGURE <= keys | of_finetune, "a key that the configuration lacks"
    return keys - set(told) - NO_FIGURE


def test_every_key_of_the_configuration_is_a_setting_or_changes_no_figure() -> None:
    assert _unknown(_keys(BenchConfig)) == set()
    # The test itself would see one that is forgotten.
    assert _unknown(_keys(Wider)) == {"made_up"}


def test_the_names_that_a_gate_may_allow() -> None:
    assert {setting.key for setting in held_equal(GATE)} == {
        *(
            "measurement",
            "dataset",
            "weights",
            "files",
            "precision",
            "compile",
            "batch_size",
            "input_size",
            "detections",
        ),
        *("max_detections", "overlap", "evaluator", "device", "cpu", "cores", "threads", "gpu", "driver"),
        *("exif", "image_range", "without_mask", "runtime", "timed_images"),
        *("power_limit", "clocks", "clock_source", "cudnn_benchmark", "channels_last", "pin", "pad_to", "exclusive"),
        *("host_memory_source", "device_memory_source"),
    }


def test_a_job_in_one_line() -> None:
    assert describe(BenchConfig(device="cuda:0")) == "cuda:0 fp32 b1"
    job = BenchConfig(device="cpu", precision="bf16", compile="max-autotune", batch_size=4, input_size="800x1333")
    assert describe(job) == "cpu bf16 compile max-autotune b4 800x1333"
    job.model.name, job.dataset.name = "solov2", "coco"
    assert job_name(job, {}).startswith("solov2-coco-cpu-bf16-compile_max-autotune-b4-800x1333-")


def test_what_changes_no_figure_does_not_change_the_job() -> None:
    def name(**changes: Any) -> str:
        job = BenchConfig(**changes)
        job.dataset.name = "coco"
        return job_name(job, {})

    assert name(out="there", passes=["speed"], study="demo", baseline="a", history="h", wait=False) == name()
    more = BenchConfig()
    more.dataset.name, more.protocol.rounds, more.protocol.time_limit_s = "coco", 12, None
    assert job_name(more, {}) == name()
    assert name(evaluator="pycocotools") != name()


def test_a_new_key_with_its_default_does_not_change_the_name_of_a_job() -> None:
    """The same command after an upgrade finds its results again."""
    assert job_name(Wider(), {}) == job_name(BenchConfig(), {})
    assert job_name(Wider(made_up="two"), {}) != job_name(BenchConfig(), {})


def test_names_of_jobs_are_the_same_in_every_version() -> None:
    plain = BenchConfig(device="cpu")
    plain.model.name, plain.dataset.name = "solov2", "coco"
    tuned = dataclasses.replace(plain, finetune=FinetuneConfig(), precision="bf16")
    tuned = dataclasses.replace(tuned, protocol=dataclasses.replace(tuned.protocol, pin=True))
    assert [job_name(plain, {"dataset": "d1"}), job_name(tuned, {})] == [
        "solov2-coco-cpu-fp32-b1-fb8c6903",
        "solov2-coco-cpu-bf16-b1-ad499d4f",
    ]
    # A training with every key at its default is a training.
    assert job_name(dataclasses.replace(plain, finetune=FinetuneConfig()), {}) != job_name(plain, {})


def test_a_new_setting_is_in_the_names_of_jobs(made_up: Setting) -> None:
    one, two = Wider(), Wider(made_up="two")
    one.dataset.name = two.dataset.name = "coco"
    assert describe(two) == "auto fp32 b1 m-two"
    assert "-b1-m-two-" in job_name(two, {})
    assert job_name(one, {}).rpartition("-")[2] != job_name(two, {}).rpartition("-")[2]


def test_a_new_setting_is_in_a_gate(made_up: Setting) -> None:
    base = [_row("a-1", made_up="one"), _row("b-1", made_up="two")]
    head = [_row("c-1", made_up="two"), _row("d-1", made_up="one")]
    assert labels(base) == [
        "solov2_r50_mmdet \u00b7 made one",
        "solov2_r50_mmdet \u00b7 made two",
    ]
    pairs, *alone = matched(base, head)
    assert [(one.job, other.job) for one, other in pairs] == [("b-1", "c-1"), ("a-1", "d-1")]
    assert alone == [[], []]
    why = obstacles(base[0].result, head[0].result)
    assert why == dict.fromkeys((*PASSES, "model"), "made-up thing one against two")
    assert obstacles(base[0].result, head[0].result, ["made_up"]) == {}
    check_allowed(["made_up"])


def test_a_gate_does_not_allow_what_it_does_not_know() -> None:
    with pytest.raises(UserError, match=r"gate\.allow=made_up: no such difference"):
        check_allowed(["made_up"])


def test_what_a_machine_lacks_is_told_by_what_it_has() -> None:
    base, head = result(), result(input_size="640x640")
    head.machine = {"cpu": base.machine["cpu"], "torch_threads": 16}
    assert obstacles(base, head)["accuracy"] == "input size none against 640x640"
    assert "GPU" not in obstacles(base, head)["speed"]


def test_a_file_of_an_option_with_other_content_is_not_compared() -> None:
    """A gate called the head worse, and did not say that its checkpoint was another file."""
    base, head = result(), result()
    base.contents["model.options.checkpoint"], head.contents["model.options.checkpoint"] = "ab" * 32, "cd" * 32
    why = "files of the model's options checkpoint abababababab against checkpoint cdcdcdcdcdcd"
    assert obstacles(base, head)["speed"] == why
    assert obstacles(base, head, ["files"]) == {}


def test_labels_name_what_differs_of_nested_settings() -> None:
    results: list[Result] = [result(), result()]
    results[1].config["protocol"]["min_samples"] = 100
    assert SETTINGS["protocol"].labels(results) == ["min_samples=30", "min_samples=100"]
    assert SETTINGS["options"].labels(results) == ["", ""]


@pytest.mark.parametrize("group", GROUPS)
def test_a_result_from_before_there_was_a_key_was_measured_with_its_default(group: str) -> None:
    """Results of the commit before ``protocol.pin`` were said to differ from every newer one."""
    newer = result()
    newer.config = {**dataclasses.asdict(BenchConfig()), **newer.config}
    settings = dataclasses.asdict(BenchConfig())[group]
    for key, default in settings.items():
        older = copy.deepcopy(newer)
        newer.config[group] = {**newer.config[group], key: None if default == "???" else default}
        older.config[group].pop(key, None)
        assert obstacles(older, newer) == {}, key
        for by in (GATE, REPORT, SERIES):
            assert [one.key for one in held_equal(by) if one.equal(older) != one.equal(newer)] == [], key
        labels_of = [setting.labels([older, newer]) for setting in SETTINGS.values()]
        assert [texts for texts in labels_of if len(set(texts)) > 1] == [], key
