"""One pass over a data set."""

from __future__ import annotations

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from hadis_lightly.training.embedding import embed_dataset

X = torch.zeros(2, 3)


class Embedding(pl.LightningModule):
    """Embeds images as the numbers that they are."""

    def embed(self, x: Tensor) -> Tensor:
        assert not self.training
        return x.flatten(1)


@pytest.mark.parametrize("size", [1, 3, 20])
def test_sets_are_embedded_image_by_image(size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    n = 11
    images = torch.randn(n, 4, generator=generator)
    images[::4] *= 1e-20  # come out as zeros
    keys = torch.randperm(1000, generator=generator)[:n]
    targets = torch.arange(n) % 4 - 1
    module = Embedding().train()
    batches = (images.split(size), targets.split(size), keys.split(size))
    embedded = embed_dataset(module, list(zip(*batches, strict=True)))
    assert_close(embedded.embeddings, nn.functional.normalize(images, dim=1))
    assert torch.equal(embedded.targets, targets)
    assert embedded.keys.as_list() == keys.tolist()
    assert module.training


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((X, [0, 1]), r"\(images, targets, keys\), got tuple of length 2"),
        ((X.tolist(), [0, 1], [0, 1]), "images as a tensor"),
        ((X, [0], [0, 1]), r"targets must have shape \(2,\)"),
        ((X, ["a", "b"], [0, 1]), "targets must be class numbers"),
        ((X, [0, 1], [0]), "keys must be 2"),
    ],
)
def test_wrong_batches(batch: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        embed_dataset(Embedding(), [batch])


def test_a_loader_without_images() -> None:
    with pytest.raises(ValueError, match="dataloader is empty"):
        embed_dataset(Embedding(), [])
