"""What methods with a cluster head have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from hadis_lightly.cluster import HeadPartition
from hadis_lightly.loss import CCLoss, PICILoss
from hadis_lightly.methods.method import Method, Parts
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.sections import Settings
from hadis_lightly.training.cluster_head_callback import ClusterHeadAssignment
from hadis_lightly.training.cluster_head_module import ClusterHeadModule

# Adam takes steps of about the learning rate whatever the gradient: more than this
# turns any network into noise.
_MAX_LEARNING_RATE = 0.02


class ClusterHeadMethod(Method):
    """A method whose cluster head gives the labels, trained by Adam."""

    optimizer = "Adam"
    partition_type = HeadPartition
    loss_type: type[CCLoss] | type[PICILoss]
    module_type: type[ClusterHeadModule]

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
        if isinstance(settings.n_clusters, str):
            raise SettingsError(
                f"n_clusters is {settings.n_clusters}, but method={method} has a "
                "cluster head, which has its number of clusters from the start: give "
                "a number, or take method=hadis to choose one."
            )
        if settings.names is not None:
            raise SettingsError(
                f"names is {settings.names!r}, but method={method} has a cluster head, "
                "which takes no examples: take method=hadis, propos or byol."
            )
        if settings.model.train == "nothing":
            raise SettingsError(
                "model.train=nothing clusters by k-means alone: it goes with "
                f"method=hadis, not with {method}."
            )

    def phases(self, settings: Settings) -> tuple[int, int]:
        """First epochs, in which the head is not trained; last, with pseudo-labels."""
        return 0, 0

    def build_callback(
        self, settings: Settings, plain_loader: Iterable[Any]
    ) -> ClusterHeadAssignment:
        """The clusters of the head, and pseudo-labels for the last epochs, if any."""
        first, last = self.phases(settings)
        return ClusterHeadAssignment(
            int(settings.n_clusters),
            plain_loader,
            warmup_epochs=first,
            every_n_epochs=settings.clustering.every_n_epochs,
            pseudo_label_epochs=last,
            n_init=settings.clustering.n_init,
            random_state=settings.seed,
            whiten=settings.clustering.whiten,
        )

    def build_module(self, parts: Parts, **own: Any) -> ClusterHeadModule:
        """The networks and the loss, in one module, with its ``own`` options."""
        settings, training_only = parts.settings, parts.source.training_only
        criterion = self.loss_type(
            int(settings.n_clusters),
            instance_temperature=settings.contrast.instance_temperature,
            cluster_temperature=settings.contrast.cluster_temperature,
            gather_distributed=settings.trainer.gather_distributed,
        )
        return self.module_type(
            parts.model,
            criterion,
            parts.callback,
            learning_rate=settings.optimizer.learning_rate,
            weight_decay=settings.optimizer.weight_decay,
            warmup_epochs=self.schedule(settings)["optimizer.warmup_epochs"],
            training_only=(
                None if training_only is None else torch.from_numpy(training_only)
            ),
            **parts.module_options(),
            **own,
        )
