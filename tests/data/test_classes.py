"""Tests that classes meet categories by name, and that the override in the message is what makes them meet."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.data.classes import match_labels
from bench.data.dataset import CocoDataset, from_coco
from bench.errors import UserError


def set_of(*names: str, evaluated: Sequence[str] | None = None, limit: int | None = None) -> CocoDataset:
    """A set of these categories, numbered from 10; of each one of ``evaluated``, or of all, an annotation.

    Each annotation is in an image of its own.
    """
    with_objects = names if evaluated is None else evaluated
    images = [{"id": n, "file_name": f"{n}.jpg", "height": 8, "width": 8} for n in range(1, len(with_objects) + 2)]
    annotations = [
        {"id": n, "image_id": n, "category_id": 10 + names.index(name), "segmentation": [[0, 0, 4, 0, 4, 4]]}
        for n, name in enumerate(with_objects, 1)
    ]
    categories = [{"id": n, "name": name} for n, name in enumerate(names, 10)]
    data = {"images": images, "annotations": annotations, "categories": categories}
    return from_coco("mine", data, None, Path("a.json"), "", limit)


def refused(dataset: CocoDataset, classes: Sequence[str], aliases: dict[str, str] | None = None) -> str:
    with pytest.raises(UserError) as caught:
        match_labels(dataset, classes, aliases or {})
    return str(caught.value)


def test_labels_meet_categories_by_name() -> None:
    assert match_labels(set_of("cat", "dog"), ["dog", "person", "cat"], {}) == [11, None, 10]
    assert match_labels(set_of("cat", "dog"), ["hound", "cat"], {"dog": "hound"}) == [11, 10]


@pytest.mark.parametrize(
    ("classes", "aliases", "message"),
    [
        (["cat", "dogma"], {}, "1 of 2 categories with annotations match no class of the model: 'dog'; 'dog': did you"),
        (["person"], {}, "2 of 2 categories .*: 'cat', 'dog';"),
        (["cat", "dog"], {"dgo": "dog"}, "'dgo' is no category of mine; did you mean dog"),
        (["cat", "dog"], {"dog": "hound"}, r"dataset\.aliases\.dog: 'hound' is no class of the model"),
        (["cat", "dog"], {"dog": "cat"}, "two categories of mine stand for the class 'cat'"),
        (["0", "1"], {}, "'cat': available: 0, 1; give .*cat: CLASS.* for a class of another name, or other weights"),
        (["class_1", "class_2"], {}, "'cat': available: class_1, class_2; give "),
    ],
)
def test_names_that_do_not_match(classes: list[str], aliases: dict[str, str], message: str) -> None:
    assert re.search(message, refused(set_of("cat", "dog"), classes, aliases))


def test_only_categories_with_annotations_must_match() -> None:
    """rf-detr 1303: Roboflow's root category 0 is a class of no model; c06."""
    roboflow = set_of("shapes-abc", "cat", "dog", evaluated=["dog", "cat"])
    assert match_labels(roboflow, ["cat", "dog"], {}) == [11, 12]
    nothing = set_of("cat", "dog", evaluated=[])
    assert match_labels(nothing, ["person"], {}) == [None]


def test_the_images_that_the_limit_leaves_count() -> None:
    names = ("cat", "dog")
    assert match_labels(set_of(*names, limit=1), ["cat"], {}) == [10]
    assert match_labels(set_of(*names), ["cat", "dog"], {}) == [10, 11]
    assert "1 of 2 categories with annotations match no class of the model: 'dog'" in refused(set_of(*names), ["cat"])


@pytest.mark.parametrize("order", [("cat", "kitten"), ("kitten", "cat")])
def test_of_two_categories_with_one_class_the_evaluated_one_counts(order: tuple[str, str]) -> None:
    """The empty one may come first or last."""
    truth = set_of(*order, evaluated=["kitten"])
    assert match_labels(truth, ["cat"], {"kitten": "cat"}) == [10 + order.index("kitten")]


def test_an_alias_may_name_a_category_that_is_not_evaluated() -> None:
    truth = set_of("cat", "dog", evaluated=["cat"])
    assert match_labels(truth, ["cat"], {"dog": "hound"}) == [10]


@pytest.mark.parametrize(
    ("category", "class_name"),
    [
        ("Circle", "circle"),
        ("traffic_light", "traffic light"),
        ("traffic-light", "traffic light"),
        ("sheep", "Sheep"),
        ("cats", "cat"),
        ("box", "boxes"),
        ("berry", "Berries"),
        ("TrafficLight", "traffic_light"),
        ("glasses", "glass"),
    ],
)
def test_spellings_of_one_name_are_matched_by_the_override(category: str, class_name: str) -> None:
    truth = set_of(category, "dog")
    line = refused(truth, [class_name, "dog"])
    assert f"match no class of the model: {category!r}; 1 of them differs in spelling alone: give " in line
    assert "give other weights" not in line
    [_, override] = shlex.split(line)[-2:]
    assert override.lstrip("+") == f"dataset.aliases={{{category}: {class_name}}}"
    assert match_labels(truth, [class_name, "dog"], {category: class_name}) == [10, 11]


def test_one_override_has_all_spellings_and_those_that_were_given() -> None:
    truth = set_of("Cat", "tv_set", "dog", "bus")
    line = refused(truth, ["cat", "tv set", "hound", "coach"], {"dog": "hound"})
    assert "3 of 4 categories with annotations match no class of the model: 'Cat', 'tv_set', 'bus'" in line
    assert "2 of them differ in spelling alone" in line
    assert "dataset.aliases={dog: hound, Cat: cat, tv_set: tv set}" in line
    assert line.count("dataset.aliases=") == 1
    assert "'bus': available: cat, coach, hound, tv set" in line


@pytest.mark.parametrize(
    ("categories", "classes"),
    [
        (["Cat", "CAT"], ["cat"]),  # two categories
        (["CAT"], ["cat", "Cat"]),  # two classes
        (["bus", "us"], ["buses", "us"]),  # "us" is no plural
        (["cat", "Cat"], ["cat"]),  # the class has its category
        (["car"], ["cart"]),
        (["glass"], ["gla"]),
    ],
)
def test_what_may_be_another_thing_is_not_proposed(categories: list[str], classes: list[str]) -> None:
    line = refused(set_of(*categories), classes)
    proposed = line.partition("in spelling alone: give ")[2]
    assert proposed in ("", "'+dataset.aliases={bus: buses}'")


def test_the_names_of_another_set_are_called_so() -> None:
    with pytest.raises(
        UserError, match="1 of 1 categories with annotations match no category of the training set: 'cat'"
    ):
        match_labels(set_of("cat"), ["dog"], {}, "category of the training set")
