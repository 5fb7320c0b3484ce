"""What every loss asks of its embeddings: that they fit and have length 1."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch import distributed as torch_dist

from hadis_lightly.checks import check_bool, check_number


def check_embeddings(**embeddings: Tensor) -> None:
    """Checks that all embeddings are floating point and of one shape ``(n, d)``.

    Args:
        **embeddings: The tensors, under the names that the caller knows them by.

    Raises:
        TypeError: If one is not a floating point tensor, or only some are float64.
        ValueError: If one is not ``(n, d)`` with ``n, d >= 1``, is sparse or without
            values, or if shapes or devices differ.
    """
    first_name, first = next(iter(embeddings.items()))
    for name, embedding in embeddings.items():
        if not isinstance(embedding, Tensor) or not embedding.is_floating_point():
            kind = getattr(embedding, "dtype", type(embedding).__name__)
            raise TypeError(f"{name} must be a floating point tensor, got {kind}.")
        if embedding.is_meta or embedding.layout != torch.strided:
            kind = "meta" if embedding.is_meta else embedding.layout
            raise ValueError(f"{name} must be a dense tensor with values, got {kind}.")
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
    """Returns the temperature if it is a number above 0, else raises."""
    check_number(name, temperature, 0, above=True)
    return temperature


def check_gather_distributed(gather_distributed: bool) -> bool:
    """Returns the flag if it is one and this PyTorch can gather, else raises."""
    check_bool("gather_distributed", gather_distributed)
    if gather_distributed and not torch_dist.is_available():
        raise ValueError(
            "gather_distributed is True, but torch.distributed is not available in "
            "this build of PyTorch. Set gather_distributed=False."
        )
    return gather_distributed


def normalize_rows(x: Tensor) -> Tensor:
    """Rows of length 1, in float32 where the input is of lower precision.

    Half precision would round the distances between close embeddings to 0. Rows whose
    length is below 1e-12 come out shorter than 1, and those above the square root of
    the largest float, 1e19, as 0.

    Shape: ``(n, d)`` to ``(n, d)``.
    """
    if x.dtype not in (torch.float32, torch.float64):
        x = x.float()
    return F.normalize(x, dim=1)
