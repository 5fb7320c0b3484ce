"""Clusters of the whole set, once per epoch: what all ways of finding them share."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from hadis_lightly.checks import check_bool, check_integer
from hadis_lightly.cluster import (
    PrototypePartition,
    clustering_scores,
    collapse_signs,
    fit_partition,
    label_free_scores,
)
from hadis_lightly.progress import StepProgress
from hadis_lightly.training.clustered_set import C, ClusteredSet
from hadis_lightly.training.embedding import (
    EmbeddedSet,
    check_dataloader,
    embed_dataset,
)
from hadis_lightly.training.key_index import KeyIndex

log = logging.getLogger(__name__)

# An untrained network shows all signs of a collapse.
_MIN_EPOCHS = 5


class ClusteringCallback(ClusteredSet[C], Callback, ABC):
    """Finds the clusters of the training set before the first and after every epoch.

    The module embeds the whole set in evaluation mode, a subclass finds the clusters.
    With several processes each image is embedded by one of them, if the loader gives
    each its share (:class:`~hadis_lightly.data.EpochSampler`, ``DistributedSampler``),
    and all have the same labels. Signs of a collapse are logged as warnings, once each,
    from the end of warm-up on.

    Args:
        dataloader: Yields ``(images, targets, keys)`` of the whole training set under
            the plain test transform. Keys are indices, as from
            :class:`~hadis_lightly.data.IndexedDataset`, or file names, as from
            lightly's ``LightlyDataset``; targets are class numbers, -1 where unknown.
        n_clusters, warmup_epochs, every_n_epochs, n_init, random_state, whiten: See
            :class:`PrototypeKMeans`.

    Attributes:
        partition_, labels_, prototypes_: See :class:`ClusteredSet`.
        scores_: ``{"nmi", "acc", "ari"}`` where targets are known, else the label-free
            scores of :func:`~hadis_lightly.cluster.label_free_scores`.
        history_: One dictionary per clustering: epoch, seconds and scores.

    Raises:
        ValueError: If a number is out of range, or images are fewer than clusters.
    """

    #: Class of the clusters.
    partition_type: type[C]
    #: What may help against each of the :func:`~hadis_lightly.cluster.collapse_signs`.
    remedies: ClassVar[Mapping[str, str]]
    #: Methods that the module must have.
    required: tuple[str, ...] = ("embed",)

    def __init__(
        self,
        n_clusters: int,
        dataloader: Iterable[Any],
        warmup_epochs: int,
        every_n_epochs: int,
        *,
        n_init: int,
        random_state: int | None,
        whiten: bool,
    ) -> None:
        super().__init__()
        check_integer("n_clusters", n_clusters, least=2)
        check_dataloader(dataloader)
        check_integer("warmup_epochs", warmup_epochs, least=0)
        check_integer("every_n_epochs", every_n_epochs, least=1)
        check_integer("n_init", n_init, least=1)
        if random_state is not None:
            check_integer("random_state", random_state, least=0)
        check_bool("whiten", whiten)
        self.n_clusters = n_clusters
        self.dataloader = dataloader
        self.warmup_epochs = warmup_epochs
        self.every_n_epochs = every_n_epochs
        self.n_init = n_init
        self.random_state = random_state
        self.whiten = whiten
        self.history_: list[dict[str, float]] = []
        #: Embed the set when the fit starts: for a complete run that is resumed.
        self.embeds_at_start = False
        #: Cluster when the fit starts: for a run that trains nothing.
        self.clusters_at_start = False
        #: Show the progress of embedding the set when it takes long.
        self.shows_progress = False
        self._warnings: dict[str, str] = {}  # by the sign of a collapse
        self._is_restored = False
        self._epoch = 0

    @abstractmethod
    def fit_partition(self, embedded: EmbeddedSet) -> C:
        """Finds the clusters of an embedded set, the same in all processes."""

    def fit_kmeans(
        self, embeddings: Tensor, start: Tensor | None = None
    ) -> PrototypePartition:
        """k-means on normalised embeddings ``(n, d)``, the same in all processes.

        Starts from labels ``(n,)`` if they are given, in place of ``n_init`` restarts.
        """
        seed = self.random_state
        return fit_partition(
            embeddings,
            self.n_clusters,
            n_init=self.n_init,
            random_state=None if seed is None else seed + self._epoch,
            whiten=self.whiten,
            start=start,
            distributed=True,
        )

    @property
    def warnings_(self) -> list[str]:
        """Signs of a collapse in the last clustering, with advice."""
        return list(self._warnings.values())

    @property
    def is_warming_up(self) -> bool:
        """Whether clusters do not count yet in the current epoch."""
        return self._epoch < self.warmup_epochs

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Checks that the module has the methods it needs."""
        for name in self.required:
            if not callable(getattr(pl_module, name, None)):
                raise TypeError(
                    f"{type(self).__name__} needs a module with {name}(x), but "
                    f"{type(pl_module).__name__} has none."
                )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Embeds or clusters the set, if that is all there is to do."""
        if self.clusters_at_start:
            self.cluster(trainer, pl_module, epoch=0)
        elif self.embeds_at_start and self.partition_ is not None:
            self.partition_ = self.partition_.to(pl_module.device)
            self._embed(trainer, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Clusters before the first epoch, unless a checkpoint brought the labels."""
        self._epoch = trainer.current_epoch
        if self._is_restored:
            self.partition_ = self._fitted().to(pl_module.device)
        else:
            self.cluster(trainer, pl_module, epoch=trainer.current_epoch)
        self._is_restored = False

    def on_train_epoch_start(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Takes note of the epoch, for the warm-up."""
        self._epoch = trainer.current_epoch

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Clusters after every n-th and after the last epoch."""
        if self.is_due(trainer, trainer.current_epoch + 1):
            self.cluster(trainer, pl_module, epoch=trainer.current_epoch + 1)

    def is_due(self, trainer: Trainer, epoch: int) -> bool:
        """Whether to cluster after so many epochs."""
        ends = epoch == trainer.max_epochs or trainer.global_step == trainer.max_steps
        return ends or trainer.should_stop or epoch % self.every_n_epochs == 0

    def cluster(self, trainer: Trainer, pl_module: LightningModule, epoch: int) -> None:
        """Embeds and clusters the set, scores it and logs the scores.

        Raises:
            ValueError: If images are fewer than clusters, or an embedding not finite.
        """
        start = time.perf_counter()
        self._embed(trainer, pl_module)
        if not torch.isfinite(self.embeddings_).all():
            raise ValueError(
                f"embeddings contain NaN or infinite values after {epoch} epochs: an "
                "image or a weight is not finite; a lower learning rate may help."
            )
        self.partition_ = self.fit_partition(self._embedded)
        seconds = time.perf_counter() - start
        if (self.targets_ >= 0).any():
            self.scores_ = clustering_scores(self.targets_, self.labels_)
        else:
            self.scores_ = label_free_scores(
                self.embeddings_, self.labels_, self.prototypes_
            )
        if not self.is_warming_up:
            self._warn_of_collapse(trainer, epoch)
        self.history_.append({"epoch": epoch, "seconds": seconds} | self.scores_)
        metrics = {f"cluster/{name}": value for name, value in self.scores_.items()}
        trainer.callback_metrics.update(
            {name: torch.tensor(value) for name, value in metrics.items()}
        )
        for logger in trainer.loggers:
            logger.log_metrics(metrics | {"epoch": epoch}, step=trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        """Clusters and history, as they go into a checkpoint."""
        if self._keys is None or self.partition_ is None:
            return {}
        return {
            "keys": self._keys.keys,
            "partition": self.partition_.state_dict(),
            "scores": self.scores_,
            "history": self.history_,
            "warnings": self._warnings,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes clusters and history out of a checkpoint."""
        if state_dict:
            self._keys = KeyIndex([state_dict["keys"]])
            partition = state_dict["partition"]
            self.partition_ = self.partition_type.from_state_dict(partition)
            self.scores_ = state_dict["scores"]
            self.history_ = state_dict["history"]
            self._warnings = state_dict["warnings"]
            self._is_restored = True

    def _embed(self, trainer: Trainer, pl_module: LightningModule) -> None:
        shows = self.shows_progress and trainer.is_global_zero
        with StepProgress("embedding images", shows) as progress:
            embedded = embed_dataset(
                pl_module, self.dataloader, trainer, keys=self._keys, progress=progress
            )
        if self._keys is None:
            self._keys = embedded.keys
        # A loader that shuffles comes back into the order of its first pass.
        self._embedded = embedded.in_order_of(self._keys)

    def _warn_of_collapse(self, trainer: Trainer, epoch: int) -> None:
        """Logs the signs that the clustering before did not show."""
        signs = {}
        if epoch >= _MIN_EPOCHS:
            signs = collapse_signs(self.embeddings_, self.labels_, self.prototypes_)
        before = self._warnings
        self._warnings = {
            sign: f"{seen}: {self.remedies[sign]}" for sign, seen in signs.items()
        }
        for sign, warning in self._warnings.items():
            if sign not in before and trainer.is_global_zero:
                log.warning("after %d epochs %s.", epoch, warning)
