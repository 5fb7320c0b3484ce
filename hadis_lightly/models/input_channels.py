"""Networks made for colour, for images of another number of channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def first_convolution(module: nn.Module) -> str | None:
    """Name of the convolution that sees the images; None if a network has none.

    It has none if it begins with a linear layer.

    Example:
        >>> first_convolution(nn.Sequential(nn.ReLU(), nn.Conv2d(3, 8, 3)))
        '1'
    """
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear):
            return None
        if isinstance(part, nn.Conv2d):
            return str(name)
    return None


def fit_channels(weight: Tensor, num_channels: int) -> Tensor:
    """Weights of a convolution over colours, for another number of channels.

    For one channel they are summed: a grey image gives what it would give in colour.
    For any other number they are repeated, and scaled so that sums stay as they were.

    Shape: ``(out, 3, h, w)`` to ``(out, num_channels, h, w)``.
    """
    if num_channels == 1:
        return weight.sum(dim=1, keepdim=True)
    channels = torch.arange(num_channels) % 3
    return weight[:, channels] * (3 / num_channels)


def set_channels(module: nn.Module, num_channels: int) -> None:
    """Changes a network's first convolution for another number of channels.

    Raises:
        ValueError: If the network does not begin with a convolution over 3 channels.
    """
    name = first_convolution(module)
    stem = module.get_submodule(name) if name is not None else None
    if not isinstance(stem, nn.Conv2d) or stem.in_channels != 3 or stem.groups != 1:
        raise ValueError(
            f"num_channels must be 3 for {type(module).__name__}, which does not begin "
            f"with a convolution over 3 channels, got {num_channels}."
        )
    stem.weight = nn.Parameter(fit_channels(stem.weight.detach(), num_channels))
    stem.in_channels = num_channels
