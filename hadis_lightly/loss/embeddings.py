"""What every loss asks of its embeddings: that they fit and have length 1."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch import distributed as torch_dist


def check_embeddings(**embeddings: Tensor) -> None:
    """Checks that all embeddings are floating point and of one shape ``(n, d)``.

    Args:
        **embeddings: The tensors, under the names that the caller knows them by.

    Raises:
        TypeError: If one is not a floating point tensor, or only some are float64.
        ValueError: If one is not ``(n, d)`` with ``n, d >= 1``, or if shapes or
            devices differ.
    """
    first_name, first = next(iter(embeddings.items()))
    for name, embedding in embeddings.items():
        if not isinstance(embedding, Tensor) or not embedding.is_floating_point():
            kind = getattr(embedding, "dtype", type(embedding).__name__)
            raise TypeError(f"{name} must be a floating point tensor, got {kind}.")
        shape = tuple(embedding.shape)
        if embedding.ndim != 2 or 0 in shape:
            raise ValueError(f"{name} must have shape (n, d), got {shape}.")
        if embedding.shape != first.shape:
            raise ValueError(
                f"{name} has shape {shape}, but {first_name} has {tuple(first.shape)}."
            )
        if embedding.device != first.device:
            raise ValueError(
                f"{name} is on {embedding.device}, but {first_name} on {first.device}."
            )
        if (embedding.dtype == torch.float64) != (first.dtype == torch.float64):
            raise TypeError(
                f"{name} is {embedding.dtype}, but {first_name} is {first.dtype}: "
                "float64 goes with float64 only."
            )


def check_temperature(name: str, temperature: float) -> float:
    """Returns the temperature if it is above 0, else raises a ``ValueError``."""
    if not temperature > 0:
        raise ValueError(f"{name} must be > 0, got {temperature}.")
    return temperature


def check_gather_distributed(gather_distributed: bool) -> bool:
    """Returns the flag if this PyTorch can gather, else raises a ``ValueError``."""
    if gather_distributed and not torch_dist.is_available():
        raise ValueError(
            "gather_distributed is True, but torch.distributed is not available in "
            "this build of PyTorch. Set gather_distributed=False."
        )
    return gather_distributed


def normalize_rows(x: Tensor) -> Tensor:
    """Rows of length 1, in float32 where the input is of half precision.

    Half precision would round the distances between close embeddings to 0.

    Shape: ``(n, d)`` to ``(n, d)``.
    """
    if x.dtype in (torch.float16, torch.bfloat16):
        x = x.float()
    return F.normalize(x, dim=1)
