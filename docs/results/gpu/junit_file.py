"""What a JUnit file of pytest says: which tests ran, how they ended, and the figures that they recorded."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True)
class Test:
    """One test.

    name: of the function, with its parameters: ``test_on_the_gpu[480-640]``
    outcome: ``passed``, ``failed`` (an error counts as one) or ``skipped``
    message: why it did not pass, one line
    properties: what ``record_property`` was given, by name, as often as it was given
    """

    name: str
    outcome: str
    message: str = ""
    properties: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def function(self) -> str:
        return self.name.partition("[")[0]

    @property
    def parameters(self) -> str:
        """What stands in brackets: ``480-640``."""
        return self.name.partition("[")[2].removesuffix("]")


def read_tests(path: Path) -> list[Test]:
    """Read a file; none where it is absent or cut off, since what was to write it has died."""
    try:
        root = ElementTree.parse(path).getroot()
    except (FileNotFoundError, ElementTree.ParseError):
        return []
    return [_test(case) for case in root.iter("testcase")]


def _test(case: ElementTree.Element) -> Test:
    properties: dict[str, list[str]] = {}
    for entry in case.iter("property"):
        properties.setdefault(entry.get("name", ""), []).append(entry.get("value", ""))
    outcome, message = PASSED, ""
    for tag, means in (("skipped", SKIPPED), ("error", FAILED), ("failure", FAILED)):
        ended = case.find(tag)
        if ended is not None:
            outcome, message = means, next(iter((ended.get("message") or "").splitlines()), "")
    return Test(case.get("name", ""), outcome, message, properties)
