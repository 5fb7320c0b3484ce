"""What else is in a training finds the clusters, and is left as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping
from torch import Tensor
from torch.utils.data import DataLoader

from tests.training.any_trainer.parts import (
    Digits,
    Net,
    digits,
    fit,
    k_means,
    lightnings_advice_left_out,
    loader,
)
from tests.training.plain_trainer import plain_trainer


@pytest.mark.parametrize("val", [False, True])
def test_a_scheduler_monitors_the_score_of_its_epoch(val: bool) -> None:
    seen: list[float] = []

    class Plateau(torch.optim.lr_scheduler.ReduceLROnPlateau):
        def step(self, metrics: Any, epoch: Any = None) -> None:
            seen.append(float(metrics))
            super().step(metrics)

    class Scheduled(Net):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            plateau = {"scheduler": Plateau(optimizer), "monitor": "cluster/acc"}
            return {"optimizer": optimizer, "lr_scheduler": plateau}

    prototypes = k_means()
    fit(prototypes, Scheduled(prototypes), max_epochs=3, val=val)
    wanted = [entry["acc"] for entry in prototypes.history_[1:]]
    assert seen == pytest.approx(wanted)


def test_early_stopping_may_stand_before_it() -> None:
    seen: list[float] = []

    class Watched(EarlyStopping):
        def _evaluate_stopping_criteria(self, current: Tensor) -> Any:
            seen.append(float(current))
            return super()._evaluate_stopping_criteria(current)

    prototypes = k_means()
    stopping = Watched("cluster/acc", mode="max", patience=9)
    with lightnings_advice_left_out():
        plain_trainer(stopping, prototypes, max_epochs=3).fit(
            Net(prototypes), loader(views=True)
        )
    wanted = [entry["acc"] for entry in prototypes.history_[1:]]
    assert seen == pytest.approx(wanted)


def test_the_sanity_check_finds_no_clusters() -> None:
    found: dict[bool, Any] = {}

    class Asking(Net):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            assert self.prototypes is not None
            images, _, keys = batch
            labels = self.prototypes.labels(keys)
            nearest = self.prototypes.nearest(self.net(images))
            found[self.trainer.sanity_checking] = labels, nearest

    prototypes = k_means()
    fit(prototypes, Asking(prototypes), val=True, num_sanity_val_steps=1)
    assert found[True] == (None, None)
    labels, nearest = found[False]
    assert torch.equal(labels, nearest)


@pytest.mark.parametrize("shuffle", [False, True])
def test_the_training_draws_as_without_the_callback(shuffle: bool) -> None:
    def weights(*callbacks: pl.Callback) -> list[Tensor]:
        torch.manual_seed(0)
        module = Net()
        with lightnings_advice_left_out():
            plain_trainer(*callbacks, max_epochs=2).fit(
                module, loader(views=True, shuffle=True)
            )
        return list(module.parameters())

    prototypes = k_means(plain=loader(shuffle=shuffle))
    assert all(map(torch.equal, weights(), weights(prototypes)))


def test_clusters_come_out_of_a_checkpoint_without_a_trainer(tmp_path: Path) -> None:
    before, after = k_means(), k_means()
    fit(before).save_checkpoint(tmp_path / "last.ckpt")
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    after.load_state_dict(checkpoint["callbacks"]["PrototypeKMeans"])
    assert torch.equal(after.labels_, before.labels_)
    assert after.scores_ == before.scores_


def test_a_loader_whose_workers_persist_may_serve_the_validation_too() -> None:
    """Its one iterator is Lightning's; the callback must not read from it."""
    plain = DataLoader(Digits(), 30, num_workers=1, persistent_workers=True)
    num_validated: list[int] = []

    class Validated(Net):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            num_validated.append(len(batch[0]))

    prototypes = k_means(plain=plain)
    trainer = plain_trainer(prototypes, max_epochs=2)
    with lightnings_advice_left_out():
        trainer.fit(Validated(prototypes), loader(views=True), plain)
    assert len(prototypes.labels_) == 120
    assert sum(num_validated) == 2 * 120 + 2 * 30  # and the sanity check


def test_after_training_the_clusters_are_where_the_module_is() -> None:
    prototypes = k_means()
    module = Net(prototypes)
    fit(prototypes, module, max_epochs=1)
    assert prototypes.labels_.device == module.device
    assert prototypes.nearest(module.eval().embed(digits()[0])) is not None
