"""Uniform numbers that are a function of seed, epoch and key."""

from __future__ import annotations

import pytest
import torch
from hadis_lightly.transforms.keyed_uniforms import keyed_uniforms
from scipy import stats

from hadis_lightly.transforms import BatchedViews


def test_they_are_uniform_along_every_axis() -> None:
    numbers = keyed_uniforms(0, 0, torch.arange(2000), 40).double()
    assert numbers.min() >= 0 and numbers.max() < 1
    for values in (numbers.flatten(), numbers[:, 0], numbers[:, 39], numbers[7]):
        assert stats.kstest(values.numpy(), "uniform").pvalue > 1e-3
    by_epoch = torch.cat(
        [keyed_uniforms(0, e, torch.tensor([5]), 1) for e in range(2000)]
    )
    by_seed = torch.cat(
        [keyed_uniforms(s, 3, torch.tensor([5]), 1) for s in range(2000)]
    )
    for values in (by_epoch.flatten(), by_seed.flatten()):
        assert stats.kstest(values.double().numpy(), "uniform").pvalue > 1e-3


def test_neighbours_are_independent() -> None:
    numbers = keyed_uniforms(1, 2, torch.arange(4000), 30).double()
    later = keyed_uniforms(1, 3, torch.arange(4000), 30).double()
    other = keyed_uniforms(2, 2, torch.arange(4000), 30).double()
    pairs = [
        (numbers[1:], numbers[:-1]),
        (numbers[:, 1:], numbers[:, :-1]),
        (numbers, later),
        (numbers, other),
        # A shifted stream would show up as equal numbers somewhere else.
        (numbers[1:, :-1], numbers[:-1, 1:]),
        (later[:, :-1], numbers[:, 1:]),
    ]
    for a, b in pairs:
        correlation = torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]
        assert abs(correlation) < 4 / a.numel() ** 0.5
    everything = torch.cat([numbers, later, other]).flatten()
    # Of 24 bits so many numbers have about n^2 / 2^25 in common, not many more.
    repeated = len(everything) - len(everything.unique())
    assert repeated < 1.2 * len(everything) ** 2 / 2**25


def test_a_number_depends_on_its_key_alone() -> None:
    keys = torch.tensor([9, 0, 123_456_789_012, 4])
    numbers = keyed_uniforms(3, 1, keys, 6)
    for row, key in enumerate(keys):
        assert torch.equal(keyed_uniforms(3, 1, key.unsqueeze(0), 6)[0], numbers[row])
        assert torch.equal(keyed_uniforms(3, 1, keys, 3)[row], numbers[row, :3])
    assert torch.equal(keyed_uniforms(3, 1, keys[[0, 3]].int(), 6), numbers[[0, 3]])


def test_they_are_those_of_splitmix64() -> None:
    """Worked out in Python's own integers, which do not wrap around."""
    mask, gamma = 2**64 - 1, 0x9E3779B97F4A7C15

    def mixed(z: int) -> int:
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        return z ^ z >> 31

    seed, epoch, key, size = 2**40 + 7, 12, 59_999, 5
    stream = mixed(mixed(seed + gamma & mask) + epoch + gamma & mask)
    state = mixed(stream + key * gamma & mask)
    bits = [mixed(state + j * gamma & mask) >> 40 for j in range(1, size + 1)]
    numbers = keyed_uniforms(seed, epoch, torch.tensor([key]), size)
    assert (numbers[0] * 2**24).tolist() == bits


def test_views_take_as_many_keys_as_there_are_images() -> None:
    views = BatchedViews(8)
    images = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"keys must have shape \(3,\), got \(2,\)"):
        views.keyed_uniforms(images, torch.arange(2), seed=0, epoch=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_has_the_same_numbers() -> None:
    keys = torch.arange(1000)
    there = keyed_uniforms(5, 6, keys.cuda(), 50)
    assert torch.equal(there.cpu(), keyed_uniforms(5, 6, keys, 50))
