"""The backbone that the settings name, with its weights and what they say of views."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities import rank_zero_only
from torch import nn

from hadis_lightly.backbone_names import MASKED_VIT, OWN_BACKBONES
from hadis_lightly.models import (
    FrozenBackbone,
    PrincipalComponents,
    build_backbone,
    feature_dim,
    load_backbone_weights,
)
from hadis_lightly.models.pretrained import (
    PRETRAINED,
    PublishedWeights,
    find_weights,
    weights_hash,
)
from hadis_lightly.models.weight_files import read_weights
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.sections import Settings
from hadis_lightly.settings.views import IMAGENET_NORMALIZE


def resolve_views(settings: Settings, left_to_weights: Sequence[str] = ()) -> None:
    """Fills in what the settings of views leave to the weights; changes them in place.

    Size, normalisation, crop and interpolation come from the description of published
    weights; without one they have the defaults of :class:`ViewSettings`, as they have
    where a run names no weights. Features of a file that nobody describes take size and
    normalisation of the weights that are published for the backbone, or 224 pixels and
    ImageNet's; those of a run all that the run had. What is set stays.

    Args:
        settings: All settings.
        left_to_weights: Names of settings of views that give way to a description.

    Raises:
        SettingsError: If there are no such weights.
    """
    views, found = settings.views, _published(settings)
    values: dict[str, Any] = {"input_size": views.size_px, **(views.normalize or {})}
    if found is not None:
        values = {
            "input_size": found.input_size,
            "mean": found.mean,
            "std": found.std,
            "plain_crop": found.crop,
            "plain_interpolation": found.interpolation,
        }
    elif settings.model.train != "all" and None in (
        views.input_size,
        views.mean,
        views.std,
    ):
        if seen := _views_of_run(settings):
            values = seen
        elif settings.model.backbone not in OWN_BACKBONES:
            values = _usual_views(settings.model.backbone)
    for name, value in values.items():
        gives_way = found is not None and name in left_to_weights
        if getattr(views, name) is None or gives_way:
            setattr(views, name, value)


def _views_of_run(settings: Settings) -> dict[str, Any]:
    """How the run whose weights are taken saw its images; empty if they are of none."""
    path = Path(str(settings.model.weights)).expanduser()
    try:
        views = read_weights(path).views
    except ValueError:  # named where the weights are loaded
        return {}
    names = ("input_size", "mean", "std", "plain_crop", "plain_interpolation")
    return {name: views[name] for name in names if views.get(name) is not None}


def _usual_views(backbone: str) -> dict[str, Any]:
    """Size and normalisation that weights of a backbone were most likely made for."""
    try:
        found = find_weights(backbone, PRETRAINED)
    except ValueError:  # none are published
        found = None
    if found is None:
        return {"input_size": 224, **IMAGENET_NORMALIZE}
    return {"input_size": found.input_size, "mean": found.mean, "std": found.std}


def build_backbone_of(
    settings: Settings, num_channels: int, *, with_weights: bool = True
) -> tuple[nn.Module, int]:
    """The backbone, with ``model.weights`` if asked for, and its number of features.

    Raises:
        SettingsError: If there is no backbone of that name, if it does not take such
            images, or if the weights cannot be had, cannot be read or do not fit.
    """
    name = settings.model.backbone
    input_size = settings.views.size_px
    try:
        backbone = build_backbone(name, num_channels, input_size)
        input_dim = feature_dim(backbone, num_channels, input_size)
    except ValueError as error:
        raise SettingsError(f"model.{error}") from None
    _check_local_views(settings, backbone, num_channels, input_dim)
    path = fetch_weights(settings) if with_weights else None
    if path is not None:
        try:
            loaded = load_backbone_weights(backbone, path, name)
        except ValueError as error:
            raise SettingsError(f"model.weights: {error}") from None
        if rank_zero_only.rank == 0 and not settings.quiet:  # type: ignore[attr-defined]
            origin = _origin(_published(settings))
            print(f"backbone starts from {loaded}{origin}", flush=True)
    return _frozen(settings, backbone, input_dim)


def _check_local_views(
    settings: Settings, backbone: nn.Module, num_channels: int, input_dim: int
) -> None:
    """Raises SettingsError if the features of smaller views are others, or none."""
    views = settings.views
    size = views.local_size_px
    if not views.n_local_views or size == views.size_px:
        return
    with suppress(ValueError):
        if feature_dim(backbone, num_channels, size) == input_dim:
            return
    raise SettingsError(
        f"views.n_local_views is {views.n_local_views}, but model.backbone="
        f"{settings.model.backbone} does not give the same features of {size} as of "
        f"{views.size_px} pixels: set views.local_crop_size={views.size_px}, or take "
        "another backbone."
    )


def fetch_weights(settings: Settings) -> Path | None:
    """The file that a run starts from, downloaded if it is published and not here.

    None if the run starts at random, or from a checkpoint.

    Raises:
        SettingsError: If the file cannot be had.
    """
    weights = settings.model.weights
    is_resumed = settings.trainer.resume not in (None, "auto")  # has all weights
    if weights is None or is_resumed:
        return None
    found = _published(settings)
    if found is None:
        return Path(weights)
    try:
        return found.file()
    except ValueError as error:
        raise SettingsError(
            f"model.weights: {error} Without weights: model.train=all "
            "model.weights=null."
        ) from None


def _frozen(
    settings: Settings, backbone: nn.Module, input_dim: int
) -> tuple[nn.Module, int]:
    """The backbone as it is trained, or is not; and its number of features."""
    if settings.model.train == "all":
        return backbone, input_dim
    wanted = settings.features.n_components
    if settings.model.train == "nothing" or wanted is None:
        return FrozenBackbone(backbone), input_dim
    output_dim = min(wanted, input_dim)
    reduction = PrincipalComponents(input_dim, output_dim)
    return FrozenBackbone(backbone, reduction), output_dim


def describe_weights(settings: Settings, backbone: nn.Module) -> dict[str, Any] | None:
    """Name, licence, origin and hash of the weights that a backbone starts from.

    None if it starts at random.
    """
    if settings.model.weights is None:
        return None
    found = _published(settings)
    return {
        "name": found.name if found else settings.model.weights,
        "license": found and found.license,
        "origin": found and found.origin,
        "sha256": weights_hash(backbone),
    }


def _published(settings: Settings) -> PublishedWeights | None:
    """The weights that the settings name, if their publisher describes them."""
    model = settings.model
    if model.weights is None or model.backbone == MASKED_VIT:
        return None
    try:
        return find_weights(model.backbone, model.weights)
    except ValueError as error:
        raise SettingsError(f"model.weights: {error}") from None


def _origin(found: PublishedWeights | None) -> str:
    """Name, licence and origin of weights, as far as they are known."""
    if found is None:
        return ""
    license = f", licence {found.license}" if found.license else ""
    origin = f", from {found.origin}" if found.origin else ""
    return f" ({found.name}{license}{origin})"
