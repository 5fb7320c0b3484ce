"""What a callback asks Lightning's Trainer: where it is, and how much it may do."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sized
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.utilities import rank_zero_warn

log = logging.getLogger(__name__)


def num_epochs(trainer: Trainer) -> float:
    """Epochs that a fit will have at most; infinite if nothing known ends it.

    To be called once the training loader is there, from ``on_train_start`` on.
    """
    epochs, batches = trainer.max_epochs, trainer.num_training_batches
    most = math.inf if epochs is None or epochs < 0 else epochs
    # By hand, several optimisers may step in each batch.
    is_automatic = trainer.lightning_module.automatic_optimization
    if is_automatic and trainer.max_steps > 0 and 0 < batches < math.inf:
        steps = math.ceil(batches / trainer.accumulate_grad_batches)
        most = min(most, math.ceil(trainer.max_steps / steps))
    return most


def num_steps(trainer: Trainer) -> tuple[int, int]:
    """Steps of the optimiser in all, and in an epoch.

    Raises:
        ValueError: If the training has no end, or there is nothing to train on.
    """
    trainer.fit_loop.setup_data()  # with max_steps alone it is not there yet
    if trainer.num_training_batches == 0:
        raise ValueError(
            "there are no training batches: the train loader is empty (drop_last "
            "with fewer images than batch_size?), or limit_train_batches is 0."
        )
    steps = trainer.estimated_stepping_batches
    if math.isinf(steps) or steps < 0:  # -1: of a loader without a length
        raise ValueError(
            "the Trainer has neither max_epochs nor max_steps, which the schedule "
            "of the learning rate needs (for a loader without a length max_steps)."
        )
    max_steps = int(steps)
    if math.isinf(trainer.num_training_batches):  # the loader has no length
        return max_steps, max_steps
    batches_per_step = trainer.accumulate_grad_batches
    return max_steps, math.ceil(trainer.num_training_batches / batches_per_step)


def warn_of_long_warmup(trainer: Trainer, warmup_epochs: int) -> None:
    """Warns if the warm-up of a method covers the whole training."""
    is_trial = trainer.fast_dev_run or trainer.max_epochs == 0  # type: ignore[attr-defined]
    has_end = 0 < trainer.estimated_stepping_batches < math.inf
    if is_trial or not has_end or not trainer.is_global_zero:
        return
    max_steps, steps_per_epoch = num_steps(trainer)
    if warmup_epochs * steps_per_epoch >= max_steps:
        log.warning(
            "warmup_epochs=%d covers the whole training (%d epochs): the learning "
            "rate only rises, and no noise is added to projections; lower "
            "warmup_epochs or train longer.",
            warmup_epochs,
            math.ceil(max_steps / steps_per_epoch),
        )


def num_batches_trained(trainer: Trainer) -> int:
    """Batches trained so far: unlike steps, however many optimisers there are."""
    return trainer.fit_loop.total_batch_idx + 1


def ends_after(trainer: Trainer, epoch: int) -> bool:
    """Whether training ends after so many epochs, as far as is known by now."""
    return epoch == trainer.max_epochs or _is_out_of_steps(trainer, epoch)


def is_past_training(trainer: Trainer) -> bool:
    """Whether the steps of the current epoch are done, as before its validation."""
    return trainer.is_last_batch or _is_out_of_steps(trainer, trainer.current_epoch)


def _is_out_of_steps(trainer: Trainer, epoch: int) -> bool:
    """Whether no step follows, be it that ``max_steps`` or a callback ends training."""
    may_stop = epoch >= (trainer.min_epochs or 0) and trainer.global_step >= (
        trainer.min_steps or 0
    )
    is_over = 0 < trainer.max_steps <= trainer.global_step
    return is_over or (trainer.should_stop and may_stop)


def limited_batches(trainer: Trainer, loader: Any, num_images: int) -> int | None:
    """Batches of a loader with as many images as a limited epoch trains on.

    Args:
        trainer: The Trainer, once its training loader is known.
        loader: The loader of the plain images.
        num_images: Minimum number of images.

    Returns:
        The number of batches; None if neither ``limit_train_batches``,
        ``overfit_batches`` nor ``fast_dev_run`` leaves anything out.
    """
    limit = trainer.limit_train_batches  # the other flags set it as well
    if limit >= 1 and not (
        isinstance(limit, int) and limit <= trainer.num_training_batches
    ):
        return None
    size = getattr(loader, "batch_size", None) or 1
    trained = getattr(trainer.train_dataloader, "batch_size", None) or size
    wanted: float = max(num_images, trainer.num_training_batches * trained)
    return math.ceil(wanted / size)


def warn_of_limit(name: str, num_images: int) -> None:
    """Warns that a callback clusters some of the images only."""
    rank_zero_warn(
        f"the Trainer limits the batches of an epoch, so {name} clusters "
        f"{num_images:,} images only; others have no pseudo-label. To cluster all of "
        "them: follow_limits=False."
    )


def num_listed(loader: Any) -> int | None:
    """Number of images in the data set of a loader; None if it has no length."""
    dataset = getattr(loader, "dataset", loader)
    return len(dataset) if isinstance(dataset, Sized) else None


def log_between_epochs(trainer: Trainer, metrics: Mapping[str, float]) -> None:
    """Logs where ``LightningModule.log`` cannot: before the first epoch and at the end.

    The step and the epoch are those at which Lightning logs the last epoch trained.
    """
    # As Lightning's own callbacks: global_step counts the steps of every optimiser.
    step = max(0, trainer.fit_loop.epoch_loop._batches_that_stepped - 1)
    epoch = max(0, trainer.current_epoch - 1)
    for logger in trainer.loggers:
        logger.log_metrics({**metrics, "epoch": epoch}, step=step)
