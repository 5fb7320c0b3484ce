"""What methods with a cluster head have in common."""

from __future__ import annotations

from typing import Any

import torch

from hadis_lightly.cluster import HeadPartition
from hadis_lightly.methods.method import Method, Parts
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.sections import Settings

# Adam takes steps of about the learning rate whatever the gradient: more than this
# turns any network into noise.
_MAX_LEARNING_RATE = 0.02


class ClusterHeadMethod(Method):
    """A method whose cluster head gives the labels, trained by Adam."""

    optimizer = "Adam"
    partition_type = HeadPartition

    def check(self, settings: Settings) -> None:
        """Checks what does not go with a cluster head, or with Adam."""
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

    def loss_options(self, settings: Settings) -> dict[str, Any]:
        """The arguments of the method's loss."""
        return {
            "n_clusters": settings.n_clusters,
            "instance_temperature": settings.contrast.instance_temperature,
            "cluster_temperature": settings.contrast.cluster_temperature,
            "gather_distributed": settings.trainer.gather_distributed,
        }

    def optimizer_options(self, parts: Parts) -> dict[str, Any]:
        """The keyword arguments of every module with a cluster head."""
        optimizer, training_only = parts.settings.optimizer, parts.source.training_only
        return {
            "learning_rate": optimizer.learning_rate,
            "weight_decay": optimizer.weight_decay,
            "warmup_epochs": optimizer.warmup_epochs,
            "training_only": (
                None if training_only is None else torch.from_numpy(training_only)
            ),
        }
