"""The interface of a method: what the runner needs to train and cluster with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from hadis_lightly.cluster import HeadPartition, PrototypePartition
from hadis_lightly.data import ImageSource
from hadis_lightly.methods.schedule import optimizer_warmup
from hadis_lightly.settings.sections import Settings
from hadis_lightly.training.clustering_callback import ClusteringCallback
from hadis_lightly.training.clustering_module import ClusteringModule, ModuleOptions
from hadis_lightly.transforms import BatchedViews

# From ``trainer.compile`` to the mode of ``torch.compile``.
_COMPILE_MODES = {
    "off": None,
    "default": "default",
    "cudagraphs": "reduce-overhead",
    "max": "max-autotune",
}


@dataclass(frozen=True)
class Parts:
    """The parts of a run that a method makes its module of."""

    settings: Settings
    """All settings; performance options are resolved."""
    model: Any
    """From the method's ``build_model``."""
    callback: Any
    """From its ``build_callback``."""
    source: ImageSource
    views: BatchedViews | None = None
    """Makes the views on the device, unless the loader does."""
    world_size: int = 1
    """Number of processes."""

    def module_options(self) -> ModuleOptions:
        """The keyword arguments that every module takes."""
        settings = self.settings
        return {
            "views": self.views,
            "seed": settings.seed,
            "images_repeat": settings.loader.even_clusters,
            "compile_mode": _COMPILE_MODES[settings.trainer.compile],
            "fused": settings.optimizer.fused == "on",
        }


class Method(ABC):
    """A way to cluster images: its networks, its loss and its clusters."""

    #: Name of the method in tables and reports.
    name: str
    #: Name of the optimiser.
    optimizer: str
    #: Class of its clusters, which ``from_state_dict`` restores.
    partition_type: type[PrototypePartition] | type[HeadPartition]
    #: Whether a step leaves some of the networks out.
    has_unused_parameters = False

    def title(self, settings: Settings) -> str:
        """Name of the method, which weights of 0 may change."""
        return self.name

    def check(self, settings: Settings) -> None:  # noqa: B027
        """Raises a SettingsError where settings do not fit the method."""

    def schedule(self, settings: Settings) -> dict[str, int]:
        """Lengths of the warm-ups and phases of a run of ``trainer.max_epochs``.

        Returns:
            Full names of the settings to epochs, with defaults that fit the run.

        Raises:
            SettingsError: If one of them is so long that nothing follows it.
        """
        return {"optimizer.warmup_epochs": optimizer_warmup(settings)}

    @abstractmethod
    def build_model(
        self, settings: Settings, num_channels: int, *, with_weights: bool = True
    ) -> nn.Module:
        """Builds the networks, with ``embed(x)`` or ``embed_and_assign(x)``.

        Args:
            settings: All settings.
            num_channels: Channels of the images.
            with_weights: Whether to load ``model.weights``: not if a checkpoint brings
                all weights.

        Raises:
            SettingsError: If the networks cannot be built.
        """

    @abstractmethod
    def build_callback(
        self, settings: Settings, plain_loader: Iterable[Any]
    ) -> ClusteringCallback[Any]:
        """Builds the callback that clusters the images of ``plain_loader``."""

    @abstractmethod
    def build_module(self, parts: Parts) -> ClusteringModule:
        """Builds the module that trains: the networks and the loss."""
