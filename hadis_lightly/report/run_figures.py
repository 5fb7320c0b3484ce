"""Figures of a run as it ends, and of finished runs side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hadis_lightly.artifacts.assignments import has_classes
from hadis_lightly.artifacts.metrics_file import losses
from hadis_lightly.artifacts.results import describe_labelled, write_map
from hadis_lightly.artifacts.saved_run import SavedRun, load_run
from hadis_lightly.cluster import match_clusters, name_clusters
from hadis_lightly.data import ImageSource
from hadis_lightly.data.thread_map import thread_map
from hadis_lightly.report import drawing
from hadis_lightly.report.paper_figures import (
    draw_moments,
    draw_scores,
    draw_sensitivity,
)
from hadis_lightly.report.thumbnails import Progress
from hadis_lightly.settings.changes import flat_settings
from hadis_lightly.system import available_cores
from hadis_lightly.training.clustering_callback import ClusteringCallback

_MAX_GALLERY_ROWS, _NUM_GALLERY_COLUMNS, _MAX_CONFUSION_SIDE = 60, 16, 200
# Runs of a sweep may differ in these and still be the same experiment.
_NO_EXPERIMENT = {"seed", "output_dir", "trainer.resume", "quiet"}


def draw_figures(
    folder: Path,
    source: ImageSource,
    prototypes: ClusteringCallback[Any],
    title: str,
    random_state: int,
    progress: Progress | None = None,
) -> list[Path]:
    """Draws gallery, curves, map, and the confusion matrix where classes are known."""
    labels = prototypes.labels_.cpu()
    names = [str(cluster) for cluster in range(prototypes.n_clusters)]
    has_targets = has_classes(prototypes.targets_)
    if has_targets:
        matching, table = match_clusters(prototypes.targets_, labels)
        class_names = source.class_names or [str(i) for i in range(len(table))]
        if source.class_names is not None:
            named = name_clusters(prototypes.targets_, labels)
            for cluster, target in named.items():
                names[cluster] = f"{cluster}: {class_names[target]}"
    embeddings = prototypes.embeddings_.cpu().numpy()
    shown, titles = [], []
    for cluster, name in enumerate(names[:_MAX_GALLERY_ROWS]):
        members = (labels == cluster).nonzero().squeeze(1)
        typical = members[prototypes.distance_[members].argsort()]
        shown.append(typical[:_NUM_GALLERY_COLUMNS].tolist())
        titles.append(f"cluster {drawing.shortened(name)}\n{len(members):,} images")
    every = [index for row in shown for index in row]
    images = thread_map(
        lambda i: drawing.gallery_image(source[every[i]][0]),
        len(every),
        available_cores(),
    )
    rows = [[next(images) for _ in row] for row in shown]

    def draw_map(path: Path) -> None:
        points = drawing.map_points(embeddings, random_state)
        folded = source.folded
        write_map(folder, points if folded is None else folded.unfold(points))
        drawing.draw_map(path, points, labels.numpy(), names)

    drawings: dict[str, Callable[[Path], None]] = {
        "clusters.png": lambda path: drawing.draw_gallery(path, rows, titles),
        "map.png": draw_map,
    }
    if len(prototypes.history_) > 1:
        drawings["curves.png"] = lambda path: drawing.draw_curves(
            path,
            prototypes.history_,
            losses(folder),
            prototypes.warmup_epochs,
            describe_labelled(int((prototypes.targets_ >= 0).sum()), len(source)),
        )
    if has_targets and len(names) <= _MAX_CONFUSION_SIDE:
        drawings["confusion.png"] = lambda path: drawing.draw_confusion(
            path, table, matching, class_names[: len(table)], title
        )
    for number, (name, draw) in enumerate(drawings.items()):
        if progress is not None:
            progress(number, len(drawings))
        draw(folder / name)
    return [folder / name for name in drawings]


def find_runs(paths: Sequence[str]) -> list[SavedRun]:
    """The finished runs in folders of runs and of sweeps.

    Raises:
        CheckpointError: If one of them holds no finished run.
    """
    folders: dict[Path, Path] = {}
    for path in paths:
        folder = Path(path).expanduser()
        below = [file.parent for file in folder.glob("*/results.json")]
        if (folder / "results.json").is_file() or not below:
            below = [folder]
        folders |= {one.resolve(): one for one in sorted(below, key=_order)}
    return [load_run(folder) for folder in folders.values()]


def _order(folder: Path) -> tuple[int, str]:
    """Runs of a sweep are numbered: 10 comes after 9."""
    return (int(folder.name) if folder.name.isdecimal() else -1), folder.name


def draw_all(
    folder: Path, runs: Sequence[SavedRun], progress: Progress | None = None
) -> list[Path]:
    """Draws what can be drawn of at least one run; several are compared.

    Where they differ in a setting, their scores are drawn against it.
    """
    drawn = _draw_comparisons(folder, runs)
    for number, run in enumerate(runs):
        suffix = f"_{number}" if len(runs) > 1 else ""
        confusion = run.confusion()
        if confusion is not None:
            names, matching, table = confusion
            path = folder / f"confusion{suffix}.png"
            title = run.result["method"]
            drawing.draw_confusion(path, table, matching, names, title)
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
    settings = [flat_settings(asdict(run.settings)) for run in runs]
    differ = [
        name
        for name in settings[0]
        if len({json.dumps(one[name]) for one in settings}) > 1
    ]
    varied = [name for name in differ if name not in _NO_EXPERIMENT]
    names = _legend(runs, settings, [n for n in differ if n in {*varied, "seed"}])
    histories = {
        name: run.history
        for name, run in zip(names, runs, strict=True)
        if len(run.history) > 1
    }
    if histories:
        drawn.append(folder / "scores.png")
        draw_scores(drawn[-1], histories)
    if varied:
        scores: dict[str, list[dict[str, float]]] = {}
        for run, one in zip(runs, settings, strict=True):
            value = ", ".join(str(one[name]) for name in varied)
            scores.setdefault(value, []).append(run.result["scores"])
        drawn.append(folder / "sensitivity.png")
        draw_sensitivity(drawn[-1], scores, ", ".join(varied))
    return drawn


def _legend(
    runs: Sequence[SavedRun],
    settings: Sequence[Mapping[str, Any]],
    differ: Sequence[str],
) -> list[str]:
    """Names that tell the runs apart: methods and settings, else their folders."""
    methods = [run.result["method"] for run in runs]
    names = []
    for method, one in zip(methods, settings, strict=True):
        words = [f"{name.rpartition('.')[2]} {one[name]}" for name in differ]
        is_needed = len(set(methods)) > 1 or not words
        names.append(", ".join([method, *words] if is_needed else words))
    is_unique = len(set(names)) == len(names)
    return names if is_unique else [str(run.folder) for run in runs]
