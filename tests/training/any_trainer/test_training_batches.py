"""Batches: any number of views for HaDis, and clear words for what does not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from hadis_lightly.loss import HaDisLoss
from hadis_lightly.training import HaDis
from hadis_lightly.transforms import BatchedViews
from tests.training.any_trainer.hadis_parts import (
    ManyViews,
    cc,
    hadis,
    hadis_model,
    many_views,
)
from tests.training.any_trainer.parts import Digits, digits, k_means, loader
from tests.training.plain_trainer import plain_trainer
from tests.training.two_head_modules import pici

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*")


class Dicts(Digits):
    def __getitem__(self, index: int) -> Any:
        image, target, key = super().__getitem__(index)
        return {"image": image, "target": target, "key": key}


ALONE = DataLoader(TensorDataset(*digits()), batch_size=30)


@pytest.mark.parametrize("make", [hadis, cc, pici])
@pytest.mark.parametrize(
    ("batches", "error", "message"),
    [
        (ALONE, TypeError, r"got list of 2 \(Tensor, Tensor\)"),
        (loader(), TypeError, "in place of the views it has a single view"),
        (DataLoader(Dicts(), batch_size=30), TypeError, "got dict"),
        (many_views(1), ValueError, "2 views of each image, got 1"),
        (many_views(2, small=True), ValueError, r"same shape, .* \(30, 1, 4, 4\)"),
    ],
    ids=["pair", "single-view", "dict", "one-view", "multi-crop"],
)
def test_a_batch_that_does_not_fit_is_described(
    make: Any, batches: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        plain_trainer().fit(make(), batches)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ([torch.zeros(2, 3, 8, 8)] * 2, r"\(images, targets, keys\) of uint8 images"),
        ({"image": 0}, "got dict"),
        (([torch.zeros(2, 3, 8, 8)], 0, 0), "got a list; leave views=None"),
    ],
)
def test_a_batch_without_raw_images_is_described_where_views_are_made(
    batch: Any, message: str
) -> None:
    module = hadis(views=BatchedViews(8))
    with pytest.raises(TypeError, match=message):
        module.on_after_batch_transfer(batch, 0)


@pytest.mark.parametrize("make", [cc, pici])
def test_methods_of_two_views_refuse_four(make: Any) -> None:
    with pytest.raises(ValueError, match="must have 2 views of each image, got 4"):
        plain_trainer().fit(make(), many_views(4))


@pytest.mark.filterwarnings("ignore:Total length of .*:UserWarning")
def test_an_empty_loader_is_called_empty() -> None:
    empty = DataLoader(ManyViews(2), batch_size=500, drop_last=True)
    with pytest.raises(ValueError, match=r"train loader is empty \(drop_last"):
        plain_trainer().fit(hadis(), empty)


@pytest.mark.parametrize("num_views", [2, 3, 4])
@pytest.mark.parametrize("concatenate", [False, True])
def test_the_loss_is_the_mean_over_all_ordered_pairs_of_views(
    num_views: int, concatenate: bool
) -> None:
    model = hadis_model().double()
    criterion, labels = HaDisLoss(3), torch.arange(30) % 3
    module = HaDis(model, criterion, warmup_epochs=9, concatenate_views=concatenate)
    views = list(torch.randn(num_views, 30, 1, 8, 8, dtype=torch.double))
    found = module.symmetric_loss(views, labels)

    def outputs(forward: Any) -> list[Any]:
        if concatenate:
            return [out.chunk(num_views) for out in forward(torch.cat(views))]
        return list(zip(*map(forward, views), strict=True))

    z, p = outputs(lambda x: model.forward_student(x, diffuse=False))
    (t,) = outputs(lambda x: (model.forward_teacher(x),))
    total: Tensor = torch.zeros(())
    for i in range(num_views):
        for j in range(num_views):
            if i != j:
                total = total + torch.stack(
                    criterion(
                        student=z[i], prediction=p[i], teacher=t[j], labels=labels
                    )
                )
    expected = total / (num_views * (num_views - 1))
    torch.testing.assert_close(torch.stack(list(found)), expected)


def test_hadis_trains_on_four_views_with_pseudo_labels() -> None:
    prototypes = k_means()
    trainer = plain_trainer(max_epochs=2)
    trainer.fit(hadis(prototypes), many_views(4))
    assert float(trainer.callback_metrics["train/loss_pcl"]) > 0
    assert len(prototypes.history_) == 3
