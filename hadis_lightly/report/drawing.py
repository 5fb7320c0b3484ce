"""Figures with Matplotlib: gallery, confusion matrix, curves, map of embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from hadis_lightly.atomic import atomic_write
from hadis_lightly.report.explanations import title_of

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

_MAX_MAP_POINTS = 3000  # t-SNE takes 15 seconds for them
_MAX_NAME = 30
_GALLERY_SIDE = 134  # twice the pixels of an image in the gallery
INK, FAINT = "#333333", "#999999"
# Of Paul Tol's palettes for the colour-blind.
COLORS = (
    "#4477aa", "#228833", "#aa3377", "#ee6677", "#ccbb44", "#66ccee", "#bbbbbb",
)  # fmt: skip


def gallery_image(image: Image.Image) -> Image.Image:
    """The image, made small if it is larger than the gallery can show.

    Matplotlib takes a second for each photo of 12 megapixels.
    """
    if max(image.size) > _GALLERY_SIDE:
        image.thumbnail((_GALLERY_SIDE, _GALLERY_SIDE), Image.Resampling.LANCZOS)
    return image


def draw_gallery(
    path: Path,
    images: Sequence[Sequence[Any]],
    titles: Sequence[str],
) -> None:
    """Draws a row of PIL images for each cluster, with its title to the left."""
    n_rows, n_columns = len(images), max(1, *map(len, images))
    left = 0.2 + _width_of("\n".join(titles))
    width, height = left + 0.55 * n_columns, 0.05 + 0.55 * n_rows
    figure = Figure(figsize=(width, height), dpi=130)
    # One pair of axes for all images: one for each takes many times as long.
    axes = figure.add_axes((left / width, 0.005, 0.995 - left / width, 0.99))
    for row, (row_images, title) in enumerate(zip(images, titles, strict=True)):
        axes.text(-0.7, row, title, ha="right", va="center", fontsize=8, color=INK)
        for column, image in enumerate(map(np.asarray, row_images)):
            y, x = np.array(image.shape[:2]) / max(image.shape[:2]) * 0.47
            axes.imshow(
                image,
                cmap="gray" if image.ndim == 2 else None,
                extent=(column - x, column + x, row + y, row - y),
            )
    axes.set(xlim=(-0.5, n_columns - 0.5), ylim=(n_rows - 0.5, -0.5))
    axes.set_axis_off()
    save_figure(figure, path)


def draw_confusion(
    path: Path,
    table: IntArray,
    matching: Mapping[int, int],
    class_names: Sequence[str],
    title: str,
) -> None:
    """Draws the table of :func:`match_clusters`, with the clusters by number."""
    n_classes, n_clusters = table.shape
    side = 0.42 * max(n_classes, n_clusters, 6)
    names = [shortened(name) for name in class_names]
    width = max(side + 0.7 + _width_of("\n".join(names)), 0.3 + _width_of(title))
    figure = Figure(figsize=(width, side + 0.9), dpi=130, layout="constrained")
    axes = figure.subplots()
    share = table / table.sum(axis=1, keepdims=True).clip(min=1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if max(table.shape) <= 25:
        for (row, column), count in np.ndenumerate(table):
            if count:
                color = "white" if share[row, column] > 0.5 else INK
                axes.text(
                    column, row, str(count), ha="center", va="center", fontsize=7,
                    color=color,
                )  # fmt: skip
    axes.set_yticks(range(n_classes), names, fontsize=8)
    numbers = column_numbers(table, matching)
    axes.set_xticks(range(n_clusters), numbers, fontsize=8)
    axes.set_xlabel("cluster, matched to its class", color=INK)
    axes.set_ylabel("class", color=INK)
    figure.suptitle(title, fontsize=9, color=INK)
    save_figure(figure, path)


def shortened(name: str) -> str:
    """A name of at most :data:`_MAX_NAME` letters."""
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…"


def _width_of(text: str) -> float:
    """Width in inches of the longest line, in letters of 8 or 9 points."""
    return 0.075 * max(map(len, text.splitlines()), default=0)


def column_numbers(table: IntArray, matching: Mapping[int, int]) -> list[str]:
    """Numbers of the clusters in the columns of :func:`match_clusters`.

    Example:
        >>> column_numbers(np.array([[0, 2, 0, 0], [0, 0, 1, 1]]), {2: 1})
        ['', '2', '0', '1']
    """
    n_classes, n_columns = table.shape
    own = {target: str(cluster) for cluster, target in matching.items()}
    k = len(matching) + n_columns - n_classes
    rest = [str(cluster) for cluster in range(k) if cluster not in matching]
    return [own.get(target, "") for target in range(n_classes)] + rest


def draw_curves(
    path: Path,
    history: Sequence[dict[str, float]],
    losses: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    warmup_epochs: int,
    note: str = "",
) -> None:
    """Draws scores and losses against epochs, and marks the end of the warm-up.

    ``note`` says what NMI, ACC and ARI are of, if not of all images.
    """
    figure = Figure(figsize=(8.5, 3.2), dpi=130, layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [record["epoch"] for record in history]
    names = dict.fromkeys([*shown_scores([ever_known(history)]), "silhouette"])
    for name, color in zip(names, COLORS, strict=False):
        # A clustering that collapsed has no score against classes: a gap.
        values = [record.get(name, np.nan) for record in history]
        left.plot(epochs, values, color=color, label=title_of(name))
    label_ends(left)
    title = f"scores; NMI, ACC and ARI {note}" if note and "nmi" in names else "scores"
    left.set_title(title, fontsize=9)
    for name, (xs, ys) in losses.items():
        begun = np.flatnonzero(ys)[:1].sum()  # PCL is 0 until the warm-up is over
        right.plot(xs[begun:], ys[begun:], label=name)
    right.set_title("losses, mean of each epoch", fontsize=9)
    for axes in (left, right):
        if 0 < warmup_epochs < epochs[-1]:
            axes.axvline(warmup_epochs, color=FAINT, linewidth=0.8, linestyle=":")
        tidy(axes)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch (dotted: end of the warm-up)", fontsize=8)
        axes.legend(frameon=False, fontsize=8)
    save_figure(figure, path)


def shown_scores(records: Sequence[Mapping[str, float]]) -> list[str]:
    """The scores that all records have: NMI, ACC and ARI, else the label-free ones."""
    label_free = ["silhouette", "size_entropy", "prototype_cosine"]
    for names in (["nmi", "acc", "ari"], label_free):
        common = [name for name in names if all(name in record for record in records)]
        if common:
            return common
    return []


def ever_known(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Every score that any clustering has, each with its last value."""
    return {name: value for record in history for name, value in record.items()}


def label_ends(axes: Axes) -> None:
    """Writes the last value beside each line; none covers another."""
    low, high = axes.get_ylim()
    apart, below = (high - low) * 0.045, -float("inf")
    ends = []
    for line in axes.lines:
        xs, ys = np.asarray(line.get_data(), dtype=float)
        known = np.flatnonzero(np.isfinite(ys))
        if len(known):
            ends.append((ys[known[-1]], xs[known[-1]], line.get_color()))
    for y, x, color in sorted(ends, key=lambda end: float(end[0])):
        below = max(y, below + apart)
        axes.annotate(
            f" {y:.3f}",
            (x, below),
            fontsize=7,
            va="center",
            color=color,
            annotation_clip=False,  # the highest may lie above the axes
        )


def map_points(embeddings: FloatArray, random_state: int = 0) -> FloatArray:
    """t-SNE of up to 3,000 embeddings: ``(n, 2)``, NaN for those not on the map."""
    n = len(embeddings)
    if n <= _MAX_MAP_POINTS:
        return project_to_plane(embeddings, random_state)
    generator = np.random.default_rng(random_state)
    chosen = generator.choice(n, _MAX_MAP_POINTS, replace=False)
    points = np.full((n, 2), np.nan, dtype=np.float32)
    points[chosen] = project_to_plane(embeddings[chosen], random_state)
    return points


def draw_map(
    path: Path, points: FloatArray, labels: IntArray, names: Sequence[str]
) -> None:
    """Draws a map of points ``(n, 2)``, a colour per cluster; NaN is left out."""
    is_shown = np.isfinite(points[:, 0])
    points, labels = points[is_shown], labels[is_shown]
    figure = Figure(figsize=(6, 6), dpi=130, layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.scatter(points[:, 0], points[:, 1], c=labels, cmap="tab20", s=5, linewidths=0)
    for cluster in np.unique(labels):
        middle = np.median(points[labels == cluster], axis=0)
        axes.annotate(
            names[cluster], middle, ha="center", va="center", fontsize=8, color=INK,
            bbox={"boxstyle": "round,pad=0.2", "fc": "white", "ec": FAINT, "lw": 0.5},
        )  # fmt: skip
    save_figure(figure, path)


def project_to_plane(embeddings: FloatArray, random_state: int = 0) -> FloatArray:
    """t-SNE of the embeddings, ``(n, 2)``; principal components below 5 images."""
    n, d = embeddings.shape
    if n < 5:
        plane = np.zeros((n, 2), dtype=np.float32)
        if n > 1:
            plane[:, :d] = PCA(min(2, d)).fit_transform(embeddings)
        return plane
    tsne = TSNE(
        metric="cosine",
        init="pca" if d >= 2 else "random",
        perplexity=min(30.0, (n - 1) / 3),
        random_state=random_state,
    )
    return np.asarray(tsne.fit_transform(embeddings), dtype=np.float32)


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG, whole or not at all."""
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format="png")


def tidy(axes: Axes) -> None:
    """Removes the frame above and to the right."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=8)
