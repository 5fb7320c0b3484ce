"""How processes share the embedding of a set: who takes what, and all get all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from typing import Any
from weakref import WeakKeyDictionary

import torch
from lightly.utils import dist as lightly_dist
from torch import Tensor
from torch import distributed as torch_dist
from torch.utils.data import (
    DataLoader,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
)

from hadis_lightly.training.key_index import KeyIndex

# Kept, as their workers may persist.
_shares: WeakKeyDictionary[DataLoader[Any], DataLoader[Any]] = WeakKeyDictionary()


def share_of(dataloader: Iterable[Any]) -> Iterable[Any]:
    """The share of this process in the images of a loader.

    A ``DataLoader`` of a whole set, the same in all N processes, is replaced by one of
    every N-th image, in order. It is kept, with its persistent workers, as long as the
    loader is. Others are returned as they are: those with a sampler of another kind,
    which may give each process its share already, with a batch sampler, of an iterable
    data set, or of a class of their own.
    """
    if type(dataloader) is not DataLoader or (indices := _indices(dataloader)) is None:
        return dataloader
    mine = indices[lightly_dist.rank() :: lightly_dist.world_size()]
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
    return sampler.indices if type(sampler) is SubsetRandomSampler else None


def gathered(
    outputs: Sequence[Tensor],
    targets: Tensor,
    own: KeyIndex | None,
    known: KeyIndex | None,
    device: torch.device,
) -> tuple[list[Tensor], Tensor, KeyIndex | None]:
    """The images of all processes, each once, in the same order in all of them.

    The first images of all processes come first, then the second ones, and so on: the
    order of the set if each process took every N-th image of it. Beside its own share
    and the result a process holds one more share at a time.

    Args:
        outputs: Of the own share, ``(m, d)`` each; empty if there are no images.
        targets: Of the own share, ``(m,)``, on the CPU.
        own: Keys of the own share; None if there are no images.
        known: Keys of an earlier pass, the same in all processes. Names are exchanged
            only if a process has one that is not among them.
        device: Where processes exchange tensors.

    Returns:
        Outputs ``(n, d)`` on the device, targets ``(n,)`` on the CPU, and keys: None
        if no process has images.

    Raises:
        TypeError: If some keys are indices and others names.
    """
    world_size, rank = lightly_dist.world_size(), lightly_dist.rank()
    known, counts, widths = _exchanged_names(outputs, own, known)
    if not any(counts):
        return [], targets, None
    # Of each image its index, or the row of its name, and its class.
    numbers = torch.zeros(2, max(counts), dtype=torch.long)
    if own is not None:
        numbers[0, : len(own)] = torch.as_tensor(
            own.keys if known is None else known.rows(own.keys)
        )
        numbers[1, : len(own)] = targets
    of_all = [torch.empty_like(numbers, device=device) for _ in counts]
    torch_dist.all_gather(of_all, numbers.to(device))
    is_image = torch.arange(max(counts))[:, None] < torch.tensor(counts)
    rows, processes = is_image.nonzero(as_tuple=True)  # the first of all come first
    codes, classes = torch.stack(of_all, dim=2).cpu()[:, rows, processes]
    kept = _first_of_each(codes)
    codes, classes, rows, processes = (
        values[kept] for values in (codes, classes, rows, processes)
    )
    wholes = [torch.empty(len(kept), width, device=device) for width in widths]
    for process in range(world_size):
        there = (processes == process).nonzero().flatten()
        if len(there) == 0:
            continue
        sent = rows[there].to(device)
        there = there.to(device)
        for number, whole in enumerate(wholes):
            if process != rank:
                part = whole.new_empty(len(there), whole.shape[1])
            elif len(there) == len(outputs[number]):
                part = outputs[number]
            else:
                part = outputs[number][sent]
            torch_dist.broadcast(part, src=process)
            whole[there] = part
    if known is None:
        return wholes, classes, KeyIndex([codes])
    if torch.equal(codes, torch.arange(len(known))):
        return wholes, classes, known
    return wholes, classes, known.at(codes)


def _exchanged_names(
    outputs: Sequence[Tensor], own: KeyIndex | None, known: KeyIndex | None
) -> tuple[KeyIndex | None, list[int], list[int]]:
    """Names that all processes know, if keys are names, and the sizes of all shares.

    Returns:
        An index of all names, or None if keys are indices; the number of images of
        each process; and the widths of the outputs.
    """
    kind = None
    names: list[str] = []
    if own is not None:
        kind = "indices"
        if not isinstance(own.keys, Tensor):
            names = own.keys
            is_known = known is not None and bool((known.rows_or(names) >= 0).all())
            kind = "known names" if is_known else "names"
    header = kind, 0 if own is None else len(own), [o.shape[1] for o in outputs]
    headers: list[Any] = [None] * lightly_dist.world_size()
    torch_dist.all_gather_object(headers, header)
    kinds = {kind for kind, _, _ in headers if kind is not None}
    counts = [count for _, count, _ in headers]
    widths = max(widths for _, _, widths in headers)  # of one without images: []
    if kinds <= {"indices"}:
        return None, counts, widths
    if "indices" in kinds:
        raise TypeError(
            "keys must be all indices or all names, but processes have both."
        )
    if "names" in kinds:
        of_all: list[Any] = [None] * lightly_dist.world_size()
        torch_dist.all_gather_object(of_all, names)
        distinct = dict.fromkeys(chain.from_iterable(zip_longest(*of_all)))
        distinct.pop(None, None)  # where one has fewer images than another
        known = KeyIndex([list(distinct)])
    return known, counts, widths


def _first_of_each(codes: Tensor) -> Tensor:
    """Places where a number comes for the first time, in order."""
    ordered, places = codes.sort(stable=True)
    is_first = torch.ones(len(codes), dtype=torch.bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    return places[is_first].sort().values
