"""Epochs in which all clusters come equally often."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from hadis_lightly.data import (
    DeviceLoader,
    EpochSampler,
    IndexedDataset,
    ReproducibleDataset,
)

SIZES = {
    "even": [30, 30, 30],
    "uneven": [100, 7, 1, 40],
    "one giant": [200, 1, 1, 1],
    "empty": [0, 50, 0, 3, 0],
    "one cluster": [13],
    "singles": [1] * 11,
    "more clusters than fit": [2, 1, 1, 1],
    "one image": [1],
}


def labels_of(sizes: list[int], seed: int = 0) -> Tensor:
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    generator = torch.Generator().manual_seed(seed)
    return labels[torch.randperm(len(labels), generator=generator)]


def sampler_of(labels: Tensor | None, n: int | None = None, **options: object):  # type: ignore[no-untyped-def]
    n = len(labels) if n is None and labels is not None else n
    sampler = EpochSampler(n, shuffle=True, **{"seed": 0, **options})  # type: ignore[arg-type]
    sampler.cluster_labels = lambda: labels
    return sampler


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_clusters_come_equally_often(sizes: list[int]) -> None:
    labels = labels_of(sizes)
    n, k = len(labels), sum(size > 0 for size in sizes)
    sampler = sampler_of(labels)
    first = torch.zeros(len(sizes))
    for epoch in range(6):
        sampler.set_epoch(epoch)
        order = sampler.order()
        assert order.shape == (n,) and order.dtype == torch.int64
        counts = labels[order].bincount(minlength=len(sizes))
        present = counts[torch.tensor(sizes) > 0]
        assert set(present.tolist()) <= {n // k, n // k + 1}
        assert counts.sum() == n and (counts[torch.tensor(sizes) == 0] == 0).all()
        # No image comes twice more often than another one of its cluster.
        times = order.bincount(minlength=n)
        for cluster in labels.unique():
            of_cluster = times[labels == cluster]
            assert of_cluster.max() - of_cluster.min() <= 1
        first += counts
    assert (first[torch.tensor(sizes) > 0] > 0).all()


def test_an_even_set_comes_whole() -> None:
    order = sampler_of(labels_of([30, 30, 30])).order()
    assert sorted(order.tolist()) == list(range(90))


def test_the_order_depends_on_seed_epoch_and_labels_alone() -> None:
    labels = labels_of([40, 9, 1])

    def order(labels: Tensor | None, epoch: int = 1, seed: int = 0) -> list[int]:
        sampler = sampler_of(labels, n=50, seed=seed)
        sampler.set_epoch(epoch)
        found: list[int] = sampler.order().tolist()
        return found

    torch.manual_seed(1)
    expected = order(labels)
    torch.manual_seed(2)
    assert order(labels) == order(labels.int()) == order(labels + 7) == expected
    others = [order(labels, epoch=2), order(labels, seed=1), order(labels.flip(0))]
    assert len({tuple(other) for other in [expected, *others]}) == 4
    # Without labels as it always was.
    plain = EpochSampler(50, shuffle=True, seed=0)
    plain.set_epoch(1)
    assert order(None) == plain.order().tolist()


def test_labels_are_asked_for_when_an_epoch_starts() -> None:
    asked = []
    sampler = EpochSampler(20, shuffle=True, seed=0)

    def labels() -> Tensor | None:
        asked.append(sampler.epoch)
        return None if sampler.epoch == 0 else labels_of([19, 1])

    sampler.cluster_labels = labels
    for epoch in range(3):
        sampler.set_epoch(epoch)
        rows = [key[1] for key in sampler]
        single = int((labels_of([19, 1]) == 1).nonzero())
        assert rows.count(single) == (1 if epoch == 0 else 10)
    assert asked == [0, 1, 2]


def test_labels_that_do_not_fit_are_refused() -> None:
    sampler = sampler_of(torch.zeros(4, dtype=torch.long), n=5)
    with pytest.raises(ValueError, match=r"must have shape \(5,\).* got \(4,\)"):
        list(sampler)


def test_without_shuffling_labels_do_not_matter() -> None:
    sampler = EpochSampler(5, shuffle=False, seed=0)
    sampler.cluster_labels = lambda: labels_of([4, 1])
    assert sampler.order().tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("done", [0, 1, 24, 90])
def test_a_resumed_epoch_has_the_rest(done: int) -> None:
    labels = labels_of([80, 6, 4])
    whole = sampler_of(labels)
    whole.set_epoch(3)
    keys = list(whole)
    resumed = sampler_of(labels)
    resumed.start_at(3, done)
    assert list(resumed) == keys[done:]
    assert len(keys) == 90
    resumed.set_epoch(4)
    assert len(list(resumed)) == 90


def test_repeats_are_numbered() -> None:
    """So that an image that comes again has other views."""
    sampler = sampler_of(labels_of([56, 3, 1]))
    sampler.set_epoch(2)
    seen: dict[int, set[int]] = {}
    for epoch, index, *times in sampler:
        assert epoch == 2 and times != [0]
        seen.setdefault(index, set()).add(times[0] if times else 0)
    assert all(times == set(range(len(times))) for times in seen.values())
    assert max(map(len, seen.values())) == 20
    assert all(len(key) == 2 for key in sampler_of(labels_of([20, 20])))


class Draws(torch.utils.data.Dataset[float]):
    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> float:
        return float(torch.rand(()))


def test_an_image_that_comes_again_has_draws_of_its_own() -> None:
    labels = labels_of([39, 1])
    dataset = ReproducibleDataset(IndexedDataset(Draws()), seed=0)
    loader = DataLoader(dataset, batch_size=8, sampler=sampler_of(labels))
    draws, _, rows = (torch.cat(parts) for parts in zip(*loader, strict=True))
    single = int((labels == 1).nonzero())
    assert (rows == single).sum() == 20
    assert len(draws.unique()) == 40
    again = [torch.cat(parts) for parts in zip(*loader, strict=True)]
    assert torch.equal(again[0], draws) and torch.equal(again[2], rows)
    assert dataset[0, 3] == dataset[0, 3] != dataset[0, 3, 1]


def test_on_the_device() -> None:
    labels = labels_of([30, 6, 0, 4])
    images = torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1)
    loader = DeviceLoader(images, labels, batch_size=8, shuffle=True, drop_last=True)
    loader.sampler.cluster_labels = lambda: labels
    for epoch in range(2):
        expected = sampler_of(labels)
        expected.set_epoch(epoch)
        batches = list(loader)
        rows = torch.cat([batch[2] for batch in batches])
        assert torch.equal(rows, expected.order())
        assert torch.equal(torch.cat([b[0] for b in batches]).flatten().long(), rows)
        assert labels[rows].bincount().tolist() in ([14, 13, 0, 13], [13, 14, 0, 13],
                                                    [13, 13, 0, 14])  # fmt: skip
    loader.sampler.start_at(1, 16)
    rest = torch.cat([batch[2] for batch in loader])
    assert torch.equal(rest, rows[16:])


SHARES = """
import json, sys, torch
from torch import distributed as dist
from hadis_lightly.data import EpochSampler
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method=sys.argv[2], rank=rank, world_size=2)
sampler = EpochSampler(41, shuffle=True, seed=3)
sampler.cluster_labels = lambda: (torch.arange(41) > 36).long()
sampler.set_epoch(5)
print(json.dumps([list(sampler), len(sampler)]))
"""


def test_two_processes_share_an_epoch(tmp_path: Path) -> None:
    url = f"file://{tmp_path / 'rendezvous'}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SHARES, str(rank), url], stdout=subprocess.PIPE
        )
        for rank in range(2)
    ]
    shares = [json.loads(p.communicate(timeout=120)[0]) for p in processes]
    whole = sampler_of((torch.arange(41) > 36).long(), seed=3)
    whole.set_epoch(5)
    keys = [list(key) for key in whole]
    for rank, (share, length) in enumerate(shares):
        assert share == keys[rank::2][:20] and length == 20
