"""What was found in a file that others wrote, by kind: each kind is told in one line, however often it occurs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

EXAMPLES = 3
"""Places that a line names at most."""

_SINGULAR = {
    **{"images": "image", "annotations": "annotation", "categories": "category", "polygons": "polygon"},
    **{"entries": "entry", "results": "result", "segmentations": "segmentation", "RLEs": "RLE"},
    **{"image_ids": "image_id", "lines": "line", "labels": "label", "folders": "folder"},
}
"""Of the nouns with which ``what`` begins; another stands in the plural after a 1 too."""

_VERBS = {"that are": "that is", "that have": "that has", "that lack": "that lacks", "that belong": "that belongs"}
"""Of what follows the noun."""


@dataclass(frozen=True)
class Kind:
    """One kind of finding.

    name: a word for it, as ``stray_part``; docs/data.md lists all of them
    what: what there is of it, after its number, from its noun in the plural on: "polygons of fewer than three points"
    then: what was done about it, or what would be right: "left out", "give dataset.without_mask=drop or ignore"
    asked: a key of the configuration asked for this repair, so that ``dataset.strict=true`` does not refuse it
    """

    name: str
    what: str
    then: str
    asked: bool = False


@dataclass
class Finding:
    """A kind with the number of its occurrences, and the places of the first :data:`EXAMPLES`."""

    kind: Kind
    count: int = 0
    examples: list[str] = field(default_factory=list)
    is_repair: bool = False

    def line(self) -> str:
        """Give the one line: ``5 polygons of ...: left out (annotations[0] (id 1), annotations[4] (id 5), ...)``."""
        places = ", ".join(self.examples) + (", ..." if self.count > len(self.examples) > 0 else "")
        return f"{self.counted()}: {self.kind.then}{f' ({places})' if places else ''}"

    def counted(self) -> str:
        """Give the number and what there is of it: ``5 polygons of ...``."""
        noun, _, rest = self.kind.what.partition(" ")
        if self.count == 1 and noun in _SINGULAR:
            noun = _SINGULAR[noun]
            verb = next((verb for verb in _VERBS if rest.startswith(f"{verb} ")), "")
            rest = _VERBS.get(verb, "") + rest[len(verb) :]
        return f"{self.count} {noun} {rest}".rstrip()


class Findings:
    """Collects problems, for which a file is refused, repairs, which a note tells, and what else a reader must know."""

    def __init__(self) -> None:
        self._problems: dict[str, Finding] = {}
        self._repairs: dict[str, Finding] = {}
        self._notes: dict[str, Finding] = {}

    def problem(self, kind: Kind, place: str, count: int = 1) -> None:
        """Add a problem; ``place`` says where, and may say what stands there."""
        _add(self._problems, kind, place, count)

    def repair(self, kind: Kind, place: str, count: int = 1) -> None:
        """Add something that has one meaning, and was read so."""
        _add(self._repairs, kind, place, count).is_repair = True

    def note(self, kind: Kind, place: str, count: int = 1) -> None:
        """Add what is no problem and was not repaired, as an image without contrast; ``strict`` lets it pass."""
        _add(self._notes, kind, place, count)

    def problems(self, strict: bool = False) -> list[Finding]:
        """Give the problems in the order in which their kinds were found; ``strict`` counts repairs as problems."""
        refused = [repair for repair in self._repairs.values() if strict and not repair.kind.asked]
        return [*self._problems.values(), *refused]

    def repairs(self) -> list[Finding]:
        """Give what was repaired, in the order in which the kinds were found."""
        return list(self._repairs.values())

    def notes(self) -> list[Finding]:
        """Give the notes, in the order in which the kinds were found."""
        return list(self._notes.values())

    def __iter__(self) -> Iterator[Finding]:
        return iter([*self._problems.values(), *self._repairs.values(), *self._notes.values()])


def _add(found: dict[str, Finding], kind: Kind, place: str, count: int) -> Finding:
    finding = found.setdefault(kind.name, Finding(kind))
    finding.count += count
    if place and len(finding.examples) < EXAMPLES:
        finding.examples.append(place)
    return finding
