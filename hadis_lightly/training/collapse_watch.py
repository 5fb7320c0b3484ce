"""Warns of a collapse once, and keeps what was seen."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from lightly.utils import dist as lightly_dist
from torch import Tensor

from hadis_lightly.cluster import Partition, collapse_signs

log = logging.getLogger(__name__)

# An untrained network shows all signs of a collapse.
_MIN_EPOCHS = 5

_REMEDIES = {
    "spread": "a higher teacher_momentum or a lower learning rate may help, and "
    "batches of 64 images or more",
    "share": "k-means on whitened embeddings (whiten=True) or a lower pcl_weight may "
    "help, if the classes are not that uneven",
    "empty": "there may be fewer kinds of images than n_clusters",
    "prototypes": "n_clusters may be too high, or the embeddings are collapsing",
}


class CollapseWatch:
    """Looks at each clustering for the signs of a collapse.

    Attributes:
        warnings: What was seen last and what may help, by the name of the sign.
    """

    def __init__(self) -> None:
        self.warnings: dict[str, str] = {}

    def look(self, embeddings: Tensor, partition: Partition, epoch: int) -> None:
        """Logs the signs that were not there the last time.

        Args:
            embeddings: L2-normalised, ``(n, d)``.
            partition: Their clusters.
            epoch: Number of epochs trained so far.
        """
        signs = {}
        if epoch >= _MIN_EPOCHS:
            signs = collapse_signs(embeddings, partition.labels, partition.prototypes)
        before = self.warnings
        self.warnings = {
            sign: f"{seen}: {_REMEDIES[sign]}" for sign, seen in signs.items()
        }
        for sign, warning in self.warnings.items():
            if sign not in before and lightly_dist.rank() == 0:
                log.warning("after %d epochs %s.", epoch, warning)

    def restore(self, warnings: Mapping[str, str]) -> None:
        """Takes what was seen out of a checkpoint."""
        self.warnings = dict(warnings)
