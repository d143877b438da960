"""The predictions of all shards of a row, in the order of the data set, as those of one model that runs."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from bench.data.dataset import CocoDataset
from bench.data.images import ImageRecord
from bench.device.fingerprint import Fingerprint, fact_changes, in_words, source_changes
from bench.errors import UserError
from bench.passes.results import Results
from bench.passes.shards.division import WITNESSES, Shard, batches_of, owners
from bench.passes.shards.file import Head, Tail, ends_of, entry_of, lines_of, path_of
from bench.schema.result import Result

_REMEDY = "the same command predicts it anew"


@dataclass(frozen=True)
class ToMerge:
    """The shards of a row that its accuracy is to be merged from.

    folder: of the job
    key: what each must have been predicted for (:class:`bench.passes.shards.file.Head`)
    now: what the row's figures depend on, as the merging process sees it
    """

    folder: Path
    of: int
    key: str
    now: Fingerprint

    def shards(self) -> list[Shard]:
        """Give the shards in their order."""
        return [Shard(number, self.of) for number in range(1, self.of + 1)]

    def refuse(self, shard: Shard, why: str) -> NoReturn:
        """Raise a UserError about a shard, and remove its file, so that it is predicted anew."""
        path_of(self.folder, shard).unlink(missing_ok=True)
        raise UserError(f"{shard} cannot be merged: {why}; {_REMEDY}")


class MergedPredictions:
    """The predictions of all shards (:class:`bench.passes.predictions.Predictions`).

    Nothing of the shards is believed: each must be for this row, and made by the code and on the machine of this
    process; each image of the data set must come once, at its place.

    overlaps: the ways with overlaps under which results are asked for
    """

    in_order = False

    def __init__(self, what: ToMerge, dataset: CocoDataset, batch_size: int, overlaps: Sequence[str]) -> None:
        """Open the shards.

        Raises:
            UserError: one is absent, or is not of this row.
        """
        self._what, self._batch_size = what, batch_size
        self._owners = owners(dataset.images, batch_size, what.of)
        self._ends = {shard: _checked(what, shard, overlaps) for shard in what.shards()}
        self.sources = _sources(self._ends)
        self.seconds = max(tail.seconds for _, tail in self._ends.values())
        self.notes: Sequence[str] = ()

    def outputs(self, images: Sequence[ImageRecord]) -> Iterator[tuple[Sequence[ImageRecord], list[Any]]]:
        """Give for each batch of the data set's images these, and the results of each.

        Raises:
            UserError: an image is absent or is there twice, or a file has changed since it was written.
        """
        with contextlib.ExitStack() as stack:
            lines = {shard: self._lines(shard, stack) for shard in self._ends}
            witnessed: list[bytes] = []
            left = WITNESSES
            for place, records in enumerate(batches_of(images, self._batch_size)):
                shard = Shard(self._owners[place], self._what.of)
                taken = [self._next(lines[shard], shard, record) for record in records]
                if self._owners[place] == self._owners[0] and left:
                    left -= 1
                    witnessed += [line for line, _ in taken]
                yield records, [results for _, results in taken]
            self._compare_witnesses(Shard(self._owners[0], self._what.of), witnessed)
            for shard, rest in lines.items():
                if next(rest, None) is not None:
                    self._what.refuse(shard, "it holds more images than the data set gives it")

    def results(
        self, records: Sequence[ImageRecord], outputs: Sequence[Any], overlaps: Sequence[str]
    ) -> list[dict[str, Results]]:
        """Give the COCO results of each image of a batch, under each of ``overlaps``."""
        return [{overlap: results[overlap] for overlap in overlaps} for results in outputs]

    def _lines(self, shard: Shard, stack: contextlib.ExitStack) -> Iterator[bytes]:
        lines = lines_of(path_of(self._what.folder, shard), *self._ends[shard])
        return stack.enter_context(contextlib.closing(lines))

    def _next(self, lines: Iterator[bytes], shard: Shard, record: ImageRecord) -> tuple[bytes, dict[str, Results]]:
        """Give the line and the results of the next image of a shard, which must be this one."""
        line = next(lines, None)
        if line is None:
            self._what.refuse(shard, f"it lacks image {record.id}")
        image_id, results = entry_of(line)
        if image_id != record.id or type(image_id) is not type(record.id):
            self._what.refuse(shard, f"it holds image {image_id} where image {record.id} belongs")
        return line, results

    def _compare_witnesses(self, owner: Shard, lines: Sequence[bytes]) -> None:
        """Note the shards that say something else of the witnesses than the one to which they belong."""
        expected = hashlib.sha256(b"".join(lines)).hexdigest()
        others = [
            str(shard.number)
            for shard, (_, tail) in self._ends.items()
            if shard != owner and tail.recorded.witness != expected
        ]
        if others:
            which = f"shard {others[0]}" if len(others) == 1 else f"shards {', '.join(others[:-1])} and {others[-1]}"
            self.notes = [
                f"accuracy.shards: {which} of {owner.of} found other instances in images of "
                f"shard {owner.number} than that one: the model does not compute the same twice, or keeps "
                f"something from one batch to the next; its AP without shards may be another"
            ]


def wrong_with(path: Path, shard: Shard, key: str, overlaps: Sequence[str], now: Fingerprint) -> str:
    """Give the reason why a shard's file cannot be merged into a row as it stands now; "" where it can.

    All of it is read.
    """
    try:
        head, tail = ends_of(path)
        if wrong := _wrong(head, tail, shard, key, overlaps, now):
            return wrong
        for _ in lines_of(path, head, tail):
            pass
    except (UserError, OSError) as error:
        return str(error)
    return ""


def _checked(what: ToMerge, shard: Shard, overlaps: Sequence[str]) -> tuple[Head, Tail]:
    head, tail = ends_of(path_of(what.folder, shard))
    if wrong := _wrong(head, tail, shard, what.key, overlaps, what.now):
        what.refuse(shard, wrong)
    return head, tail


def _wrong(head: Head, tail: Tail, shard: Shard, key: str, overlaps: Sequence[str], now: Fingerprint) -> str:
    """Give the reason why a shard does not belong into a row; "" where it does."""
    if head.shard != shard:
        return f"its file is of {head.shard}"
    if head.key != key:
        return "it was predicted for another configuration or from other files"
    if not set(overlaps) <= set(head.overlaps):
        lacking = sorted(set(overlaps) - set(head.overlaps))
        return f"it has no results for the way with overlaps {' and '.join(lacking)}"
    made = Result("ok", {}, machine=tail.machine, sources=tail.sources, measurement_version=tail.measurement_version)
    return in_words([*source_changes(made, now), *fact_changes(made, now)])


def _sources(ends: dict[Shard, tuple[Head, Tail]]) -> dict[str, str]:
    """Give the sources of all shards.

    Raises:
        UserError: two have run different contents of one file.
    """
    found: dict[str, tuple[Shard, str]] = {}
    for shard, (_, tail) in ends.items():
        for name, digest in tail.sources.items():
            other, before = found.setdefault(name, (shard, digest))
            if before != digest:
                raise UserError(f"{name} was another file for {shard} than for {other}; {_REMEDY}")
    return {name: digest for name, (_, digest) in found.items()}
