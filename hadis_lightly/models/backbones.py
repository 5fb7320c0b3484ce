"""Backbones: torchvision's and timm's by name, and networks for small images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torchvision
from torch import nn

from hadis_lightly.backbone_names import PIXELS, TIMM, unknown_backbone
from hadis_lightly.checks import check_integer
from hadis_lightly.models.checks import check_module, check_timm, has_timm
from hadis_lightly.models.input_channels import set_channels
from hadis_lightly.text import first_line


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
    layers: list[nn.Module] = []
    for index, width in enumerate(widths):
        check_integer("widths", width, least=1)
        stride = 1 + index % 2
        layers += [
            nn.Conv2d(num_channels, width, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        num_channels = width
    return nn.Sequential(*layers, nn.Flatten())


def small_pooled_convnet(
    num_channels: int = 3, widths: Sequence[int] = (16, 32, 64, 128)
) -> nn.Module:
    """As :func:`small_convnet`, with features averaged over the image.

    For small photographs on a CPU, where objects may lie anywhere in the image.

    Shape: ``(n, num_channels, h, w)`` to ``(n, widths[-1])``.
    """
    *layers, flatten = small_convnet(num_channels, widths).children()
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), flatten)


def pixels(num_channels: int = 3) -> nn.Module:
    """No network: the features are the pixels, such as those of aligned digits.

    Args:
        num_channels: Channels of the images; any number.

    Shape: ``(n, num_channels, h, w)`` to ``(n, num_channels * h * w)``.
    """
    check_integer("num_channels", num_channels, least=1)
    return nn.Flatten()


_OWN = {
    PIXELS: pixels,
    "small_resnet18": small_resnet18,
    "small_resnet34": small_resnet34,
    "small_resnet50": small_resnet50,
    "small_convnet": small_convnet,
    "small_pooled_convnet": small_pooled_convnet,
}
#: These have auxiliary classifiers, for training alone.
WITH_AUXILIARY = ("googlenet", "inception_v3")


def check_backbone(name: str) -> None:
    """Raises unless there is a backbone of that name, see :func:`build_backbone`."""
    if not isinstance(name, str):
        raise TypeError(f"name of a backbone must be a string, got {name!r}.")
    known = torchvision.models.list_models(module=torchvision.models)
    if name in _OWN or name in known:
        return
    if name.startswith(TIMM):
        check_timm(f"backbone {name!r}")
    if has_timm():
        import timm

        if name.startswith(TIMM) and timm.is_model(name.removeprefix(TIMM)):
            return
        known += [TIMM + other for other in timm.list_models()]
    raise unknown_backbone(name, known)


def build_backbone(
    name: str, num_channels: int = 3, input_size: int | None = None
) -> nn.Module:
    """Builds a backbone by name, without its classifier and with random weights.

    Args:
        name: ``small_resnet18``, ``small_resnet34``, ``small_resnet50``,
            ``small_convnet``, ``small_pooled_convnet``, ``pixels``, any classification
            model of torchvision, or ``timm/`` and the name of a model of timm's, such
            as ``timm/convnext_tiny``.
        num_channels: Channels of the images.
        input_size: Side of the images in pixels, for networks that are built for one
            size, such as vision transformers; by default their own.

    Raises:
        ValueError: If there is no such backbone, if timm is needed and not installed,
            or if a backbone cannot be built for such images.

    Example:
        >>> backbone = build_backbone("resnet18", num_channels=1)
        >>> backbone(torch.rand(2, 1, 32, 32)).shape
        torch.Size([2, 512])
    """
    check_backbone(name)
    check_integer("num_channels", num_channels, least=1)
    if input_size is not None:
        check_integer("input_size", input_size, least=1)
    if name in _OWN:
        return _OWN[name](num_channels)
    if name.startswith(TIMM):
        return _build_timm(name, num_channels, input_size)
    options = _size_options(name, input_size)
    if name in WITH_AUXILIARY:
        options |= {"aux_logits": False, "init_weights": False}
    model: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    if num_channels != 3:
        set_channels(model, num_channels)
    return _without_classifier(model)


def _size_options(name: str, input_size: int | None) -> dict[str, Any]:
    """Options of torchvision's models that are built for one size of images."""
    if input_size is None or not name.startswith(("vit_", "maxvit_")):
        return {}
    is_maxvit = name.startswith("maxvit_")
    # 7 x 7 windows on maps of 1/4, 1/8, 1/16, 1/32; or patches, as the name says.
    step = 7 * 32 if is_maxvit else int(name.rpartition("_")[2])
    if input_size % step:
        raise ValueError(
            f"backbone {name!r} takes images whose side is a multiple of {step}, got "
            f"input_size={input_size}."
        )
    if is_maxvit:
        return {"input_size": (input_size, input_size)}
    return {"image_size": input_size}


def _without_classifier(model: nn.Module) -> nn.Module:
    """Replaces the last layer with weights, which is the classifier in torchvision."""
    # A linear layer, or in SqueezeNet a convolution.
    layers = [
        name
        for name, part in model.named_modules()
        if isinstance(part, (nn.Linear, nn.Conv2d))
    ]
    parent, _, child = layers[-1].rpartition(".")
    setattr(model.get_submodule(parent), child, nn.Identity())
    return model


def _build_timm(name: str, num_channels: int, input_size: int | None) -> nn.Module:
    import timm
    from timm.models import get_pretrained_cfg

    model_name = name.removeprefix(TIMM)
    options: dict[str, Any] = {"num_classes": 0, "in_chans": num_channels}
    made_for = get_pretrained_cfg(model_name)
    if input_size is not None and made_for is not None and made_for.fixed_input_size:
        options["img_size"] = input_size
    try:
        model: nn.Module = timm.create_model(model_name, **options)
    # Each of timm's networks checks its sizes in its own way.
    except Exception as error:
        size = "" if input_size is None else f" x {input_size} x {input_size}"
        raise ValueError(
            f"backbone {name!r} cannot be built for images of {num_channels}{size}: "
            f"{first_line(error)}"
        ) from error
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
            for name, value in (*backbone.named_parameters(), *backbone.named_buffers())
        }
        features = torch.func.functional_call(backbone, state, (image,))
        return int(features.flatten(start_dim=1).shape[1])
    # The kind of error for an image that is too small is the network's choice.
    except Exception as error:
        raise ValueError(
            f"backbone {type(backbone).__name__} cannot take images of "
            f"{num_channels} x {input_size} x {input_size}: {first_line(error)}"
        ) from error
