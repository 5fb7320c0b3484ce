"""One pass over a data set: the embedding of every image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sized
from contextlib import nullcontext
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from lightly.utils import dist as lightly_dist
from torch import Tensor
from torch import distributed as torch_dist

from hadis_lightly.models import evaluating
from hadis_lightly.training.key_index import KeyIndex, Keys

_EMPTY = "dataloader is empty: there is nothing to embed."


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

    With several processes the loader may give each of them all images, or a share of
    its own: what they embed is put together, and counts once.

    Args:
        module: Offers ``embed(x)``: images ``(n, c, h, w)`` to ``(n, d)``.
        dataloader: Yields ``(images, targets, keys)``.
        trainer: If given, its precision (autocast) is used.

    Raises:
        TypeError: If a batch is not ``(images, targets, keys)``.
        ValueError: If the loader is empty.
    """
    embed: Callable[[Tensor], Tensor] = getattr(module, "embed", None)  # type: ignore[assignment]
    if not callable(embed):
        raise TypeError(f"module must have embed(x), got {type(module).__name__}.")
    check_loader(dataloader)
    precision = trainer.precision_plugin.forward_context() if trainer else nullcontext()
    embeddings: list[Tensor] = []
    targets: list[Tensor] = []
    keys: list[Keys] = []
    with evaluating(module), precision:
        for batch in dataloader:
            images, batch_targets, batch_keys = _parts(batch)
            images = images.to(module.device, non_blocking=True)
            if trainer is not None:
                images = trainer.precision_plugin.convert_input(images)
            embedded = embed(images)
            if embedded.ndim != 2 or len(embedded) != len(images):
                raise ValueError(
                    f"embed(x) must return ({len(images)}, d) for so many images, got "
                    f"{tuple(embedded.shape)}."
                )
            embeddings.append(F.normalize(embedded.float(), dim=1))
            targets.append(batch_targets)
            keys.append(batch_keys)
    if lightly_dist.world_size() > 1:
        return _gathered(embeddings, targets, keys, module.device)
    if not embeddings:
        raise ValueError(_EMPTY)
    return EmbeddedSet(torch.cat(embeddings), torch.cat(targets).cpu(), KeyIndex(keys))


def check_loader(dataloader: object) -> None:
    """Raises unless batches can be taken from the loader, once and again."""
    if not isinstance(dataloader, Iterable):
        raise TypeError(f"dataloader must be iterable, got {dataloader!r}.")


def _parts(batch: Any) -> tuple[Tensor, Tensor, Keys]:
    """Images, targets and keys of a batch, as many of each."""
    if not isinstance(batch, (tuple, list)) or len(batch) != 3:
        length = f" of length {len(batch)}" if isinstance(batch, Sized) else ""
        raise TypeError(
            "dataloader must yield (images, targets, keys), got "
            f"{type(batch).__name__}{length}."
        )
    images, targets, keys = batch
    if not isinstance(images, Tensor):
        raise TypeError(
            "dataloader must yield images as a tensor (n, c, h, w), got "
            f"{type(images).__name__}."
        )
    try:
        targets = torch.as_tensor(targets)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"targets must be class numbers, got {targets!r}.") from None
    if targets.shape != (len(images),):
        raise ValueError(
            f"targets must have shape ({len(images)},), one for each image, got "
            f"{tuple(targets.shape)}."
        )
    num_keys = len(keys) if hasattr(keys, "__len__") else 0
    if num_keys != len(images):
        raise ValueError(f"keys must be {len(images)}, one for each, got {keys!r}.")
    return images, targets, keys


def _gathered(
    embeddings: list[Tensor],
    targets: list[Tensor],
    keys: list[Keys],
    device: torch.device,
) -> EmbeddedSet:
    """What all processes have embedded, each image once, the same in all of them.

    The first images of all processes come first, then the second ones, and so on: the
    order of the set where each process has taken every N-th image of it.
    """
    world_size, rank = lightly_dist.world_size(), lightly_dist.rank()
    mine = torch.cat(embeddings) if embeddings else torch.empty(0, 0, device=device)
    names = KeyIndex(keys).as_list() if keys else []
    classes = torch.cat(targets).tolist() if targets else []
    shares: list[Any] = [None] * world_size
    torch_dist.all_gather_object(shares, (names, classes, mine.shape[1]))
    places = _places([names for names, _, _ in shares])
    if not places:
        raise ValueError(_EMPTY)
    rows_of: list[list[int]] = [[] for _ in range(world_size)]
    for process, row in places:
        rows_of[process].append(row)
    most = max(map(len, rows_of))
    sent = torch.zeros(most, max(d for _, _, d in shares), device=device)
    if rows_of[rank]:
        sent[: len(rows_of[rank])] = mine[rows_of[rank]]
    received = [torch.empty_like(sent) for _ in range(world_size)]
    torch_dist.all_gather(received, sent)
    # Of each process its rows come in their order, one after the other.
    taken = [iter(range(most)) for _ in range(world_size)]
    at = torch.tensor([process * most + next(taken[process]) for process, _ in places])
    return EmbeddedSet(
        torch.cat(received)[at.to(device)],
        torch.tensor([shares[process][1][row] for process, row in places]),
        KeyIndex([[shares[process][0][row] for process, row in places]]),
    )


def _places(names: list[list[Any]]) -> list[tuple[int, int]]:
    """Where each image is to be taken from: a process, and a row there."""
    places: list[tuple[int, int]] = []
    seen: set[Any] = set()
    for row in range(max(map(len, names))):
        for process, there in enumerate(names):
            if row < len(there) and there[row] not in seen:
                seen.add(there[row])
                places.append((process, row))
    return places
