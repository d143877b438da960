"""Tests the spelling of overrides: a text arrives as it was typed, and what has a meaning in Hydra keeps it."""

from __future__ import annotations

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from bench.errors import UserError
from bench.schema.overrides import as_text, as_typed, kinds, plain, quoted, with_each_text, working_spelling


@pytest.mark.parametrize(
    ("typed", "for_hydra"),
    [
        ("gate.base_ref=12e4567", "gate.base_ref='12e4567'"),
        ("gate.base_ref=HEAD^", "gate.base_ref='HEAD^'"),
        ("out=runs/a (1)", "out='runs/a (1)'"),
        ("out=it's", """out="it's\""""),
        ("out=a\\", r"out='a\\'"),
        (r"""out=a\'"b""", r"""out='a\\\'"b'"""),
        (r"out=C:\data", r"out='C:\data'"),
        ("+out=lr=0.1", "+out='lr=0.1'"),
        # What has a meaning in Hydra keeps it.
        ("out=null", "out=null"),
        ("out='a,b'", "out='a,b'"),
        ('out="a b"', 'out="a b"'),
        ("out=${study}", "out='${study}'"),
        ("out=${f:a,b}", "out='${f:a,b}'"),
        ("out=${oc.env:X,''}", """out="${oc.env:X,''}\""""),
        ("precision=fp32,fp16", "precision='fp32','fp16'"),
        ("model.weights=a b, 'c,d' ,null", "model.weights='a b','c,d',null"),
        ("precision=choice(fp32,fp16)", "precision=choice(fp32,fp16)"),
        ("model=glob(demo*)", "model=glob(demo*)"),
        # Lists of texts have brackets; a sweep of lists keeps its commas.
        ("passes=speed", "passes=['speed']"),
        ("passes=speed, flops", "passes=['speed','flops']"),
        ("passes=[speed],[flops]", "passes=[speed],[flops]"),
        # No texts: numbers, groups, free-form keys, keys that nobody knows.
        ("batch_size=1,2", "batch_size=1,2"),
        ("model=a,b", "model=a,b"),
        ("+model.options.scale=0.5", "+model.options.scale=0.5"),
        ("gate.thresholds.fps_model=-3%", "gate.thresholds.fps_model=-3%"),
        ("modle=a", "modle=a"),
        ("~model.options.x", "~model.options.x"),
        ("just words", "just words"),
        # An empty text has a meaning where it is the default.
        ("model.backbone=", "model.backbone="),
        ("+model.options.prefix=", "+model.options.prefix="),
    ],
)
def test_a_text_is_put_into_quotation_marks(typed: str, for_hydra: str) -> None:
    assert as_text(typed) == for_hydra
    assert as_text(for_hydra) == for_hydra  # the base of a gate gets the spelling for Hydra, and spells it again


@pytest.mark.parametrize("key", ["gate.base_ref", "out", "dataset.images"])
@pytest.mark.parametrize(
    "text",
    [
        *("12e4567", "main~1", "HEAD^", "HEAD@{1}", "fix#12", "0123", "null-fix", "true", "inf", "1_000"),
        *("runs/größe", "runs/a (1)", "runs/it's", "runs/lr=0.1", "a:b", "a@b", "$HOME", "a\\", "[1]{2}", "a b"),
        *("""both ' and " marks""", """\\'\\"\\""", "--x", "%20", "&;|<>", "日本", "choice", "range(", "'tis"),
    ],
)
def test_hydra_reads_the_text_that_was_typed(key: str, text: str) -> None:
    override = OverridesParser.create().parse_override(as_text(f"{key}={text}"))
    assert (override.key_or_group, override.value()) == (key, text)
    # A sweep spells the values of each of its jobs anew.
    again = f"{override.get_key_element()}={override.get_value_element_as_str()}"
    assert OverridesParser.create().parse_override(again).value() == text


@pytest.mark.parametrize("key", ["out", "history", "baseline", "dataset.images", "gate.base_ref", "passes", "model"])
@pytest.mark.parametrize("nothing", ["", "  "])
def test_an_empty_value_is_refused(key: str, nothing: str) -> None:
    with pytest.raises(UserError, match=rf"^{key}= is empty \(an unset variable\?\); give {key}=VALUE, or"):
        as_text(f"{key}={nothing}")


@pytest.mark.parametrize("key", ["out", "history", "baseline", "gate.base_ref"])
def test_a_comma_is_refused_where_all_jobs_share_the_value(key: str) -> None:
    with pytest.raises(UserError) as refused:
        as_text(f"{key}=a,b")
    assert str(refused.value).endswith(f"""give "{key}='a,b'\"""")
    assert as_text(f"{key}='a,b'") == f"{key}='a,b'"


@pytest.mark.parametrize(
    ("override", "key", "text"),
    [
        ("dataset.images=a b", "dataset.images", "a b"),
        ("+model.options.x='a,b'", "model.options.x", "a,b"),
        (r"out='it\'s'", "out", "it's"),
        ("out=\"a 'b'\"", "out", "a 'b'"),
        (r"out='a\\'", "out", "a\\"),
        ("model=a,b", "model", None),
        ("passes=[speed]", "passes", None),
        ("out=${study}", "out", None),
        ("precision=choice(a)", "precision", None),
        ("~gate", "gate", None),
    ],
)
def test_the_text_of_an_override(override: str, key: str, text: str | None) -> None:
    assert plain(override) == (key, text)
    if text is not None:
        assert plain(with_each_text(override, lambda old: f"it's {old}")) == (key, f"it's {text}")


def test_each_text_of_a_sweep_is_changed() -> None:
    assert with_each_text("model.weights=a,'b,c',d", lambda text: text.replace("b", "x")) == "model.weights=a,'x,c',d"
    assert with_each_text("passes=[a]", str.upper) == "passes=[a]"


def test_what_is_printed_works_in_a_shell() -> None:
    for text in ("a (1)", "it's", "größe", 'a "b"', "$HOME `x` !", "a\\"):
        [argument] = shlex.split(as_typed(f"out={quoted(text)}"))
        assert plain(argument) == ("out", text)
        spelling = working_spelling(f"+model.options.x={text}")
        assert spelling is not None
        assert shlex.split(spelling) == [f"+model.options.x={quoted(text)}"]
    assert working_spelling("dataset.aliases={a b: (c)}") is None


def test_the_kinds_of_keys() -> None:
    known = kinds()
    assert {known[key] for key in ("out", "gate.base_ref", "dataset.train.images", "finetune.start")} == {"text"}
    assert {known[key] for key in ("model.backbone", "dataset.how_to_get", "study")} == {"text or empty"}
    assert {known[key] for key in ("passes", "model.classes", "gate.allow")} == {"texts"}
    assert {known[key] for key in ("batch_size", "protocol.rounds", "finetune.scales")} == {"other"}
    assert not {"model.options", "gate.thresholds", "dataset.aliases"} & set(known)
