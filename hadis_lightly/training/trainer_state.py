"""What a callback asks Lightning's Trainer: where it is, and how much it may do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pytorch_lightning import Trainer


def num_epochs(trainer: Trainer) -> float:
    """Epochs that a fit will have at most, infinite if nothing ends it.

    Known once the training loader is, from ``on_train_start`` on.
    """
    epochs, batches = trainer.max_epochs, trainer.num_training_batches
    most = math.inf if epochs is None or epochs < 0 else epochs
    if trainer.max_steps > 0 and 0 < batches < math.inf:
        steps = math.ceil(batches / trainer.accumulate_grad_batches)
        most = min(most, math.ceil(trainer.max_steps / steps))
    return most


def is_last_epoch(trainer: Trainer, epoch: int) -> bool:
    """Whether training ends after so many epochs, as far as is known by now."""
    is_out_of_steps = 0 < trainer.max_steps <= trainer.global_step
    return epoch == trainer.max_epochs or is_out_of_steps or trainer.should_stop


def is_past_training(trainer: Trainer) -> bool:
    """Whether the steps of the current epoch are done, as before its validation."""
    return trainer.is_last_batch or 0 < trainer.max_steps <= trainer.global_step


def is_limited(trainer: Trainer) -> bool:
    """Whether an epoch leaves images out, by a flag of the Trainer.

    That is ``limit_train_batches``, ``overfit_batches`` or ``fast_dev_run``.
    """
    limit = trainer.limit_train_batches  # the others set it as well
    if isinstance(limit, int):
        return limit <= trainer.num_training_batches
    return limit < 1.0


def num_limited_batches(trainer: Trainer, loader: Any, num_images: int) -> int:
    """Batches of a loader with as many images as a limited epoch trains on.

    Args:
        trainer: The Trainer, once its training loader is known.
        loader: The loader of the plain images.
        num_images: Minimum number of images.
    """
    size = getattr(loader, "batch_size", None) or 1
    trained = getattr(trainer.train_dataloader, "batch_size", None) or size
    wanted: float = max(num_images, trainer.num_training_batches * trained)
    return math.ceil(wanted / size)


def log_between_epochs(trainer: Trainer, metrics: Mapping[str, float]) -> None:
    """Logs where ``LightningModule.log`` cannot: before the first epoch and at the end.

    The step and the epoch are those at which Lightning logs the last epoch trained.
    """
    # As Lightning's own callbacks: global_step counts the steps of every optimiser.
    step = max(0, trainer.fit_loop.epoch_loop._batches_that_stepped - 1)
    epoch = max(0, trainer.current_epoch - 1)
    for logger in trainer.loggers:
        logger.log_metrics({**metrics, "epoch": epoch}, step=step)
