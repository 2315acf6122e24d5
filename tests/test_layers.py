"""The plan of the house: imports go one way between its rooms, nowhere in a circle, and each room says what it is."""

import ast
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "verl_rzero"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
ROOMS = (
    "base",
    "grading",
    "executor",
    "settings",
    "data",
    "rules",
    "engine",
    "evaluation",
    "tiny_world",
    "code_world",
    "english_sums",
    "methods",
    "watch",
    "run",
    "publish",
    "sft",
)
"""A room imports from those before it, wherever the import stands (in functions and for type checkers too)."""

COMMANDS = {"coevolve", "status", "report", "curate", "audit", "evaluate", "export"}
"""The files at the top: `python -m verl_rzero.<command>`. Nothing imports them."""

FORBIDDEN = {
    "grading": {"settings"},
    "executor": {"base", "grading"},
    "sft": {"methods", "watch", "run", "publish"},
    "publish": {"run"},
    "tiny_world": {"engine", "evaluation", "settings"},
    "code_world": {"engine", "evaluation"},
    "english_sums": {"engine", "evaluation", "settings", "tiny_world", "code_world"},
}
"""Imports that the order alone would allow."""


def imported(path: Path) -> set[str]:
    """Our modules that a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {
                full if (full := f"{node.module}.{alias.name}") in MODULES else node.module for alias in node.names
            }
    return found & set(MODULES)


GRAPH = {name: imported(path) - {name, "verl_rzero"} for name, path in MODULES.items()}


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def reached(name: str) -> set[str]:
    """Every module that this one imports, directly or through others."""
    found: set[str] = set()
    to_do = [name]
    while to_do:
        new = GRAPH[to_do.pop()] - found
        found |= new
        to_do += new
    return found


def test_the_house_has_these_rooms_and_doors():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    doors = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert (rooms, doors) == ({*ROOMS}, COMMANDS)


@pytest.mark.parametrize("name", sorted(name for name in MODULES if name != "verl_rzero"))
def test_imports_go_one_way_between_rooms(name):
    if room(name) in COMMANDS:
        return
    allowed = {*ROOMS[: ROOMS.index(room(name)) + 1]} - FORBIDDEN.get(room(name), set())
    assert {found for found in GRAPH[name] if room(found) not in allowed} == set()


@pytest.mark.parametrize("name", sorted(name for name in MODULES if name != "verl_rzero"))
def test_no_module_is_imported_by_what_it_imports(name):
    assert name not in reached(name)


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*/__init__.py")), ids=lambda path: path.parent.name)
def test_each_room_says_what_it_may_import_and_what_may_never_be_there(path):
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert "Imports " in text
    assert "Never here: " in text


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_no_file_is_longer_than_300_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def test_the_import_for_people_is_lazy_and_complete():
    program = (
        "import sys, verl_rzero\n"
        "assert not {'numpy', 'torch', 'sympy', 'yaml'} & set(sys.modules)\n"
        "names = [name for name in verl_rzero.__all__ if not callable(getattr(verl_rzero, name))]\n"
        "assert not names, names\n"
        "assert verl_rzero.vote(['5', '5', None]).agreement == 2 / 3\n"
        "assert not {'torch', 'ray', 'vllm', 'verl'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_what_people_import_is_what_the_package_says():
    import verl_rzero

    assert sorted(verl_rzero._LIVES_IN) == verl_rzero.__all__
    with pytest.raises(AttributeError, match="no attribute 'votes'"):
        verl_rzero.votes  # noqa: B018


def test_rooms_are_in_one_order():
    """Each room is used by a later one, so that the order isn't an accident of the alphabet. The last three
    are doors, and the executor has no user yet.
    """
    used = {room(found) for name in MODULES for found in GRAPH[name] if room(found) != room(name)}
    assert {"run", "publish", "sft", "executor", *used} >= {*ROOMS}
    assert all(a != b for a, b in pairwise(ROOMS))
