"""Test that ``--help`` can be read in 80 columns, has every key and exit status, and works with any override."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path

import pytest

from bench.cli.composing.help import first_of_sweeps
from bench.cli.main import BUG_EXIT, main
from bench.cli.run import CONFIGS, compose
from bench.errors import UserError
from bench.gate.run import the_gate
from bench.jobs.study import INTERRUPTED_EXIT
from bench.schema.config import FinetuneConfig, GateConfig

ROOT = Path(__file__).resolve().parents[2]


def helped(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert not ended.value.code
    told = capsys.readouterr()
    assert told.err == ""
    return told.out


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("finetune=default",),
        ("finetune=default", "gate=interleaved", "model=demo_solo_mmdet"),
        ("model=demo_solo_mmdet,demo_solov2_mmdet", "precision=fp32,fp16", "input_size=480x640,800x1333"),
        ("study=variants",),
    ],
    ids=" ".join,
)
def test_it_fits_into_80_columns_and_lists_every_key(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    text = helped(*arguments, capsys=capsys)
    assert [line for line in text.splitlines() if len(line) > 80] == []
    for config in (FinetuneConfig, GateConfig):
        for field in dataclasses.fields(config):
            assert re.search(rf"^ +{field.name}:", text, re.MULTILINE), field.name
    for option in CONFIGS.glob("model/*.yaml"):
        assert re.search(rf"\b{option.stem}\b", text)


def test_it_has_every_exit_status_of_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    text = helped(capsys=capsys)
    statuses = re.findall(r"^ +(\d+)  \S", text.split("exit status:")[1].split("==")[0], re.MULTILINE)
    assert statuses == ["0", "1", "2", "3", str(BUG_EXIT), str(INTERRUPTED_EXIT)]
    in_readme = re.findall(r"^\| (\d+) \| ", (ROOT / "docs" / "using.md").read_text(), re.MULTILINE)
    assert in_readme == statuses


def test_a_sweep_is_told_by_its_first_job() -> None:
    given = ["model=a,b", "precision=fp32", "dataset.images='a,b'", "passes=[speed,memory]", "protocol.seed=1,2"]
    assert first_of_sweeps(given) == ["model=a", *given[1:4], "protocol.seed=1"]


@pytest.mark.parametrize(
    "given", [["study=ci"], ["study=ci", "gate.rounds=8", "model=demo_solo_mmdet"], ["gate=default", "study=demo"]]
)
def test_the_command_for_the_first_run_is_one(given: list[str]) -> None:
    with pytest.raises(UserError) as raised:
        the_gate(compose(given), shlex.join(["python", "run_bench.py", *given]))
    command = re.search(r"first with: python run_bench.py (.*) and then give baseline=(\S+);", str(raised.value))
    assert command
    jobs = compose(shlex.split(command[1]))
    assert jobs[0].config.gate is None
    assert jobs[0].config.out == command[2] == "runs/base"
    # The gate that is asked for then finds rounds enough in it.
    assert jobs[0].config.protocol.rounds >= 6
    assert the_gate(compose([*given, "baseline=runs/base"])) is not None
