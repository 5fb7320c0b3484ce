"""Scores say what is known: no agreement with classes that there are not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from lightly.data import LightlyDataset
from PIL import Image
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from tests.training.any_trainer.parts import Net, digits, fit, k_means, loader

CLASSES = {"nmi", "acc", "ari"}
LABEL_FREE = {"silhouette", "size_min", "size_max", "size_entropy", "prototype_cosine"}


def test_known_classes_and_label_free_scores_side_by_side() -> None:
    prototypes = k_means()
    trainer = fit(prototypes, max_epochs=1)
    assert set(prototypes.scores_) == CLASSES | LABEL_FREE
    names = {f"cluster/{name}" for name in CLASSES | LABEL_FREE}
    assert names <= set(trainer.callback_metrics)


def test_a_flat_folder_has_no_classes(tmp_path: Path) -> None:
    """For it, ``LightlyDataset`` gives every image class 0."""
    images, _ = digits()
    for number, image in enumerate(images):
        pixels = (image[0] * 255).byte().numpy()
        Image.fromarray(pixels).save(tmp_path / f"{number:03}.png")
    to_tensor = v2.Compose(
        [v2.Grayscale(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    )
    plain = DataLoader(LightlyDataset(str(tmp_path), transform=to_tensor), 30)
    prototypes = k_means(plain=plain)
    fit(prototypes, Net(), max_epochs=1)
    assert set(prototypes.targets_.tolist()) == {0}
    assert set(prototypes.scores_) == LABEL_FREE


def test_classes_that_nobody_knows() -> None:
    prototypes = k_means(plain=loader(classes=False))
    fit(prototypes, max_epochs=1)
    assert set(prototypes.scores_) == LABEL_FREE
    assert prototypes.scores_["silhouette"] > 0


class Collapsed(Net):
    """Puts all images at one point."""

    def embed(self, x: Tensor) -> Tensor:
        return torch.ones(len(x), 8) + 0 * super().embed(x)


def test_a_collapsed_network_has_no_agreement_with_classes() -> None:
    prototypes = k_means(2)
    with pytest.warns(ConvergenceWarning, match="1 distinct rows"):
        fit(prototypes, Collapsed(), max_epochs=1)
    assert len(prototypes.labels_.unique()) == 1
    assert set(prototypes.scores_) == LABEL_FREE
    assert math.isnan(prototypes.scores_["silhouette"])


class Wavering(Net):
    """Collapses in the second epoch alone."""

    def embed(self, x: Tensor) -> Tensor:
        embeddings = super().embed(x)
        return torch.ones_like(embeddings) if self.current_epoch == 1 else embeddings


def test_scores_against_classes_come_and_go() -> None:
    seen: list[float] = []

    class Noting(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, *args: Any) -> None:
            seen.append(float(trainer.callback_metrics["cluster/nmi"]))

    prototypes = k_means()
    with pytest.warns(ConvergenceWarning, match="1 distinct rows"):
        fit(prototypes, Wavering(), Noting(), max_epochs=3)
    had = [set(entry) >= CLASSES for entry in prototypes.history_]
    assert had == [True, True, False, True]
    assert [math.isnan(value) for value in seen] == [False, True, False]


class WithBlackImages(Net):
    """Embeds two images as zeros, as units do that are dead for them."""

    def embed(self, x: Tensor) -> Tensor:
        embeddings = super().embed(x).clone()
        embeddings[:1] *= 0
        return embeddings


@pytest.mark.parametrize("options", [{}, {"whiten": True}, {"warm_start": True}])
def test_embeddings_that_are_zero_end_nothing(options: dict[str, Any]) -> None:
    prototypes = k_means(**options)
    with pytest.warns(UserWarning, match="4 embeddings are zero") as said:
        fit(prototypes, WithBlackImages(), max_epochs=3)
    assert sum("are zero" in str(warning.message) for warning in said) == 1
    zero = ~prototypes.embeddings_.any(dim=1)
    assert int(zero.sum()) == 4
    assert float(prototypes.confidence_[zero].max()) == pytest.approx(1 / 3, abs=1e-3)
    assert prototypes.scores_["acc"] > 0.5
