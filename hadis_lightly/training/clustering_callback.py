"""Clusters of the whole set, once per epoch: what all ways of finding them share."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sized

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_warn

from hadis_lightly.training.clustered_set import C
from hadis_lightly.training.inputs import check_strategy
from hadis_lightly.training.set_clustering import SetClustering
from hadis_lightly.training.trainer_state import (
    is_last_epoch,
    is_limited,
    is_past_training,
    log_between_epochs,
    num_epochs,
)

# Scores in the progress bar.
_SHOWN = ("nmi", "acc", "ari", "silhouette")


class ClusteringCallback(SetClustering[C], Callback, ABC):
    """Finds the clusters of the training set before the first and after every epoch.

    The module embeds the whole set in evaluation mode, a subclass finds the clusters.
    This comes before the validation that ends an epoch, so that checkpoints and early
    stopping see the clusters and scores of the epoch. Scores are logged as
    ``NAME/nmi`` and so on, at the step and epoch at which Lightning logs means over the
    epoch. Signs of a collapse are logged as warnings, once each, from the end of
    warm-up on.

    With several processes each image is embedded by one of them, see
    :func:`~hadis_lightly.training.embedding.embed_dataset`, and all have the same
    labels. Where ``limit_train_batches``, ``overfit_batches`` or ``fast_dev_run`` limit
    the training, no more images are embedded than an epoch trains on; others have no
    pseudo-label (under ``fast_dev_run`` any one, so that all code runs).

    Args:
        dataloader: Yields ``(images, targets, keys)`` of the whole training set under
            the plain test transform, again for every clustering. Keys are indices, as
            from :class:`~hadis_lightly.data.IndexedDataset`, or file names, as from
            lightly's ``LightlyDataset``; targets are class numbers, -1 where unknown.
        n_clusters, warmup_epochs, every_n_epochs, n_init, random_state, whiten, name,
            follow_limits: See :class:`PrototypeKMeans`.

    Attributes:
        partition_, labels_, prototypes_, scores_: See :class:`ClusteredSet`.
        history_: One dictionary per clustering: the epochs trained before it, its
            seconds, and its scores.

    Raises:
        TypeError: If the loader can be read only once, or the module cannot embed.
        ValueError: If a number is out of range, images are fewer than clusters, or the
            loader yields other images than before.
    """

    #: Methods that the module must have.
    required: tuple[str, ...] = ("embed",)

    @property
    def state_key(self) -> str:
        """Where a checkpoint has the state: callbacks of other names have their own."""
        kind = type(self).__qualname__
        return kind if self.name == "cluster" else f"{kind}[{self.name}]"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Checks that the module has the methods it needs, and its weights whole."""
        for name in self.required:
            if not callable(getattr(pl_module, name, None)):
                raise TypeError(
                    f"{type(self).__name__} needs a module with {name}(x), but "
                    f"{type(pl_module).__name__} has none."
                )
        check_strategy(trainer)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Embeds or clusters the set, if that is all there is to do."""
        if self.clusters_at_start:
            self.cluster(trainer, pl_module, epoch=0)
            log_between_epochs(trainer, self._unlogged)
        elif self.embeds_at_start and self.partition_ is not None:
            self._move(pl_module.device)
            self._embeddings = self._embed(trainer, pl_module).embeddings.cpu()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Clusters before the first epoch, unless a checkpoint brought the clusters."""
        self._epoch = trainer.current_epoch
        self._is_dry = bool(trainer.fast_dev_run)  # type: ignore[attr-defined]
        self._is_limited = self.follow_limits and is_limited(trainer)
        self._num_epochs = num_epochs(trainer)
        self._move(pl_module.device)
        dataset = getattr(self.dataloader, "dataset", None)
        if self._is_restored and isinstance(dataset, Sized):
            before = len(self.labels_)
            if len(dataset) != before and not self._is_limited:
                rank_zero_warn(
                    f"the checkpoint has clusters of {before:,} images, but there are "
                    f"{len(dataset):,} now: they are clustered anew."
                )
                self.cluster(trainer, pl_module, epoch=trainer.current_epoch)
                log_between_epochs(trainer, self._unlogged)
        elif not self._is_restored:
            self.cluster(trainer, pl_module, epoch=trainer.current_epoch)
            log_between_epochs(trainer, self._unlogged)

    def on_train_epoch_start(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Takes note of the epoch, for the warm-up."""
        self._epoch = trainer.current_epoch

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Clusters before the validation that ends an epoch."""
        if trainer.state.fn != "fit":
            self._move(pl_module.device)
        elif not trainer.sanity_checking and is_past_training(trainer):
            self._cluster_if_due(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Moves the clusters that a checkpoint brought to the device of the module."""
        self._move(pl_module.device)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Moves the clusters that a checkpoint brought to the device of the module."""
        self._move(pl_module.device)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Clusters after every n-th and after the last epoch, and logs the scores."""
        self._cluster_if_due(trainer, pl_module)
        for name, value in self._unlogged.items():
            pl_module.log(
                name,
                value,
                prog_bar=name.rpartition("/")[2] in _SHOWN,
                on_step=False,
                on_epoch=True,
                batch_size=1,
                sync_dist=trainer.world_size > 1,
            )
        self._unlogged = {}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Clusters once more if the last epoch ended the training unexpectedly."""
        if self._step != trainer.global_step:
            self.cluster(trainer, pl_module, epoch=trainer.current_epoch)
            log_between_epochs(trainer, self._unlogged)

    def is_due(self, trainer: Trainer, epoch: int) -> bool:
        """Whether to cluster after so many epochs."""
        return is_last_epoch(trainer, epoch) or epoch % self.every_n_epochs == 0

    def _cluster_if_due(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        if self._step != trainer.global_step and self.is_due(trainer, epoch):
            self.cluster(trainer, pl_module, epoch)
