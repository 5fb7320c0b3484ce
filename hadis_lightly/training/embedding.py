"""One pass over a data set: the embedding of every image."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from hadis_lightly.models import evaluating
from hadis_lightly.training.key_index import KeyIndex, Keys


class EmbeddedSet(NamedTuple):
    """Embeddings of a data set, in the order of its loader."""

    embeddings: Tensor
    """L2-normalised, float32 ``(n, d)``, on the module's device."""
    targets: Tensor
    """Class numbers, -1 where unknown, ``(n,)``, on the CPU."""
    keys: KeyIndex
    """Finds the row of an image by its key."""


@torch.no_grad()
def embed_dataset(
    module: pl.LightningModule,
    dataloader: Iterable[Any],
    trainer: pl.Trainer | None = None,
) -> EmbeddedSet:
    """Embeds every image of a loader with ``module.embed``, in evaluation mode.

    Args:
        module: Offers ``embed(x)``: images ``(n, c, h, w)`` to ``(n, d)``.
        dataloader: Yields ``(images, targets, keys)``.
        trainer: If given, its precision (autocast) is used.

    Raises:
        TypeError: If a batch is not ``(images, targets, keys)``.
        ValueError: If the loader is empty.
    """
    embed: Callable[[Tensor], Tensor] = module.embed  # type: ignore[assignment]
    precision = trainer.precision_plugin.forward_context() if trainer else nullcontext()
    embeddings: list[Tensor] = []
    targets: list[Tensor] = []
    keys: list[Keys] = []
    with evaluating(module), precision:
        for batch in dataloader:
            if not isinstance(batch, (tuple, list)) or len(batch) != 3:
                raise TypeError(
                    "dataloader must yield (images, targets, keys), got "
                    f"{type(batch).__name__} of length {len(batch)}."
                )
            images, batch_targets, batch_keys = batch
            images = images.to(module.device, non_blocking=True)
            if trainer is not None:
                images = trainer.precision_plugin.convert_input(images)
            embeddings.append(F.normalize(embed(images).float(), dim=1))
            targets.append(torch.as_tensor(batch_targets))
            keys.append(batch_keys)
    if not embeddings:
        raise ValueError("dataloader is empty: there is nothing to embed.")
    return EmbeddedSet(torch.cat(embeddings), torch.cat(targets).cpu(), KeyIndex(keys))
