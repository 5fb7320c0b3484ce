"""Exact nearest neighbours, in blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hadis_lightly.features import nearest_neighbours, reciprocal_neighbours


@pytest.mark.parametrize("block_size", [1, 7, 256])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_they_are_those_of_a_double_loop(block_size: int, dtype: torch.dtype) -> None:
    features = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = nearest_neighbours(features, 3, block_size=block_size)
    exact = features.double()
    for i in range(40):
        cosines = [
            (float(exact[i] @ exact[j] / exact[i].norm() / exact[j].norm()), j)
            for j in range(40)
            if j != i
        ]
        assert found[i].tolist() == [j for _, j in sorted(cosines, reverse=True)[:3]]


def test_of_equal_ones_the_first_come_first() -> None:
    # Powers of 2: products without rounding, so that ties are exact.
    x, y = [2.0, 0.0], [0.0, 0.5]
    features = torch.tensor([x, x, y, x, y, x, y, [4.0, 0.0]])
    found = nearest_neighbours(features, 3)
    assert found.tolist() == [
        [1, 3, 5],
        [0, 3, 5],
        [4, 6, 0],
        [0, 1, 5],
        [2, 6, 0],
        [0, 1, 3],
        [2, 4, 0],
        [0, 1, 3],
    ]
    same = torch.ones(30, 4)
    expected = [[j for j in range(30) if j != i][:2] for i in range(30)]
    assert nearest_neighbours(same, 2, block_size=8).tolist() == expected
    assert nearest_neighbours(same, 29)[3].tolist() == [*range(3), *range(4, 30)]


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"features must be \(n, d\), got \(4,\)"):
        nearest_neighbours(torch.ones(4), 1)
    with pytest.raises(ValueError, match="n_neighbours must be below the 4 images"):
        nearest_neighbours(torch.ones(4, 2), 4)
    with pytest.raises(ValueError, match="n_neighbours must be at least 1, got 0"):
        nearest_neighbours(torch.ones(4, 2), 0)
    with pytest.raises(ValueError, match="features must be finite"):
        nearest_neighbours(torch.tensor([[1.0], [torch.inf]]), 1)
    with pytest.raises(ValueError, match="must be indices of the 2 images"):
        reciprocal_neighbours(torch.tensor([[1], [2]]))
    with pytest.raises(ValueError, match=r"int64 tensor \(2, k\), got int64 \(2, 1\)"):
        reciprocal_neighbours(np.array([[1], [0]]))  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_they_are_those_of_the_cpu() -> None:
    features = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    found = nearest_neighbours(features.cuda(), 5)
    assert found.device.type == "cuda"
    assert torch.equal(found.cpu(), nearest_neighbours(features, 5))


def test_reciprocal_neighbours_have_the_image_among_theirs() -> None:
    features = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    neighbours = nearest_neighbours(features, 5)
    kept = reciprocal_neighbours(neighbours)
    expected = [
        [j if i in neighbours[j] else i for j in row]
        for i, row in enumerate(neighbours.tolist())
    ]
    assert kept.tolist() == expected
    assert 0.1 < float((kept == neighbours).float().mean()) < 0.95
