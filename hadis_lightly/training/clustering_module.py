"""What the LightningModules of all methods share: views, loss logging, compilation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypedDict, TypeVar

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from hadis_lightly.checks import check_bool, check_integer, check_type
from hadis_lightly.inference import network_outputs
from hadis_lightly.models import batch_norms, frozen_statistics
from hadis_lightly.training.clustering_callback import ClusteringCallback
from hadis_lightly.training.inputs import (
    check_networks_given,
    check_strategy,
    plain_images_of,
    raw_images_of,
    saved_arguments,
)
from hadis_lightly.training.trainer_state import num_steps
from hadis_lightly.transforms import BatchedViews

if TYPE_CHECKING:
    from typing_extensions import Self

P = ParamSpec("P")
R = TypeVar("R")


class ModuleOptions(TypedDict, total=False):
    """Keyword arguments of every module, see :class:`ClusteringModule`."""

    views: BatchedViews | None
    seed: int | None
    images_repeat: bool
    compile_mode: str | None
    fused: bool


class ClusteringModule(pl.LightningModule, ABC):
    """Makes views on the device, logs losses and brings its clustering callback along.

    A method adds ``training_step``, which ends with :meth:`log_losses`, ``embed``,
    ``configure_optimizers`` and the names of its loss terms.

    Batches are ``((x0, x1), targets, keys)``, as lightly's data sets and
    :class:`~hadis_lightly.data.IndexedDataset` give them, or with ``views``
    ``(images, targets, keys)``, as :class:`~hadis_lightly.data.DeviceLoader` does.
    Targets are never looked at. On a GPU no step waits for the device, except where a
    logger writes its losses (``log_every_n_steps`` of Lightning's Trainer).

    ``Trainer.predict`` takes plain images, see :meth:`predict_step`. There is no
    validation step: the callback scores the clusters. With gradient checkpointing too
    BatchNorm statistics move once. Strategies that shard parameters are refused.

    Args:
        model: The networks; a checkpoint has their weights below ``model.``.
        callback: Finds the clusters; added to the Trainer's callbacks if it is not
            among them.
        views: Makes both views on the device, from batches of uint8 images. By default
            the loader makes the views.
        seed: Seed of the views. They then depend on seed, epoch and index of the image
            alone, and not on the state of a generator.
        images_repeat: Whether an image may come several times in an epoch. Its views
            then depend on the step and its place in the batch instead of epoch and
            index.
        compile_mode: Mode of ``torch.compile`` for networks, losses and views; by
            default nothing is compiled.
        fused: Whether the optimiser updates all weights in one kernel.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If a number is out of range, or numbers of clusters differ.
    """

    #: Names of the loss terms, in the order of ``last_losses``.
    loss_names: tuple[str, ...] = ("loss",)

    def __init__(
        self,
        model: nn.Module,
        callback: ClusteringCallback[Any] | None = None,
        *,
        views: BatchedViews | None = None,
        seed: int | None = None,
        images_repeat: bool = False,
        compile_mode: str | None = None,
        fused: bool = False,
    ) -> None:
        super().__init__()
        check_type("model", model, nn.Module)
        check_type("callback", callback, ClusteringCallback, optional=True)
        check_type("views", views, BatchedViews, optional=True)
        if seed is not None:
            check_integer("seed", seed, least=0)
        check_bool("images_repeat", images_repeat)
        check_bool("fused", fused)
        self.model = model
        self.callback = callback
        self.views = views
        self.seed = seed
        self.images_repeat = images_repeat
        self.compile_mode = compile_mode
        self.fused = fused
        #: Loss terms of the last step, on the device.
        self.last_losses = torch.zeros(len(self.loss_names))
        self._loss_sums, self._num_summed = self.last_losses, 0
        self._is_logged, self._largest_batch = False, 0
        self._batch_norms: list[Any] | None = None
        self.save_hyperparameters(*saved_arguments(type(self)), logger=False)
        if views is not None:
            self._make_views = self.compiled(views.make)

    def compiled(self, function: Callable[P, R]) -> Callable[P, R]:
        """The function, compiled if ``compile_mode`` is set."""
        if self.compile_mode is None:
            return function
        return torch.compile(function, mode=self.compile_mode, dynamic=False)

    def forward(self, x: Tensor) -> Tensor:
        """Embeds plain images, as :meth:`embed`."""
        return self.embed(x)

    @abstractmethod
    def embed(self, x: Tensor) -> Tensor:
        """Embeds plain images ``(n, c, h, w)``: normalised, ``(n, d)``."""

    def padded(self, x: Tensor) -> Tensor:
        """Images, padded to the largest batch so far if networks are compiled.

        A last batch of another size would be compiled once more.
        """
        if self.compile_mode is None:
            return x
        n = len(x)
        self._largest_batch = max(n, self._largest_batch)
        return torch.cat([x, x.new_zeros((self._largest_batch - n, *x.shape[1:]))])

    @classmethod
    def load_from_checkpoint(
        cls, checkpoint_path: Any, *args: Any, **kwargs: Any
    ) -> Self:
        """Builds the module from a checkpoint, with the clusters of its callback.

        Numbers and switches come from the checkpoint; networks, criterion, callback and
        views do not: ``HaDis.load_from_checkpoint(path, model=..., criterion=...,
        prototypes=...)``. Other arguments are Lightning's.

        Raises:
            TypeError: If an argument is missing that the checkpoint does not have.
        """
        check_networks_given(cls, kwargs)
        module: Self = super().load_from_checkpoint(checkpoint_path, *args, **kwargs)
        return module

    def configure_callbacks(self) -> list[pl.Callback]:
        """Adds the clustering callback, unless the Trainer has it already."""
        attached: list[pl.Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        if self.callback is None or self.callback in attached:
            return []
        # Lightning removes the user's own callbacks of the same class.
        removed = [c for c in attached if isinstance(self.callback, type(c))]
        return [*removed, self.callback]

    def setup(self, stage: str) -> None:
        """Refuses strategies that shard the parameters."""
        check_strategy(self.trainer)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Computes gradients, while BatchNorm statistics stand still."""
        # Gradient checkpointing, which runs layers here again, would move them twice.
        if self._batch_norms is None:
            self._batch_norms = batch_norms(self.model)
        with frozen_statistics(self._batch_norms):
            super().backward(loss, *args, **kwargs)

    def on_fit_start(self) -> None:
        """Forgets the BatchNorm layers: strategies may replace them."""
        self._batch_norms = None

    def predict_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Embeddings and clusters of plain images, for ``Trainer.predict``.

        Args:
            batch: ``(images, targets, keys)``, ``(images, targets)`` or images alone,
                ``(n, c, h, w)`` under the test transform, not raw uint8 images.
            batch_idx: Number of the batch.

        Returns:
            ``embeddings (n, d)``; ``labels (n,)`` and ``confidence (n,)`` if the
            callback has clusters; ``keys`` if the batch has them.
        """
        images, keys = plain_images_of(batch)
        outputs = network_outputs(self, images)
        found: dict[str, Any] = {"embeddings": outputs[0]}
        callback = self.callback
        if callback is not None and callback.partition_ is not None:
            partition = callback.partition_.to(self.device)
            found["labels"] = partition.predict(*outputs)
            found["confidence"] = partition.confidence(*outputs)
        if keys is not None:
            found["keys"] = keys
        return found

    def on_train_epoch_start(self) -> None:
        """Starts the mean losses anew."""
        self._loss_sums, self._num_summed = torch.zeros_like(self._loss_sums), 0
        self._is_logged = False

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Makes the views of a training batch, if the module was given ``views``."""
        if self.compile_mode is not None and self.training:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        if self.views is None or not self.training:
            return batch
        self.views.start_epoch(self.current_epoch)
        images, targets, keys = raw_images_of(batch)
        if self.seed is not None and isinstance(keys, Tensor):
            # NOTE: An image that comes twice in an epoch would have the same views.
            moment, drawn_by = self.current_epoch, keys
            if self.images_repeat:
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
        """Logs the loss terms: ``train/loss`` is the mean over an epoch.

        Loggers also get ``train/loss_step`` at every ``log_every_n_steps``-th step. The
        sums are our own because Lightning's are not in its checkpoints: an epoch that
        is resumed logs the mean over all its steps.

        Args:
            terms: A scalar for each of :attr:`loss_names`.
        """
        trainer = self.trainer
        names = [f"train/{name}" for name in self.loss_names]
        self.last_losses = torch.stack(list(terms)).detach()
        # From a checkpoint the sums come on the CPU.
        self._loss_sums = self._loss_sums.to(self.device) + self.last_losses.float()
        self._num_summed += 1
        self.log_dict(
            {f"{name}_step": x for name, x in zip(names, self.last_losses, strict=True)}
        )
        is_last_step = 0 < trainer.max_steps <= trainer.global_step + 1
        if is_last_step:
            num_batches = trainer.fit_loop.batch_idx + 1
            is_last_step = num_batches % trainer.accumulate_grad_batches == 0
        if trainer.is_last_batch or is_last_step:
            self._log_means()

    def _log_means(self) -> None:
        names = [f"train/{name}" for name in self.loss_names]
        means = self._loss_sums / self._num_summed
        self.log_dict(
            dict(zip(names, means, strict=True)),
            on_step=False,
            on_epoch=True,
            batch_size=1,
            sync_dist=self.trainer.world_size > 1,
        )
        self._is_logged = True

    def on_train_epoch_end(self) -> None:
        """Logs the means of an epoch that was stopped within."""
        if not self._is_logged and self._num_summed:
            self._log_means()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the sums of the losses of the current epoch, of all processes."""
        sums = self.trainer.strategy.reduce(self._loss_sums, reduce_op="mean")
        checkpoint["loss_sums"] = sums, self._num_summed

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores the sums of the losses; without a Trainer also the clusters."""
        self._loss_sums, self._num_summed = checkpoint.get(
            "loss_sums", (self._loss_sums, 0)
        )
        if self._trainer is None and self.callback is not None:
            state = checkpoint.get("callbacks", {}).get(self.callback.state_key)
            if state:
                self.callback.load_state_dict(state)

    def schedule(self) -> tuple[int, int]:
        """Steps of the optimiser in all, and in an epoch.

        Raises:
            ValueError: If the training has no end, or there is nothing to train on.
        """
        return num_steps(self.trainer)
