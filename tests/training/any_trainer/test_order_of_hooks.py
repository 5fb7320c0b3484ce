"""Clusters are found before the validation, checkpoints and stopping of their epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch import Tensor

from hadis_lightly.training import PrototypeKMeans
from tests.training.any_trainer.parts import Net, fit, k_means


class Witness(pl.Callback):
    """Notes which epochs' clusters other callbacks find."""

    def __init__(self, prototypes: PrototypeKMeans) -> None:
        self.prototypes = prototypes
        self.before_validation: list[float] = []
        self.after_epoch: list[float] = []

    def on_validation_epoch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        if not trainer.sanity_checking:
            self.before_validation.append(self.prototypes.history_[-1]["epoch"])

    def on_train_epoch_end(self, *args: Any) -> None:
        self.after_epoch.append(self.prototypes.history_[-1]["epoch"])


@pytest.mark.parametrize("val", [False, True])
def test_each_epoch_is_clustered_once_whether_or_not_there_is_validation(
    val: bool,
) -> None:
    prototypes = k_means()
    witness = Witness(prototypes)
    fit(prototypes, None, witness, max_epochs=3, val=val, num_sanity_val_steps=1)
    assert [entry["epoch"] for entry in prototypes.history_] == [0, 1, 2, 3]
    assert witness.after_epoch == [1, 2, 3]
    assert witness.before_validation == ([1, 2, 3] if val else [])


def test_validation_within_an_epoch_waits_for_no_clusters() -> None:
    prototypes = k_means()
    witness = Witness(prototypes)
    options: dict[str, Any] = {"max_epochs": 2, "val_check_interval": 0.5}
    fit(prototypes, None, witness, val=True, **options)
    assert witness.before_validation == [0, 1, 1, 2]
    assert [entry["epoch"] for entry in prototypes.history_] == [0, 1, 2]


@pytest.mark.parametrize("val", [False, True])
def test_model_checkpoint_keeps_the_clusters_of_its_epoch(
    tmp_path: Path, val: bool
) -> None:
    prototypes = k_means()
    checkpoint = ModelCheckpoint(
        tmp_path,
        "{epoch}",
        monitor="cluster/acc",
        mode="max",
        save_top_k=-1,
        save_on_train_epoch_end=not val,
    )
    options: dict[str, Any] = {"max_epochs": 3, "enable_checkpointing": True}
    fit(prototypes, None, checkpoint, val=val, **options)
    for epoch in range(3):
        path = tmp_path / f"epoch={epoch}.ckpt"
        state = torch.load(path, weights_only=True)["callbacks"]["PrototypeKMeans"]
        assert state["history"] == prototypes.history_[: epoch + 2]
        assert state["scores"]["acc"] == prototypes.history_[epoch + 1]["acc"]
    best = max(entry["acc"] for entry in prototypes.history_[1:])
    assert checkpoint.best_model_score is not None
    assert float(checkpoint.best_model_score) == pytest.approx(best)


@pytest.mark.parametrize("val", [False, True])
def test_early_stopping_on_a_score_ends_with_clusters_of_the_last_epoch(
    val: bool,
) -> None:
    prototypes = k_means(every_n_epochs=4)
    # No accuracy is above 2: it stops when its patience is over.
    stopping = EarlyStopping("cluster/acc", mode="max", patience=1, min_delta=2.0)
    trainer = fit(prototypes, None, stopping, max_epochs=9, val=val)
    assert 1 < trainer.current_epoch < 4
    epochs = [entry["epoch"] for entry in prototypes.history_]
    assert epochs == [0, trainer.current_epoch]
    acc = prototypes.scores_["acc"]
    assert float(trainer.callback_metrics["cluster/acc"]) == pytest.approx(acc)


def test_training_that_ends_within_an_epoch_ends_with_its_clusters() -> None:
    prototypes = k_means(every_n_epochs=4)
    fit(prototypes, max_epochs=9, max_steps=6)
    assert [entry["epoch"] for entry in prototypes.history_] == [0, 2]


def test_a_second_fit_goes_on() -> None:
    prototypes = k_means()
    module = Net(prototypes)
    fit(prototypes, module, max_epochs=1)
    fit(prototypes, module, max_epochs=1)
    assert [entry["epoch"] for entry in prototypes.history_] == [0, 1, 0, 1]


class Stopping(pl.Callback):
    """Asks for the end of the training after some batches."""

    def __init__(self, num_batches: int) -> None:
        self.num_batches = num_batches

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step == self.num_batches:
            trainer.should_stop = True


def test_a_training_stopped_within_an_epoch_is_clustered_before_its_validation() -> (
    None
):
    prototypes = k_means()
    witness = Witness(prototypes)
    fit(prototypes, Net(prototypes), Stopping(6), witness, max_epochs=9, val=True)
    assert witness.before_validation == witness.after_epoch == [1, 2]


def test_a_wish_to_stop_that_is_not_granted_yet_clusters_no_sooner() -> None:
    prototypes = k_means(every_n_epochs=10)
    fit(prototypes, None, Stopping(6), max_epochs=20, min_epochs=5)
    assert [entry["epoch"] for entry in prototypes.history_] == [0, 5]


class OwnOptimizer(Net):
    """Steps an optimiser that Lightning does not know."""

    automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in self.parameters():
                if parameter.grad is not None:
                    parameter -= 0.1 * parameter.grad
        return loss

    def configure_optimizers(self) -> Any:
        return None


def test_steps_that_lightning_does_not_count_are_followed_by_clusters() -> None:
    prototypes = k_means()
    with pytest.warns(UserWarning, match="configure_optimizers"):
        fit(prototypes, OwnOptimizer(prototypes), max_epochs=3)
    assert [entry["epoch"] for entry in prototypes.history_] == [0, 1, 2, 3]


class WithPrototypes(Net):
    """Trains towards the prototypes themselves."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        assert self.prototypes is not None
        (x0, _), _, keys = batch
        labels = self.prototypes.labels(keys)
        cosines = self.net(x0) @ self.prototypes.prototypes_.T
        loss: Tensor = F.cross_entropy(cosines, labels)
        return loss


def test_clusters_found_before_a_validation_can_be_trained_with() -> None:
    """Lightning validates in inference mode, whose tensors have no gradients."""
    prototypes = k_means()
    fit(prototypes, WithPrototypes(prototypes), max_epochs=2, val=True)
    assert not prototypes.prototypes_.is_inference()
    assert not prototypes.embeddings_.is_inference()
