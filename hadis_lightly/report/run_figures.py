"""All pictures of the paper that runs have what is needed for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hadis_lightly.artifacts.checkpoint import CheckpointError
from hadis_lightly.artifacts.saved_run import SavedRun, load_run
from hadis_lightly.report.drawing import draw_confusion, shown_scores
from hadis_lightly.report.paper_figures import (
    draw_moments,
    draw_scores,
    draw_sensitivity,
)
from hadis_lightly.settings.changes import flat_settings

Progress = Callable[[int, int], None]

# What runs of a sweep differ in without being different experiments.
_NO_EXPERIMENT = {"seed", "output_dir", "trainer.resume", "quiet"}


def find_runs(paths: Sequence[str]) -> list[SavedRun]:
    """The finished runs that some paths mean.

    Args:
        paths: Folders of runs, or folders of sweeps, whose runs lie below them.

    Raises:
        CheckpointError: If one of them holds no finished run.
    """
    runs: list[SavedRun] = []
    for path in paths:
        folder = Path(path).expanduser()
        below = sorted(folder.glob("*/results.json"), key=lambda file: _order(file))
        if (folder / "results.json").is_file() or not below:
            runs.append(load_run(folder))
        else:
            runs += [load_run(file.parent) for file in below]
    return list({run.folder.resolve(): run for run in runs}.values())


def _order(file: Path) -> tuple[int, str]:
    """Runs of a sweep are numbered: 10 comes after 9."""
    name = file.parent.name
    return (int(name) if name.isdecimal() else -1), name


def draw_all(
    folder: Path, runs: Sequence[SavedRun], progress: Progress | None = None
) -> list[Path]:
    """Draws what can be drawn of some runs.

    Args:
        folder: Where to.
        runs: The runs; several are compared, and where they differ in one setting
            their scores are drawn against it.
        progress: Called with how many moments of t-SNE are drawn, and of how many.

    Returns:
        The pictures.

    Raises:
        CheckpointError: If there is no run.
    """
    if not runs:
        raise CheckpointError("there is no run to draw.")
    folder.mkdir(parents=True, exist_ok=True)
    drawn = _draw_comparisons(folder, runs)
    for number, run in enumerate(runs):
        suffix = f"_{number}" if len(runs) > 1 else ""
        confusion = run.confusion()
        if confusion is not None:
            names, table = confusion
            path = folder / f"confusion{suffix}.png"
            draw_confusion(path, table, names, run.result["method"])
            drawn.append(path)
        moments = run.snapshots()
        if len(moments) > 1:
            path = folder / f"moments{suffix}.png"
            draw_moments(path, moments, progress=progress)
            drawn.append(path)
    return drawn


def _draw_comparisons(folder: Path, runs: Sequence[SavedRun]) -> list[Path]:
    """Scores against epochs and settings, if the runs have scores in common."""
    if not shown_scores([run.result["scores"] for run in runs]):
        return []
    drawn = []
    histories = {
        name: run.history
        for name, run in zip(_names(runs), runs, strict=True)
        if len(run.history) > 1
    }
    if histories:
        draw_scores(folder / "scores.png", histories)
        drawn.append(folder / "scores.png")
    varied = _varied(runs)
    if varied:
        title = ", ".join(varied)
        scores: dict[str, list[dict[str, float]]] = {}
        for run in runs:
            scores.setdefault(_values(run, varied), []).append(run.result["scores"])
        draw_sensitivity(folder / "sensitivity.png", scores, title)
        drawn.append(folder / "sensitivity.png")
    return drawn


def _names(runs: Sequence[SavedRun]) -> list[str]:
    """What tells runs apart, for a legend."""
    if len(runs) == 1:
        return [runs[0].result["method"]]
    varied = _varied(runs)
    settings = [flat_settings(asdict(run.settings)) for run in runs]
    if len({one["seed"] for one in settings}) > 1:
        varied = [*varied, "seed"]
    names = [
        ", ".join(f"{name.rpartition('.')[2]} {one[name]}" for name in varied)
        for one in settings
    ]
    methods = {run.result["method"] for run in runs}
    if len(methods) > 1:
        names = [
            f"{run.result['method']}, {name}"
            for run, name in zip(runs, names, strict=True)
        ]
    is_unique = len(set(names)) == len(names)
    return names if is_unique else [str(run.folder) for run in runs]


def _varied(runs: Sequence[SavedRun]) -> list[str]:
    """Settings that the runs differ in."""
    settings = [flat_settings(asdict(run.settings)) for run in runs]
    return [
        name
        for name in settings[0]
        if name not in _NO_EXPERIMENT
        and len({json.dumps(one[name]) for one in settings}) > 1
    ]


def _values(run: SavedRun, names: Sequence[str]) -> str:
    settings: dict[str, Any] = flat_settings(asdict(run.settings))
    return ", ".join(str(settings[name]) for name in names)
