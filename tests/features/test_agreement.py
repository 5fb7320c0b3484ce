"""Share of nearest neighbours that two views agree on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hadis_lightly.features import view_agreement


def bank(noise: float, n: int = 400) -> Tensor:
    """Plain image and three views, each the image and noise."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(n, 1, 16, generator=generator)
    return images + noise * torch.randn(n, 4, 16, generator=generator)


def test_from_all_of_them_to_chance() -> None:
    shares = [view_agreement(bank(noise)) for noise in (0.0, 0.3, 1e3)]
    assert shares[0] == 1
    assert 0.1 < shares[1] < 0.9
    assert shares[2] == pytest.approx(10 / 400, abs=0.01)


def test_against_a_loop() -> None:
    features = bank(0.5, n=200)
    plain, *views = torch.nn.functional.normalize(features, dim=2).unbind(1)
    shared = 0
    for i in range(200):
        tops = []
        for view in views[:2]:
            order = (plain @ view[i]).argsort(descending=True).tolist()
            order.remove(i)
            tops.append(set(order[:10]))
        shared += len(tops[0] & tops[1])
    assert view_agreement(features) == pytest.approx(shared / 2000)


def test_too_few_images_or_views_say_nothing() -> None:
    assert view_agreement(bank(0.1, n=199)) is None
    assert view_agreement(bank(0.1)[:, :2]) is None
