"""The plan of the house: who may import whom, how large a room is, what it costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hadis_lightly

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "hadis_lightly"
# Every room may import those before it, and none after; "" is the base.
ORDER = [
    "",
    "settings",
    "loss",
    "cluster.lloyd",
    "cluster.scoring",
    "cluster",
    "models",
    "models.cluster_head",
    "transforms",
    "data",
    "data.files",
    "data.sets",
    "data.loading",
    "features",
    "training",
    "methods",
    "artifacts",
    "formats",
    "prediction",
    "report",
    "runs",
    "estimator",
    "cli",
]
# What the package itself offers, and imports when it is first used.
LAZY = "hadis_lightly.estimator.ImageClusterer"
# Rooms that know no settings of a run must not begin to.
MAY_NOT_IMPORT = {
    room: {"settings"}
    for room in (
        *("loss", "cluster.lloyd", "cluster.scoring", "cluster", "models"),
        *("models.cluster_head", "features", "training"),
    )
}
MAX_MODULES, MAX_LINES = 15, 300
TENSORS = {"torch", "torchvision", "lightly", "numpy", "PIL"}
# Third-party packages of the rooms that stand on their own.
MAY_REQUIRE: dict[str, set[str]] = {
    # Nothing that takes long to import: commands check what they are told first.
    "settings": {"numpy"},
    "loss": TENSORS,
    "cluster": {"torch", "numpy", "sklearn", "scipy"},
    # Both optional, and imported where they are needed.
    "models": TENSORS | {"timm", "safetensors", "huggingface_hub"},
    "transforms": TENSORS,
    "features": {"torch", "numpy", "PIL"},
    # load_digits reads the digits that scikit-learn ships; the last four are optional.
    "data": TENSORS
    | {"sklearn", "typing_extensions", "pillow_heif", "pillow_jxl", "pyarrow"}
    | {"tifffile"},
}


def module_name(file: Path) -> str:
    """``loss.dsa_loss``; of an ``__init__.py`` the room's own name."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def room_of(module: str) -> str:
    """The room that a module lies in; a room's own ``__init__`` lies in it."""
    if module in ORDER:
        return module
    return module.rpartition(".")[0]


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


def own_imports(module: str) -> Iterator[tuple[int, str]]:
    """Line and module of every import of a module of ours."""
    for line, imported in imports_of(MODULES[module]):
        if imported.startswith("hadis_lightly.") and (module or imported != LAZY):
            name = imported.removeprefix("hadis_lightly.")
            yield line, name if name in MODULES else name.rpartition(".")[0]


def complaint(room: str, imported: str) -> str | None:
    """Why a room may not import a full name, or None if it may."""
    top, *rest = imported.split(".")
    if top in ("recipes", "tests", "benchmarks", "docs"):
        return "the package stands without the rest of the repository"
    if top == "hadis_lightly":
        name = ".".join(rest)
        other = room_of(name if name in MODULES else name.rpartition(".")[0])
        if other in MAY_NOT_IMPORT.get(room, ()):
            return f"{room} must not know {other}"
        if ORDER.index(other) > ORDER.index(room):
            return f"{room or 'the base'} comes before {other}"
        return None
    allowed = MAY_REQUIRE.get(room.partition(".")[0])
    if allowed is not None and top not in sys.stdlib_module_names | allowed:
        return f"{room} may not import {top}"
    return None


def test_every_room_is_on_the_plan() -> None:
    assert {room_of(module) for module in MODULES} == set(ORDER)


@pytest.mark.parametrize("room", ORDER)
def test_imports_of_a_room(room: str) -> None:
    # The __init__ of a room with rooms inside offers what they have.
    inner = [other for other in ORDER if room and other.startswith(f"{room}.")]
    complaints = [
        f"{file.relative_to(ROOT)}:{line}: {imported}: {reason}"
        for module, file in MODULES.items()
        if room_of(module) == room
        for line, imported in imports_of(file)
        if (reason := complaint(room, imported)) is not None
        and (module or imported != LAZY)
        and not (
            module == room
            and any(imported.startswith(f"hadis_lightly.{other}.") for other in inner)
        )
    ]
    assert complaints == []


def test_no_module_imports_itself_in_a_circle() -> None:
    edges = {module: {name for _, name in own_imports(module)} for module in MODULES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for other in sorted(edges[module]):
                visit(other, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


@pytest.mark.parametrize("room", ORDER)
def test_a_room_is_of_a_size_that_one_can_look_around_in(room: str) -> None:
    files = [file for module, file in MODULES.items() if room_of(module) == room]
    assert len(files) <= MAX_MODULES
    too_long = {
        str(file.relative_to(ROOT)): n
        for file in files
        if (n := len(file.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert too_long == {}


def test_the_package_itself_imports_nothing_but_an_estimator_when_it_is_used() -> None:
    assert {name for _, name in imports_of(PACKAGE / "__init__.py")} == {LAZY}
    assert hadis_lightly.ImageClusterer.__name__ == "ImageClusterer"
    with pytest.raises(AttributeError, match="has no attribute 'Clusterer'"):
        _ = hadis_lightly.Clusterer


@pytest.mark.parametrize(
    "room, imported",
    [
        ("loss", "hadis_lightly.models.HaDisModel"),
        ("models", "hadis_lightly.training.hadis.HaDis"),
        ("training", "hadis_lightly.settings.Settings"),
        ("data", "pytorch_lightning"),
        ("cluster", "lightly.utils.dist"),
        ("training", "recipes.digits"),
        ("", "hadis_lightly.loss.HaDisLoss"),
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
    heavy = {"torch", "torchvision", "lightly", "numpy", "sklearn", "pytorch_lightning"}
    assert not modules_after("import hadis_lightly") & heavy


def test_an_exported_model_needs_no_torch() -> None:
    loaded = modules_after(
        "import hadis_lightly.cli.predict, hadis_lightly.prediction.table"
    )
    assert not loaded & {"torch", "torchvision", "lightly", "sklearn", "scipy"}


def test_clustering_loads_torch_but_not_lightly() -> None:
    loaded = modules_after("import hadis_lightly.cluster")
    assert "torch" in loaded
    assert not loaded & {"lightly", "torchvision", "pytorch_lightning"}
