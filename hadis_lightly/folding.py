"""Networks for inference, with BatchNorm folded into the convolutions before it."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from hadis_lightly.checks import check_type
from hadis_lightly.precision import full_precision

# Images that show how a network is wired, and how far their outputs may move, relative
# to their norm: rounding moves them by about 1e-6.
_NUM_TRACED = 2
_TOLERANCE = 1e-4

Network = TypeVar("Network", bound=nn.Module)


def folded(network: Network, images: Tensor) -> Network:
    """A copy of a network for inference, faster where it has BatchNorm.

    In evaluation mode BatchNorm is an affine map of each channel, which the convolution
    before it can do as well: its weights are scaled and its bias is shifted. Which
    layers follow each other shows when the first two images pass. Both networks must
    agree on these images; otherwise nothing is folded.

    Args:
        network: Called with images, it returns one tensor ``(n, ...)``. It is left as
            it is. BatchNorm that such a call does not reach stays in the copy.
        images: Plain images ``(n, c, h, w)``, n >= 1, on the device of the network.

    Returns:
        The copy, in evaluation mode, with parameters that require no gradient. It does
        not follow later changes of the network.

    Raises:
        TypeError: If the network is not a module, or the images are not a tensor.
        ValueError: If there are no images.

    Example:
        >>> import torch
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        >>> folded(network, torch.rand(2, 3, 8, 8))[1]
        Sequential()
    """
    check_type("network", network, nn.Module)
    check_type("images", images, Tensor)
    if not len(images):
        raise ValueError("images is empty: folding needs at least one image.")
    images = images[:_NUM_TRACED]
    result = copy.deepcopy(network).requires_grad_(False).eval()
    with full_precision():
        exact, pairs = _traced(result, images)
        for convolution, norm in pairs:
            _fold(convolution, norm)
        _replace(result, {norm: _rest(norm) for _, norm in pairs})
        moved = (result(images) - exact).flatten(1).norm(dim=1)
        agrees = (moved <= _TOLERANCE * exact.flatten(1).norm(dim=1)).all()  # no NaN
    return result if agrees else copy.deepcopy(network).requires_grad_(False).eval()


def _traced(
    network: nn.Module, images: Tensor
) -> tuple[Tensor, list[tuple[nn.Conv2d, Any]]]:
    """Output, and convolutions with the BatchNorm of their output; each runs once."""
    sources: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # keeps the ids from being reused
    pairs: list[tuple[nn.Conv2d, Any]] = []
    runs: Counter[nn.Module] = Counter()

    def note_output(layer: nn.Conv2d, inputs: Any, output: Tensor) -> None:
        runs[layer] += 1
        sources[id(output)] = layer, output

    def note_input(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        runs[layer] += 1
        if inputs and id(inputs[0]) in sources:
            pairs.append((sources[id(inputs[0])][0], layer))

    hooks, norms = [], (nn.BatchNorm2d, nn.SyncBatchNorm)
    for layer in network.modules():
        # Parametrized weights are computed anew in every pass.
        if isinstance(layer, nn.Conv2d) and "weight" in layer._parameters:
            hooks.append(layer.register_forward_hook(note_output))
        elif isinstance(layer, norms) and layer.running_mean is not None:
            hooks.append(layer.register_forward_pre_hook(note_input))
    output: Tensor = network(images)
    for hook in hooks:
        hook.remove()
    return output, [pair for pair in pairs if all(runs[layer] == 1 for layer in pair)]


def _fold(convolution: nn.Conv2d, norm: Any) -> None:
    convolution.weight, bias = fuse_conv_bn_weights(
        convolution.weight,
        convolution.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    convolution.bias = bias


def _rest(norm: nn.Module) -> nn.Module:
    """What timm's BatchNorm does after the normalisation; nothing in PyTorch's."""
    names = [name for name in ("drop", "act") if hasattr(norm, name)]
    return nn.Sequential(*(getattr(norm, name) for name in names))


def _replace(network: nn.Module, layers: dict[nn.Module, nn.Module]) -> None:
    for parent in list(network.modules()):
        for name, child in list(parent._modules.items()):
            if child in layers:
                setattr(parent, name, layers[child])
