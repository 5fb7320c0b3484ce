"""The pictures that a run leaves in its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hadis_lightly.artifacts.metrics_file import losses
from hadis_lightly.cluster import match_clusters
from hadis_lightly.data import ImageSource
from hadis_lightly.report import drawing
from hadis_lightly.training.clustering_callback import ClusteringCallback

_MAX_GALLERY_ROWS, _MAX_CONFUSION_SIDE = 60, 200


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
