"""``results.json``, ``embeddings.npy`` and ``map.npy``: how a run went."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hadis_lightly import __version__
from hadis_lightly.atomic import atomic_write
from hadis_lightly.settings.sections import Settings
from hadis_lightly.text import plain

_PACKAGES = (
    "torch", "torchvision", "lightly", "pytorch-lightning", "scikit-learn", "scipy",
    "numpy", "hydra-core",
)  # fmt: skip

EMBEDDINGS = "embeddings.npy"
MAP = "map.npy"
#: Scores against known classes; all others need none.
EXTERNAL_SCORES = ("nmi", "acc", "ari")


@dataclass
class RunResult:
    """How a run went, and where everything lies."""

    scores: dict[str, float]
    """NMI, ACC and ARI where two classes or more are known; the label-free scores of
    :func:`~hadis_lightly.cluster.label_free_scores` always."""
    output_dir: Path
    seconds: float
    """Training time, clustering included."""
    epochs: int
    description: str
    """Which images were clustered."""
    method: str
    n_clusters: int = 0
    n_clusters_choice: dict[str, Any] | None = None
    """What the number was chosen by, if it was not given."""
    num_images: int = 0
    num_labelled: int = 0
    """Images of known class: NMI, ACC and ARI are of these alone."""
    class_names: list[str] | None = None
    """Names of the classes by number, where they have names."""
    device: str = ""
    performance: str = ""
    """Pipeline, precision and the other performance options, in one line."""
    schedule: dict[str, int] = field(default_factory=dict)
    """Epochs of the warm-ups and phases, by the full name of the setting."""
    weights: dict[str, Any] | None = None
    """Name, licence, origin and hash of the weights that the backbone started from."""
    view_agreement: float | None = None
    """Share of nearest neighbours that two views of an image agree on, of features."""
    warmup_epochs: int = 0
    """First epochs, in which clusters took no part in training yet."""
    num_resumed: int = 0
    warnings: list[str] = field(default_factory=list)
    """Files that need another package; signs of collapse in the last clustering."""
    tree: dict[str, list[Any]] | None = None
    """Levels, merges and links of the clusters, see
    :meth:`~hadis_lightly.cluster.ClusterTree.describe`."""
    images_root: str | None = None
    """Folder that the keys of images in files start from."""
    pixel_scores: dict[str, float] | None = None
    """Scores of k-means on the raw pixels, if wanted."""
    figures: list[Path] = field(default_factory=list)


def split_scores(
    scores: Mapping[str, float],
) -> tuple[dict[str, float], dict[str, float]]:
    """The scores against known classes, which may be none, and the label-free ones."""
    external = {name: scores[name] for name in EXTERNAL_SCORES if name in scores}
    return external, {n: value for n, value in scores.items() if n not in external}


def describe_labelled(num_labelled: int, num_images: int) -> str:
    """What NMI, ACC and ARI are of, where that is not all images; else empty.

    Example:
        >>> describe_labelled(4, 26), describe_labelled(26, 26)
        ('of the 4 images with a class', '')
    """
    if num_labelled == num_images:
        return ""
    return f"of the {num_labelled:,} images with a class"


def write_results(result: RunResult, settings: Settings) -> None:
    """Writes ``results.json``: scores, images, settings, versions, device, time.

    A score that is not defined is null.
    """
    content = asdict(result) | {
        "output_dir": str(result.output_dir),
        "figures": [path.name for path in result.figures],
        "seed": settings.seed,
        "commit": source_commit(),
        "versions": _versions(),
        "settings": asdict(settings),
    }
    with atomic_write(result.output_dir / "results.json") as file:
        file.write(json.dumps(plain(content), indent=2, allow_nan=False) + "\n")


def write_embeddings(folder: Path, embeddings: npt.NDArray[np.float32]) -> None:
    """Writes ``embeddings.npy``: float16 ``(n, d)``, ordered like the assignments."""
    with atomic_write(folder / EMBEDDINGS, "wb") as file:
        np.save(file, embeddings.astype(np.float16))


def write_map(folder: Path, points: npt.NDArray[np.float32]) -> None:
    """Writes ``map.npy``, the points of ``map.png``: float32 ``(n, 2)``.

    They are ordered like the assignments; NaN for images that are not on the map.
    """
    with atomic_write(folder / MAP, "wb") as file:
        np.save(file, points)


def _versions() -> dict[str, str]:
    versions = {"python": sys.version.split()[0], "hadis-lightly": __version__}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions | {"torch": str(torch.__version__)}  # with +cpu or +cu130


def source_commit() -> str | None:
    """Commit of this source tree, with a + if it has changes; None if installed."""
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
