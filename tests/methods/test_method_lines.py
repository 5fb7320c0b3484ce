"""``method=...`` on the command line of a recipe."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hadis_lightly.methods.registry import paper_settings
from hadis_lightly.settings.changes import flat_settings
from tests.forked_lines import Lines

OWN = """
import json
from dataclasses import asdict
from hadis_lightly.cli.launcher import launch
from hadis_lightly.settings import DataSettings, LoaderSettings, Settings

SETTINGS = Settings(
    data=DataSettings(source="digits"), loader=LoaderSettings(batch_size=64)
)
METHODS = {"cc": {"optimizer.learning_rate": 1e-3, "trainer.max_epochs": 70}}

if __name__ == "__main__":
    launch(
        SETTINGS,
        name="own",
        description="Mine.",
        task=lambda settings: print(json.dumps(asdict(settings))),
        methods=METHODS,
    )
"""


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lines]:
    folder = tmp_path_factory.mktemp("lines")
    (folder / "own.py").write_text(OWN)
    server = Lines(folder, folder)
    yield server
    server.close()


def composed(lines: Lines, *argv: str) -> list[dict[str, Any]]:
    """The settings of all runs that a command line asks the own recipe for."""
    done = lines.run(str(lines.out.parent / "own"), list(argv))
    assert (done.status, done.errors) == (0, ""), done.errors
    rows = [line for line in done.output.splitlines() if line.startswith("{")]
    return [flat_settings(json.loads(row)) for row in rows]


def test_a_method_brings_its_settings_along(lines: Lines, tmp_path: Path) -> None:
    lines.cwd = tmp_path
    (plain,) = composed(lines)
    assert plain["method"] == "hadis" and plain["loader.batch_size"] == 64
    (again,) = composed(lines, "method=hadis")
    differ = {name for name in plain if plain[name] != again[name]}
    assert differ <= {"output_dir"}
    (byol,) = composed(lines, "method=byol")
    assert (byol["model.hsd_weight"], byol["model.pcl_weight"]) == (0, 0)
    (pici,) = composed(lines, "method=pici")
    assert {name: pici[name] for name in paper_settings("pici")} == paper_settings(
        "pici"
    )
    # Of a method that the recipe has settings for, they win over the paper's.
    (cc,) = composed(lines, "method=cc")
    assert (cc["method"], cc["loader.batch_size"]) == ("cc", 256)
    assert (cc["optimizer.learning_rate"], cc["trainer.max_epochs"]) == (1e-3, 70)
    # What is not of the method stays the recipe's.
    assert cc["data.source"] == "digits"


@pytest.mark.parametrize("first", ["method", "setting"])
def test_what_is_given_wins_wherever_it_stands(
    lines: Lines, tmp_path: Path, first: str
) -> None:
    lines.cwd = tmp_path
    given = ["optimizer.learning_rate=2e-4", "loader.batch_size=32", "data.limit=99"]
    argv = ["method=cc", *given] if first == "method" else [*given, "method=cc"]
    (found,) = composed(lines, *argv)
    assert found["optimizer.learning_rate"] == 2e-4
    assert (found["loader.batch_size"], found["data.limit"]) == (32, 99)
    assert (found["optimizer.weight_decay"], found["trainer.max_epochs"]) == (0, 70)


def test_each_run_of_a_sweep_has_the_settings_of_its_method(
    lines: Lines, tmp_path: Path
) -> None:
    lines.cwd = tmp_path
    found = composed(lines, "--multirun", "method=hadis,cc,pici", "n_clusters=3")
    assert [row["method"] for row in found] == ["hadis", "cc", "pici"]
    assert [row["loader.batch_size"] for row in found] == [64, 256, 96]
    assert [row["optimizer.learning_rate"] for row in found] == [0.05, 1e-3, 1e-4]
    assert {row["n_clusters"] for row in found} == {3}


@pytest.mark.parametrize("recipe", ["digits", "own"])
def test_cfg_job_shows_the_settings_of_the_method(
    lines: Lines, tmp_path: Path, recipe: str
) -> None:
    lines.cwd = tmp_path
    name = str(lines.out.parent / "own") if recipe == "own" else recipe
    argv = ["--cfg", "job", "method=cc", "optimizer.weight_decay=0.125"]
    done = lines.run(name, argv)
    assert (done.status, done.errors) == (0, "")
    assert re.search("^method: cc$", done.output, re.MULTILINE)
    assert "weight_decay: 0.125" in done.output
    assert "warmup_epochs: 0" in done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["method=dec"], ["method must be one of byol, cc, ", "got 'dec'"]),
        (["method=[cc,pici]"], ["method must be one of", "got '[cc,pici]'"]),
        (["method=cc", "method=pici"], ["method is given twice"]),
        (["method=cc", "optimizer.learning_rate=0.5"], ["0.02", "Adam", "got 0.5"]),
        (["--multirun", "method=hadis,dec"], ["method must be one of", "'dec'"]),
    ],
)
def test_a_wrong_method_is_one_line_and_status_2(
    lines: Lines, tmp_path: Path, argv: list[str], words: list[str]
) -> None:
    lines.cwd = tmp_path
    done = lines.run("digits", argv)
    assert done.status == 2 and done.output == ""
    assert done.errors.startswith("error: ") and done.errors.count("\n") == 1
    for word in words:
        assert word in done.errors
    assert "Traceback" not in done.errors
    assert list(tmp_path.iterdir()) == []


def test_help_names_the_methods(lines: Lines) -> None:
    done = lines.run("digits", ["--help"])
    assert done.status == 0
    assert "method=cc" in done.output
    assert "hadis, propos, byol, cc, pici" in " ".join(done.output.split())


@pytest.mark.slow
def test_a_sweep_over_methods_trains_each(lines: Lines, tmp_path: Path) -> None:
    lines.cwd = tmp_path
    done = lines.run(
        "digits",
        [
            "--multirun", "method=hadis,cc", "data.limit=150", "loader.batch_size=50",
            "trainer.max_epochs=1", "model.hidden_dim=32", "model.output_dim=16",
            "clustering.n_init=2", "quiet=true", "trainer.logger=none",
            "hydra.sweep.dir=sweep",
        ],
    )  # fmt: skip
    assert (done.status, done.output, done.errors) == (0, "", "")
    for number, (title, rate) in enumerate((("HaDis", 0.56), ("CC", None))):
        folder = tmp_path / "sweep" / str(number)
        content = json.loads((folder / "results.json").read_text())
        assert content["method"] == title
        found = content["settings"]["optimizer"]["learning_rate"]
        assert found == rate if rate is not None else found <= 0.02
