"""overflowd-record(5) has every member that a line may have."""

import json
import re

from harness import TOP

from overflowd_tools.protocols.elements import ElementTable
from overflowd_tools.protocols.netflow import NETFLOW1, NETFLOW5, NETFLOW6, NETFLOW7
from overflowd_tools.protocols.netflow8 import NETFLOW8
from overflowd_tools.protocols.sflow_counters import COUNTERS
from overflowd_tools.protocols.sflow_records import RECORDS

PAGE = (TOP / "man" / "overflowd-record.5").read_text()
NAMED = {name for line in re.findall(r"^\.(?:It )?Li (.+)$", PAGE, re.MULTILINE) for name in re.split(r"[ ,]+", line)}
LISTED = set(re.findall(r"[A-Za-z0-9_]+", PAGE))
OTHERS = {"path"}
"""Names inside the program, which no line has."""


def test_fields_that_elements_fill():
    table = {element.field for element in ElementTable.standard() if element.field}
    assert table - NAMED == set()


def test_each_element_stands_beside_its_field():
    beside = dict(re.findall(r"^\.It Li (\S+)\n.*?\((.*)\)$", PAGE, re.MULTILINE))
    for element in ElementTable.standard():
        fills = element.field and not element.field.startswith("r_") and element.type != "basicList"
        if element.enterprise == 0 and fills:
            assert element.id in numbers(beside[element.field]), element


def numbers(text: str) -> set[int]:
    """Return the numbers in a list such as 7, 11 to 13."""
    ranges = [range(int(first), int(last) + 1) for first, last in re.findall(r"(?<!/)\b(\d+) to (\d+)", text)]
    return {number for numbers in ranges for number in numbers} | set(map(int, re.findall(r"(?<!/)\b\d+", text)))


def test_fields_of_fixed_layouts():
    templates = [NETFLOW1, NETFLOW5, NETFLOW6, NETFLOW7, *NETFLOW8.values()]
    names = {field.name for template in templates for field in template.fields if field.name}
    assert names - NAMED == set()


def test_records_and_counters_of_sflow():
    structures = [*COUNTERS.values(), *(record.structure for record in RECORDS.values() if record.nested)]
    assert {structure.name for structure in structures} - NAMED == set()
    assert {name for structure in structures for name, _ in structure.fields} - LISTED == set()
    flat = [record.structure for record in RECORDS.values() if not record.nested]
    assert {name for structure in flat for name, _ in structure.fields} - NAMED - OTHERS == set()


def test_members_of_all_lines_that_there_are_golden_cases_of():
    members = set()
    for path in (TOP / "tests" / "golden" / "of-decode").glob("*/stdout"):
        for line in path.read_text().splitlines():
            if line.startswith("{"):
                members |= json.loads(line).keys()
    assert len(members) > 80
    assert {name for name in members if not name.startswith("r_")} - NAMED - {"type", "ie"} == set()
