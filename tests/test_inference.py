"""What networks make of images: in slices, and in half precision if it agrees."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from hadis_lightly.inference import accurate_precision, network_outputs
from hadis_lightly.training.embedding import embed_dataset
from tests.training.plain_trainer import plain_trainer

HALF = partial(torch.autocast, "cpu", dtype=torch.bfloat16)


class Network(pl.LightningModule):
    """A layer whose outputs are moved by a number and back, as a bias may do."""

    def __init__(self, offset: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(48, 8)
        self.offset = offset
        self.sizes: list[int] = []

    def embed(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        moved = self.layer(x.flatten(1)) + self.offset
        return moved - self.offset


class Assigning(Network):
    """A cluster head whose labels hang on the last bits of float32."""

    def embed_and_assign(self, x: Tensor) -> tuple[Tensor, Tensor]:
        embeddings = self.embed(x)
        close = self.layer.weight[:1] + 1e-4 * torch.randn_like(self.layer.weight)
        return embeddings, nn.functional.linear(x.flatten(1), close).softmax(dim=1)


@pytest.mark.parametrize(("side", "largest"), [(4, 8192), (32, 128), (400, 8)])
def test_slices_have_a_number_of_pixels(side: int, largest: int) -> None:
    class Mean(Network):
        def embed(self, x: Tensor) -> Tensor:
            self.sizes.append(len(x))
            return x.mean(dim=(2, 3))

    network, images = (
        Mean(),
        torch.rand(largest + 3, 3, 1, 1).expand(-1, -1, side, side),
    )
    (found,) = network_outputs(network, images)
    assert network.sizes == [largest, 3]
    assert_close(found, nn.functional.normalize(images[:, :, 0, 0], dim=1))


def test_half_precision_is_taken_where_it_agrees() -> None:
    images = torch.randn(40, 3, 4, 4)
    assert accurate_precision(Network(), images, HALF) is HALF
    overflowing = Network(offset=torch.inf)
    for spoilt in (Network(offset=4096.0), overflowing, Assigning()):
        assert accurate_precision(spoilt, images, HALF) is nullcontext


def test_half_precision_is_taken_where_clusters_agree() -> None:
    images = torch.randn(40, 3, 4, 4)
    for bins, chosen in ((2, HALF), (1e6, nullcontext)):
        labels = lambda x, bins=bins: (x[:, 0] * bins).round()  # noqa: E731
        assert accurate_precision(Network(), images, HALF, labels) is chosen


@pytest.mark.parametrize(("offset", "agrees"), [(0.0, True), (4096.0, False)])
def test_sets_are_embedded_in_a_precision_that_agrees(
    offset: float, agrees: bool
) -> None:
    network, images = Network(offset), torch.randn(12, 3, 4, 4)
    keys = torch.arange(12)
    loader = list(zip(images.split(4), keys.split(4), keys.split(4), strict=True))
    exact = embed_dataset(network, loader, plain_trainer()).embeddings
    found = embed_dataset(network, loader, plain_trainer(precision="bf16-mixed"))
    assert torch.equal(found.embeddings, exact) is not agrees
    assert (found.embeddings * exact).sum(1).min() >= 0.999
