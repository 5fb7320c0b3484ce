"""One pass over a data set: the embedding of every image."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from contextlib import nullcontext
from itertools import zip_longest
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
    probabilities: Tensor | None = None
    """By the network's cluster head, float32 ``(n, k)``; None where it has none."""

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """Embeddings, and probabilities where there are any."""
        if self.probabilities is None:
            return (self.embeddings,)
        return self.embeddings, self.probabilities

    def at(self, rows: Tensor) -> EmbeddedSet:
        """The images of some rows ``(n,)``, on the CPU; the keys stay as they are."""
        there = rows.to(self.embeddings.device)
        embeddings, *probabilities = (output[there] for output in self.outputs)
        return EmbeddedSet(embeddings, self.targets[rows], self.keys, *probabilities)


def network_outputs(network: Any, images: Tensor) -> tuple[Tensor, ...]:
    """Outputs of a network for plain images ``(n, c, h, w)``, in float32.

    Args:
        network: Offers ``embed(x)``: embeddings ``(n, d)``; or ``embed_and_assign(x)``:
            embeddings and the probabilities ``(n, k)`` of a cluster head.
        images: Under the plain test transform.

    Returns:
        L2-normalised embeddings, and the probabilities if there are any.

    Raises:
        ValueError: If there is not one of each for every image.
    """
    if hasattr(network, "embed_and_assign"):
        outputs: tuple[Tensor, ...] = network.embed_and_assign(images)
    else:
        outputs = (network.embed(images),)
    for output in outputs:  # (n, d), (n, k)
        if output.ndim != 2 or len(output) != len(images):
            raise ValueError(
                f"embed(x) must return ({len(images)}, d), one row per image, got "
                f"{tuple(output.shape)}."
            )
    embeddings, *probabilities = outputs
    return F.normalize(embeddings.float(), dim=1), *(p.float() for p in probabilities)


@torch.no_grad()
def embed_dataset(
    module: pl.LightningModule,
    dataloader: Iterable[Any],
    trainer: pl.Trainer | None = None,
) -> EmbeddedSet:
    """Embeds every image of a loader with a module, in evaluation mode.

    With several processes the loader may give each of them all images or a share of its
    own. All get all embeddings, each image once.

    Args:
        module: See :func:`network_outputs`.
        dataloader: Yields ``(images, targets, keys)``.
        trainer: If given, its precision (autocast) is used.

    Raises:
        TypeError: If a batch is not ``(images, targets, keys)``.
        ValueError: If the loader is empty.
    """
    if lightly_dist.world_size() > 1:
        for buffer in module.buffers():  # those of BatchNorm may differ
            torch_dist.broadcast(buffer, src=0)
    precision = trainer.precision_plugin.forward_context() if trainer else nullcontext()
    outputs: list[tuple[Tensor, ...]] = []
    targets: list[Tensor] = []
    keys: list[Keys] = []
    with evaluating(module), precision:
        for batch in dataloader:
            images, batch_targets, batch_keys = _parts(batch)
            images = images.to(module.device, non_blocking=True)
            if trainer is not None:
                images = trainer.precision_plugin.convert_input(images)
            outputs.append(network_outputs(module, images))
            targets.append(batch_targets)
            keys.append(batch_keys)
    if lightly_dist.world_size() > 1:
        return _gathered(outputs, targets, keys, module.device)
    if not outputs:
        raise ValueError(_EMPTY)
    embeddings, *probabilities = map(torch.cat, zip(*outputs, strict=True))
    classes = torch.cat(targets).cpu()
    return EmbeddedSet(embeddings, classes, KeyIndex(keys), *probabilities)


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
    if not hasattr(keys, "__len__") or len(keys) != len(images):
        raise ValueError(f"keys must be {len(images)}, one for each, got {keys!r}.")
    return images, targets, keys


def _gathered(
    outputs: list[tuple[Tensor, ...]],
    targets: list[Tensor],
    keys: list[Keys],
    device: torch.device,
) -> EmbeddedSet:
    """The images of all processes, each once, in the same order in all of them.

    The first images of all processes come first, then the second ones, and so on: the
    order of the set if each process took every N-th image of it.
    """
    names = KeyIndex(keys).as_list() if keys else []
    classes = torch.cat(targets).tolist() if targets else []
    widths = [output.shape[1] for output in outputs[0]] if outputs else []
    shares: list[Any] = [None] * lightly_dist.world_size()
    torch_dist.all_gather_object(shares, (names, classes, widths))
    # Of each process the rows that it sends; of each key its process and place there.
    rows: list[list[int]] = [[] for _ in shares]
    places: dict[Any, tuple[int, int]] = {}
    for row, of_row in enumerate(zip_longest(*(names for names, _, _ in shares))):
        for process, name in enumerate(of_row):
            if name is not None and name not in places:
                places[name] = process, len(rows[process])
                rows[process].append(row)
    if not places:
        raise ValueError(_EMPTY)
    most = max(map(len, rows))
    widths = max(widths for _, _, widths in shares)  # of one without images: []
    # Embeddings and probabilities side by side, to be sent as one.
    sent = torch.zeros(most, sum(widths), device=device)
    mine = rows[lightly_dist.rank()]
    if mine:
        all_mine = torch.cat([torch.cat(parts, dim=1) for parts in outputs])
        sent[: len(mine)] = all_mine[mine]
    received = [torch.empty_like(sent) for _ in shares]
    torch_dist.all_gather(received, sent)
    at = torch.tensor([process * most + place for process, place in places.values()])
    embeddings, *probabilities = torch.split(
        torch.cat(received)[at.to(device)], widths, dim=1
    )
    classes = [shares[p][1][rows[p][place]] for p, place in places.values()]
    return EmbeddedSet(
        embeddings, torch.tensor(classes), KeyIndex([list(places)]), *probabilities
    )
