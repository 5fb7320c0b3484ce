"""k-means over a module's embeddings, once per epoch: pseudo-labels and scores."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from lightly.utils import dist as lightly_dist
from torch import Tensor
from torch import distributed as torch_dist

from hadis_lightly.checks import check_bool, check_integer
from hadis_lightly.cluster import (
    Partition,
    clustering_scores,
    label_free_scores,
    partition_embeddings,
)
from hadis_lightly.training.collapse_watch import CollapseWatch
from hadis_lightly.training.embedding import check_loader, embed_dataset
from hadis_lightly.training.key_index import KeyIndex, Keys
from hadis_lightly.training.progress import StepProgress, counted


class PrototypeKMeans(pl.Callback):
    """Clusters the training set before the first and after every epoch.

    The module embeds the whole set in evaluation mode; the embeddings are normalised
    and clustered by cosine k-means. The labels serve as pseudo-labels of the next
    epoch, and are what NMI, ACC and ARI are computed from, as in ProPos [0] and
    HaDis [1]. Clusters keep their ids from one epoch to the next.

    With several processes each image is embedded by one of them, if the loader gives
    each its share (:class:`~hadis_lightly.data.EpochSampler`,
    ``DistributedSampler``), the restarts of k-means are shared as well, and all have
    the same labels.

    Signs of a collapse are logged as warnings, once each, from the end of warm-up on.

    Works with any ``LightningModule`` that offers ``embed(x)``: images
    ``(n, c, h, w)`` in, embeddings ``(n, d)`` out.

    Args:
        n_clusters: Number of clusters, at least 2.
        dataloader: Yields ``(images, targets, keys)`` of the whole training set under
            the plain test transform. Keys are indices, as from
            :class:`~hadis_lightly.data.IndexedDataset`, or file names, as from
            lightly's ``LightlyDataset``; targets are class numbers, -1 where unknown.
        warmup_epochs: Number of first epochs in which there are no pseudo-labels.
            Paper: 50.
        every_n_epochs: Cluster after every n-th epoch only (and after the last).
        n_init: Restarts of k-means; the best is kept. Paper: 10.
        random_state: Seed of k-means; None draws from PyTorch's global generator.
        whiten: Whether k-means sees whitened embeddings
            (:class:`~hadis_lightly.cluster.Whitening`) in place of the cosine. NOTE:
            Not in the paper. Early embeddings have a few directions of large variance
            along which cosine k-means splits classes; once PCL trains on such a
            partition it stays, since it also has the lower inertia.
        warm_start: Whether k-means starts once, from the clusters of the last time, in
            place of ``n_init`` restarts. Faster; NOTE: not in the paper, and what it
            was stuck in it stays in.

    Attributes:
        partition_: The clusters: labels, prototypes, and how to predict; None until
            training starts.
        targets_: Class of every image, -1 where unknown, ``(n,)``, on the CPU.
        embeddings_: Normalised embeddings of the last clustering, ``(n, d)``.
        scores_: ``{"nmi", "acc", "ari"}`` where targets are known, else the label-free
            scores of :func:`~hadis_lightly.cluster.label_free_scores`.
        history_: One dictionary per clustering: epoch, seconds and scores.

    Raises:
        ValueError: If a number is out of range, or the loader has fewer images than
            there are clusters.

    - [0]: ProPos, 2022, https://arxiv.org/abs/2111.11821
    - [1]: HaDis, 2024, https://arxiv.org/abs/2401.14038
    """

    def __init__(
        self,
        n_clusters: int,
        dataloader: Iterable[Any],
        warmup_epochs: int = 50,
        every_n_epochs: int = 1,
        n_init: int = 10,
        random_state: int | None = None,
        *,
        whiten: bool = False,
        warm_start: bool = False,
    ) -> None:
        super().__init__()
        check_integer("n_clusters", n_clusters, least=2)
        check_loader(dataloader)
        check_integer("warmup_epochs", warmup_epochs, least=0)
        check_integer("every_n_epochs", every_n_epochs, least=1)
        check_integer("n_init", n_init, least=1)
        if random_state is not None:
            check_integer("random_state", random_state, least=0)
        check_bool("whiten", whiten)
        check_bool("warm_start", warm_start)
        self.n_clusters = n_clusters
        self.dataloader = dataloader
        self.warmup_epochs = warmup_epochs
        self.every_n_epochs = every_n_epochs
        self.n_init = n_init
        self.random_state = random_state
        self.whiten = whiten
        self.warm_start = warm_start
        self.history_: list[dict[str, float]] = []
        self.partition_: Partition | None = None
        self._watch = CollapseWatch()
        #: Whether to embed the set once more when clusters come from a checkpoint:
        #: for a run that is complete but for what is made of the embeddings.
        self.embeds_at_start = False
        #: Whether to say how far the embedding of the set is, when it takes long.
        self.shows_progress = False
        #: Whether to cluster before all else: for a run that trains nothing.
        self.clusters_at_start = False
        self._keys: KeyIndex | None = None
        self._is_restored = False
        self._epoch = 0

    def labels(self, keys: Keys) -> Tensor | None:
        """Pseudo-labels of some images, ``(n,)``; None during warm-up.

        Args:
            keys: What the loader gave as keys: indices or file names.

        Raises:
            ValueError: If a key did not come out of the loader.
        """
        if self.is_warming_up or self._keys is None:
            return None
        return self.labels_[self.rows(keys)]

    def rows(self, keys: Keys) -> Tensor:
        """Positions ``(n,)`` of some images in :attr:`labels_`, on its device.

        Raises:
            ValueError: If a key did not come out of the loader.
            AttributeError: If nothing has been clustered yet.
        """
        device = self.labels_.device
        assert self._keys is not None
        return self._keys.rows(keys, device=device)

    def nearest(self, teacher: Tensor) -> Tensor | None:
        """Number of the prototype nearest to each teacher embedding, ``(n,)``.

        A pseudo-label for loaders that give no keys; None during warm-up.

        Args:
            teacher: Embeddings by the teacher, ``(n, d)``, of any length.
        """
        if self.is_warming_up or self.partition_ is None:
            return None
        return self.partition_.predict(teacher)

    @property
    def labels_(self) -> Tensor:
        """Cluster of every image, ``(n,)``, in the order of the loader's first pass."""
        return self._fitted().labels

    @property
    def prototypes_(self) -> Tensor:
        """Prototypes, L2-normalised, ``(n_clusters, d)``, on the module's device."""
        return self._fitted().prototypes

    def _fitted(self) -> Partition:
        if self.partition_ is None:
            raise AttributeError(
                "PrototypeKMeans has not clustered yet: it does when training starts."
            )
        return self.partition_

    @property
    def warnings_(self) -> list[str]:
        """Signs of collapse in the last clustering, and what may help."""
        return list(self._watch.warnings.values())

    @property
    def is_warming_up(self) -> bool:
        """Whether there are no pseudo-labels yet in the current epoch."""
        return self._epoch < self.warmup_epochs

    def setup(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str
    ) -> None:
        """Checks that the module can embed."""
        if not callable(getattr(pl_module, "embed", None)):
            raise TypeError(
                f"PrototypeKMeans needs a module with embed(x), but "
                f"{type(pl_module).__name__} has none."
            )

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Embeds or clusters the set, if that is all there is to do."""
        if self.clusters_at_start:
            self.cluster(trainer, pl_module, epoch=0)
        elif self.embeds_at_start and self.partition_ is not None:
            self.partition_ = self.partition_.to(pl_module.device)
            self._embed(trainer, pl_module)

    def on_train_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """Clusters before the first epoch, unless a checkpoint brought the labels."""
        self._epoch = trainer.current_epoch
        if self.partition_ is not None and self._is_restored:
            self.partition_ = self.partition_.to(pl_module.device)
        else:
            self.cluster(trainer, pl_module, epoch=trainer.current_epoch)
        self._is_restored = False

    def on_train_epoch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """Takes note of the epoch, which warm-up is counted in."""
        self._epoch = trainer.current_epoch

    def on_train_epoch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """Clusters after every n-th and after the last epoch."""
        epoch = trainer.current_epoch + 1
        is_last = (
            trainer.should_stop
            or epoch == trainer.max_epochs
            or trainer.global_step == trainer.max_steps
        )
        if is_last or epoch % self.every_n_epochs == 0:
            self.cluster(trainer, pl_module, epoch=epoch)

    def cluster(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, epoch: int
    ) -> None:
        """Embeds and clusters the set, scores it and logs the scores.

        Args:
            trainer: Lightning's trainer, for its precision and its loggers.
            pl_module: The module that embeds.
            epoch: Number of epochs trained so far, for the record.

        Raises:
            ValueError: If there are fewer images than clusters, or an embedding is
                not finite.
        """
        start = time.perf_counter()
        self._embed(trainer, pl_module)
        if not torch.isfinite(self.embeddings_).all():
            reason = "training has diverged; a lower learning rate may help"
            if epoch == 0:
                reason = "an image or a weight is not finite"
            raise ValueError(
                f"embeddings contain NaN or infinite values after {epoch} epochs: "
                f"{reason}."
            )
        self.partition_ = self._partition(self.embeddings_)
        seconds = time.perf_counter() - start
        self.scores_ = self._score()
        if not self.is_warming_up:
            self._watch.look(self.embeddings_, self.partition_, epoch)
        self.history_.append({"epoch": epoch, "seconds": seconds} | self.scores_)
        metrics = {f"cluster/{name}": value for name, value in self.scores_.items()}
        trainer.callback_metrics.update(
            {name: torch.tensor(value) for name, value in metrics.items()}
        )
        for logger in trainer.loggers:
            logger.log_metrics(metrics | {"epoch": epoch}, step=trainer.global_step)

    def _embed(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Embeds the set; the rows are those of the first time."""
        if lightly_dist.world_size() > 1:
            for buffer in pl_module.buffers():  # of BatchNorm, which may differ
                torch_dist.broadcast(buffer, src=0)
        shows = self.shows_progress and lightly_dist.rank() == 0
        with StepProgress("embedding images", shows) as progress:
            loader = counted(self.dataloader, progress)
            embedded = embed_dataset(pl_module, loader, trainer)
        if self._keys is None:
            self._keys = embedded.keys
        # A loader that shuffles comes back into the order of its first pass.
        rows = embedded.keys.rows(self._keys.keys)
        self.embeddings_ = embedded.embeddings[rows.to(embedded.embeddings.device)]
        self.targets_ = embedded.targets[rows]

    def _partition(self, embeddings: Tensor) -> Partition:
        """Clusters the embeddings, alike in all processes."""
        last = self.partition_
        partition = partition_embeddings(
            embeddings,
            self.n_clusters,
            n_init=self.n_init,
            random_state=(
                None if self.random_state is None else self.random_state + self._epoch
            ),
            whiten=self.whiten,
            start=last.labels if last is not None and self.warm_start else None,
            distributed=True,
        )
        return partition if last is None else partition.renumbered(last.labels)

    def _score(self) -> dict[str, float]:
        if (self.targets_ >= 0).any():
            return clustering_scores(self.targets_, self.labels_)
        return label_free_scores(self.embeddings_, self.labels_, self.prototypes_)

    def state_dict(self) -> dict[str, Any]:
        """Clusters and history, as they go into a checkpoint."""
        if self._keys is None or self.partition_ is None:
            return {}
        return {
            "keys": self._keys.keys,
            "partition": self.partition_.state_dict(),
            "scores": self.scores_,
            "history": self.history_,
            "warnings": self._watch.warnings,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes clusters and history out of a checkpoint."""
        if state_dict:
            self._keys = KeyIndex([state_dict["keys"]])
            self.partition_ = Partition.from_state_dict(state_dict["partition"])
            self.scores_ = state_dict["scores"]
            self.history_ = state_dict["history"]
            self._watch.restore(state_dict["warnings"])
            self._is_restored = True
