"""A checkpoint brings labels, prototypes, scores and epoch to every kind of loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from hadis_lightly.training import PrototypeKMeans
from tests.training.any_trainer.parts import (
    Digits,
    Net,
    fit,
    k_means,
    lightnings_advice_left_out,
    loader,
)
from tests.training.plain_trainer import plain_trainer


@pytest.fixture
def trained(tmp_path: Path) -> tuple[PrototypeKMeans, Path]:
    prototypes = k_means(warmup_epochs=1)
    trainer = fit(prototypes, max_epochs=2)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    return prototypes, tmp_path / "last.ckpt"


def validate(prototypes: PrototypeKMeans, path: Path) -> None:
    with lightnings_advice_left_out():
        plain_trainer(prototypes).validate(Net(prototypes), loader(), ckpt_path=path)


@pytest.mark.parametrize("loop", ["validate", "test", "predict"])
def test_other_loops_find_the_clusters_of_the_checkpoint(
    loop: str, trained: tuple[PrototypeKMeans, Path]
) -> None:
    before, path = trained
    prototypes = k_means(warmup_epochs=1)
    module = Net(prototypes)
    trainer = plain_trainer(prototypes)
    with lightnings_advice_left_out():
        found = getattr(trainer, loop)(module, loader(), ckpt_path=path)
    assert torch.equal(prototypes.labels_, before.labels_)
    assert torch.equal(prototypes.prototypes_, before.prototypes_)
    assert torch.equal(prototypes.confidence_, before.confidence_)
    assert torch.equal(prototypes.distance_, before.distance_)
    assert torch.equal(prototypes.targets_, before.targets_)
    assert prototypes.scores_ == before.scores_
    assert prototypes.history_ == before.history_
    labels = prototypes.labels(torch.arange(120))
    assert labels is not None and torch.equal(labels, before.labels_)
    assert prototypes.labels_.device == module.device
    if loop == "predict":
        assert torch.equal(torch.cat(found), before.labels_)


def test_outside_of_training_no_warm_up_withholds_the_labels(
    trained: tuple[PrototypeKMeans, Path],
) -> None:
    before, path = trained
    prototypes = k_means(warmup_epochs=50)
    validate(prototypes, path)
    labels = prototypes.labels(torch.arange(120))
    assert labels is not None and torch.equal(labels, before.labels_)
    labels = before.labels(torch.arange(120))
    assert labels is not None and torch.equal(labels, before.labels_)


def test_what_is_not_in_a_checkpoint_says_so(
    trained: tuple[PrototypeKMeans, Path],
) -> None:
    prototypes = k_means()
    validate(prototypes, trained[1])
    assert not prototypes.has_embedded
    with pytest.raises(AttributeError, match="a checkpoint keeps labels"):
        _ = prototypes.embeddings_


def test_before_the_first_clustering_it_says_that_there_is_none() -> None:
    kept = "labels_ prototypes_ scores_ confidence_ distance_ targets_ embeddings_"
    for name in kept.split():
        with pytest.raises(AttributeError, match="has no clusters yet"):
            getattr(k_means(), name)


@pytest.mark.parametrize("val", [False, True])
def test_training_goes_on_with_the_clusters_of_the_checkpoint(
    trained: tuple[PrototypeKMeans, Path], val: bool
) -> None:
    before, path = trained
    prototypes = k_means(warmup_epochs=1)
    module = Net(prototypes)
    fit(prototypes, module, max_epochs=3, ckpt_path=path, val=val)
    assert [entry["epoch"] for entry in prototypes.history_] == [0, 1, 2, 3]
    seen = [labels for epoch, labels in module.seen if epoch == 2]
    assert torch.equal(torch.cat([x for x in seen if x is not None]), before.labels_)


def test_a_complete_training_that_is_resumed_is_not_clustered_again(
    trained: tuple[PrototypeKMeans, Path],
) -> None:
    before, path = trained
    prototypes = k_means(warmup_epochs=1)
    fit(prototypes, max_epochs=2, ckpt_path=path)
    assert prototypes.history_ == before.history_


def test_images_that_were_added_since_the_checkpoint_are_clustered(
    tmp_path: Path,
) -> None:
    few = k_means(plain=loader(100))
    few_images: Any = loader(100, views=True)
    module = Net(few)
    trainer = plain_trainer(few, max_epochs=2)
    with lightnings_advice_left_out():
        trainer.fit(module, few_images)
    trainer.save_checkpoint(tmp_path / "few.ckpt")
    prototypes = k_means()
    with pytest.warns(UserWarning, match="100 images, but the loader has 120"):
        fit(prototypes, max_epochs=3, ckpt_path=tmp_path / "few.ckpt")
    assert len(prototypes.labels_) == len(prototypes.targets_) == 120
    assert [entry["epoch"] for entry in prototypes.history_] == [0, 1, 2, 2, 3]
    # Clusters keep their ids.
    same = prototypes.labels_[:100] == few.labels_
    assert float(same.float().mean()) > 0.8


def resumed_from(
    path: Path, prototypes: PrototypeKMeans, **options: Any
) -> list[float]:
    """The epochs after which clusters were found, of a training resumed."""
    fit(prototypes, max_epochs=3, ckpt_path=path, **options)
    return [entry["epoch"] for entry in prototypes.history_]


def test_a_checkpoint_of_the_end_of_a_validation_has_the_clusters(
    tmp_path: Path,
) -> None:
    """Lightning ends that epoch once more when it resumes."""
    saving = ModelCheckpoint(tmp_path, "{epoch}", save_on_train_epoch_end=False)
    first = k_means()
    fit(first, None, saving, max_epochs=1, val=True, enable_checkpointing=True)
    second = k_means()
    assert resumed_from(tmp_path / "epoch=0.ckpt", second, val=True) == [0, 1, 2, 3]


def test_a_checkpoint_of_the_last_step_of_an_epoch_is_clustered(
    tmp_path: Path,
) -> None:
    """It is written before the clusters of its epoch are found."""
    saving = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=4)
    fit(k_means(), None, saving, max_epochs=1, enable_checkpointing=True)
    prototypes = k_means()
    assert resumed_from(tmp_path / "step=4.ckpt", prototypes) == [0, 1, 2, 3]


def test_a_callback_that_went_on_goes_back_to_its_checkpoint(tmp_path: Path) -> None:
    prototypes = k_means()
    fit(prototypes, max_epochs=1).save_checkpoint(tmp_path / "one.ckpt")
    fit(prototypes, max_epochs=3)
    assert resumed_from(tmp_path / "one.ckpt", prototypes) == [0, 1, 2, 3]


def test_another_number_of_clusters_than_in_the_checkpoint_is_refused(
    trained: tuple[PrototypeKMeans, Path],
) -> None:
    with pytest.raises(ValueError, match="has 3 clusters, but n_clusters is 5"):
        resumed_from(trained[1], k_means(5))


def test_a_loader_that_drops_its_last_batch_has_not_grown(tmp_path: Path) -> None:
    def plain() -> PrototypeKMeans:
        return k_means(plain=DataLoader(Digits(), 50, drop_last=True), warmup_epochs=9)

    class Blind(Net):
        """Asks for no labels."""

    fit(plain(), Blind(), max_epochs=1).save_checkpoint(tmp_path / "one.ckpt")
    prototypes = plain()
    fit(prototypes, Blind(), max_epochs=2, ckpt_path=tmp_path / "one.ckpt")
    assert [entry["epoch"] for entry in prototypes.history_] == [0, 1, 2]


def test_clusters_of_a_limited_training_know_that_images_were_left_out(
    tmp_path: Path,
) -> None:
    limited = k_means()
    with pytest.warns(UserWarning, match="clusters 60 images only"):
        trainer = fit(limited, max_epochs=1, limit_train_batches=2)
    trainer.save_checkpoint(tmp_path / "limited.ckpt")
    prototypes = k_means()
    validate(prototypes, tmp_path / "limited.ckpt")
    assert prototypes.labels(torch.tensor([0, 100])) is None
    assert prototypes.labels(torch.tensor([0, 50])) is not None


def test_a_training_from_scratch_does_not_begin_with_loaded_clusters(
    trained: tuple[PrototypeKMeans, Path],
) -> None:
    prototypes = k_means()
    validate(prototypes, trained[1])
    fit(prototypes, Net(prototypes), max_epochs=1)
    assert [entry["epoch"] for entry in prototypes.history_] == [0, 1, 2, 0, 1]


def test_a_limited_training_that_goes_on_without_its_limit_clusters_everything(
    tmp_path: Path,
) -> None:
    limited = k_means(every_n_epochs=5)
    with pytest.warns(UserWarning, match="clusters 60 images only"):
        trainer = fit(limited, max_epochs=1, limit_train_batches=2)
    trainer.save_checkpoint(tmp_path / "limited.ckpt")
    prototypes = k_means(every_n_epochs=5)
    module = Net(prototypes)
    fit(prototypes, module, max_epochs=2, ckpt_path=tmp_path / "limited.ckpt")
    assert all(labels is not None for _, labels in module.seen)


def test_a_training_that_failed_leaves_the_clusters_to_others() -> None:
    class Failing(Net):
        def on_train_batch_end(self, *args: Any) -> None:
            raise ArithmeticError("on purpose")

    prototypes = k_means(warmup_epochs=2)
    with pytest.raises(ArithmeticError, match="on purpose"):
        fit(prototypes, Failing(prototypes), max_epochs=3)
    with lightnings_advice_left_out():
        trainer = plain_trainer(prototypes)
        found: Any = trainer.predict(Net(prototypes), loader())
    assert all(labels is not None for labels in found)
