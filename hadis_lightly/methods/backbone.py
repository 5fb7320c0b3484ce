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
    name, path = settings.model.backbone, settings.model.weights
    input_size = settings.views.input_size
    try:
        backbone = build_backbone(name, num_channels, input_size)
        input_dim = feature_dim(backbone, num_channels, input_size)
    except ValueError as error:
        raise SettingsError(f"model.{error}") from None
    is_resumed = settings.trainer.resume not in (None, "auto")  # has all weights
    if with_weights and path is not None and not is_resumed:
        try:
            loaded = load_backbone_weights(backbone, path, name)
        except ValueError as error:
            raise SettingsError(f"model.weights: {error}") from None
        if rank_zero_only.rank == 0 and not settings.quiet:  # type: ignore[attr-defined]
            print(f"backbone starts from {loaded}", flush=True)
    return backbone, input_dim
