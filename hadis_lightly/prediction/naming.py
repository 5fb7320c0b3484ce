"""Labels of images by the names that a person has given to clusters."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hadis_lightly.artifacts.names_file import MovedImage, Names
from hadis_lightly.prediction.predictor import ClusterPredictor, Prediction
from hadis_lightly.text import in_utf8, printable

# An image of the run comes out as in the run but for rounding, and half precision on
# another device. Another image of the same name hardly ever does.
_MAX_DIFFERENCE = 0.02


class Labelling:
    """Labels predictions.

    Args:
        predictor: The predictor of the run.
        names: Names of the run's clusters, and images that were moved by hand.

    Raises:
        ValueError: If the names are of another run, or split clusters that cannot be.
    """

    def __init__(self, predictor: ClusterPredictor, names: Names) -> None:
        names.check_run(
            predictor.clusters_id,
            predictor.n_clusters,
            has_halves=predictor.tree is not None,
        )
        self.labels = names.labels
        """All labels that images can get, sorted; beside the empty one."""
        self._names = names
        self._tree = predictor.tree
        self.n_by_hand = 0
        """Images that have been recognised as moved by hand."""
        self.n_excluded = 0
        """Images that have no label."""
        self.others: list[str] = []
        """Images that only have the name of one that was moved."""

    def __call__(self, keys: Sequence[str], found: Prediction) -> list[str]:
        """Labels of ``n`` images; empty where an image is excluded.

        Args:
            keys: Their files.
            found: Their clusters.
        """
        halves = torch.zeros_like(found.labels)
        if self._names.split and self._tree is not None:
            last = len(self._tree.levels)
            halves = self._tree.assign(found.labels, found.embeddings, level=last) % 2
        columns = (found.labels, halves, found.confidence, found.distance)
        rows = zip(keys, *(column.tolist() for column in columns), strict=True)
        labels = []
        for key, cluster, half, confidence, distance in rows:
            label = self._names.label(cluster, half)
            moved = self._names.images.get(in_utf8(key))
            if moved is not None:
                place = MovedImage(None, cluster, confidence, distance)
                if _is_same(moved, place):
                    label = moved.label
                    self.n_by_hand += 1
                else:
                    self.others.append(key)
            labels.append(label or "")
            self.n_excluded += label is None
        return labels

    def describe(self) -> str:
        """What was labelled by hand or excluded, in a few lines."""
        lines = [f"labels: {', '.join(map(printable, self.labels))}"]
        if self.n_by_hand:
            lines.append(f"images with a label given by hand: {self.n_by_hand:,}")
        if self.n_excluded:
            lines.append(f"excluded images, without a label: {self.n_excluded:,}")
        if self.others:
            lines.append(
                f"WARNING: {len(self.others):,} with the file name of an image moved "
                f"by hand look different ('{printable(self.others[0])}'); labelled by "
                "cluster"
            )
        return "\n".join(lines)


def _is_same(moved: MovedImage, place: MovedImage) -> bool:
    """Whether an image lies where its run had put the one that was moved."""
    apart = max(
        abs(moved.confidence - place.confidence), abs(moved.distance - place.distance)
    )
    return moved.cluster == place.cluster and apart <= _MAX_DIFFERENCE
