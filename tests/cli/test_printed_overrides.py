"""Tests that every override that a page or a message prints is one that the command takes as it stands."""

from __future__ import annotations

import ast
import functools
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from hydra import compose as composed_by_hydra
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import open_dict

from bench.cli.arguments import for_hydra
from bench.cli.composing.errors import as_user_error, schema_keys
from bench.cli.free_form import schema_for_hydra, with_own_names
from bench.cli.gate import from_settings
from bench.cli.model_keys import TARGET, given_keys, refuse_foreign_keys
from bench.cli.run import CONFIGS as OURS
from bench.cli.run import _implied
from bench.errors import UserError
from bench.jobs.job import ComposedJob
from bench.jobs.validate import check_shared, to_config
from bench.schema.typed.overrides import FREE_FORM, GROUPS
from run_bench import compose

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
KEYS = {*schema_keys(), *GROUPS}
TOP = "|".join(sorted({key.partition(".")[0] for key in KEYS}, key=len, reverse=True))
OVERRIDE = re.compile(
    rf"""(?<![\w./$-])(?P<key>\+{{0,2}}(?:{TOP})(?:\.[\w{{}}]+)*)=(?!=)"""
    r"""(?P<value>\[[^]]*\]|\{[^}]+\}+|"[^"]*"|\$\{[^}]*\}|[^\s;)'"`#]*)"""
)

STANDS_FOR = {
    "gate.thresholds.METRIC=CHANGE": "gate.thresholds.fps_model=-3%",
    "gate.thresholds.METRIC=none": "gate.thresholds.fps_model=none",
    "dataset.image_range=[LOW,HIGH]": "dataset.image_range=[0,4095]",
    "protocol.max_detections=...": "protocol.max_detections=300",
    "protocol.max_detections=N": "protocol.max_detections=300",
    "dataset.limit=N": "dataset.limit=3",
    "dataset.max_pixels=N": "dataset.max_pixels=3",
    "dataset.max_json_gb=N": "dataset.max_json_gb=3",
    "finetune.iterations=N": "finetune.iterations=3",
    "finetune.evaluate_every=N": "finetune.evaluate_every=3",
    "finetune.evaluate_images=N": "finetune.evaluate_images=3",
    "model=a,b": "model=demo_solo_mmdet,demo_solov2_mmdet",
    "model.classes=[...]": "model.classes=[cat,dog]",
    "model.options.layout=NAME": "model.options.layout=yolo",
    "model=NAME": "model=demo_solo_mmdet",
    "maskbench model=... overrides": "maskbench model=demo_solo_mmdet",
}
"""What a page or a message has, where that is no value of its key, and what a reader gives there."""

PRINTED = {
    "baseline={}": "baseline=runs/base",
    "batch_size={}": "batch_size=2",
    "accuracy.parts=[{}]": "accuracy.parts=[boundary,bootstrap]",
    "accuracy.shards={}": "accuracy.shards=2",
    "dataset.image_range=[0,{}]": "dataset.image_range=[0,4095]",
    "dataset.image_range=[{},{}]": "dataset.image_range=[-1000,400]",
    "dataset.limit={}": "dataset.limit=0",
    "dataset.max_json_gb={}": "dataset.max_json_gb=3",
    "dataset.max_pixels={}": "dataset.max_pixels=300000000",
    "dataset.{}={}": "dataset.annotations=a.json",
    "dataset={}": "dataset=yolo",
    "device={}": "device=cuda:0",
    "devices={}": "devices=cuda:0,cuda:2",
    "evaluator={}": "evaluator=pycocotools",
    "gate.allow=[{}]": "gate.allow=[fewer_rows]",
    "gate.rounds={}": "gate.rounds=6",
    "gate.thresholds.{}=none": "gate.thresholds.latency_ms_p95_end_to_end=none",
    "gate.{}={}": "gate.alpha=0.05",
    "input_size={}": "input_size=256x384",
    "input_size={}x{}": "input_size=432x432",
    "history={}": "history=runs/history.sqlite",
    "launcher={}": "launcher=slurm",
    "tracker={}": "tracker=mlflow",
    "detections={}": "detections=saturated",
    "finetune={}": "finetune=demo",
    "model.options.category_offset={}": "model.options.category_offset=-1",
    "model.options.layout={}": "model.options.layout=yolo",
    "model.options.{}=PATH": "model.options.results=PATH",
    "model.options.{}=VALUE": "model.options.checkpoint=VALUE",
    "model.options.{}=PIXELS": "model.options.longest_edge=1333",
    "model.weights={}": "model.weights=w.pt",
    "model._target_={}:{}": "model._target_=bench/net.py:Net",
    "model._target_={}.{}": "model._target_=my_package.models.Net",
    "model={}": "model=demo_solo_mmdet",
    "out={}": "out=runs/mine",
    "precision={}": "precision=fp16",
    "precision={}{}": "precision=fp32",
    "protocol.max_detections={}": "protocol.max_detections=300",
    "protocol.rounds={}": "protocol.rounds=6",
    "give {}=PATH": "dataset.images=PATH",
    "give {}=VALUE": "model._target_=VALUE",
    "give {}={}": "model.library=VALUE",
}
"""Each override of a message in which a value stands in (``{}``), and one as it is printed."""


@functools.cache
def composed(*arguments: str) -> list[ComposedJob]:
    """Give what ``compose`` gives, by Hydra's other entrance, which loads the configuration once and not three times.

    Raises:
        UserError: as ``compose`` does.
    """
    given = for_hydra(arguments).overrides
    ConfigStore.instance().store(name="schema", node=schema_for_hydra())
    try:
        with initialize_config_dir(str(OURS), version_base="1.3"):
            parsed = OverridesParser.create().parse_overrides([*given, *_implied(given)])
            [batch] = BasicSweeper.split_arguments(parsed, None)
            jobs = [_job(overrides, own_class=TARGET in given_keys(given)) for overrides in batch]
    except Exception as error:
        told = error if isinstance(error, UserError) else as_user_error(error, OURS)
        if told is None:
            raise
        raise told from error
    check_shared(jobs)
    refuse_foreign_keys(arguments, jobs, [OURS])
    return jobs


def _job(overrides: Sequence[str], own_class: bool) -> ComposedJob:
    cfg = composed_by_hydra("config", overrides=list(overrides), return_hydra_config=True)
    choices = {key: option for key, option in cfg.hydra.runtime.choices.items() if option and "hydra/" not in key}
    with_own_names(cfg)
    with open_dict(cfg):
        del cfg["hydra"]
    return to_config(cfg, choices, own_class=own_class)


@pytest.mark.parametrize(
    "arguments",
    [
        ["model=custom", "model._target_=a.B", "baseline=x", "model.options.é=a (b"],
        ["model=demo_solo_mmdet", "dataset.aliases.é=x", "precision=fp32,fp16"],
    ],
)
def test_both_entrances_of_hydra_give_the_same_jobs(arguments: list[str]) -> None:
    assert composed(*arguments) == compose(arguments)


def composes(arguments: Sequence[str]) -> None:
    context = ["model=custom"] if not _has(arguments, "model") else []
    if "model=custom" in [*context, *arguments] and not _has(arguments, "model._target_"):
        context.append("model._target_=a.B")
    if "model=replay" in arguments and not _has(arguments, "model.options.results"):
        context.append("model.options.results=results.json")
    context += ["study=none"] if not _has(arguments, "study") else []
    for group in ("finetune", "gate"):
        if any(argument.startswith(f"{group}.") for argument in arguments) and not _has(arguments, group):
            context.append(f"{group}=default")
    if _has(arguments, "protocol.pad_to") and not _has(arguments, "input_size"):
        context.append("input_size=256x384")
    if not _has(arguments, "dataset"):
        context.append("dataset=shapes" if any("dataset.shapes." in one for one in arguments) else "dataset=coco")
    assert composed(*context, *arguments)


def _has(arguments: Sequence[str], group: str) -> bool:
    return any(argument.startswith(f"{group}=") for argument in arguments)


def all_compose(overrides: Iterable[str]) -> list[str]:
    """Give a line for each override that is refused; those of different keys are composed together, which is quick."""
    rounds: list[dict[str, str]] = []
    for override in dict.fromkeys(overrides):
        key = override.lstrip("+").partition("=")[0]
        place = next((one for one in rounds if key not in one and not _clash(key, one)), None)
        if place is None:
            rounds.append(place := {})
        place[key] = override
    refused = []
    for together in rounds:
        try:
            composes(list(together.values()))
        except UserError:
            refused += [line for one in together.values() if (line := _refusal(one))]
    return refused


def _clash(key: str, others: Iterable[str]) -> bool:
    """Whether keys must not be given together: several models, a sweep's own, or shapes and the files of a set."""
    groups = [one for one in (key, *others) if one == "dataset" or one.startswith("dataset.shapes")]
    return len(groups) > 1 or (key == "model" and any(other.startswith("model.") for other in others))


def _refusal(override: str) -> str | None:
    try:
        composes([override])
    except UserError as error:
        return f"{override} -> {error}"
    return None


def code_of(text: str) -> Iterator[str]:
    """Give what stands in backticks and each command of a code block of a page, with its lines joined."""
    yield from re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if re.match(r"\s+(python|maskbench)\b|\s+maskbench\.check|    [a-z]+=", line):
            yield line.strip()


def arguments_of(code: str) -> list[str]:
    """Give the arguments in a command, or in what stands in backticks, that set a key of ours."""
    try:
        words = shlex.split(STANDS_FOR.get(code, code), comments=True)
    except ValueError:  # a text in backticks that is no command
        return []
    words = [word.rstrip(",):") for word in words]
    return [word for word in words if re.match(rf"\+{{0,2}}({TOP})(\.[\w]+)*=", word)]


def test_the_overrides_of_pages_and_configurations(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("TOKEN", "DATA", "BASE"):
        monkeypatch.setenv(variable, "v")
    alone, commands = _in_comments_of_configurations(), set()
    assert "dataset.aliases={CATEGORY: CLASS}" in alone
    for page in PAGES:
        for code in code_of(page.read_text(encoding="utf-8")):
            arguments = arguments_of(code)
            alone |= {found[0].rstrip(",") for found in OVERRIDE.finditer(code.partition(" # ")[2])}
            if "--config-dir=configs" in code:
                arguments.append(f"--config-dir={ROOT / 'docs' / 'adapter' / 'configs'}")
            if "bench.cli.gate" in code or code.startswith("maskbench gate"):
                from_settings([word for word in shlex.split(code, comments=True) if "=" in word])
            elif len(arguments) > 1:
                commands.add(("bench" in code, *arguments))
            else:
                alone |= set(arguments)
    assert len(alone) > 40
    assert len(commands) > 15
    keys = {override for override in alone if override.endswith("=")}  # how prose names a key
    free_form = {f"{form.key}." for form in FREE_FORM}
    named = {key.lstrip("+").rstrip("=") for key in keys}
    assert {key for key in named if not key.startswith(tuple(free_form))} <= KEYS
    assert all_compose(sorted(STANDS_FOR.get(override, override) for override in alone - keys)) == []
    for is_whole, *arguments in commands:
        if is_whole and not _has(arguments, "model") and not _has(arguments, "study"):
            arguments.append("model=demo_solo_mmdet")  # quicker than the ten of the default
        if any(argument.startswith("--") for argument in arguments):
            assert compose(arguments)
        else:
            assert composed(*arguments) if is_whole else composes(arguments) is None, arguments


def _in_comments_of_configurations() -> set[str]:
    comments = [
        comment
        for config in CONFIGS
        for comment in re.findall(r"(?m)(?:#|app_name\})(.*)$", config.read_text(encoding="utf-8"))
    ]
    return {match[0].rstrip(".,:") for comment in comments for match in OVERRIDE.finditer(comment)}


def literals() -> Iterator[tuple[str, str]]:
    """Give the place and the text of every string of our code that is no docstring, ``{}`` where a value stands in."""
    for path in sorted(path for folder in ("bench", "adapters", "reports") for path in (ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        parts = {id(p) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for p in ast.walk(node)} - {
            id(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
        }
        for node in ast.walk(tree):
            if id(node) in docstrings | parts:
                continue
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield where, node.value
            elif isinstance(node, ast.JoinedStr):
                yield where, "".join(p.value if isinstance(p, ast.Constant) else "{}" for p in node.values)


def printed_by_messages() -> dict[str, str]:
    """Give each override in a text of our code, and where it is printed, but for the one that a message refuses."""
    found: dict[str, str] = {}
    for where, text in literals():
        for match in OVERRIDE.finditer(text):
            refused = match.start() == 0 and re.match(r"[^ ]*: ", text)
            if not refused:
                found.setdefault(match[0].rstrip(".,:"), where)
        for match in re.finditer(r"give \{\}=[^\s,;]+", text):
            found.setdefault(match[0], where)
    return found


def test_the_overrides_of_messages() -> None:
    """A new message with an override in which a value stands in gets its line in ``PRINTED``."""
    found = printed_by_messages()
    assert len(found) > 40
    keys = {override for override in found if override.endswith("=")}
    assert {key.rstrip("=") for key in keys} <= KEYS
    new = {override: where for override, where in found.items() if "{}" in override and override not in PRINTED}
    assert new == {}
    whole = {STANDS_FOR.get(override, override) for override in found if "{}" not in override} - keys
    assert all_compose(sorted({*whole, *(PRINTED[override] for override in found if "{}" in override)})) == []
