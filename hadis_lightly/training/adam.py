"""Adam, as methods with a cluster head are trained."""

from __future__ import annotations

from collections.abc import Iterable

from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR


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
