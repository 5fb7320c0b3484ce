"""Several clusterings in one Trainer: of different K, each with its own name."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from hadis_lightly.loss import HaDisLoss, PCLLoss
from hadis_lightly.training import PrototypeKMeans
from tests.training.any_trainer.parts import Net, fit, k_means, loader


def test_two_numbers_of_clusters_side_by_side(tmp_path: Path) -> None:
    coarse, fine = k_means(3), k_means(9, name="fine")
    trainer = fit(coarse, Net(coarse), fine, max_epochs=2)
    assert (len(coarse.prototypes_), len(fine.prototypes_)) == (3, 9)
    logged = trainer.callback_metrics
    assert float(logged["cluster/acc"]) == pytest.approx(coarse.scores_["acc"])
    assert float(logged["fine/acc"]) == pytest.approx(fine.scores_["acc"])
    assert coarse.scores_["acc"] != fine.scores_["acc"]
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    again, fine_again = k_means(3), k_means(9, name="fine")
    fit(again, Net(again), fine_again, max_epochs=2, ckpt_path=tmp_path / "two.ckpt")
    assert torch.equal(again.labels_, coarse.labels_)
    assert torch.equal(fine_again.labels_, fine.labels_)


class Another(PrototypeKMeans):
    """Of another class, with the same name for its scores."""


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(RuntimeError, match="more than one stateful callback"):
        pl.Trainer(callbacks=[k_means(3), k_means(9)], logger=False)
    other = Another(9, loader(), warmup_epochs=0)
    with pytest.raises(ValueError, match="two clustering callbacks have name"):
        fit(k_means(3), Net(), other)


@pytest.mark.parametrize("name", ["", None])
def test_a_name_is_needed(name: str) -> None:
    with pytest.raises(ValueError, match="name must be a name for the metrics"):
        k_means(name=name)


class WithLoss(Net):
    """Has a loss of its own, of any K."""

    def __init__(self, criterion: nn.Module) -> None:
        super().__init__()
        self.criterion = criterion


@pytest.mark.parametrize("criterion", [HaDisLoss(8), PCLLoss(8)])
def test_a_loss_of_another_number_of_clusters_is_refused(criterion: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"n_clusters=8, but .* n_clusters=3"):
        fit(k_means(3), WithLoss(criterion))


def test_a_loss_may_go_with_one_of_several_callbacks() -> None:
    fit(k_means(3), WithLoss(PCLLoss(9)), k_means(9, name="fine"), max_epochs=1)


def test_a_loss_that_needs_no_labels_may_have_any_number_of_clusters() -> None:
    fit(k_means(3), WithLoss(HaDisLoss(8, pcl_weight=0)), max_epochs=1)
