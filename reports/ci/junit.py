"""Write a gate's findings as JUnit XML for the test views of CI systems: one case a model and metric.

The elements and their order are those of pytest's own ``--junitxml`` (family xunit1), which Jenkins, GitLab and the
GitHub actions for test reports read.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

from bench.files.json_file import write_atomically
from bench.schema.gate_report import AMBIGUOUS, NOT_COMPARABLE, WORSE, Finding, GateReport, number_text
from reports.text.gate_table import change_text, interval_text

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""The characters that no XML 1.0 document may hold, not even escaped (https://www.w3.org/TR/xml/#charsets)."""


def junit(report: GateReport) -> ET.Element:
    """Give the ``testsuites`` element.

    Worse is a failure, and not comparable is skipped. Ambiguous is a failure if the gate says so, else it passes with
    its sentence as output. A failed gate without a failed case gets a case of its own, so that it does not look green.
    """
    cases = [_case(finding, report) for finding in report.findings]
    if not report.passed and not any(case.find("failure") is not None for case in cases):
        cases.append(ET.Element("testcase", classname="gate", name="outcome", time="0"))
        _add_outcome(cases[-1], "failure", report.outcome, type="gate")
    counts = {tag: str(sum(case.find(tag) is not None for case in cases)) for tag in ("failure", "skipped")}
    suites = ET.Element("testsuites", name="maskbench gate")
    suite = ET.SubElement(suites, "testsuite", name="maskbench gate", errors="0", failures=counts["failure"])
    suite.attrib |= {"skipped": counts["skipped"], "tests": str(len(cases)), "time": "0"}
    facts = {"base": report.base, "head": report.head, "alpha": f"{report.alpha:g}"}
    _properties(suite, {**facts, "on_ambiguous": report.on_ambiguous, "outcome": report.outcome})
    suite.extend(cases)
    if report.notes:
        ET.SubElement(suite, "system-out").text = _clean("\n".join(report.notes))
    return suites


def write_junit(report: GateReport, path: Path) -> None:
    """Write ``junit.xml`` atomically, UTF-8."""
    tree = junit(report)
    ET.indent(tree)
    write_atomically(path, ET.tostring(tree, encoding="utf-8", xml_declaration=True) + b"\n")


def _case(finding: Finding, report: GateReport) -> ET.Element:
    case = ET.Element("testcase", classname=_clean(finding.model), name=_clean(finding.metric), time="0")
    _properties(
        case,
        {
            "verdict": finding.verdict,
            "base": _with_unit(finding.base, finding.unit),
            "head": _with_unit(finding.head, finding.unit),
            "change": change_text(finding),
            "interval": interval_text(finding),
            "p": "" if finding.p is None else f"{finding.p:.3g}",
            "threshold": finding.threshold,
            "test": finding.test,
        },
    )
    if finding.verdict == WORSE or (finding.verdict == AMBIGUOUS and report.on_ambiguous == "fail"):
        _add_outcome(case, "failure", finding.sentence, type=finding.verdict)
    elif finding.verdict == NOT_COMPARABLE:
        _add_outcome(case, "skipped", finding.sentence, type=finding.verdict)
    elif finding.verdict == AMBIGUOUS:
        ET.SubElement(case, "system-out").text = _clean(finding.sentence)
    return case


def _properties(parent: ET.Element, values: dict[str, str]) -> None:
    """Add a property for each value that is not empty."""
    properties = ET.SubElement(parent, "properties")
    for name, value in values.items():
        if value:
            ET.SubElement(properties, "property", name=name, value=_clean(value))


def _add_outcome(case: ET.Element, tag: str, sentence: str, type: str) -> None:
    """Add the outcome with its sentence as message and as text: some views show only one of the two."""
    ET.SubElement(case, tag, type=type, message=_clean(sentence)).text = _clean(sentence)


def _with_unit(value: float | None, unit: str) -> str:
    return f"{number_text(value)} {unit}".strip() if value is not None else ""


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("", text)
