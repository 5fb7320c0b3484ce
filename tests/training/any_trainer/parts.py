"""A user's own three-layer net, real loaders of digits, and Lightning's Trainer."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from hadis_lightly.training import PrototypeKMeans
from tests.training.plain_trainer import plain_trainer

NUM_CLASSES = 3
NUM_IMAGES = 120


def digits(n: int = NUM_IMAGES) -> tuple[Tensor, Tensor]:
    """Digits 0, 1 and 2: images ``(n, 1, 8, 8)`` in [0, 1] and classes ``(n,)``."""
    pixels, classes = load_digits(n_class=NUM_CLASSES, return_X_y=True)
    images = torch.tensor(pixels[:n] / 16, dtype=torch.float32)
    return images.view(-1, 1, 8, 8), torch.tensor(classes[:n], dtype=torch.long)


class Digits(Dataset[Any]):
    """Images with their classes and keys; two noisy views of each for training.

    Args:
        n: Number of images.
        names: Whether keys are file names, as lightly's, in place of indices.
        classes: Whether classes are known; else -1.
        views: Whether an image comes as two views.
    """

    def __init__(
        self,
        n: int = NUM_IMAGES,
        *,
        names: bool = False,
        classes: bool = True,
        views: bool = False,
    ) -> None:
        self.images, self.targets = digits(n)
        if not classes:
            self.targets = torch.full_like(self.targets, -1)
        self.names, self.views = names, views

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        image: Any = self.images[index]
        if self.views:
            noise = torch.Generator().manual_seed(index)
            image = [
                image + 0.1 * torch.randn(image.shape, generator=noise) for _ in "01"
            ]
        key = f"digits/{index:04}.png" if self.names else index
        return image, int(self.targets[index]), key


def loader(
    n: int = NUM_IMAGES, batch_size: int = 30, *, shuffle: bool = False, **options: Any
) -> DataLoader[Any]:
    """A loader of the plain images, or with ``views=True`` of two views of each."""
    return DataLoader(Digits(n, **options), batch_size, shuffle=shuffle)


class Net(pl.LightningModule):
    """Three layers, trained to tell the pseudo-labels of two views; no code of ours."""

    def __init__(self, prototypes: PrototypeKMeans | None = None) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(),
            nn.Linear(32, 16), nn.ReLU(),
            nn.Linear(16, 8),
        )  # fmt: skip
        self.classify = nn.Linear(8, 100)
        self.prototypes = prototypes
        self.seen: list[tuple[int, Tensor | None]] = []

    def embed(self, x: Tensor) -> Tensor:
        embeddings: Tensor = self.net(x)
        return embeddings

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        (x0, x1), _, keys = batch
        z0, z1 = self.net(x0), self.net(x1)
        loss = 1 - F.cosine_similarity(z0, z1).mean()
        labels = None if self.prototypes is None else self.prototypes.labels(keys)
        self.seen.append((self.current_epoch, labels))
        if labels is not None:
            loss = loss + F.cross_entropy(self.classify(z0), labels)
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        images, _, _ = batch
        self.log("val/norm", self.net(images).norm(dim=1).mean())

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.validation_step(batch, batch_idx)

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        assert self.prototypes is not None
        return self.prototypes.nearest(self.net(batch[0]))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def k_means(
    n_clusters: int = NUM_CLASSES, plain: Any = None, **options: Any
) -> PrototypeKMeans:
    """The callback, on the plain digits unless another loader is given."""
    defaults = {"warmup_epochs": 0, "n_init": 2, "random_state": 0}
    plain = loader() if plain is None else plain
    return PrototypeKMeans(n_clusters, plain, **(defaults | options))


def fit(
    prototypes: PrototypeKMeans,
    module: pl.LightningModule | None = None,
    *callbacks: pl.Callback,
    val: bool = False,
    ckpt_path: Any = None,
    **options: Any,
) -> pl.Trainer:
    """Fits a net with the callback; ``options`` are the Trainer's."""
    torch.manual_seed(0)
    trainer = plain_trainer(prototypes, *callbacks, **options)
    with lightnings_advice_left_out():
        trainer.fit(
            module or Net(prototypes),
            loader(views=True),
            loader() if val else None,
            ckpt_path=ckpt_path,
        )
    return trainer


@contextmanager
def lightnings_advice_left_out() -> Iterator[None]:
    """Warnings are errors in tests, but not Lightning's advice for large trainings."""
    advice = (
        "many workers",
        "no `val_dataloader`",
        "logging interval",
        "LeafSpec",
        "callbacks used to create the checkpoint",
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", f".*({'|'.join(advice)})")
        yield
