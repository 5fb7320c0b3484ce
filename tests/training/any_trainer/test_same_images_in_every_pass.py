"""Loaders that yield other images in a later pass, or none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, RandomSampler

from tests.training.any_trainer.parts import Digits, Net, digits, fit, k_means, loader


@pytest.mark.parametrize("make", [iter, lambda batches: (b for b in batches)])
def test_a_loader_for_one_pass_is_refused_at_once(make: Any) -> None:
    with pytest.raises(TypeError, match="iterable again in every epoch"):
        k_means(plain=make(loader()))


@pytest.mark.parametrize("names", [False, True])
def test_other_images_are_named_with_the_likely_cause(names: bool) -> None:
    plain = DataLoader(Digits(names=names), 50, shuffle=True, drop_last=True)
    with pytest.raises(ValueError, match="must yield the same images") as caught:
        fit(k_means(plain=plain), Net(), max_epochs=5)
    message = str(caught.value)
    assert "of the 100 of an earlier pass there are" in message
    assert " missing (such as " in message and " new (such as " in message
    assert "drop_last=True with shuffle=True" in message


def test_a_sampler_that_draws_a_part_is_named() -> None:
    data = Digits()
    plain = DataLoader(data, 30, sampler=RandomSampler(data, num_samples=60))
    with pytest.raises(ValueError, match="a sampler that draws some"):
        fit(k_means(plain=plain), Net(), max_epochs=3)


@pytest.mark.parametrize("names", [False, True])
def test_a_loader_that_shuffles_keeps_the_order_of_its_first_pass(names: bool) -> None:
    prototypes = k_means(plain=loader(shuffle=True, names=names))
    fit(prototypes, Net(), max_epochs=3)
    keys = prototypes._keys
    assert keys is not None
    found = keys.as_list()
    indices = [int(key[7:11]) if isinstance(key, str) else key for key in found]
    assert sorted(indices) == list(range(len(indices))) != indices
    assert torch.equal(prototypes.targets_, digits()[1][indices])
