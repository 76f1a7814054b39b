"""Two states of the code as JUnit XML, which continuous integration shows as tests."""

from xml.etree import ElementTree

from lossact.against import BeforeAfter, ConditionResult, MeasureResult
from lossact.report import against_wording as wording


def against_junit(result: BeforeAfter, *, fail_on: str) -> str:
    """Return a test a row of the table: failed where it is shown worse, skipped where it is open.

    Args:
        result: what was found.
        fail_on: as the exit status has it; "different" fails every shown difference.
    """
    failing = {"worse", "better", "different"} if fail_on == "different" else {"worse"}
    suite = ElementTree.Element("testsuite", name=wording.title(result), time=f"{result.seconds:.3f}")
    verdicts = [_add(suite, condition, measure, failing) for condition, measure in wording.rows(result)]
    n_failed = sum(verdict in failing for verdict in verdicts)
    n_open = sum(verdict in {"not yet", "different"} - failing for verdict in verdicts)
    suite.attrib |= {"tests": str(len(verdicts)), "failures": str(n_failed), "skipped": str(n_open), "errors": "0"}
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _add(
    suite: ElementTree.Element, condition: ConditionResult, measure: MeasureResult | None, failing: set[str]
) -> str:
    verdict = condition.verdict if measure is None else measure.verdict
    measure_name, *cells = wording.cells(condition, measure)
    case = ElementTree.SubElement(suite, "testcase", classname=condition.name, name=measure_name)
    said = " ".join(filter(None, [*cells, "replicas", "" if measure is None else measure.reason]))
    if verdict in failing:
        ElementTree.SubElement(case, "failure", message=said).text = "; ".join(condition.changes)
    elif verdict in {"not yet", "different"}:
        ElementTree.SubElement(case, "skipped", message=said)
    return verdict
