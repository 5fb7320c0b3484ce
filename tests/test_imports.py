"""The house's plan: which room may import which, and what an import costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "hadis_lightly"
ROOMS = {
    room.name for room in PACKAGE.iterdir() if room.is_dir() and room.name[0] != "_"
}
LIGHTNING = {"pytorch_lightning", "lightning", "lightning_fabric"}
# Rooms of the package that a room may import, beside itself.
MAY_IMPORT: dict[str, set[str]] = {
    "loss": set(),
    "cluster": set(),
    "models": set(),
    "transforms": set(),
    "data": set(),
    "training": {"loss", "cluster", "models", "transforms", "data"},
    "report": {"training"},
    "cli": {"training", "report"},
}
BASIC = {"loss", "cluster", "models", "transforms", "data"}
TENSORS = {"torch", "torchvision", "lightly", "numpy", "PIL"}
# Third-party packages of the rooms that stand on their own.
MAY_REQUIRE: dict[str, set[str]] = {
    "loss": TENSORS,
    "cluster": {"torch", "numpy", "sklearn", "scipy"},
    # Both optional, and imported where they are needed.
    "models": TENSORS | {"timm", "safetensors"},
    "transforms": TENSORS,
    # load_digits reads the digits that scikit-learn ships.
    "data": TENSORS | {"sklearn", "typing_extensions"},
}


def imports_of(file: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of every import in a file, also within functions."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def complaint(room: str, imported: str) -> str | None:
    """Why a room may not import a name, or None if it may."""
    top, *rest = imported.split(".")
    if top == "recipes":
        return "nothing imports recipes"
    if top in ("tests", "benchmarks", "docs"):
        return "the package stands without the rest of the repository"
    if top == "hadis_lightly":
        other = rest[0]
        if other in ROOMS and other != room and other not in MAY_IMPORT[room]:
            return f"{room} may not import {other}"
        return None
    if room in BASIC and top not in sys.stdlib_module_names | MAY_REQUIRE[room]:
        return f"{room} may not import {top}"
    return None


def test_every_room_is_on_the_plan() -> None:
    assert set(MAY_IMPORT) >= ROOMS
    assert BASIC <= ROOMS


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_imports_of_a_room(room: str) -> None:
    complaints = [
        f"{file.relative_to(PACKAGE.parent)}:{line}: {imported}: {reason}"
        for file in sorted((PACKAGE / room).rglob("*.py"))
        for line, imported in imports_of(file)
        if (reason := complaint(room, imported)) is not None
    ]
    assert complaints == []


def test_the_package_itself_imports_nothing() -> None:
    assert list(imports_of(PACKAGE / "__init__.py")) == []


@pytest.mark.parametrize(
    "room, imported",
    [
        ("loss", "hadis_lightly.models.HaDisModel"),
        ("models", "hadis_lightly.training.HaDis"),
        ("data", "pytorch_lightning"),
        ("cluster", "lightly.utils.dist"),
        ("training", "recipes.digits"),
    ],
)
def test_a_wrong_import_is_found(room: str, imported: str) -> None:
    assert complaint(room, imported) is not None


def modules_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after a statement."""
    code = f"{statement}; import sys; print(*{{m.split('.')[0] for m in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_the_package_costs_next_to_nothing() -> None:
    heavy = {"torch", "torchvision", "lightly", "numpy", "sklearn"} | LIGHTNING
    assert not modules_after("import hadis_lightly") & heavy


def test_clustering_loads_torch_but_not_lightly() -> None:
    loaded = modules_after("import hadis_lightly.cluster")
    assert "torch" in loaded
    assert not loaded & (LIGHTNING | {"lightly", "torchvision"})
