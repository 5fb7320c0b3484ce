"""Views that are small at first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytorch_lightning as pl

from hadis_lightly.checks import check_integer, check_type
from hadis_lightly.transforms.batched_views import BatchedViews


class GrowingViews(pl.Callback):
    """Makes smaller views in the first epochs, which learn more per operation.

    All views of an image shrink alike, local ones too, and their blur. Not in the
    paper; for images whose size falls and rises see progressive resizing in FixRes [0].
    Networks must take images of several sizes.

    Args:
        views: What a module makes its views with. Its sizes are those of the epochs
            that follow.
        initial_size: Side of the largest views in the first epochs, in pixels.
        epochs: Number of these epochs.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If ``initial_size`` is above the size of the views, or a number is
            out of range.

    Example:
        >>> views = BatchedViews(32, n_local_views=2)
        >>> growth = GrowingViews(views, initial_size=24, epochs=100)
        >>> [view.size for view in growth.views_at(0)]
        [24, 24, 12, 12]
        >>> [view.size for view in growth.views_at(100)]
        [32, 32, 16, 16]

    - [0]: Fixing the train-test resolution discrepancy, 2019,
      https://arxiv.org/abs/1906.06423
    """

    def __init__(self, views: BatchedViews, initial_size: int, epochs: int) -> None:
        super().__init__()
        check_type("views", views, BatchedViews)
        check_integer("initial_size", initial_size, least=1)
        check_integer("epochs", epochs, least=0)
        size = max(view.size for view in views.views)
        if initial_size > size:
            raise ValueError(
                f"initial_size must be at most that of the views, {size}, got "
                f"{initial_size}."
            )
        self.views = views
        self.epochs = epochs
        self._final, share = views.views, initial_size / size
        self._initial = tuple(
            replace(
                view,
                size=max(1, round(share * view.size)),
                blur_sigmas=tuple(share * sigma for sigma in view.blur_sigmas),
            )
            for view in views.views
        )

    def views_at(self, epoch: int) -> Any:
        """The distributions of the views in an epoch."""
        return self._initial if epoch < self.epochs else self._final

    def on_train_epoch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        """Sets the size of the epoch."""
        self.views.views = self.views_at(trainer.current_epoch)
