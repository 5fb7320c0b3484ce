"""What the LightningModules of all methods share: views, losses, the record of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, ParamSpec, TypeVar

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from hadis_lightly.checks import check_bool, check_integer
from hadis_lightly.training.clustering_callback import ClusteringCallback
from hadis_lightly.training.loss_log import LossLog
from hadis_lightly.transforms import BatchedViews

#: What ``trainer.compile`` may be, and the mode of ``torch.compile`` that it means.
COMPILE_MODES = {
    "off": None,
    "default": "default",
    "cudagraphs": "reduce-overhead",
    "max": "max-autotune",
}

P = ParamSpec("P")
R = TypeVar("R")


class Schedule(NamedTuple):
    """Length of a training in steps of the optimiser."""

    max_steps: int
    steps_per_epoch: int


class ClusteringModule(pl.LightningModule, ABC):
    """Makes views on the device, logs losses, and brings its clusters along.

    A method adds ``training_step``, which ends with :meth:`log_losses`, ``embed``,
    ``configure_optimizers``, and the names of its losses. Batches are
    ``((x0, x1), targets, keys)``, or with ``views`` ``(images, targets, keys)``.

    Args:
        model: The networks; a checkpoint has their weights below ``model.``.
        clusters: The callback that clusters; the trainer need not be given it.
        views: If given, batches come with uint8 images in place of ``(x0, x1)``, and
            it makes the views of them on the device.
        seed: If given, the views of an image depend on it, the epoch and the image's
            index alone, and not on the state of a generator; where an image may come
            again in an epoch, on the step and the place in the batch.
        compile_mode: If given, networks, losses and views run through
            ``torch.compile`` in this mode.
        fused: Whether one kernel of the optimiser updates all weights.
        log_every_n_steps: If given, the mean losses of so many steps go to the loggers
            as ``train/loss_step`` and so on, beside those of every epoch.

    Raises:
        ValueError: If a number or a mode is out of range.
    """

    #: Names of what a step loses, in the order of ``last_losses``.
    loss_names: tuple[str, ...] = ("loss",)

    def __init__(
        self,
        model: nn.Module,
        clusters: ClusteringCallback[Any] | None = None,
        *,
        views: BatchedViews | None = None,
        seed: int | None = None,
        compile_mode: str | None = None,
        fused: bool = False,
        log_every_n_steps: int | None = None,
    ) -> None:
        super().__init__()
        if log_every_n_steps is not None:
            check_integer("log_every_n_steps", log_every_n_steps, least=1)
        if seed is not None:
            check_integer("seed", seed, least=0)
        check_bool("fused", fused)
        if compile_mode not in COMPILE_MODES.values():
            modes = list(COMPILE_MODES.values())
            raise ValueError(
                f"compile_mode must be one of {modes}, got {compile_mode!r}."
            )
        self.model = model
        self.clusters = clusters
        self.views = views
        self.seed = seed
        self.compile_mode = compile_mode
        self.fused = fused
        self.log_every_n_steps = log_every_n_steps
        self._losses = LossLog([f"train/{name}" for name in self.loss_names])
        #: Whether an image may come several times in an epoch. Its views then depend
        #: on the step and the place in the batch in place of epoch and index.
        self.images_come_again = False
        self._most_embedded = 0
        self._last_logged_step = 0
        if views is not None:
            self._make_views = self.compiled(views.make)

    def compiled(self, function: Callable[P, R]) -> Callable[P, R]:
        """The function, through ``torch.compile`` if the module was told so."""
        if self.compile_mode is None:
            return function
        return torch.compile(function, mode=self.compile_mode, dynamic=False)

    def compile_parts(self, *parts: nn.Module) -> None:
        """Compiles modules in place, each for itself, if the module was told so.

        One program of a whole step would hold a network as often as it is called, and
        be compiled once more when anything in it changes, as at the end of a warm-up.
        """
        if self.compile_mode is not None:
            for part in parts:
                part.compile(mode=self.compile_mode, dynamic=False)

    def forward(self, x: Tensor) -> Tensor:
        """Embeds clean images, as :meth:`embed`."""
        return self.embed(x)

    @abstractmethod
    def embed(self, x: Tensor) -> Tensor:
        """Embeds clean images ``(n, c, h, w)``: normalised, ``(n, d)``."""

    def padded(self, x: Tensor) -> Tensor:
        """Images, filled up to the largest batch so far if networks are compiled.

        A last batch of another size would be compiled once more.
        """
        if self.compile_mode is None:
            return x
        n = len(x)
        self._most_embedded = max(n, self._most_embedded)
        return torch.cat([x, x.new_zeros((self._most_embedded - n, *x.shape[1:]))])

    def configure_callbacks(self) -> list[pl.Callback]:
        """Brings the clusters along, unless the trainer has them already."""
        attached = self.trainer.callbacks  # type: ignore[attr-defined]
        if self.clusters is None or self.clusters in attached:
            return []
        return [self.clusters]

    def on_train_epoch_start(self) -> None:
        """Starts the means of the losses anew."""
        self._losses.start_epoch()

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Makes the views of a batch of training, if the module was given ``views``."""
        if self.compile_mode is not None and self.training:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        if self.views is None or not self.training:
            return batch
        images, targets, keys = batch
        if not isinstance(images, Tensor):
            raise TypeError(
                "the module makes the views, so that batches must bring uint8 images "
                f"(n, c, h, w), got a {type(images).__name__}: leave views=None for a "
                "loader that brings views."
            )
        if self.seed is not None and isinstance(keys, Tensor):
            # NOTE: An image that comes twice in an epoch would have the same views.
            moment, drawn_by = self.current_epoch, keys
            if self.images_come_again:
                moment = self.global_step
                places = torch.arange(len(images), device=keys.device)
                drawn_by = places * self.trainer.world_size + self.global_rank
            uniforms = self.views.keyed_uniforms(
                images, drawn_by, seed=self.seed, epoch=moment
            )
        else:
            uniforms = self.views.uniforms(images)
        return self._make_views(images, uniforms), targets, keys

    def log_losses(self, terms: Sequence[Tensor]) -> None:
        """Sums up the losses; logs their means with the last step of an epoch.

        Args:
            terms: A scalar for each of :attr:`loss_names`.
        """
        trainer = self.trainer
        interval = self.log_every_n_steps
        self.last_losses = torch.stack(list(terms)).detach()
        self._losses.add(self.last_losses, for_interval=interval is not None)
        step = trainer.global_step + 1
        is_new = step != self._last_logged_step  # a step may have several batches
        if interval is not None and step % interval == 0 and is_new:
            self._last_logged_step = step
            self._log_interval(self._losses.end_interval(step))
        if trainer.is_last_batch or 0 < trainer.max_steps <= step:
            if interval is not None:
                self._log_interval(self._losses.arrived())
            self.log_dict(
                self._losses.means_of_epoch(),
                on_step=False,
                on_epoch=True,
                batch_size=1,
                sync_dist=trainer.world_size > 1,
            )

    def _log_interval(self, arrived: tuple[int, dict[str, float]] | None) -> None:
        if arrived is None:
            return
        step, means = arrived
        metrics = {f"{name}_step": mean for name, mean in means.items()}
        metrics["epoch"] = self.current_epoch
        for logger in self.trainer.loggers:
            logger.log_metrics(metrics, step=step)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the sums of the losses, for the means of an epoch that is resumed."""
        checkpoint["hadis_losses"] = self._losses.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the sums of the losses, if there are any."""
        if "hadis_losses" in checkpoint:
            self._losses.load_state_dict(checkpoint["hadis_losses"])

    def schedule(self) -> Schedule:
        """How long the training is.

        Raises:
            ValueError: If it has no end.
        """
        if math.isinf(self.trainer.estimated_stepping_batches):
            raise ValueError(
                "the trainer has neither max_epochs nor max_steps, but the schedule of "
                "the learning rate has to end somewhere."
            )
        max_steps = int(self.trainer.estimated_stepping_batches)
        accumulated = self.trainer.accumulate_grad_batches
        steps_per_epoch = max_steps  # of a loader without a length, the most it can be
        if not math.isinf(self.trainer.num_training_batches):
            steps_per_epoch = math.ceil(self.trainer.num_training_batches / accumulated)
        return Schedule(max_steps, steps_per_epoch)
