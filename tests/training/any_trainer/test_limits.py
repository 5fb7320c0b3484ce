"""Flags that make an epoch short make the clustering short as well."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from tests.training.any_trainer.parts import (
    Digits,
    Net,
    fit,
    k_means,
    lightnings_advice_left_out,
    loader,
)
from tests.training.plain_trainer import plain_trainer


class Counting(Net):
    """Counts the images it embeds."""

    num_embedded = 0

    def embed(self, x: Tensor) -> Tensor:
        self.num_embedded += len(x)
        return super().embed(x)


def test_fast_dev_run_embeds_a_batch_and_runs_every_line() -> None:
    prototypes = k_means(warmup_epochs=0)
    module = Counting(prototypes)
    fit(prototypes, module, fast_dev_run=True)
    assert module.num_embedded == 2 * 30  # before and after the epoch
    ((_, labels),) = module.seen
    assert labels is not None and labels.shape == (30,)


def test_fast_dev_run_has_labels_for_images_that_it_did_not_embed() -> None:
    class Asking(Net):
        asked: Tensor | None = None

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            assert self.prototypes is not None
            self.asked = self.prototypes.labels(torch.tensor([100, 5, 119, 7]))
            return super().training_step(batch, batch_idx)

    prototypes = k_means()
    module = Asking(prototypes)
    fit(prototypes, module, fast_dev_run=True)
    labels = prototypes.labels(torch.tensor([100, 5, 119, 7]))
    assert labels is None  # and within it:
    assert module.asked is not None and module.asked.shape == (4,)
    assert 0 <= int(module.asked.min()) <= int(module.asked.max()) < 3


def test_fast_dev_run_of_small_batches_embeds_enough_for_all_clusters() -> None:
    prototypes = k_means(20, loader(batch_size=4))
    module = Counting(prototypes)
    fit(prototypes, module, fast_dev_run=True)
    assert len(prototypes.labels_) == 32


@pytest.mark.parametrize(
    "limit", [{"limit_train_batches": 2}, {"limit_train_batches": 0.5}]
)
def test_limited_batches_limit_the_images(limit: dict[str, Any]) -> None:
    prototypes = k_means()
    module = Counting(prototypes)
    with pytest.warns(UserWarning, match="clusters 60 images only"):
        fit(prototypes, module, max_epochs=1, **limit)
    assert module.num_embedded == 2 * 60
    # The loader is in order, so these are the images that were trained on.
    assert all(labels is not None for _, labels in module.seen)
    assert prototypes.labels(torch.tensor([0, 59])) is not None
    # What was not clustered has no label, rather than a wrong one.
    assert prototypes.labels(torch.tensor([0, 60])) is None


def test_overfitting_a_batch_clusters_that_batch() -> None:
    prototypes = k_means()
    module = Counting(prototypes)
    with pytest.warns(UserWarning, match="clusters 30 images only"):
        fit(prototypes, module, max_epochs=2, overfit_batches=1)
    assert module.num_embedded == 3 * 30
    assert all(labels is not None for _, labels in module.seen)


def test_batches_of_another_size_are_counted_in_images() -> None:
    prototypes = k_means(plain=loader(batch_size=10))
    with pytest.warns(UserWarning, match="clusters 60 images only"):
        fit(prototypes, max_epochs=1, limit_train_batches=2)


def test_limits_can_be_left_out_of_the_clustering() -> None:
    prototypes = k_means(follow_limits=False)
    fit(prototypes, max_epochs=1, limit_train_batches=2)
    assert len(prototypes.labels_) == 120


@pytest.mark.parametrize("limit", [4, 1000])
def test_a_limit_that_limits_nothing_clusters_everything(limit: int) -> None:
    prototypes = k_means()
    fit(prototypes, max_epochs=1, limit_train_batches=limit)
    assert len(prototypes.labels_) == 120
    assert prototypes.labels(torch.arange(120)) is not None


class Endless:
    """A training loader without a length."""

    batch_size = 30

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield from loader(views=True)


def test_an_endless_loader_is_clustered_at_the_end() -> None:
    prototypes = k_means()
    module = Net(prototypes)
    trainer = plain_trainer(prototypes, max_epochs=-1, max_steps=6)
    with lightnings_advice_left_out():
        trainer.fit(module, Endless())
    assert [entry["epoch"] for entry in prototypes.history_] == [0, 1]


@pytest.mark.parametrize("limit", [{"fast_dev_run": True}, {"limit_train_batches": 2}])
def test_the_whole_training_comes_after_a_trial(limit: dict[str, Any]) -> None:
    prototypes = k_means()
    module = Net(prototypes)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*images only")
        fit(prototypes, module, max_epochs=1, **limit)
    fit(prototypes, module, max_epochs=1)
    assert len(prototypes.labels_) == 120


class Stream(IterableDataset[Any]):
    """Plain images without a length."""

    def __iter__(self) -> Iterator[Any]:
        yield from Digits()


def test_images_without_a_number_are_limited_as_well() -> None:
    prototypes = k_means(plain=DataLoader(Stream(), 30))
    with pytest.warns(UserWarning, match="clusters 60 images only"):
        fit(prototypes, max_epochs=1, limit_train_batches=2)
    assert len(prototypes.labels_) == 60
