"""Warns of a collapse once, and keeps what was seen."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from lightly.utils import dist as lightly_dist
from torch import Tensor

from hadis_lightly.cluster import collapse_signs

log = logging.getLogger(__name__)

# An untrained network shows all signs of a collapse.
_MIN_EPOCHS = 5


class CollapseWatch:
    """Looks at each clustering for the signs of a collapse.

    Args:
        remedies: What may help, by the name of the sign, see
            :func:`~hadis_lightly.cluster.collapse_signs`.

    Attributes:
        warnings: What was seen last and what may help, by the name of the sign.
    """

    def __init__(self, remedies: Mapping[str, str]) -> None:
        self.remedies = remedies
        self.warnings: dict[str, str] = {}

    def look(
        self, embeddings: Tensor, labels: Tensor, prototypes: Tensor, epoch: int
    ) -> None:
        """Logs the signs that were not there the last time.

        Args:
            embeddings: L2-normalised, ``(n, d)``.
            labels: Their clusters, ``(n,)``.
            prototypes: L2-normalised, ``(k, d)``.
            epoch: Number of epochs trained so far.
        """
        signs = {}
        if epoch >= _MIN_EPOCHS:
            signs = collapse_signs(embeddings, labels, prototypes)
        before = self.warnings
        self.warnings = {
            sign: f"{seen}: {self.remedies[sign]}" for sign, seen in signs.items()
        }
        for sign, warning in self.warnings.items():
            if sign not in before and lightly_dist.rank() == 0:
                log.warning("after %d epochs %s.", epoch, warning)

    def restore(self, warnings: Mapping[str, str]) -> None:
        """Takes what was seen out of a checkpoint."""
        self.warnings = dict(warnings)
