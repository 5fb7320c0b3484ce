"""What methods with a cluster head have in common, for the runner."""

from __future__ import annotations

import torch
from torch import Tensor

from hadis_lightly.cluster import HeadPartition
from hadis_lightly.data import ImageSource
from hadis_lightly.methods.method import Method
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.sections import Settings

# Adam takes steps of about the learning rate whatever the gradient: more than this
# makes noise of any network.
_MAX_LEARNING_RATE = 0.02


class ClusterHeadMethod(Method):
    """A method whose cluster head gives the labels, trained by Adam."""

    optimizer = "Adam"
    partition_type = HeadPartition

    def check(self, settings: Settings) -> None:
        """Checks what does not go with a cluster head, or with Adam.

        Raises:
            SettingsError: If a setting is meant for another method.
        """
        method = settings.method
        learning_rate = settings.optimizer.learning_rate
        if learning_rate > _MAX_LEARNING_RATE:
            raise SettingsError(
                f"optimizer.learning_rate must be <= {_MAX_LEARNING_RATE} for "
                f"method={method}, which trains by Adam, got {learning_rate}. In "
                f"Python with_method(settings, {method!r}) brings the paper's."
            )
        if settings.model.freeze_backbone:
            raise SettingsError(
                "model.freeze_backbone clusters by k-means alone: it goes with "
                f"method=hadis, not with {method}."
            )


def training_only_of(source: ImageSource) -> Tensor | None:
    """Which images are there for training alone, bool ``(n,)``; None if none is."""
    training_only = source.training_only
    return None if training_only is None else torch.from_numpy(training_only)
