"""A results file in the form that nearly every tool writes, read into columns: no object is kept for a result.

180,000 results take 60 MB then; as objects of Python they take 200 MB. What is not wholly in this form is left to the
reader of any form, which also says what is wrong.
"""

from __future__ import annotations

import functools
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.data.ids import Id
from bench.data.results.runs import all_cover
from bench.files.bounds import LARGEST_INTEGER

_CHUNK_BYTES = 1 << 20
"""How much of the file is decoded at once."""

_CHECKED_AT_ONCE = 256
"""How many RLEs are checked at once, which takes about 3 MB; more would take no less time."""

_OPENS = re.compile(rb"[ \t\r\n]*\[[ \t\r\n]*(?=\{)")
_BETWEEN = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*\{")
_CLOSES = re.compile(rb"\}[ \t\r\n]*\][ \t\r\n]*\Z")
_LONGEST_END = 1000
"""How far before the end of the file its last result may end."""

_OTHER_KEYS = ("bbox", "area", "id", "iscrowd")
"""Keys that tools write beside the four of a result, and that play no part where there is an RLE."""

_QUOTES = 14
"""Quotation marks of a result with the four keys alone: those of six keys and of one text."""


@dataclass(frozen=True)
class Columns:
    """N results, in the order of the file.

    image, category: int64 (N,), the ids as they stand there
    score: float64 (N,), finite
    size: int64 (N, 2), height and width that the RLE says
    counts: the compressed ``counts`` of all, one behind the other
    ends: int64 (N,), the index behind the counts of each
    """

    image: np.ndarray
    category: np.ndarray
    score: np.ndarray
    size: np.ndarray
    counts: bytes
    ends: np.ndarray

    def all_sound(self, which: np.ndarray, sizes: np.ndarray) -> bool:
        """Tell whether the RLEs of some results are right, and of the size of their images.

        Args:
            which: int (M,), rising indices of the results
            sizes: int (M, 2), height and width of the image of each
        """
        begins = np.concatenate(([0], self.ends[:-1]))
        lengths, pixels = (self.ends - begins)[which], sizes.prod(axis=1, dtype=np.int64)
        if (self.size[which] != sizes).any() or (lengths > pixels).any():
            return False
        for first in range(0, len(which), _CHECKED_AT_ONCE):
            some = slice(first, first + _CHECKED_AT_ONCE)
            text = b"".join(
                [self.counts[a:b] for a, b in zip(begins[which[some]], self.ends[which[some]], strict=True)]
            )
            if not all_cover(text, lengths[some], pixels[some]):
                return False
        return True


def columns_of(content: bytes) -> Columns | None:
    """Give the results of a file; None where anything in it is not in the one form, be it right or wrong.

    The form is a JSON array in ASCII of objects with whole numbers as ids, a score, and a compressed RLE as text.
    """
    decode = _decoder()
    if decode is None or not content.isascii():
        return None
    whole, scores, lengths, counts = array("q"), array("d"), array("q"), bytearray()
    try:
        for chunk in _chunks(content):
            results = decode(b"[" + chunk + b"]")
            if chunk.count(b'"') != _QUOTES * len(results) + 2 * sum(map(_others, results)):
                return None  # a key stands twice, of which one would be lost
            numbers = [n for r in results for n in (r.image_id, r.category_id, *r.segmentation.size)]
            if set(map(type, numbers)) != {int}:
                return None
            texts = [result.segmentation.counts for result in results]
            whole.extend(numbers)
            scores.extend([result.score for result in results])
            lengths.extend(map(len, texts))
            counts += "".join(texts).encode("ascii")
    except (ValueError, OverflowError):  # of another form, or a number beyond a column's; msgspec's errors are such
        return None
    of_each = np.frombuffer(whole, np.int64).reshape(-1, 4)
    score = np.frombuffer(scores, np.float64)
    if not len(score) or of_each.min() < -LARGEST_INTEGER or not np.isfinite(score).all():
        return None
    ends = np.cumsum(np.frombuffer(lengths, np.int64))
    return Columns(of_each[:, 0], of_each[:, 1], score, of_each[:, 2:], bytes(counts), ends)


class PlainResults(Mapping[Id, list[dict[str, Any]]]):
    """The results of every image of a data set by falling score; each list is made when it is asked for."""

    def __init__(self, columns: Columns, categories: Mapping[Id, Id], images: Sequence[Id]) -> None:
        """Group the results by image.

        Args:
            categories: id in the file -> id of the category
            images: the ids of the images of the data set; results of others are left out
        """
        self._columns, self._categories = columns, categories
        self._order = np.lexsort((-columns.score, columns.image))
        image = columns.image[self._order]
        self._places = dict.fromkeys(images, (0, 0))  # a text, or a number beyond a column's, has no result here
        numbers = [one for one in images if isinstance(one, int) and abs(one) <= LARGEST_INTEGER]
        begins, ends = (
            np.searchsorted(image, np.array(numbers, np.int64), side).tolist() for side in ("left", "right")
        )
        self._places |= dict(zip(numbers, zip(begins, ends, strict=True), strict=True))

    def __getitem__(self, image: Id) -> list[dict[str, Any]]:
        begin, end = self._places[image]
        return [self._result(image, number) for number in self._order[begin:end].tolist()]

    def __iter__(self) -> Iterator[Id]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def _result(self, image: Id, number: int) -> dict[str, Any]:
        columns = self._columns
        begin = int(columns.ends[number - 1]) if number else 0
        counts = columns.counts[begin : int(columns.ends[number])].decode("ascii")
        return {
            "image_id": image,
            "category_id": self._categories[int(columns.category[number])],
            "segmentation": {"size": columns.size[number].tolist(), "counts": counts},
            "score": float(columns.score[number]),
        }


@functools.cache
def _decoder() -> Any:
    """Give the function that decodes an array of results; None where msgspec is absent, as a worker's may be."""
    try:
        import msgspec
    except ModuleNotFoundError:
        return None
    number = int | float  # with int alone, 1.0 would be taken for a whole number without a word
    rle = msgspec.defstruct("Rle", [("size", tuple[number, number]), ("counts", str)], forbid_unknown_fields=True)
    others = [(key, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for key in _OTHER_KEYS]
    result = msgspec.defstruct(
        "Result",
        [("image_id", number), ("category_id", number), ("segmentation", rle), ("score", float), *others],
        forbid_unknown_fields=True,
    )
    return msgspec.json.Decoder(list[result]).decode  # type: ignore[valid-type]


def _others(result: Any) -> int:
    return sum(map(bool, (result.bbox, result.area, result.id, result.iscrowd)))


def _chunks(content: bytes) -> Iterator[bytes]:
    """Give the array of a file in parts: some of its objects each, with the commas between them.

    Where each part is a part of an array, all of them together are the array, wherever they were divided.

    Raises:
        ValueError: it is no array of objects.
    """
    opens = _OPENS.match(content)
    closes = _CLOSES.search(content, max(0, len(content) - _LONGEST_END))
    if opens is None or closes is None:
        raise ValueError("no array of objects")
    begin, end = opens.end(), closes.start() + 1
    while begin < end:
        between = _BETWEEN.search(content, begin + _CHUNK_BYTES, end)
        if between is None:
            yield content[begin:end]
            return
        yield content[begin : between.start() + 1]
        begin = between.end() - 1
