"""The embeddings and the clusters of a set of images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Generic, TypeVar, cast

import torch
from lightly.utils import dist as lightly_dist
from torch import Tensor
from torch import distributed as torch_dist

from hadis_lightly.cluster import (
    ClusterTree,
    HeadPartition,
    NClustersChoice,
    OutlierDetector,
    Partition,
    PrototypePartition,
    choose_n_clusters,
    fit_tree,
)
from hadis_lightly.data.key_index import KeyIndex, Keys
from hadis_lightly.training.embedding import EmbeddedSet

C = TypeVar("C", PrototypePartition, HeadPartition)

# Clusters until their number is chosen.
_STAND_IN = 10


def stand_in(bounds: tuple[int, int], num_images: int) -> int:
    """Clusters until their number is chosen: 10, as far as bounds and images allow.

    Raises:
        ValueError: If the images are too few for the choice that will come.
    """
    low, high = bounds
    if 2 * low > num_images:
        raise ValueError(
            f"n_clusters is {low} to {high}, but there are only {num_images} images: "
            "to choose, there must be twice as many as clusters."
        )
    return max(low, min(high, _STAND_IN, num_images // 2))


def choose_together(
    embeddings: Tensor, bounds: tuple[int, int], **options: Any
) -> NClustersChoice:
    """The number of clusters, the same in all processes.

    Args:
        embeddings: ``(n, d)``.
        bounds: Lowest and highest number; fewer than the embeddings are tried.
        **options: Of :func:`~hadis_lightly.cluster.choose_n_clusters`.

    Raises:
        ValueError: In all processes, if no number can be tried.
    """
    found: list[NClustersChoice | ValueError | None] = [None]
    if lightly_dist.rank() == 0:
        low, high = bounds
        most = max(low, min(high, len(embeddings) - 1))
        try:
            found[0] = choose_n_clusters(embeddings, (low, most), **options)
        except ValueError as error:  # others would wait for ever
            found[0] = error
    if lightly_dist.world_size() > 1:
        torch_dist.broadcast_object_list(found, device=embeddings.device)
    if isinstance(found[0], ValueError):
        raise found[0]
    return cast(NClustersChoice, found[0])


class ClusteredSet(Generic[C]):
    """Clusters of a set of images, in the order of the loader's first pass.

    All of it comes with a checkpoint, but for the embeddings.

    Attributes:
        partition_: The clusters: labels, prototypes, and how to predict; None until
            training starts.
        tree_: The tree over the clusters; None until :meth:`fit_tree` is called, and
            again after the next clustering.
    """

    #: Class of the clusters.
    partition_type: type[C]
    partition_: C | None = None
    #: What the number of clusters was chosen by; None if it was given.
    n_clusters_choice_: NClustersChoice | None = None
    tree_: ClusterTree | None = None
    _keys: KeyIndex | None = None
    #: Start k-means on whitened embeddings from the clusters on the cosine.
    cosine_start = False
    _embeddings: Tensor | None = None
    #: Points ``(n, d)`` among which outliers are sought, in place of the embeddings.
    outlier_points: Tensor | None = None
    _outliers: OutlierDetector | None = None
    #: Names ``(n,)`` of the images, -1 for most: those of one name share a cluster, see
    #: :func:`~hadis_lightly.cluster.fit_named_partition`.
    examples: Tensor | None = None
    _measures: dict[str, Tensor]
    _scores: dict[str, float]

    @property
    def labels_(self) -> Tensor:
        """Cluster of every image, ``(n,)``, on the module's device."""
        return self._fitted().labels

    @property
    def prototypes_(self) -> Tensor:
        """Prototypes, L2-normalised, ``(n_clusters, d)``, on the module's device."""
        return self._fitted().prototypes

    @property
    def scores_(self) -> dict[str, float]:
        """Scores of the last clustering, see :func:`~hadis_lightly.cluster.scores_of`.

        NMI, ACC and ARI where at least two classes are known and there are at least
        two clusters; always the label-free scores.
        """
        self._fitted()
        return self._scores

    @property
    def confidence_(self) -> Tensor:
        """How clearly each image lies with its cluster, in [0, 1], ``(n,)``, CPU."""
        self._fitted()
        return self._measures["confidence"]

    @property
    def distance_(self) -> Tensor:
        """Distance of each image to the centre of its cluster, ``(n,)``, on the CPU."""
        self._fitted()
        return self._measures["distance"]

    @property
    def targets_(self) -> Tensor:
        """Class of every image, -1 where unknown, ``(n,)``, on the CPU."""
        self._fitted()
        return self._measures["targets"]

    @property
    def embeddings_(self) -> Tensor:
        """Normalised embeddings of the last clustering, ``(n, d)``, on the CPU.

        Raises:
            AttributeError: Before the first clustering, and after a checkpoint was
                loaded, which has none.
        """
        self._fitted()
        if self._embeddings is None:
            raise AttributeError(
                f"{type(self).__name__} has no embeddings: a checkpoint keeps labels "
                "and prototypes only. They come with the next clustering; see cluster."
            )
        return self._embeddings

    @property
    def outliers_(self) -> OutlierDetector:
        """Tells images that are like no others of the set.

        Raises:
            AttributeError: As :attr:`embeddings_`, if no checkpoint brought it.
        """
        if self._outliers is None:
            self._outliers = OutlierDetector.fit(self._points())
        return self._outliers

    @property
    def isolation_(self) -> Tensor:
        """How isolated each image is, ``(n,)``, on the CPU.

        Raises:
            AttributeError: As :attr:`embeddings_`.
        """
        return self.outliers_.isolation(self._points()).cpu()

    def _points(self) -> Tensor:
        points = self.outlier_points
        return self.embeddings_ if points is None else points

    @property
    def has_embedded(self) -> bool:
        """Whether there are embeddings: not right after a checkpoint was loaded."""
        return self._embeddings is not None

    def fit_tree(self) -> ClusterTree:
        """Finds the tree over the clusters, which goes into checkpoints from now on.

        Raises:
            AttributeError: If there are no clusters or no embeddings, see
                :attr:`embeddings_`.
        """
        self.tree_ = fit_tree(self._fitted(), self.embeddings_)
        return self.tree_

    def rows(self, keys: Keys) -> Tensor:
        """Positions ``(n,)`` of some images in :attr:`labels_`, on its device.

        Raises:
            ValueError: If the loader never yielded a key.
        """
        device = self.labels_.device
        return cast(KeyIndex, self._keys).rows(keys, device)

    def _rows_or(self, keys: Keys) -> Tensor:
        """As :meth:`rows`, on the CPU, and -1 for a key that was never yielded."""
        return cast(KeyIndex, self._keys).rows_or(keys)

    def state_dict(self) -> dict[str, Any]:
        """Clusters, measures and scores, as they go into a checkpoint."""
        if self._keys is None or self.partition_ is None:
            return {}
        state = {
            "keys": self._keys.keys,
            "partition": self.partition_.state_dict(),
            "tree": self.tree_ and self.tree_.state_dict(),
            "measures": self._measures,
            "scores": self._scores,
        }
        if self._outliers is not None or self.has_embedded:
            state["outliers"] = self.outliers_.to("cpu").state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes what a checkpoint has; the embeddings are gone."""
        if state_dict:
            self._keys = KeyIndex([state_dict["keys"]])
            partition = state_dict["partition"]
            self.partition_ = self.partition_type.from_state_dict(partition)
            tree = state_dict.get("tree")  # earlier versions had none
            self.tree_ = tree and ClusterTree.from_state_dict(tree)
            self._measures = state_dict["measures"]
            self._scores = state_dict["scores"]
            self._embeddings = None
            found = state_dict.get("outliers")
            self._outliers = found and OutlierDetector.from_state_dict(found)

    def _keep(self, embedded: EmbeddedSet, partition: C) -> None:
        """Keeps clusters on their device, and the rest on the CPU."""
        clusters: Partition = partition
        self.partition_, self.tree_ = partition, None
        self._measures = {
            "targets": embedded.targets,
            "confidence": clusters.confidence(*embedded.outputs).cpu(),
            "distance": clusters.distance(*embedded.outputs).cpu(),
        }
        self._embeddings = embedded.embeddings.cpu()
        if self.outlier_points is None:
            self._outliers = None

    # A validation is in inference mode, and nothing made there can be trained with.
    @torch.inference_mode(False)
    def _move(self, device: torch.device) -> None:
        """Moves the clusters to a device: a checkpoint brings them on the CPU."""
        if self.partition_ is not None:
            self.partition_ = self.partition_.to(device)

    def _carry_over(self, embedded: EmbeddedSet) -> None:
        """Gives other images than before the clusters that they are nearest to."""
        last, self.partition_ = self.partition_, None
        if (
            last is not None
            and last.prototypes.shape[1] == embedded.outputs[0].shape[1]
        ):
            clusters: Partition = last.to(embedded.embeddings.device)
            labels = clusters.predict(*embedded.outputs)
            self.partition_ = replace(last, labels=labels)

    def _fitted(self) -> C:
        if self.partition_ is None:
            raise AttributeError(
                f"{type(self).__name__} has no clusters yet; they are computed when "
                "trainer.fit starts"
            )
        return self.partition_
