"""What a run leaves behind: scores, assignments, figures."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hadis_lightly import __version__
from hadis_lightly.cluster import match_clusters
from hadis_lightly.data import ImageSource
from hadis_lightly.training import figures
from hadis_lightly.training.atomic import atomic_write
from hadis_lightly.training.clustering_callback import ClusteringCallback
from hadis_lightly.training.config import Settings

_PACKAGES = (
    "torch", "torchvision", "lightly", "pytorch-lightning", "scikit-learn", "scipy",
    "numpy", "hydra-core",
)  # fmt: skip

EMBEDDINGS = "embeddings.npy"
# A picture of more could not be read, and takes long to draw.
_MAX_GALLERY_ROWS, _MAX_CONFUSION_SIDE = 60, 200


@dataclass
class RunResult:
    """How a run went, and where everything lies."""

    scores: dict[str, float]
    """NMI, ACC and ARI where classes are known, else label-free scores."""
    output_dir: Path
    seconds: float
    """Time of the training, clustering included."""
    epochs: int
    protocol: str
    """Which images were clustered."""
    method: str
    class_names: list[str] | None = None
    """Names of the classes by number, where they have names."""
    device: str = ""
    switches: str = ""
    """Engine, precision and the like, in words."""
    num_resumed: int = 0
    """How often the run was interrupted and resumed."""
    warnings: list[str] = field(default_factory=list)
    """Signs of collapse that were seen in the last clustering."""
    pixel_scores: dict[str, float] | None = None
    """Scores of k-means on the raw pixels, if asked for."""
    figures: list[Path] = field(default_factory=list)


def write_results(result: RunResult, settings: Settings) -> None:
    """Writes ``results.json``: scores, protocol, settings, versions, device, time."""
    content = asdict(result) | {
        "output_dir": str(result.output_dir),
        "figures": [path.name for path in result.figures],
        "seed": settings.seed,
        "commit": source_commit(),
        "versions": _versions(),
        "settings": asdict(settings),
    }
    with atomic_write(result.output_dir / "results.json") as file:
        file.write(json.dumps(content, indent=2) + "\n")


def write_embeddings(folder: Path, embeddings: Tensor) -> None:
    """Writes ``embeddings.npy``: float16 ``(n, d)``, as the assignments are ordered."""
    with atomic_write(folder / EMBEDDINGS, "wb") as file:
        np.save(file, embeddings.cpu().numpy().astype(np.float16))


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
        "clusters.png": lambda path: figures.draw_gallery(
            path, rows, titles, n_columns
        ),
        "map.png": lambda path: figures.draw_map(
            path,
            prototypes.embeddings_.cpu().numpy(),
            labels.numpy(),
            names,
            random_state=random_state,
        ),
    }
    if len(prototypes.history_) > 1:
        drawings["curves.png"] = lambda path: figures.draw_curves(
            path, prototypes.history_, losses(folder), prototypes.warmup_epochs
        )
    if (prototypes.targets_ >= 0).any() and len(names) <= _MAX_CONFUSION_SIDE:
        _, table = match_clusters(prototypes.targets_, labels)
        class_names = source.class_names or [str(i) for i in range(len(table))]
        drawings["confusion.png"] = lambda path: figures.draw_confusion(
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


def losses(folder: Path) -> dict[str, tuple[list[float], list[float]]]:
    """The losses of every epoch, as they were logged: name to epochs and values."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                # Means of some steps, which may be logged as well, are not drawn.
                is_of_epoch = name.startswith("train/") and not name.endswith("_step")
                if is_of_epoch and value:
                    epochs, values = curves.setdefault(name[6:], ([], []))
                    epochs.append(float(row["epoch"]) + 1)
                    values.append(float(value))
    return {name: curve for name, curve in curves.items() if np.any(curve[1])}


def _versions() -> dict[str, str]:
    versions = {"python": sys.version.split()[0], "hadis-lightly": __version__}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "unknown"
    versions["torch"] = str(torch.__version__)  # with the build: +cpu, +cu130
    return versions


def source_commit() -> str | None:
    """Commit of this package's source, with a + if changed; None if installed."""
    tracked = _git("ls-files", Path(__file__).name)
    head = _git("rev-parse", "--short=12", "HEAD")
    if not tracked or not head:
        return None
    return head + ("+" if _git("status", "--porcelain", "..") else "")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
