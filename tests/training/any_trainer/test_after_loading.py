"""A checkpoint brings labels, prototypes, scores and epoch to every kind of loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hadis_lightly.training import PrototypeKMeans
from tests.training.any_trainer.parts import (
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


def test_during_the_warm_up_of_the_checkpoint_there_are_no_labels(
    trained: tuple[PrototypeKMeans, Path],
) -> None:
    prototypes = k_means(warmup_epochs=3)
    with lightnings_advice_left_out():
        plain_trainer(prototypes).validate(
            Net(prototypes), loader(), ckpt_path=trained[1]
        )
    assert prototypes.labels(torch.arange(120)) is None


def test_what_is_not_in_a_checkpoint_says_so(
    trained: tuple[PrototypeKMeans, Path],
) -> None:
    prototypes = k_means()
    with lightnings_advice_left_out():
        plain_trainer(prototypes).validate(
            Net(prototypes), loader(), ckpt_path=trained[1]
        )
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
    with pytest.warns(UserWarning, match="clusters of 100 images, but there are 120"):
        fit(prototypes, max_epochs=3, ckpt_path=tmp_path / "few.ckpt")
    assert len(prototypes.labels_) == len(prototypes.targets_) == 120
    assert [entry["epoch"] for entry in prototypes.history_] == [0, 1, 2, 2, 3]
    # Clusters keep their ids.
    same = prototypes.labels_[:100] == few.labels_
    assert float(same.float().mean()) > 0.8
