"""What a method has to offer, for the runner to run it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from hadis_lightly.cluster import HeadPartition, PrototypePartition
from hadis_lightly.data import ImageSource
from hadis_lightly.settings.sections import Settings
from hadis_lightly.training.clustering_callback import ClusteringCallback
from hadis_lightly.training.clustering_module import COMPILE_MODES, ClusteringModule
from hadis_lightly.transforms import BatchedViews


@dataclass(frozen=True)
class Parts:
    """What a run has put together, for a method to make its module of."""

    settings: Settings
    """All settings, those of the switches resolved."""
    model: Any
    """What the method's ``build_model`` made."""
    clusters: Any
    """What its ``build_clusters`` made."""
    source: ImageSource
    """The images."""
    views: BatchedViews | None = None
    """What makes views on the device, unless the loader does."""
    world_size: int = 1
    """Number of processes."""

    def of_every_module(self) -> dict[str, Any]:
        """The arguments that the modules of all methods take."""
        trainer = self.settings.trainer
        return {
            "views": self.views,
            "seed": self.settings.seed,
            "compile_mode": COMPILE_MODES[trainer.compile],
            "fused": self.settings.optimizer.fused == "on",
            "log_every_n_steps": trainer.log_every_n_steps,
        }


class Method(ABC):
    """A way to cluster images: its networks, its loss and its clusters."""

    #: Name of the optimiser.
    optimizer: str
    #: The paper's settings where they are not the defaults: full names to values.
    settings: Mapping[str, Any] = {}
    #: What its clusters are restored by: has ``from_state_dict``.
    partition_type: type[PrototypePartition] | type[HeadPartition]
    #: Whether a step leaves some of the networks out.
    has_unused_parameters = False

    @abstractmethod
    def title(self, settings: Settings) -> str:
        """Its name for people."""

    def check(self, settings: Settings) -> None:  # noqa: B027
        """Checks that settings make sense for the method.

        Raises:
            SettingsError: If they do not.
        """

    @abstractmethod
    def build_model(
        self, settings: Settings, num_channels: int, *, with_weights: bool = True
    ) -> nn.Module:
        """Makes the networks.

        Args:
            settings: All settings.
            num_channels: Channels of the images.
            with_weights: Whether to load the weights of ``model.weights``: not if a
                checkpoint brings them.

        Returns:
            A module with ``embed(x)``, and ``embed_and_assign(x)`` if it has a cluster
            head.

        Raises:
            SettingsError: If the networks cannot be built.
        """

    @abstractmethod
    def build_clusters(
        self, settings: Settings, plain_loader: Iterable[Any]
    ) -> ClusteringCallback[Any]:
        """The callback that clusters.

        Args:
            settings: All settings.
            plain_loader: The whole set under the plain test transform.
        """

    def warmup_epochs(self, settings: Settings) -> int:
        """First epochs, in which clusters do not take part in the training yet."""
        return self.build_clusters(settings, ()).warmup_epochs

    @abstractmethod
    def build_module(self, parts: Parts) -> ClusteringModule:
        """The networks and the loss, in one module.

        Args:
            parts: What there is to make it of.
        """
