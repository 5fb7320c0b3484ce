"""The embeddings and the clusters of a set of images."""

from __future__ import annotations

from typing import Generic, TypeVar, cast

from torch import Tensor

from hadis_lightly.cluster import HeadPartition, Partition, PrototypePartition
from hadis_lightly.training.embedding import EmbeddedSet
from hadis_lightly.training.key_index import KeyIndex, Keys

C = TypeVar("C", PrototypePartition, HeadPartition)


class ClusteredSet(Generic[C]):
    """Embeddings and clusters, in the order of the loader's first pass.

    Attributes:
        partition_: The clusters: labels, prototypes, and how to predict; None until
            training starts.
    """

    partition_: C | None = None
    _keys: KeyIndex | None = None
    _embedded: EmbeddedSet

    @property
    def labels_(self) -> Tensor:
        """Cluster of every image, ``(n,)``."""
        return self._fitted().labels

    @property
    def prototypes_(self) -> Tensor:
        """Prototypes, L2-normalised, ``(n_clusters, d)``, on the module's device."""
        return self._fitted().prototypes

    @property
    def confidence_(self) -> Tensor:
        """How clearly each image lies with its cluster, in [0, 1], ``(n,)``."""
        partition: Partition = self._fitted()
        return partition.confidence(*self._embedded.outputs)

    @property
    def distance_(self) -> Tensor:
        """Distance of each embedding to the prototype of its cluster, ``(n,)``."""
        partition: Partition = self._fitted()
        return partition.distance(*self._embedded.outputs)

    @property
    def embeddings_(self) -> Tensor:
        """Normalised embeddings of the last clustering, ``(n, d)``."""
        return self._embedded.embeddings

    @property
    def targets_(self) -> Tensor:
        """Class of every image, -1 where unknown, ``(n,)``, on the CPU."""
        return self._embedded.targets

    @property
    def has_embedded(self) -> bool:
        """Whether there are embeddings: not right after a checkpoint was loaded."""
        return hasattr(self, "_embedded")

    def rows(self, keys: Keys) -> Tensor:
        """Positions ``(n,)`` of some images in :attr:`labels_`, on its device.

        Raises:
            ValueError: If the loader never yielded a key.
        """
        device = self.labels_.device
        return cast(KeyIndex, self._keys).rows(keys, device)

    def _fitted(self) -> C:
        if self.partition_ is None:
            raise AttributeError(
                f"{type(self).__name__} has no clusters yet; they are computed when "
                "trainer.fit starts"
            )
        return self.partition_
