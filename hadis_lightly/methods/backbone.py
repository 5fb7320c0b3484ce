"""The backbone that the settings name, with its weights."""

from __future__ import annotations

from pytorch_lightning.utilities import rank_zero_only
from torch import nn

from hadis_lightly.models import build_backbone, feature_dim, load_backbone_weights
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.sections import Settings


def build_backbone_of(
    settings: Settings, num_channels: int, *, with_weights: bool = True
) -> tuple[nn.Module, int]:
    """The backbone, with ``model.weights`` if asked for, and its number of features.

    Raises:
        SettingsError: If there is no backbone of that name, if it does not take such
            images, or if the weights cannot be read or do not fit.
    """
    name, input_size = settings.model.backbone, settings.views.input_size
    try:
        backbone = build_backbone(name, num_channels, input_size)
        input_dim = feature_dim(backbone, num_channels, input_size)
    except ValueError as error:
        raise SettingsError(f"model.{error}") from None
    if with_weights:
        _load_weights(backbone, settings)
    return backbone, input_dim


def _load_weights(backbone: nn.Module, settings: Settings) -> None:
    """Loads ``model.weights``, unless a checkpoint has all weights anyway."""
    path = settings.model.weights
    if path is None or settings.trainer.resume not in (None, "auto"):
        return
    try:
        loaded = load_backbone_weights(backbone, path)
    except ValueError as error:
        raise SettingsError(f"model.weights: {error}") from None
    if rank_zero_only.rank == 0 and not settings.quiet:  # type: ignore[attr-defined]
        print(f"backbone starts from {loaded}", flush=True)
