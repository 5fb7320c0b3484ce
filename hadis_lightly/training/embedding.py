"""One pass over a data set: the embedding of every image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager, nullcontext
from itertools import chain, islice
from operator import length_hint
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from lightly.utils import dist as lightly_dist
from pytorch_lightning.plugins.precision import MixedPrecision
from torch import Tensor
from torch import distributed as torch_dist

from hadis_lightly.checks import check_integer
from hadis_lightly.data.key_index import KeyIndex, Keys, common_names
from hadis_lightly.data.loading import process_shares
from hadis_lightly.inference import Context, accurate_precision, network_outputs
from hadis_lightly.models import evaluating


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

    def to(self, device: torch.device | str) -> EmbeddedSet:
        """Embeddings and probabilities on a device; targets and keys stay."""
        embeddings, *probabilities = (output.to(device) for output in self.outputs)
        return EmbeddedSet(embeddings, self.targets, self.keys, *probabilities)

    def in_order_of(self, keys: KeyIndex) -> EmbeddedSet:
        """The same images in the order of an earlier pass.

        Nothing is copied if that is their order already.

        Args:
            keys: The keys of the earlier pass.

        Raises:
            ValueError: If these are not the same images.
        """
        if self.keys is keys:
            return self
        rows = self.keys.rows_of_same(keys)
        outputs, targets = self.outputs, self.targets
        if not torch.equal(rows, torch.arange(len(rows))):
            there = rows.to(self.embeddings.device)
            outputs = tuple(output[there] for output in outputs)
            targets = targets[rows]
        embeddings, *probabilities = outputs
        return EmbeddedSet(embeddings, targets, keys, *probabilities)


def check_dataloader(dataloader: object) -> None:
    """Raises unless a loader can be gone over in every epoch.

    Raises:
        TypeError: If it is not iterable, or a generator or another iterator.
    """
    if not isinstance(dataloader, Iterable):
        raise TypeError(f"dataloader must be iterable, got {dataloader!r}.")
    if isinstance(dataloader, Iterator):
        raise TypeError(
            "dataloader must be iterable again in every epoch, as a DataLoader or a "
            f"list is, but this {type(dataloader).__name__} is empty after one pass."
        )


@torch.no_grad()
def embed_dataset(
    module: pl.LightningModule,
    dataloader: Iterable[Any],
    trainer: pl.Trainer | None = None,
    *,
    max_batches: int | None = None,
    keys: KeyIndex | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EmbeddedSet:
    """Embeds every image of a loader with a module, in evaluation mode.

    With several processes all get all embeddings, each image once. A ``DataLoader`` of
    a whole set (in order, or shuffled by PyTorch's samplers without replacement) is
    split, unless the Trainer has ``use_distributed_sampler=False``: each process embeds
    every N-th image. Other loaders may give each process its share, as with
    :class:`~hadis_lightly.data.EpochSampler` or ``DistributedSampler``; if they give
    all images to each, each embeds them all. That is the case of iterable data sets and
    of batch samplers of one's own.

    Args:
        module: See :func:`~hadis_lightly.inference.network_outputs`.
        dataloader: Yields ``(images, targets, keys)``.
        trainer: If given, a batch takes the way of Lightning's validation: its
            precision (see :func:`~hadis_lightly.inference.accurate_precision`), the
            batch-transfer hooks of the module or data module, its strategy. Meanwhile
            ``trainer.validating`` is true.
        max_batches: Number of batches in each process after which to stop.
        keys: Those of an earlier pass. Names that all processes find in it are not
            exchanged again. The set comes in the order of its own loader all the same,
            see :meth:`EmbeddedSet.in_order_of`.
        progress: Called after each batch with the number of batches done and of all,
            if that is known.

    Raises:
        TypeError: If a batch is not ``(images, targets, keys)``.
        ValueError: If the loader is empty.
    """
    if max_batches is not None:
        check_integer("max_batches", max_batches, least=1)
    dataloader = process_shares.own_loader(dataloader)
    if lightly_dist.world_size() > 1:
        for buffer in module.buffers():  # those of BatchNorm may differ
            torch_dist.broadcast(buffer, src=0)
        # Who tells Lightning not to split loaders gives each process its share.
        connector = getattr(trainer, "_accelerator_connector", None)
        if getattr(connector, "use_distributed_sampler", True):
            dataloader = process_shares.share_of(dataloader)
    num_batches = length_hint(dataloader)
    num_batches = min(num_batches, max_batches or num_batches)
    capacity = _num_images(dataloader, max_batches)
    tables: list[_Table] = []
    targets: list[Tensor] = []
    keys_of_batches: list[Keys] = []
    # As in Lightning for the network alone, not for what loader and hooks compute.
    precision = trainer.precision_plugin.forward_context if trainer else nullcontext
    is_mixed = trainer and isinstance(trainer.precision_plugin, MixedPrecision)
    with evaluating(module), _validating(trainer):
        batches = (
            _parts(_transferred(batch, module, trainer))
            for batch in islice(dataloader, max_batches)
        )
        first = list(islice(batches, 1))
        if is_mixed:
            precision = _common_precision(module, first, precision)
        batches_and_first = chain(first, batches)
        for number, (images, classes, its_keys) in enumerate(batches_and_first, 1):
            with precision():
                outputs = network_outputs(module, images)
            tables = tables or [_Table(capacity, like=output) for output in outputs]
            for table, output in zip(tables, outputs, strict=True):
                table.append(output)
            targets.append(classes)
            keys_of_batches.append(its_keys)
            if progress is not None and num_batches:
                progress(number, num_batches)
    # One copy from the device for all batches.
    classes = torch.cat(targets).cpu() if targets else torch.empty(0)
    wholes = [table.whole() for table in tables]
    found = KeyIndex(keys_of_batches) if keys_of_batches else None
    if lightly_dist.world_size() > 1:
        names = common_names(found, keys)
        indices = torch.empty(0) if found is None else _indices(found, names)
        wholes, indices, classes = process_shares.gather_shares(
            wholes, indices, classes, module.device
        )
        if len(indices):
            found = names.at(indices) if names else KeyIndex([indices])
    if found is None:
        raise ValueError("dataloader is empty: there is nothing to embed.")
    embeddings, *probabilities = wholes
    return EmbeddedSet(embeddings, classes, found, *probabilities)


def _common_precision(
    module: pl.LightningModule, first: list[tuple[Tensor, Tensor, Keys]], half: Context
) -> Context:
    """Half precision if it suits the first batches of all processes, if they have one.

    See :func:`~hadis_lightly.inference.accurate_precision`.
    """
    chosen = half
    for images, _, _ in first:
        chosen = accurate_precision(module, images, half)
    if module.device.type != "cpu" or lightly_dist.world_size() == 1:
        return chosen
    agrees = torch.tensor(int(chosen is half))
    torch_dist.all_reduce(agrees, torch_dist.ReduceOp.MIN)
    return half if agrees else nullcontext


def _indices(keys: KeyIndex, names: KeyIndex | None) -> Tensor:
    """Keys as numbers that mean the same in all processes, ``(n,)``."""
    return torch.as_tensor(keys.keys if names is None else names.rows(keys.keys))


class _Table:
    """Rows that come in parts, in one tensor where their number is known.

    Args:
        capacity: Number of rows to expect, 0 if unknown.
        like: The first rows.
    """

    def __init__(self, capacity: int, like: Tensor) -> None:
        self.rows = like.new_empty(capacity, *like.shape[1:])
        self.n = 0
        self.beyond: list[Tensor] = []

    def append(self, rows: Tensor) -> None:
        end = self.n + len(rows)
        if end > len(self.rows) or self.beyond:
            self.beyond.append(rows)
        else:
            self.rows[self.n : end] = rows
            self.n = end

    def whole(self) -> Tensor:
        if self.n == len(self.rows) and not self.beyond:
            return self.rows
        return torch.cat([self.rows[: self.n], *self.beyond])


@contextmanager
def _validating(trainer: pl.Trainer | None) -> Iterator[None]:
    """Puts a Trainer into the stage of validation, and back as it was."""
    if trainer is None:
        yield
        return
    stage = trainer.state.stage
    trainer.validating = True
    try:
        yield
    finally:
        trainer.state.stage = stage


def _transferred(
    batch: Any, module: pl.LightningModule, trainer: pl.Trainer | None
) -> Any:
    """A batch on the device, by the way that it takes in Lightning's validation."""
    if trainer is None:
        return module.transfer_batch_to_device(batch, module.device, dataloader_idx=0)
    batch = trainer.precision_plugin.convert_input(batch)
    # The private one knows of the hooks of a data module.
    before = getattr(
        module, "_on_before_batch_transfer", module.on_before_batch_transfer
    )
    batch = before(batch, dataloader_idx=0)
    return trainer.strategy.batch_to_device(batch, dataloader_idx=0)


def _num_images(dataloader: Iterable[Any], max_batches: int | None) -> int:
    """Number of images that a loader of PyTorch's kind yields; 0 if unknown."""
    batch_size = getattr(dataloader, "batch_size", None)
    if not isinstance(batch_size, int):
        return 0
    n = length_hint(getattr(dataloader, "sampler", ()))
    if getattr(dataloader, "drop_last", False):
        n -= n % batch_size
    return n if max_batches is None else min(n, max_batches * batch_size)


def _parts(batch: Any) -> tuple[Tensor, Tensor, Keys]:
    """Images, targets and keys of a batch, as many of each."""
    if not isinstance(batch, (tuple, list)) or len(batch) != 3:
        length = f" of length {len(batch)}" if isinstance(batch, Sized) else ""
        raise TypeError(
            "dataloader and batch hooks must yield (images, targets, keys), got "
            f"{type(batch).__name__}{length}."
        )
    images, targets, keys = batch
    if not isinstance(images, Tensor):
        raise TypeError(
            "dataloader and batch hooks must yield images as a tensor (n, c, h, w), "
            f"got {type(images).__name__}."
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
