"""Embeds and clusters a whole set with a module: what is done, not when."""

from __future__ import annotations

import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import torch
from lightly.utils import dist as lightly_dist
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor
from torch import distributed as torch_dist

from hadis_lightly.checks import check_bool, check_integer
from hadis_lightly.cluster import (
    PrototypePartition,
    collapse_signs,
    fit_partition,
    scores_of,
)
from hadis_lightly.data.key_index import Keys
from hadis_lightly.progress import StepProgress
from hadis_lightly.training.clustered_set import C, ClusteredSet
from hadis_lightly.training.embedding import (
    EmbeddedSet,
    check_dataloader,
    embed_dataset,
)
from hadis_lightly.training.trainer_state import (
    ends_after,
    num_batches_trained,
    num_listed,
    warn_of_limit,
)

log = logging.getLogger(__name__)
Fit = Callable[..., PrototypePartition]

# What a checkpoint has of the last clustering, beside the clusters.
_OF_LAST = ("_num_batches", "_is_draft", "_is_limited", "_num_listed", "_unlogged")
# An untrained network shows all signs of a collapse.
_MIN_EPOCHS = 5


class SetClustering(ClusteredSet[C], ABC):
    """Embeds a whole set with a module, and clusters it as a subclass says.

    Args, Attributes, Raises: See
        :class:`~hadis_lightly.training.clustering_callback.ClusteringCallback`.
    """

    #: What may help against :func:`~hadis_lightly.cluster.collapse_signs`, by the sign.
    remedies: ClassVar[Mapping[str, str]]

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
        name: str,
        follow_limits: bool,
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
        if not isinstance(name, str) or not name:
            raise ValueError(f"name must be a name for the metrics, got {name!r}.")
        check_bool("follow_limits", follow_limits)
        self.n_clusters = n_clusters
        self.dataloader = dataloader
        self.warmup_epochs = warmup_epochs
        self.every_n_epochs = every_n_epochs
        self.n_init = n_init
        self.random_state = random_state
        self.whiten = whiten
        self.name = name
        self.follow_limits = follow_limits
        self.history_: list[dict[str, float]] = []
        #: Embed the set when the fit starts: for a complete run that is resumed.
        self.embeds_at_start = False
        #: Cluster when the fit starts: for a run that trains nothing.
        self.clusters_at_start = False
        #: Show the progress of embedding the set when it takes long.
        self.shows_progress = False
        self._warnings: dict[str, str] = {}  # by the sign of a collapse
        self._has_zeros = False
        # Of a fit that is under way:
        self._is_attached = self._is_training = self._is_fast_dev_run = False
        self._epoch, self._num_epochs = 0, math.inf
        self._max_batches: int | None = None
        self._is_first_pass = True
        self._restarts = n_init
        # Of the last clustering, also in checkpoints:
        self._num_batches = -1  # trained before
        self._is_draft = self._is_rough = self._is_limited = False
        self._num_listed: int | None = None  # images in the loader's data set
        self._unlogged: dict[str, float] = {}
        self._is_restored = False  # by a checkpoint

    @property
    def warnings_(self) -> list[str]:
        """Signs of a collapse in the last clustering, with advice."""
        return list(self._warnings.values())

    @property
    def is_warming_up(self) -> bool:
        """Whether clusters do not count yet in the current epoch."""
        return self._is_training and self._epoch < self.warmup_epochs

    @abstractmethod
    def fit_partition(self, embedded: EmbeddedSet) -> C:
        """Finds the clusters of an embedded set, the same in all processes."""

    def fit_kmeans(
        self, embeddings: Tensor, start: Tensor | None = None, fit: Fit | None = None
    ) -> PrototypePartition:
        """k-means on embeddings ``(n, d)``, by ``fit``, the same in all processes.

        Labels ``(n,)`` to start from take the place of ``n_init`` restarts; in warm-up,
        where labels only serve for scores, there is one.
        """
        seed = self.random_state
        return (fit or fit_partition)(
            embeddings,
            self.n_clusters,
            n_init=self._restarts,
            random_state=None if seed is None else seed + self._epoch,
            whiten=self.whiten,
            cosine_start=self.cosine_start,
            start=start,
            distributed=True,
        )

    # A validation is in inference mode, and nothing made there can be trained with.
    @torch.inference_mode(False)
    @torch.no_grad()
    def cluster(self, trainer: Trainer, pl_module: LightningModule, epoch: int) -> None:
        """Embeds and clusters the set, and scores the clusters.

        Args:
            trainer: Lightning's Trainer; its ``callback_metrics`` get the scores.
            pl_module: Embeds.
            epoch: Epochs trained so far.

        Raises:
            ValueError: If images are fewer than clusters, or an embedding not finite.
        """
        start = time.perf_counter()
        embedded = self._embed(trainer, pl_module)
        rows = embedded.embeddings
        if not torch.isfinite(rows).all():
            raise ValueError(
                f"embeddings contain NaN or infinite values after {epoch} epochs: an "
                "image or a weight is not finite; a lower learning rate may help."
            )
        self._warn_of_zeros(int((~rows.any(dim=1)).sum()), epoch)
        self._is_draft = epoch < self.warmup_epochs and not ends_after(trainer, epoch)
        self._is_rough = self._is_draft or self._is_fast_dev_run
        self._restarts = 1 if self._is_rough else self.n_init
        partition = self.fit_partition(embedded)
        self._keep(embedded, partition)
        self.on_clustered(trainer, pl_module, embedded, epoch)
        seconds = time.perf_counter() - start
        labels, prototypes = partition.labels, partition.prototypes
        self._scores = scores_of(embedded.targets, labels, rows, prototypes)
        if epoch > self.warmup_epochs:
            is_trained = epoch >= _MIN_EPOCHS
            signs = collapse_signs(rows, labels, prototypes) if is_trained else {}
            self._warn_of_collapse(signs, trainer, epoch)
        self.history_.append({"epoch": epoch, "seconds": seconds} | self._scores)
        self._num_batches, self._is_restored = num_batches_trained(trainer), False
        self._num_listed = num_listed(self.dataloader)
        self._unlogged = {
            f"{self.name}/{score}": value for score, value in self._scores.items()
        }
        seen = trainer.callback_metrics
        for score in ("nmi", "acc", "ari"):
            # A score that a collapse has ended does not stay as it was.
            if (name := f"{self.name}/{score}") in seen:
                seen[name] = torch.tensor(torch.nan)
        seen.update({name: torch.tensor(x) for name, x in self._unlogged.items()})

    def on_clustered(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        embedded: EmbeddedSet,
        epoch: int,
    ) -> None:
        """Called after each clustering, with the embeddings still on the device."""

    def state_dict(self) -> dict[str, Any]:
        """Clusters, scores and history, as they go into a checkpoint."""
        state = super().state_dict()
        if state:
            state |= {"history": list(self.history_), "warnings": self._warnings}
            state["last"] = {name: getattr(self, name) for name in _OF_LAST}
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes clusters, scores and history out of a checkpoint.

        Raises:
            ValueError: If it has another number of clusters.
        """
        super().load_state_dict(state_dict)
        if state_dict:
            k = self._fitted().n_clusters
            if k != self.n_clusters:
                raise ValueError(
                    f"the checkpoint has {k} clusters, but n_clusters is "
                    f"{self.n_clusters}: another number needs a new training."
                )
            self.history_ = list(state_dict["history"])
            self._warnings = state_dict["warnings"]
            for name in _OF_LAST:
                setattr(self, name, state_dict["last"][name])
            self._is_restored = self._is_first_pass = True

    def _known_rows(self, keys: Keys) -> Tensor | None:
        """Rows of a batch; None if some images were left out by the Trainer's flags."""
        if not self._is_limited:
            return self.rows(keys)
        rows = self._rows_or(keys).to(self.labels_.device)
        is_known = (rows >= 0).all().int()
        if self._is_training and lightly_dist.world_size() > 1:
            # All processes alike: a loss may gather the labels.
            torch_dist.all_reduce(is_known, torch_dist.ReduceOp.MIN)
        if bool(is_known):
            return rows
        if self._is_fast_dev_run:  # any row, so that what labels are for runs too
            return torch.arange(len(rows), device=rows.device) % len(self.labels_)
        return None

    def _embed(self, trainer: Trainer, pl_module: LightningModule) -> EmbeddedSet:
        """The set, in the order of its first pass."""
        shows = self.shows_progress and trainer.is_global_zero
        # Training draws the same numbers with and without a callback that looks.
        with (
            torch.random.fork_rng(devices=[]),
            StepProgress("embedding images", shows) as progress,
        ):
            embedded = embed_dataset(
                pl_module,
                self.dataloader,
                trainer,
                max_batches=self._max_batches,
                keys=self._keys,
                progress=progress,
            )
        may_differ = self._is_first_pass or self._max_batches is not None
        num_images = len(embedded.targets)
        is_cut = self._max_batches is not None and not self._is_fast_dev_run
        if is_cut and self._is_first_pass and num_images != num_listed(self.dataloader):
            warn_of_limit(type(self).__name__, num_images)
        self._is_limited = self._max_batches is not None
        self._is_first_pass = False
        if self._keys is None:
            self._keys = embedded.keys
        elif may_differ and not embedded.keys.has_same_keys(self._keys):
            self._keys = embedded.keys
            self._carry_over(embedded)
        # A loader that shuffles comes back into the order of its first pass.
        return embedded.in_order_of(self._keys)

    def _warn_of_zeros(self, num_zeros: int, epoch: int) -> None:
        if num_zeros and not self._has_zeros:
            rank_zero_warn(
                f"after {epoch} epochs {num_zeros} embeddings are zero: such an image "
                "has no direction, and its cluster means nothing."
            )
        self._has_zeros = num_zeros > 0

    def _warn_of_collapse(
        self, signs: Mapping[str, str], trainer: Trainer, epoch: int
    ) -> None:
        """Logs the signs that the clustering before did not show."""
        before = self._warnings
        self._warnings = {
            sign: f"{seen}: {self.remedies[sign]}" for sign, seen in signs.items()
        }
        for sign, warning in self._warnings.items():
            if sign not in before and trainer.is_global_zero:
                log.warning("after %d epochs %s.", epoch, warning)
