"""One pass over a data set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.data import DataLoader, IterableDataset, SequentialSampler

from hadis_lightly.data.key_index import KeyIndex
from hadis_lightly.training.embedding import check_dataloader, embed_dataset

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


def batches_of_two(n: int) -> list[Any]:
    images = torch.randn(n, 3, generator=torch.Generator().manual_seed(0))
    return list(
        zip(*(x.split(2) for x in (images, *[torch.arange(n)] * 2)), strict=True)
    )


@pytest.mark.parametrize("max_batches", [1, 2, 99, None])
@pytest.mark.parametrize("loads", [False, True])
def test_batches_are_limited_and_counted(max_batches: int | None, loads: bool) -> None:
    loader: Any = batches_of_two(5)
    if loads:
        rows = [row for batch in loader for row in zip(*batch, strict=True)]
        loader = DataLoader(rows, 2)
    seen: list[tuple[int, int]] = []
    embedded = embed_dataset(
        Embedding(),
        loader,
        max_batches=max_batches,
        progress=lambda done, total: seen.append((done, total)),
    )
    num = min(max_batches or 3, 3)
    assert embedded.keys.as_list() == list(range(5))[: 2 * num]
    whole = torch.cat([images for images, _, _ in batches_of_two(5)])[: 2 * num]
    assert_close(embedded.embeddings, nn.functional.normalize(whole, dim=1))
    assert seen == [(done + 1, num) for done in range(num)]
    with pytest.raises(ValueError, match="max_batches must be at least 1"):
        embed_dataset(Embedding(), loader, max_batches=0)


def test_a_loader_of_unknown_length_is_embedded() -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return (
                row for batch in batches_of_two(5) for row in zip(*batch, strict=True)
            )

    found = embed_dataset(Embedding(), DataLoader(Stream(), 2), progress=print)
    assert found.keys.as_list() == list(range(5))


def test_a_loader_that_yields_more_than_its_sampler_says() -> None:
    class Short(SequentialSampler):
        def __len__(self) -> int:
            return 3

    rows = [row for batch in batches_of_two(5) for row in zip(*batch, strict=True)]
    found = embed_dataset(Embedding(), DataLoader(rows, 2, sampler=Short(rows)))
    expected = embed_dataset(Embedding(), batches_of_two(5))
    assert torch.equal(found.embeddings, expected.embeddings)
    assert found.keys.as_list() == list(range(5))


def test_embeddings_fill_one_tensor_where_their_number_is_known() -> None:
    rows = [row for batch in batches_of_two(5) for row in zip(*batch, strict=True)]
    embeddings = embed_dataset(Embedding(), DataLoader(rows, 2)).embeddings
    assert embeddings.untyped_storage().nbytes() == embeddings.nbytes


def test_nothing_is_copied_for_an_order_that_is_the_same() -> None:
    found = embed_dataset(Embedding(), batches_of_two(5))
    again = embed_dataset(Embedding(), batches_of_two(5))
    ordered = again.in_order_of(found.keys)
    assert ordered.embeddings is again.embeddings and ordered.keys is found.keys
    backwards = again.in_order_of(KeyIndex([torch.arange(5).flip(0)]))
    assert torch.equal(backwards.embeddings, again.embeddings.flip(0))
    assert backwards.targets.tolist() == [4, 3, 2, 1, 0]
    moved = again.to("meta")
    assert moved.embeddings.is_meta and not moved.targets.is_meta
    assert moved.keys is again.keys and moved.probabilities is None


@pytest.mark.parametrize("loader", [[], (), DataLoader([1])])
def test_loaders_that_can_be_read_again(loader: object) -> None:
    check_dataloader(loader)


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (None, "must be iterable, got None"),
        (iter([]), "list_iterator is empty after one pass"),
        ((x for x in "ab"), "generator is empty after one pass"),
    ],
)
def test_loaders_for_one_pass_are_refused(loader: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        check_dataloader(loader)


def test_a_loader_without_images() -> None:
    with pytest.raises(ValueError, match="dataloader is empty"):
        embed_dataset(Embedding(), [])
