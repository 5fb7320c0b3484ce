"""Backbones: torchvision's by name, and residual networks for small images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torchvision
from torch import nn

from hadis_lightly.checks import check_integer
from hadis_lightly.models.momentum_teacher import check_module


def small_resnet18(num_channels: int = 3) -> nn.Module:
    """ResNet-18 for small images, the "BigResNet-18" of HaDis and ProPos.

    torchvision's network with a 3x3 stem of stride 1, without max-pooling and without
    the classifier. A 32 x 32 image costs 0.56 billion multiply-adds.

    Args:
        num_channels: Channels of the images: 3, or 1 for grey ones.

    Shape: ``(n, num_channels, h, w)`` to ``(n, 512)``.
    """
    return _small_resnet("resnet18", num_channels)


def small_resnet34(num_channels: int = 3) -> nn.Module:
    """ResNet-34 for small images, see :func:`small_resnet18`. Features: 512."""
    return _small_resnet("resnet34", num_channels)


def small_resnet50(num_channels: int = 3) -> nn.Module:
    """ResNet-50 for small images, see :func:`small_resnet18`. Features: 2048."""
    return _small_resnet("resnet50", num_channels)


def _small_resnet(name: str, num_channels: int) -> nn.Module:
    check_integer("num_channels", num_channels, least=1)
    resnet: nn.Module = torchvision.models.get_model(name, weights=None)
    resnet.conv1 = nn.Conv2d(num_channels, 64, kernel_size=3, padding=1, bias=False)
    # torchvision's own initialisation of its convolutions.
    nn.init.kaiming_normal_(resnet.conv1.weight, mode="fan_out", nonlinearity="relu")
    resnet.maxpool = nn.Identity()
    resnet.fc = nn.Identity()
    return resnet


def small_convnet(
    num_channels: int = 3, widths: Sequence[int] = (16, 32, 64, 64)
) -> nn.Module:
    """Plain convolutional network for tiny images, such as 16 x 16 digits.

    3x3 convolutions with BatchNorm and ReLU; every second one halves the image. The
    features keep their place in the image: they are flattened, not averaged.

    Args:
        num_channels: Channels of the images.
        widths: Output channels of the convolutions.

    Shape: ``(n, num_channels, h, w)`` to ``(n, widths[-1] * (h / 4) * (w / 4))`` for
    the four default widths.
    """
    check_integer("num_channels", num_channels, least=1)
    if not isinstance(widths, Sequence) or isinstance(widths, str) or not widths:
        raise TypeError(f"widths must be a list of at least one, got {widths!r}.")
    for width in widths:
        check_integer("widths", width, least=1)
    layers: list[nn.Module] = []
    for index, width in enumerate(widths):
        stride = 1 + index % 2
        layers += [
            nn.Conv2d(num_channels, width, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        num_channels = width
    return nn.Sequential(*layers, nn.Flatten())


_OWN = {
    function.__name__: function
    for function in (small_resnet18, small_resnet34, small_resnet50, small_convnet)
}


def check_backbone(name: str) -> None:
    """Raises unless there is a backbone of that name, see :func:`build_backbone`."""
    if not isinstance(name, str):
        raise TypeError(f"name of a backbone must be a string, got {name!r}.")
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in _OWN and name not in known:
        raise ValueError(
            f"backbone {name!r} is neither one of {', '.join(sorted(_OWN))} nor a "
            "classification model of torchvision."
        )


def build_backbone(name: str, num_channels: int = 3) -> nn.Module:
    """Builds a backbone by name, without its classifier and without weights.

    Args:
        name: ``small_resnet18``, ``small_resnet34``, ``small_resnet50``,
            ``small_convnet`` or any classification model of torchvision.
        num_channels: Channels of the images. torchvision's models take 3.

    Raises:
        ValueError: If there is no such backbone, or if it cannot take that many
            channels.
    """
    check_backbone(name)
    check_integer("num_channels", num_channels, least=1)
    if name in _OWN:
        return _OWN[name](num_channels)
    if num_channels != 3:
        raise ValueError(
            f"backbone {name!r} takes images of 3 channels, got num_channels="
            f"{num_channels}. A grey image can be read with data.num_channels=3."
        )
    return _without_classifier(torchvision.models.get_model(name, weights=None))


def _without_classifier(model: nn.Module) -> nn.Module:
    """Replaces the last linear layer, which is the classifier in torchvision."""
    linear = [n for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    if not linear or hasattr(model, "aux_logits") or hasattr(model, "AuxLogits"):
        raise ValueError(
            f"backbone {type(model).__name__} has no single linear classifier that "
            "could be taken off."
        )
    parent, _, child = linear[-1].rpartition(".")
    setattr(model.get_submodule(parent), child, nn.Identity())
    return model


@torch.no_grad()
def feature_dim(backbone: nn.Module, num_channels: int, input_size: int) -> int:
    """Number of features that a backbone returns for one image, flattened.

    Args:
        backbone: From images to features of any shape.
        num_channels: Channels of the images.
        input_size: Side of the images in pixels.

    Raises:
        ValueError: If the backbone cannot take images of this size.
    """
    check_module("backbone", backbone)
    check_integer("num_channels", num_channels, least=1)
    check_integer("input_size", input_size, least=1)
    # On the meta device nothing is computed, and BatchNorm sees no fake image.
    try:
        image = torch.empty(2, num_channels, input_size, input_size, device="meta")
        state = {
            name: torch.empty_like(value, device="meta")
            for name, value in backbone.state_dict(keep_vars=False).items()
        }
        features = torch.func.functional_call(backbone, state, (image,))
    except RuntimeError as error:
        raise ValueError(
            f"backbone {type(backbone).__name__} cannot take images of "
            f"{num_channels} x {input_size} x {input_size}: {error}"
        ) from error
    return int(features.flatten(start_dim=1).shape[1])
