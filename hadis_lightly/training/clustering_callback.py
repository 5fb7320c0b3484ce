"""Clusters of the whole set, once per epoch: what all ways of finding them share."""

from __future__ import annotations

from abc import ABC

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_warn

from hadis_lightly.training.clustered_set import C
from hadis_lightly.training.inputs import check_strategy
from hadis_lightly.training.set_clustering import SetClustering
from hadis_lightly.training.trainer_state import (
    ends_after,
    is_past_training,
    limited_batches,
    log_between_epochs,
    num_batches_trained,
    num_epochs,
    num_listed,
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
        """Checks module, strategy, and that no other callback has the same name."""
        for name in self.required:
            if not callable(getattr(pl_module, name, None)):
                raise TypeError(
                    f"{type(self).__name__} needs a module with {name}(x), but "
                    f"{type(pl_module).__name__} has none."
                )
        check_strategy(trainer)
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        others = (c for c in callbacks if isinstance(c, ClusteringCallback))
        if any(c.name == self.name for c in others if c is not self):
            raise ValueError(
                f"two clustering callbacks have name={self.name!r}: give one of them "
                "another name."
            )
        self._is_attached = True
        self._forget_fit()  # one that an exception has ended

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Embeds or clusters the set, if that is all there is to do."""
        self._move(pl_module.device)
        if self.clusters_at_start:
            self.cluster(trainer, pl_module, epoch=0)
            self._log_now(trainer)
        elif self.embeds_at_start and self.partition_ is not None:
            self._embeddings = self._embed(trainer, pl_module).embeddings.cpu()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Clusters before the first epoch, unless a checkpoint brought the clusters."""
        self._is_training, self._is_first_pass = True, True
        self._is_fast_dev_run = bool(trainer.fast_dev_run)  # type: ignore[attr-defined]
        self._epoch, self._num_epochs = trainer.current_epoch, num_epochs(trainer)
        self._max_batches = None
        if self.follow_limits:
            self._max_batches = limited_batches(
                trainer, self.dataloader, self.n_clusters
            )
        if not self._goes_on(trainer):
            self.cluster(trainer, pl_module, epoch=trainer.current_epoch)
            self._log_now(trainer)

    def _goes_on(self, trainer: Trainer) -> bool:
        """Whether a checkpoint brought the clusters to train the next epoch on."""
        if not self._is_restored or self._num_batches > num_batches_trained(trainer):
            return False  # none, or from another training
        if self._is_limited and self._max_batches is None:
            return False
        listed = num_listed(self.dataloader)
        if listed != self._num_listed and not self._is_limited:
            rank_zero_warn(
                f"the checkpoint has clusters of {self._num_listed} images, but the "
                f"loader has {listed} now: they are clustered anew."
            )
            return False
        epoch = trainer.current_epoch
        return self.history_[-1]["epoch"] >= epoch or not self.is_due(trainer, epoch)

    def on_train_epoch_start(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Takes note of the epoch, for the warm-up."""
        self._epoch = trainer.current_epoch

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Clusters before the validation that ends an epoch."""
        self._move(pl_module.device)
        is_in_fit = trainer.state.fn == "fit" and not trainer.sanity_checking
        if is_in_fit and is_past_training(trainer):
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
        """Clusters once more, with all restarts, if the training ended unexpectedly."""
        if self._is_draft or self._num_batches != num_batches_trained(trainer):
            self.cluster(trainer, pl_module, epoch=trainer.current_epoch)
            self._log_now(trainer)

    def teardown(
        self, trainer: Trainer, pl_module: LightningModule, stage: str
    ) -> None:
        """Ends the warm-up; the clusters go where Lightning has put the module."""
        self._forget_fit()
        self._move(pl_module.device)

    def _forget_fit(self) -> None:
        self._is_training = self._is_fast_dev_run = self._is_restored = False
        self._max_batches = None

    def is_due(self, trainer: Trainer, epoch: int) -> bool:
        """Whether to cluster after so many epochs."""
        return ends_after(trainer, epoch) or epoch % self.every_n_epochs == 0

    def _cluster_if_due(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        is_done = self._num_batches == num_batches_trained(trainer)
        if not is_done and self.is_due(trainer, epoch):
            self.cluster(trainer, pl_module, epoch)

    def _log_now(self, trainer: Trainer) -> None:
        log_between_epochs(trainer, self._unlogged)
        self._unlogged = {}
