"""What the benchmarks of this room share: settings of a try, its run, tables."""

from __future__ import annotations

import csv
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from hadis_lightly.artifacts.results import EXTERNAL_SCORES
from hadis_lightly.cluster import match_clusters
from hadis_lightly.runs import run
from hadis_lightly.runs.folder import is_finished
from hadis_lightly.settings import Settings


def parse_words(words: str) -> tuple[str, Any]:
    """The method and the other settings, from words as on a command line.

    Raises:
        OmegaConfBaseException: If a word is not a setting.
    """
    changes: Any = OmegaConf.from_dotlist(words.split())
    return changes.pop("method", "hadis"), changes


def merged(settings: Settings, changes: Any) -> Settings:
    """A copy of the settings with the changes.

    Raises:
        OmegaConfBaseException: If there is no such setting, or a value does not fit.
    """
    both: Any = OmegaConf.merge(OmegaConf.structured(settings), changes)
    result: Settings = OmegaConf.to_object(both)
    return result


def results_of(settings: Settings) -> tuple[Path, dict[str, Any]]:
    """Folder and ``results.json`` of a run, which is trained unless it is finished."""
    folder = Path(str(settings.output_dir))
    if not is_finished(folder):
        settings.trainer.resume = "auto"
        folder = run(settings).output_dir
    return folder, json.loads((folder / "results.json").read_text(encoding="utf-8"))


def scores_in(scores: Mapping[str, float]) -> dict[str, float]:
    """NMI, ACC and ARI alone; NaN where they are not defined."""
    return {name: scores.get(name, math.nan) for name in EXTERNAL_SCORES}


def balanced(path: Path, num_images: int, folder: Path) -> Path:
    """A file with so many of the images, the same number of each class, at random."""
    labels = _labels(path)
    classes = np.unique(labels)
    sizes = dict.fromkeys(classes.tolist(), num_images // len(classes))
    rows = _drawn(labels, sizes, np.random.default_rng(0))
    return _part(path, rows, folder / f"{path.stem}_{len(rows)}.npz")


def long_tailed(path: Path, ratio: float, seed: int, folder: Path) -> Path:
    """A file in which the commonest class has ``ratio`` times the images of the rarest.

    The classes in between fall by the same factor from one to the next; which are
    common, and which of their images are taken, is drawn by the seed.
    """
    labels = _labels(path)
    draw = np.random.default_rng(seed)
    order = draw.permutation(np.unique(labels)).tolist()
    most = min(int((labels == c).sum()) for c in order)
    last = len(order) - 1
    sizes = {c: int(most * ratio ** (-i / last)) for i, c in enumerate(order)}
    rows = _drawn(labels, sizes, draw)
    return _part(path, rows, folder / f"{path.stem}_ratio{ratio:g}_{seed}.npz")


def _labels(path: Path) -> NDArray[np.int64]:
    with np.load(path) as content:
        labels: NDArray[np.int64] = content["labels"]
    return labels


def _drawn(
    labels: NDArray[np.int64], sizes: Mapping[int, int], draw: np.random.Generator
) -> NDArray[np.int64]:
    """Rows of so many images of each class, in ascending order."""
    rows = [
        draw.choice(np.flatnonzero(labels == c), size, replace=False)
        for c, size in sizes.items()
    ]
    return np.sort(np.concatenate(rows))


def _part(path: Path, rows: NDArray[np.int64], found: Path) -> Path:
    """Writes a file with some of the images."""
    with np.load(path) as content:
        arrays = {name: content[name] for name in content.files}
    n = len(arrays["labels"])
    found.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        found, **{k: array[rows] for k, array in arrays.items() if len(array) == n}
    )
    return found


def recall_of_rare(targets: Any, labels: Any, n_rare: int = 3) -> float:
    """Mean recall of the rarest classes, each of the cluster matched to it."""
    _, counts = match_clusters(targets, labels)  # column j matches class j
    sizes = counts.sum(axis=1)
    recalls = np.diag(counts)[: len(sizes)] / np.maximum(sizes, 1)
    rare = np.flatnonzero(sizes)[sizes[sizes > 0].argsort(kind="stable")[:n_rare]]
    return float(recalls[rare].mean())


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows with the columns of the first as CSV; creates the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def table(
    rows: Sequence[Mapping[str, Any]],
    groups: Sequence[str],
    scores: Sequence[str],
    others: Sequence[str],
) -> str:
    """A Markdown table: a row for each group, its numbers over the seeds.

    Args:
        rows: One for each seed and group.
        groups: Columns that name a group.
        scores: Columns whose mean and standard deviation are shown; NaN is not.
        others: Columns whose median is shown.
    """
    titles = [*groups, "seeds", *scores, "lowest acc", *others]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for key in dict.fromkeys(tuple(row[name] for name in groups) for row in rows):
        mine = [row for row in rows if tuple(row[name] for name in groups) == key]
        cells = [str(value) or "as the recipe" for value in key]
        cells.append(", ".join(str(row["seed"]) for row in mine))
        cells += [_spread([row[name] for row in mine]) for name in scores]
        cells.append(f"{min(row['acc'] for row in mine):.3f}")
        cells += [f"{statistics.median(row[o] for row in mine):.0f}" for o in others]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    """Mean and standard deviation; empty if a number is missing."""
    if any(math.isnan(value) for value in values):
        return ""
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"
