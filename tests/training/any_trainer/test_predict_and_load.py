"""``Trainer.predict`` and ``load_from_checkpoint`` of our modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from hadis_lightly.loss import CCLoss, HaDisLoss
from hadis_lightly.training import ContrastiveClustering, HaDis
from tests.training.any_trainer.hadis_parts import (
    cc,
    hadis,
    hadis_model,
    head_assignment,
)
from tests.training.any_trainer.parts import (
    NUM_CLASSES,
    NUM_IMAGES,
    digits,
    k_means,
    loader,
)
from tests.training.plain_trainer import plain_trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*model summary.*"),
]
METHODS = [(hadis, k_means), (cc, head_assignment)]


def joined(batches: Any, name: str) -> Any:
    return torch.cat([batch[name] for batch in batches])


@pytest.mark.parametrize(("make", "callback_of"), METHODS, ids=["hadis", "cc"])
def test_predict_gives_the_clusters_of_the_training_set(
    make: Any, callback_of: Any
) -> None:
    callback = callback_of()
    module = make(callback)
    plain_trainer(max_epochs=2).fit(module, loader(views=True))
    found = plain_trainer().predict(module, loader())
    assert set(found[0]) == {"embeddings", "labels", "confidence", "keys"}
    assert torch.equal(joined(found, "keys"), torch.arange(NUM_IMAGES))
    assert torch.equal(joined(found, "labels"), callback.labels_)
    torch.testing.assert_close(joined(found, "embeddings"), callback.embeddings_)
    torch.testing.assert_close(joined(found, "confidence"), callback.confidence_)


def test_predict_takes_images_with_and_without_targets() -> None:
    module, (images, targets) = hadis(), digits()
    for batches in (
        DataLoader(images, batch_size=30),
        DataLoader(TensorDataset(images, targets), batch_size=30),
    ):
        found = plain_trainer().predict(module, batches)
        assert set(found[0]) == {"embeddings"}  # nothing has been clustered
        assert joined(found, "embeddings").shape == (NUM_IMAGES, 8)
    with pytest.raises(TypeError, match="a batch to predict must be plain images"):
        plain_trainer().predict(module, loader(views=True))


@pytest.fixture
def checkpoint(tmp_path: Path) -> tuple[Path, Any]:
    callback = k_means()
    module = hadis(callback, learning_rate=0.07, teacher_momentum=0.9, seed=3)
    trainer = plain_trainer(max_epochs=2)
    trainer.fit(module, loader(views=True))
    trainer.save_checkpoint(tmp_path / "hadis.ckpt")
    return tmp_path / "hadis.ckpt", module


def test_a_module_is_loaded_with_its_numbers_weights_and_clusters(
    checkpoint: tuple[Path, Any],
) -> None:
    path, trained = checkpoint
    callback = k_means()
    loaded = HaDis.load_from_checkpoint(
        path, model=hadis_model(), criterion=HaDisLoss(NUM_CLASSES), prototypes=callback
    )
    assert (loaded.learning_rate, loaded.teacher_momentum) == (0.07, 0.9)
    assert (loaded.warmup_epochs, loaded.seed) == (0, 3)
    for name, weight in trained.state_dict().items():
        assert torch.equal(weight, loaded.state_dict()[name])
    assert torch.equal(callback.labels_, trained.callback.labels_)
    assert torch.equal(callback.prototypes_, trained.callback.prototypes_)
    assert callback.scores_ == trained.callback.scores_
    ours, theirs = (
        plain_trainer().predict(module, loader()) for module in (loaded, trained)
    )
    assert torch.equal(joined(ours, "labels"), joined(theirs, "labels"))


def test_predict_from_a_checkpoint_has_its_clusters(
    checkpoint: tuple[Path, Any],
) -> None:
    path, trained = checkpoint
    found = plain_trainer().predict(hadis(k_means()), loader(), ckpt_path=path)
    assert torch.equal(joined(found, "labels"), trained.callback.labels_)


def test_arguments_that_are_given_win_over_those_of_the_checkpoint(
    checkpoint: tuple[Path, Any],
) -> None:
    path, _ = checkpoint
    loaded = HaDis.load_from_checkpoint(
        path, model=hadis_model(), criterion=HaDisLoss(NUM_CLASSES), learning_rate=0.5
    )
    assert loaded.learning_rate == 0.5
    assert loaded.hparams["learning_rate"] == 0.5


def test_without_networks_the_error_says_what_is_missing(
    checkpoint: tuple[Path, Any],
) -> None:
    path, _ = checkpoint
    with pytest.raises(
        TypeError, match=r"model and criterion.*from_checkpoint\(path\)"
    ):
        HaDis.load_from_checkpoint(path)


def test_a_subclass_that_builds_its_networks_needs_none(
    checkpoint: tuple[Path, Any],
) -> None:
    class Mine(HaDis):
        def __init__(self, n_clusters: int = NUM_CLASSES, **options: Any) -> None:
            super().__init__(hadis_model(), HaDisLoss(n_clusters), **options)

    path, _ = checkpoint
    assert Mine.load_from_checkpoint(path).learning_rate == 0.07


def test_cc_is_loaded_too(tmp_path: Path) -> None:
    module = cc(head_assignment(), learning_rate=0.01)
    trainer = plain_trainer()
    trainer.fit(module, loader(views=True))
    trainer.save_checkpoint(tmp_path / "cc.ckpt")
    callback = head_assignment()
    loaded = ContrastiveClustering.load_from_checkpoint(
        tmp_path / "cc.ckpt",
        model=cc().model,
        criterion=CCLoss(NUM_CLASSES),
        callback=callback,
    )
    assert loaded.learning_rate == 0.01
    assert torch.equal(callback.labels_, module.callback.labels_)
