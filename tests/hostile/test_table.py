"""The table of README.md: every item is in it, every test that it names exists, and every test here is named."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
ROWS = re.findall(r"^\| (\S+) \|.+\| (\S+)::(\w+) \|$", (HERE / "README.md").read_text(), re.MULTILINE)


def names_in(path: Path) -> set[str]:
    """The names of the tests in a file."""
    found = [node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    return {name for name in found if name.startswith("test_")}


def test_every_item_is_there():
    assert {item for item, _, _ in ROWS} == {*map(str, range(1, 26)), "limits"}


def test_every_test_exists():
    for _, file, name in ROWS:
        assert name in names_in(HERE.parent / file), f"{file}::{name}"


def test_every_test_has_its_place():
    named = {(file, name) for _, file, name in ROWS}
    for path in HERE.glob("test_*.py"):
        if path != Path(__file__):
            assert {name for name in names_in(path) if (f"hostile/{path.name}", name) not in named} == set()
