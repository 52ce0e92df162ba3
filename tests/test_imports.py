"""The direction of imports: who may know whom, and which library is loaded where."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from harness import TOP

PACKAGE = TOP / "overflowd_tools"

MAY_IMPORT = {
    "errors": (),
    "named": (),
    "json_lines": ("errors",),
    "capture": ("errors", "named"),
    "protocols": ("errors", "named"),
    "rendering": ("json_lines", "protocols"),
    "shapes": ("json_lines", "protocols", "rendering"),
    "columns": ("json_lines", "protocols", "rendering"),
    "records": ("capture.packet", "json_lines", "protocols", "rendering", "shapes"),
    "decoding": (
        *("capture", "columns.gathering", "errors", "named", "protocols"),
        *("records", "rendering", "sampling", "shapes"),
    ),
    "template_file": ("errors", "json_lines", "protocols", "rendering"),
    "sampling": ("errors", "json_lines", "named"),
    "trust": ("errors",),
    "reports": ("errors", "trust.keys"),
    "delivery": ("errors", "named"),
    "config": ("errors", "trust.keyfiles"),
    "passphrase": ("errors",),
    "decompression": ("errors",),
    "blocks": (),
    "stream": ("blocks", "decompression", "errors"),
    "options": ("errors",),
    "usage": ("errors", "options", "stream"),
    "command": ("errors", "options", "stream", "usage"),
    "holding": ("stream",),
    "commands": (
        *("blocks", "capture", "command", "config", "decoding", "delivery", "errors", "holding", "options"),
        *("passphrase", "protocols", "reports", "sampling", "stream", "template_file", "trust"),
    ),
}
"""Room -> what it may import beside itself: whole rooms, or single modules of them."""

SANS_IO = (
    *("json_lines", "capture", "protocols", "rendering", "shapes", "columns", "records", "decoding", "template_file"),
    *("sampling", "reports", "blocks"),
)
SYSTEM = {"asyncio", "fcntl", "http", "pathlib", "select", "selectors", "signal", "subprocess", "sys", "time"}

WITH_TYPING = ("trust", "reports", "columns", "config")
"""Rooms that are entered only with libraries that import typing themselves."""

LIBRARIES = {
    "nacl": {"trust/keys.py", "trust/sealing.py"},
    "orjson": {"json_lines.py", "reports/canonical.py", "reports/flows.py", "reports/original.py"},
    "numpy": {
        "sampling/fast_look.py",
        *(f"columns/{name}.py" for name in ("cells", "digits", "fragments", "page", "renderer")),
    },
    "backports": {"decompression.py"},
    "compression": {"decompression.py"},
    "tqdm": {"command.py"},
    "pyrage": {"trust/age_files.py"},
}
"""Library that is not Python's own -> its importers."""

ADDRESS_TEXT = {"AF_INET", "AF_INET6", "inet_ntop", "inet_pton"}
HARMLESS = {"io": {"BytesIO", "TextIOWrapper"}, "os": {"urandom"}, "socket": ADDRESS_TEXT}
"""What rooms without input and output may take from modules that do both."""


class Import(NamedTuple):
    """One imported module, with the name that is taken from it, if any."""

    path: str
    module: str
    name: str | None


def imports(path: Path) -> Iterator[Import]:
    shown = str(path.relative_to(PACKAGE))
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(shown, alias.name, None)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{shown}: a relative import"
            for alias in node.names:
                yield Import(shown, node.module or "", alias.name)


MODULES = sorted(PACKAGE.rglob("*.py"))
IMPORTS = [found for path in MODULES for found in imports(path)]


def room(path: str) -> str:
    """Return the folder that a module is in, or the name of one that stands alone."""
    return path.split("/", maxsplit=1)[0].removesuffix(".py")


def own(found: Import) -> str | None:
    """Return which of our modules is imported, without the name of the package; None for other people's."""
    parts = found.module.split(".")
    if parts[0] != "overflowd_tools":
        return None
    target = PACKAGE.joinpath(*parts[1:], found.name or "")
    if found.name and (target.is_dir() or target.with_suffix(".py").exists()):
        parts.append(found.name)
    return ".".join(parts[1:])


def taken(path: Path, module: str) -> set[str]:
    """Return the names that a file takes from a module."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
    used = {node.attr for node in nodes if isinstance(node.value, ast.Name) and node.value.id == module}
    return used | {found.name for found in imports(path) if found.module == module and found.name}


def test_every_room_has_its_rule():
    assert {room(str(path.relative_to(PACKAGE))) for path in MODULES} - {"__init__"} == set(MAY_IMPORT)


def test_imports_go_one_way():
    assert len(IMPORTS) > 100
    for found in IMPORTS:
        target = own(found)
        if not target:  # not ours, or the version from overflowd_tools itself
            continue
        here = room(found.path)
        allowed = MAY_IMPORT[here] if here == "commands" else (*MAY_IMPORT[here], here)
        fits = any(target == name or target.startswith(f"{name}.") for name in allowed)
        assert fits, f"{found.path} imports {target}"


def test_no_rule_allows_what_nobody_does():
    used = {(room(found.path), target) for found in IMPORTS if (target := own(found))}
    for here, allowed in MAY_IMPORT.items():
        for name in allowed:
            assert any(who == here and f"{what}.".startswith(f"{name}.") for who, what in used), (here, name)


def test_rooms_without_input_and_output():
    for path in MODULES:
        shown = str(path.relative_to(PACKAGE))
        if room(shown) in SANS_IO:
            assert not {found.module.split(".")[0] for found in imports(path)} & SYSTEM, shown
            assert all(taken(path, module) <= names for module, names in HARMLESS.items()), shown
            calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
            assert not {call.id for call in calls if isinstance(call, ast.Name)} & {"open", "print", "input"}, shown


def test_each_library_has_its_importers():
    found = {}
    for one in IMPORTS:
        library = one.module.split(".")[0]
        if (library != "overflowd_tools" and library not in sys.stdlib_module_names) or library == "compression":
            found.setdefault(library, set()).add(one.path)
    assert found == LIBRARIES


def test_typing_is_for_type_checking():
    """What only annotations name is imported under TYPE_CHECKING, and tuples have their names from named.py."""
    for path in MODULES:
        if room(str(path.relative_to(PACKAGE))) not in WITH_TYPING:
            at_run_time = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ImportFrom)]
            assert "typing" not in {node.module for node in at_run_time}, path


def test_sockets_are_opened_by_delivery_alone():
    users = {path: taken(path, "socket") for path in MODULES}
    assert any(users.values())
    for path, names in users.items():
        assert path.parent.name == "delivery" or names <= ADDRESS_TEXT, path
