"""Figures of a run as it ends, and of finished runs side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hadis_lightly.artifacts.checkpoint import CheckpointError
from hadis_lightly.artifacts.metrics_file import losses
from hadis_lightly.artifacts.saved_run import SavedRun, load_run
from hadis_lightly.cluster import match_clusters
from hadis_lightly.data import ImageSource
from hadis_lightly.report import drawing
from hadis_lightly.report.paper_figures import (
    draw_moments,
    draw_scores,
    draw_sensitivity,
)
from hadis_lightly.settings.changes import flat_settings
from hadis_lightly.training.clustering_callback import ClusteringCallback

Progress = Callable[[int, int], None]

_MAX_GALLERY_ROWS, _MAX_CONFUSION_SIDE = 60, 200
# What runs of a sweep differ in without being different experiments.
_NO_EXPERIMENT = {"seed", "output_dir", "trainer.resume", "quiet"}


def draw_figures(
    folder: Path,
    source: ImageSource,
    prototypes: ClusteringCallback[Any],
    title: str,
    random_state: int,
    n_columns: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Draws gallery, curves, map, and the confusion matrix where classes are known."""
    names = _cluster_names(source, prototypes)
    labels = prototypes.labels_.cpu()
    similarity = prototypes.embeddings_ @ prototypes.prototypes_.T
    own = similarity.cpu().gather(1, labels.unsqueeze(1)).squeeze(1)
    rows, titles = [], []
    for cluster, name in enumerate(names[:_MAX_GALLERY_ROWS]):
        members = (labels == cluster).nonzero().squeeze(1)
        typical = members[own[members].argsort(descending=True)][:n_columns]
        rows.append([source[int(index)][0] for index in typical])
        titles.append(f"{name}\n{len(members):,} images")

    drawings: dict[str, Callable[[Path], None]] = {
        "clusters.png": lambda path: drawing.draw_gallery(
            path, rows, titles, n_columns
        ),
        "map.png": lambda path: drawing.draw_map(
            path,
            prototypes.embeddings_.cpu().numpy(),
            labels.numpy(),
            names,
            random_state=random_state,
        ),
    }
    if len(prototypes.history_) > 1:
        drawings["curves.png"] = lambda path: drawing.draw_curves(
            path, prototypes.history_, losses(folder), prototypes.warmup_epochs
        )
    if (prototypes.targets_ >= 0).any() and len(names) <= _MAX_CONFUSION_SIDE:
        _, table = match_clusters(prototypes.targets_, labels)
        class_names = source.class_names or [str(i) for i in range(len(table))]
        drawings["confusion.png"] = lambda path: drawing.draw_confusion(
            path, table, class_names[: len(table)], title
        )
    for number, (name, draw) in enumerate(drawings.items()):
        if progress is not None:
            progress(number, len(drawings))
        draw(folder / name)
    return [folder / name for name in drawings]


def _cluster_names(
    source: ImageSource, prototypes: ClusteringCallback[Any]
) -> list[str]:
    """``cluster 3``, and the class that it was matched to, where classes are known."""
    names = [str(cluster) for cluster in range(prototypes.n_clusters)]
    if source.class_names is None or not (prototypes.targets_ >= 0).any():
        return names
    matching, _ = match_clusters(prototypes.targets_, prototypes.labels_)
    for cluster, target in matching.items():
        names[cluster] = f"{cluster}: {source.class_names[target]}"
    return names


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
            drawing.draw_confusion(path, table, names, run.result["method"])
            drawn.append(path)
        moments = run.snapshots()
        if len(moments) > 1:
            path = folder / f"moments{suffix}.png"
            draw_moments(path, moments, progress=progress)
            drawn.append(path)
    return drawn


def _draw_comparisons(folder: Path, runs: Sequence[SavedRun]) -> list[Path]:
    """Scores against epochs and settings, if the runs have scores in common."""
    if not drawing.shown_scores([run.result["scores"] for run in runs]):
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
