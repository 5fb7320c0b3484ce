"""The pictures of the paper, from any run: Figs. 3 to 8 of HaDis, arXiv 2401.14038."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from hadis_lightly.artifacts.snapshots import Snapshot
from hadis_lightly.report.drawing import (
    COLORS,
    FAINT,
    INK,
    ever_known,
    label_ends,
    project_to_plane,
    save_figure,
    shown_scores,
    tidy,
)
from hadis_lightly.report.explanations import title_of
from hadis_lightly.report.thumbnails import Progress

_MAX_POINTS = 1000  # t-SNE takes seconds for them

History = Sequence[Mapping[str, float]]


def draw_scores(path: Path, histories: Mapping[str, History]) -> None:
    """Draws scores against epochs, a panel per score, a line per run; Figs. 4 to 6."""
    names = shown_scores([ever_known(history) for history in histories.values()])
    figure = Figure(figsize=(3.6 * len(names), 3.2), dpi=130, layout="constrained")
    for axes, name in zip(np.ravel(figure.subplots(1, len(names))), names, strict=True):
        for number, (label, history) in enumerate(histories.items()):
            epochs = [record["epoch"] for record in history]
            values = [record.get(name, np.nan) for record in history]
            color = COLORS[number % len(COLORS)]
            axes.plot(epochs, values, color=color, linewidth=1.4, label=label)
        label_ends(axes)
        axes.set_title(title_of(name), fontsize=9, color=INK)
        axes.set_xlabel("epoch", fontsize=8, color=INK)
        axes.margins(x=0.12)
        tidy(axes)
        if len(histories) > 1 and name == names[0]:
            axes.legend(frameon=False, fontsize=7)
    save_figure(figure, path)


def draw_moments(
    path: Path, snapshots: Sequence[Snapshot], progress: Progress | None = None
) -> None:
    """Draws the embeddings of up to 1,000 images at some moments by t-SNE, Fig. 7.

    Colours are classes where they are known, else clusters.
    """
    n_columns = min(3, len(snapshots))
    n_rows = -(-len(snapshots) // n_columns)
    size = (3.0 * n_columns, 3.2 * n_rows)
    figure = Figure(figsize=size, dpi=130, layout="constrained")
    panels = np.ravel(figure.subplots(n_rows, n_columns, squeeze=False))
    for axes in panels:
        axes.set_axis_off()
    for number, (axes, moment) in enumerate(zip(panels, snapshots, strict=False)):
        if progress is not None:
            progress(number, len(snapshots))
        points = project_to_plane(moment.embeddings[:_MAX_POINTS])
        colors = moment.targets if (moment.targets >= 0).any() else moment.labels
        colors = colors[:_MAX_POINTS]
        axes.scatter(*points.T, c=colors, cmap="tab20", s=4, linewidths=0)
        axes.set_title(f"epoch {moment.epoch}", fontsize=9, color=INK)
    save_figure(figure, path)


def draw_sensitivity(
    path: Path, scores: Mapping[str, Sequence[Mapping[str, float]]], title: str
) -> None:
    """Draws scores against the values of a setting, as bars, Fig. 8.

    With several runs for a value, whiskers show the standard deviation.
    """
    names = shown_scores([record for runs in scores.values() for record in runs])
    width = 0.8 / len(names)
    size = (1.6 + 1.1 * len(scores), 3.2)
    figure = Figure(figsize=size, dpi=130, layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(scores))
    for number, name in enumerate(names):
        values = [[record[name] for record in runs] for runs in scores.values()]
        means = [np.mean(of_runs) for of_runs in values]
        spreads = [np.std(of_runs, ddof=len(of_runs) > 1) for of_runs in values]
        at = places + (number - (len(names) - 1) / 2) * width
        axes.bar(
            at, means, width * 0.9, color=COLORS[number], label=title_of(name),
            yerr=spreads if any(spreads) else None, ecolor=FAINT, capsize=2,
        )  # fmt: skip
        for x, mean in zip(at, means, strict=True):
            axes.annotate(
                f"{mean:.3f}", (x, 0), (0, 3), textcoords="offset points",
                ha="center", va="bottom", fontsize=6, color="white",
            )  # fmt: skip
    axes.set_xticks(places, list(scores), fontsize=8)
    axes.set_xlabel(title, fontsize=8, color=INK)
    axes.margins(y=0.12)
    tidy(axes)
    axes.legend(frameon=False, fontsize=7, ncols=len(names), loc="lower center",
                bbox_to_anchor=(0.5, 1.0))  # fmt: skip
    save_figure(figure, path)
