"""How processes share a set: who takes which images, and how all get all results."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from lightly.utils import dist as lightly_dist
from torch import Tensor
from torch import distributed as torch_dist
from torch.utils.data import (
    DataLoader,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
)

# Kept, as their workers may persist.
_shares: WeakKeyDictionary[DataLoader[Any], DataLoader[Any]] = WeakKeyDictionary()


_own: WeakKeyDictionary[DataLoader[Any], DataLoader[Any]] = WeakKeyDictionary()


def own_loader(dataloader: Iterable[Any]) -> Iterable[Any]:
    """A loader with worker processes of its own, if those of this one persist.

    Whoever goes over such a loader takes its batches from whoever else does: Lightning
    keeps an iterator of its validation loader open. The copy is kept, with its workers,
    as long as the loader is.
    """
    if not (isinstance(dataloader, DataLoader) and dataloader.persistent_workers):
        return dataloader
    own = _own.get(dataloader)
    if own is None:
        _own[dataloader] = own = copy.copy(dataloader)
        own._iterator = None
    return own


def share_of(dataloader: Iterable[Any]) -> Iterable[Any]:
    """The share of this process in the images of a loader.

    A ``DataLoader`` of a whole set, the same in all N processes, is replaced by one of
    every N-th image, in order. It is kept, with its persistent workers, as long as the
    loader is. Others are returned as they are: those with a sampler of another kind,
    which may give each process its share already, with a batch sampler, of an iterable
    data set, or of a class of their own; and all, if the processes seem to have sets or
    subsets of their own. To be called by all processes.
    """
    world_size = lightly_dist.world_size()
    of_all: list[Any] = [None] * world_size
    dataset = getattr(dataloader, "dataset", None)
    indices = _indices(dataloader) if type(dataloader) is DataLoader else None
    own = None if indices is None else (_digest(indices), *_description(dataset))
    torch_dist.all_gather_object(of_all, own)
    if indices is None or of_all != [own] * world_size:
        return dataloader
    dataloader = cast(DataLoader[Any], dataloader)
    mine = indices[lightly_dist.rank() :: world_size]
    share = _shares.get(dataloader)
    if share is None or share.sampler != mine:
        _shares[dataloader] = share = DataLoader(
            dataloader.dataset,
            dataloader.batch_size,
            sampler=mine,
            num_workers=dataloader.num_workers,
            collate_fn=dataloader.collate_fn,
            pin_memory=dataloader.pin_memory,
            timeout=dataloader.timeout,
            worker_init_fn=dataloader.worker_init_fn,
            multiprocessing_context=dataloader.multiprocessing_context,
            generator=dataloader.generator,
            prefetch_factor=dataloader.prefetch_factor,
            persistent_workers=dataloader.persistent_workers,
        )
    return share


def _indices(dataloader: DataLoader[Any]) -> Sequence[int] | None:
    """What a loader yields if all processes yield the same, in any order; or None."""
    sampler, batch_size = dataloader.sampler, dataloader.batch_size
    if batch_size is None:  # a batch sampler, or none
        return None
    if type(sampler) is SequentialSampler:
        n = len(sampler)
        return range(n - n % batch_size if dataloader.drop_last else n)
    if dataloader.drop_last:  # draws other images in every pass
        return None
    if type(sampler) is RandomSampler and not sampler.replacement:
        n = len(sampler)
        return range(n) if n == len(sampler.data_source) else None
    if type(sampler) is SubsetRandomSampler:
        return list(map(int, sampler.indices))  # of a tensor, too
    return None


def _digest(indices: Iterable[int]) -> int:
    return hash(indices if isinstance(indices, range) else tuple(map(int, indices)))


def _description(dataset: Any) -> tuple[object, ...]:
    """Tells sets of different processes apart, without reading an image."""
    if isinstance(dataset, Subset):
        return _digest(dataset.indices), *_description(dataset.dataset)
    return type(dataset).__qualname__, len(dataset)


def gather_shares(
    rows: Sequence[Tensor], indices: Tensor, targets: Tensor, device: torch.device
) -> tuple[list[Tensor], Tensor, Tensor]:
    """The images of all processes, each once, in the same order in all of them.

    The first images of all processes come first, then the second ones, and so on: the
    order of the set if each process took every N-th image of it. Beside its own share
    and the result a process holds one more share at a time.

    Args:
        rows: Results for the own share, float32 ``(m, d)`` each; none if ``m`` is 0.
        indices: What tells the images apart, int64 ``(m,)``.
        targets: Class numbers, ``(m,)``.
        device: Where the rows are, and processes exchange tensors.

    Returns:
        Rows ``(n, d)`` each, on the device; indices and targets, ``(n,)``, on the CPU.
    """
    rank, world_size = lightly_dist.rank(), lightly_dist.world_size()
    sizes: list[Any] = [None] * world_size
    own_sizes = len(indices), [values.shape[1] for values in rows]
    torch_dist.all_gather_object(sizes, own_sizes)
    counts = torch.tensor([count for count, _ in sizes])
    widths = max(widths for _, widths in sizes)  # of a process without images: none
    most = int(counts.max())
    numbers = torch.zeros(2, most, dtype=torch.long)
    numbers[0, : len(indices)], numbers[1, : len(indices)] = indices, targets
    of_all = [torch.empty_like(numbers, device=device) for _ in sizes]
    torch_dist.all_gather(of_all, numbers.to(device))
    # Row by row over the processes, so that the first images of all come first.
    places, processes = (torch.arange(most)[:, None] < counts).nonzero(as_tuple=True)
    indices, targets = torch.stack(of_all, dim=2).cpu()[:, places, processes]
    kept = _first_of_each(indices)
    places, processes = places[kept], processes[kept]
    wholes = [torch.empty(len(kept), width, device=device) for width in widths]
    for process in range(world_size):
        there = (processes == process).nonzero().flatten()
        if len(there) == 0:
            continue
        sent, there = places[there].to(device), there.to(device)
        for number, whole in enumerate(wholes):
            if process != rank:
                part = whole.new_empty(len(there), whole.shape[1])
            elif len(there) == len(rows[number]):
                part = rows[number]
            else:
                part = rows[number][sent]
            torch_dist.broadcast(part, src=process)
            whole[there] = part
    return wholes, indices[kept], targets[kept]


def _first_of_each(codes: Tensor) -> Tensor:
    """Places where a number comes for the first time, in order."""
    ordered, places = codes.sort(stable=True)
    is_first = torch.ones(len(codes), dtype=torch.bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    return places[is_first].sort().values
