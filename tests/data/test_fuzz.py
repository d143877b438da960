"""A right set is damaged at random: it is loaded or refused in one line, and what is loaded can be evaluated.

``MASKBENCH_FUZZ_EXAMPLES=2000`` in the environment tries as many; the suite tries the same few each time.
"""

from __future__ import annotations

import copy
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from bench.cli.dataset import check_dataset
from bench.data.coco_json import to_rle
from bench.data.dataset import CocoDataset, load
from bench.errors import UserError
from bench.evaluation.evaluators import EVALUATORS
from bench.schema.config import DatasetConfig

EXAMPLES = int(os.environ.get("MASKBENCH_FUZZ_EXAMPLES", "0"))

RIGHT: dict[str, Any] = {
    "info": {"year": 2026},
    "images": [
        {"id": 1, "file_name": "a.png", "height": 20, "width": 30, "coco_url": "http://x/a.png"},
        {"id": 2, "file_name": "b.png", "height": 20, "width": 30},
        {"id": "c", "file_name": "c.png", "height": 20, "width": 30},
    ],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog", "supercategory": "animal"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[2, 2, 12, 2, 12, 9], [1, 1, 3, 1, 3, 3]]},
        {
            **{"id": 2, "image_id": 1, "category_id": 2, "iscrowd": 1, "area": 10.5, "bbox": [0, 0, 10, 1]},
            "segmentation": {"size": [20, 30], "counts": [30, 10, 560]},
        },
        {
            **{"id": 3, "image_id": "c", "category_id": 1, "iscrowd": 0, "area": 600, "bbox": [0, 0, 30, 20]},
            "segmentation": {"size": [20, 30], "counts": "0hb0"},
        },
    ],
}

STRANGE: list[Any] = [
    *(None, True, False, 0, -1, 1.0, 0.5, 240.0, 2**31, 2**33, 2**63, 10**30, 10**400, -(2**70), 1e9, 1e18, 1e308),
    *(float("nan"), float("inf"), -20_000, 999_999.5, "", "1", "c", "cat", "x" * 600, "\ud800", "a\0b", "[/x]", "../a"),
    *([], {}, [[]], [[1, 1]], [1, 1, 5, 1, 5, 5], [[1, 1], [5, 1], [5, 5]], {"size": [20, 30]}, [None], [[None] * 6]),
]


WAYS = ("drop", "strange", "strange", "duplicate", "nest", "name", "text", "float", "borrow")


def paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the way to every value."""
    if path:
        yield path
    keys: Any = range(len(node)) if isinstance(node, list) else node if isinstance(node, dict) else ()
    for key in keys:
        yield from paths(node[key], (*path, key))


@st.composite
def damaged_sets(draw: st.DrawFn) -> Any:
    data = copy.deepcopy(RIGHT)
    for _ in range(draw(st.integers(1, 4))):
        if not (ways := list(paths(data))):
            break
        *parents, last = draw(st.sampled_from(ways))
        node: Any = data
        for key in parents:
            node = node[key]
        how = draw(
            st.sampled_from(["drop", "strange", "strange", "duplicate", "nest", "name", "text", "float", "borrow"])
        )
        if how == "drop":
            del node[last]
        elif how == "strange":
            node[last] = copy.deepcopy(draw(st.sampled_from(STRANGE)))
        elif how == "duplicate" and isinstance(node, list):
            node.insert(last, copy.deepcopy(node[last]))
        elif how == "nest":
            node[last] = [node[last]]
        elif how == "name":
            node[last] = {"x": node[last]}
        elif how == "text":
            node[last] = str(node[last])[:200]
        elif how == "float" and isinstance(node[last], int) and abs(node[last]) < 10**100:
            node[last] = float(node[last])
        elif how == "borrow":
            *others, other = draw(st.sampled_from(ways))
            from_node: Any = data
            for key in others:
                from_node = from_node[key]
            node[last] = copy.deepcopy(from_node[other])
    return data


def evaluated(dataset: CocoDataset) -> list[float | None]:
    """Evaluate the set's own masks by each evaluator; give the AP of each."""
    found = []
    for make in EVALUATORS.values():
        evaluator = make(dataset)
        for image in dataset.images:
            annotations = [a for a in dataset.annotations if a["image_id"] == image.id]
            masks = [to_rle(a["segmentation"], image.height, image.width) for a in annotations]
            evaluator.update(
                image.id,
                [
                    {"image_id": image.id, "category_id": a["category_id"], "segmentation": mask, "score": 0.5}
                    for a, mask in zip(annotations, masks, strict=True)
                ],
            )
        found.append(evaluator.figures()[0]["mask_ap"])
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@settings(
    max_examples=EXAMPLES or 120,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(data=damaged_sets(), without_mask=st.sampled_from([None, "drop", "ignore"]), strict=st.booleans())
def test_a_damaged_set_is_loaded_or_refused_in_one_line(
    folder: Path, data: Any, without_mask: str | None, strict: bool
) -> None:
    file = folder / "a.json"
    file.write_text(json.dumps(data))
    config = DatasetConfig("fuzz", images=str(folder), annotations=str(file), without_mask=without_mask, strict=strict)
    shown = io.StringIO()
    status = check_dataset(file, None, config, Console(file=shown, soft_wrap=True))
    if status != 0:
        with pytest.raises(UserError) as caught:
            load(config)
        assert len(str(caught.value).splitlines()) == 1
        assert len(str(caught.value)) < 2000
        return
    dataset = load(config)
    repaired = [note for note in dataset.notes if not re.search("dataset.without_mask|coco_url or flickr_url", note)]
    assert not (strict and repaired)
    assert {a["iscrowd"] for a in dataset.annotations} <= {0, 1}
    numbers = [a["id"] for a in dataset.annotations]
    assert len(set(numbers)) == len(numbers)
    assert all(number >= 1 for number in numbers)
    by_hotcoco, by_pycocotools = evaluated(dataset)
    assert by_hotcoco == pytest.approx(by_pycocotools)


def test_the_right_set_is_right(folder: Path) -> None:
    (folder / "right.json").write_text(json.dumps(RIGHT))
    dataset = load(DatasetConfig("right", images=str(folder), annotations=str(folder / "right.json"), strict=True))
    assert [image.id for image in dataset.images] == [1, 2, "c"]
    assert evaluated(dataset) == [pytest.approx(1.0)] * 2
