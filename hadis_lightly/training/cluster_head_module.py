"""What the modules of methods with a cluster head share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from hadis_lightly.checks import check_integer, check_number
from hadis_lightly.models import TwoHeadModel, evaluating
from hadis_lightly.training.cluster_head_callback import ClusterHeadAssignment
from hadis_lightly.training.clustering_module import ClusteringModule
from hadis_lightly.transforms import BatchedViews


class ClusterHeadModule(ClusteringModule):
    """A module whose network has a cluster head, trained by Adam.

    Args:
        model: Features, an instance head and a cluster head.
        clusters: The callback that takes the clusters from the head.
        learning_rate: Learning rate of Adam.
        weight_decay: Weight decay on all parameters.
        warmup_epochs: Epochs in which the learning rate rises.
        training_only: For every image of the set, by its index, whether it takes no
            part in the clusters, ``(m,)`` bool; by default all do.
        views: See :class:`ClusteringModule`, also for the following.
        seed: Makes the views of an image a function of it, the epoch and the index.
        compile_mode: Mode of ``torch.compile``.
        fused: Whether one kernel of the optimiser updates all weights.
        log_every_n_steps: Interval of the losses that are logged within an epoch.

    Raises:
        TypeError: If ``training_only`` is not a tensor of bools.
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        model: TwoHeadModel,
        clusters: ClusterHeadAssignment | None = None,
        *,
        learning_rate: float,
        weight_decay: float = 0.0,
        warmup_epochs: int = 0,
        training_only: Tensor | None = None,
        views: BatchedViews | None = None,
        seed: int | None = None,
        compile_mode: str | None = None,
        fused: bool = False,
        log_every_n_steps: int | None = None,
    ) -> None:
        super().__init__(
            model,
            clusters,
            views=views,
            seed=seed,
            compile_mode=compile_mode,
            fused=fused,
            log_every_n_steps=log_every_n_steps,
        )
        check_number("learning_rate", learning_rate, 0, above=True)
        check_number("weight_decay", weight_decay, 0)
        check_integer("warmup_epochs", warmup_epochs, least=0)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup_epochs = warmup_epochs
        weights = None
        if training_only is not None:
            if (
                not isinstance(training_only, Tensor)
                or training_only.dtype != torch.bool
            ):
                raise TypeError(
                    f"training_only must be a tensor of bools, got {training_only!r}."
                )
            weights = (~training_only).float()
        self.model: TwoHeadModel = model
        self.cluster_weights: Tensor | None
        self.register_buffer("cluster_weights", weights, persistent=False)
        self._outputs = self.compiled(_outputs)

    def embed(self, x: Tensor) -> Tensor:
        """Embeds clean images ``(n, c, h, w)``: normalised, ``(n, d)``."""
        return self.embed_and_assign(x)[0]

    @torch.no_grad()
    def embed_and_assign(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings ``(n, d)`` and probabilities ``(n, k)`` of clean images."""
        n = len(x)
        with evaluating(self.model):
            embeddings, probabilities = self._outputs(self.model, self.padded(x))
        # Copies: what a CUDA graph returns is overwritten when it runs again.
        embeddings = F.normalize(embeddings[:n].float(), dim=1)
        return embeddings, probabilities[:n].float().clone()

    def weights_of(self, keys: Any) -> Tensor | None:
        """How much each image counts in the cluster loss, ``(n,)``; None if all do.

        Args:
            keys: Indices of a batch, ``(n,)``.

        Raises:
            TypeError: If some images do not count, and keys are not indices.
        """
        if self.cluster_weights is None:
            return None
        if not isinstance(keys, Tensor):
            raise TypeError("training_only goes by index, but keys are file names.")
        return self.cluster_weights[keys.to(self.device)]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam at a constant learning rate, after a warm-up if there is one."""
        return adam_with_warmup(
            [p for p in self.model.parameters() if p.requires_grad],
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            warmup_steps=self.warmup_epochs * self.schedule().steps_per_epoch,
            fused=self.fused,
        )


def _outputs(model: TwoHeadModel, x: Tensor) -> tuple[Tensor, Tensor]:
    """What both heads make of images, in the mode that the model is in."""
    features = model.forward_features(x)
    return model.instance_head(features), model.cluster_head(features)


def adam_with_warmup(
    parameters: Iterable[nn.Parameter],
    *,
    learning_rate: float,
    weight_decay: float = 0.0,
    warmup_steps: int = 0,
    fused: bool = False,
) -> OptimizerLRScheduler:
    """Adam at a constant learning rate, which rises linearly at first if asked to.

    Args:
        parameters: What to train.
        learning_rate: Learning rate, > 0.
        weight_decay: Weight decay on all parameters, as an L2 penalty.
        warmup_steps: Steps over which the learning rate rises.
        fused: Whether one kernel updates all weights.

    Returns:
        What ``configure_optimizers`` of a LightningModule returns.
    """
    optimizer = Adam(
        parameters, lr=learning_rate, weight_decay=weight_decay, fused=fused or None
    )
    scheduler = LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / max(1, warmup_steps))
    )
    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
    }
