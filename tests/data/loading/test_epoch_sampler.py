"""The order of images: shuffled, evenly over clusters, shared, and resumed."""

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
    "empty": [0, 50, 0, 3, 0],
    "one cluster": [13],
    "more clusters than fit": [2, 1, 1, 1],
    "one image": [1],
}


def labels_of(sizes: list[int]) -> Tensor:
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    generator = torch.Generator().manual_seed(0)
    return labels[torch.randperm(len(labels), generator=generator)]


def sampler_of(labels: Tensor | None, n: int = 0, seed: int = 0) -> EpochSampler:
    sampler = EpochSampler(n if labels is None else len(labels), True, seed)
    sampler.cluster_labels = lambda: labels
    return sampler


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_clusters_come_equally_often(sizes: list[int]) -> None:
    labels = labels_of(sizes)
    n, present = len(labels), torch.tensor(sizes) > 0
    k = int(present.sum())
    sampler = sampler_of(labels)
    for epoch in range(4):
        sampler.set_epoch(epoch)
        order = sampler.order()
        assert order.shape == (n,) and order.dtype == torch.int64
        counts = labels[order].bincount(minlength=len(sizes))
        assert set(counts[present].tolist()) <= {n // k, n // k + 1}
        assert counts.sum() == n and (counts[~present] == 0).all()
        times = order.bincount(minlength=n)
        for cluster in labels.unique():
            of_cluster = times[labels == cluster]
            assert of_cluster.max() - of_cluster.min() <= 1


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
    assert sorted(order(None)) == list(range(50))
    # Without labels as it always was.
    plain = EpochSampler(50, shuffle=True, seed=0)
    plain.set_epoch(1)
    assert order(None) == plain.order().tolist()


def test_an_epoch_has_a_pass() -> None:
    with pytest.raises(ValueError, match="passes must be at least 1, got 0"):
        EpochSampler(4, shuffle=True, seed=0, passes=0)


def test_labels_are_asked_for_when_an_epoch_starts() -> None:
    asked = []
    labels = labels_of([19, 1])
    sampler = EpochSampler(20, shuffle=True, seed=0)

    def cluster_labels() -> Tensor | None:
        asked.append(sampler.epoch)
        return None if sampler.epoch == 0 else labels

    sampler.cluster_labels = cluster_labels
    for epoch in range(3):
        sampler.set_epoch(epoch)
        rows = [key[1] for key in sampler]
        assert rows.count(int((labels == 1).nonzero())) == (1 if epoch == 0 else 10)
    assert asked == [0, 1, 2]
    sampler.cluster_labels = lambda: labels[:4]
    with pytest.raises(ValueError, match=r"must have shape \(20,\).* got \(4,\)"):
        list(sampler)


@pytest.mark.parametrize("done", [0, 1, 90])
def test_a_resumed_epoch_has_the_rest(done: int) -> None:
    labels = labels_of([80, 6, 4])
    whole = sampler_of(labels)
    whole.set_epoch(3)
    keys = list(whole)
    resumed = sampler_of(labels)
    resumed.start_at(3, done)
    assert list(resumed) == keys[done:]
    resumed.set_epoch(4)
    assert len(list(resumed)) == len(keys) == 90


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


def test_even_clusters_on_the_device() -> None:
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
    loader.sampler.start_at(1, 16)
    assert torch.equal(torch.cat([batch[2] for batch in loader]), rows[16:])


SHARES = """
import json, sys, torch
from torch import distributed as dist
from hadis_lightly.data import DeviceLoader, EpochSampler
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method=sys.argv[2], rank=rank, world_size=2)

sampler = EpochSampler(41, shuffle=True, seed=3)
sampler.cluster_labels = lambda: (torch.arange(41) > 36).long()
sampler.set_epoch(5)

images = torch.zeros(11, 1, 2, 2, dtype=torch.uint8)
rows = lambda loader: [rows.tolist() for _, _, rows in loader]
loader = DeviceLoader(images, batch_size=2, shuffle=True, drop_last=True)
once = DeviceLoader(images, batch_size=2)
assert len(once) == len(rows(once))
print(json.dumps([list(sampler), len(sampler), rows(loader), len(loader),
                  sum(rows(once), [])]))
"""


def test_two_processes_share_an_epoch(tmp_path: Path) -> None:
    url = f"file://{tmp_path / 'rendezvous'}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SHARES, str(rank), url], stdout=subprocess.PIPE
        )
        for rank in range(2)
    ]
    outputs = [json.loads(p.communicate(timeout=120)[0]) for p in processes]
    whole = sampler_of((torch.arange(41) > 36).long(), seed=3)
    whole.set_epoch(5)
    keys = [list(key) for key in whole]
    images = torch.zeros(11, 1, 2, 2, dtype=torch.uint8)
    loader = DeviceLoader(images, batch_size=4, shuffle=True)
    batches = [rows.tolist() for _, _, rows in loader][:2]
    for rank, (share, size, mine, length, once) in enumerate(outputs):
        assert share == keys[rank::2][:20] and size == 20
        # Together they have the batches of 4 that one process has.
        assert mine == [batch[rank::2] for batch in batches]
        assert length == 2  # 11 images: 5 for each, two full batches
        # Where no batch has to be full, every image is in exactly one share.
        assert once == list(range(rank, 11, 2))
