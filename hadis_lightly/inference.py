"""What a network makes of plain images, fast where that changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hadis_lightly.checks import check_type

# On a CPU the activations of more pixels leave the caches and, being large, are mapped
# and cleared anew for every layer.
_SLICE_PIXELS = 2**17
_LEAST_SLICE = 8
# Images whose embeddings half precision has to reproduce, how closely, and which share
# of their labels.
_NUM_COMPARED = 32
_LEAST_COSINE = 0.999
_LEAST_LABELS = 0.995

Context = Callable[[], AbstractContextManager[Any]]


def network_outputs(network: Any, images: Tensor) -> tuple[Tensor, ...]:
    """Outputs of a network for plain images ``(n, c, h, w)``, in float32.

    Args:
        network: Offers ``embed(x)``: embeddings ``(n, d)``; or ``embed_and_assign(x)``:
            embeddings and the probabilities ``(n, k)`` of a cluster head. It gets the
            images at once, or on a CPU in slices that fit into caches.
        images: Under the plain test transform.

    Returns:
        L2-normalised embeddings, and the probabilities if there are any.

    Raises:
        TypeError: If one is not a tensor.
        ValueError: If there is not one of each for every image.
    """
    parts = [_outputs_at_once(network, part) for part in slices_of(images)]
    if len(parts) == 1:
        return parts[0]
    return tuple(torch.cat(outputs) for outputs in zip(*parts, strict=True))


def slices_of(images: Tensor) -> Sequence[Tensor]:
    """Images ``(n, c, h, w)`` at once, or on a CPU in slices that fit into caches."""
    size = max(_LEAST_SLICE, _SLICE_PIXELS // max(1, images.shape[2:].numel()))
    if images.device.type != "cpu" or len(images) <= size:
        return [images]
    slices: Sequence[Tensor] = images.split(size)  # type: ignore[no-untyped-call]
    return slices


def accurate_precision(
    network: Any,
    images: Tensor,
    half: Context,
    labels: Callable[..., Tensor] | None = None,
) -> Context:
    """Half precision where a network embeds as in float32 with it, else float32.

    Overflow, cancellation and large activations can spoil embeddings in half precision.
    On a CPU the first images are embedded in both: cosines are to be 0.999 at least,
    and 99.5 % of the labels the same where there are clusters. On other devices the
    embeddings come in the precision of the training.

    Args:
        network: See :func:`network_outputs`.
        images: Those of a first batch, under the plain test transform.
        half: Turns autocast on.
        labels: From outputs, as of :func:`network_outputs`, to clusters ``(n,)``; by
            default the most probable ones if there is a cluster head.
    """
    if images.device.type != "cpu":
        return half
    images = images[:_NUM_COMPARED]
    exact = network_outputs(network, images)
    with half():
        rounded = network_outputs(network, images)
    agrees = bool(((exact[0] * rounded[0]).sum(1) >= _LEAST_COSINE).all())  # no NaN
    if labels is None and len(exact) > 1:
        labels = _most_probable
    if agrees and labels is not None:
        same = labels(*exact) == labels(*rounded)
        agrees = bool(same.float().mean() >= _LEAST_LABELS)
    return half if agrees else nullcontext


def _most_probable(embeddings: Tensor, probabilities: Tensor) -> Tensor:
    return probabilities.argmax(dim=1)


def _outputs_at_once(network: Any, images: Tensor) -> tuple[Tensor, ...]:
    if hasattr(network, "embed_and_assign"):
        outputs: tuple[Tensor, ...] = network.embed_and_assign(images)
    else:
        outputs = (network.embed(images),)
    for output in outputs:  # (n, d), (n, k)
        check_type("what embed(x) returns", output, Tensor)
        if output.ndim != 2 or len(output) != len(images):
            raise ValueError(
                f"embed(x) must return ({len(images)}, d), one row per image, got "
                f"{tuple(output.shape)}."
            )
    embeddings, *probabilities = outputs
    return F.normalize(embeddings.float(), dim=1), *(p.float() for p in probabilities)
