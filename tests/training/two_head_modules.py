"""Small modules of CC and PICI, fitted to forty images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from hadis_lightly.loss import CCLoss, PICILoss
from hadis_lightly.models import (
    CCClusterHead,
    CCInstanceHead,
    CCModel,
    PICIModel,
    build_masked_vit,
)
from hadis_lightly.training.cluster_head_callback import ClusterHeadAssignment
from hadis_lightly.training.cluster_head_module import ClusterHeadModule
from hadis_lightly.training.contrastive_clustering import ContrastiveClustering
from hadis_lightly.training.pici import PICI
from tests.training.plain_trainer import plain_trainer

N, K, BATCH = 40, 4, 10
STEPS = N // BATCH


class TwoViews(torch.utils.data.Dataset[Any]):
    """Forty images of four kinds, as two noisy views that are always the same."""

    def __init__(self, clean: bool = False) -> None:
        generator = torch.Generator().manual_seed(0)
        kinds = 3 * torch.randn(K, 3, 8, 8, generator=generator)
        self.images = kinds.repeat(N // K, 1, 1, 1)
        self.noise = 0.3 * torch.randn(2, N, 3, 8, 8, generator=generator)
        self.clean = clean

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        image = self.images[index]
        if self.clean:
            return image, index % K, index
        return [image + noise for noise in self.noise[:, index]], index % K, index


def make_cc_model() -> CCModel:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.BatchNorm1d(16))
    return CCModel(backbone, CCInstanceHead(16, output_dim=8), CCClusterHead(16, K))


def make_pici_model() -> PICIModel:
    torch.manual_seed(0)
    vit = build_masked_vit(3, 8, 4, 16, 1, 2, 16, 1, 2)
    return PICIModel(vit, CCInstanceHead(16, output_dim=8), CCClusterHead(16, K))


def clusters_of(
    interaction_epochs: int = 0, warmup_epochs: int = 0
) -> ClusterHeadAssignment:
    return ClusterHeadAssignment(
        K,
        DataLoader(TwoViews(clean=True), batch_size=20),
        warmup_epochs,
        pseudo_label_epochs=interaction_epochs,
        n_init=2,
        random_state=0,
    )


def cc(
    clusters: ClusterHeadAssignment | None = None, **options: Any
) -> ContrastiveClustering:
    return ContrastiveClustering(make_cc_model(), CCLoss(K), clusters, **options)


def pici(
    clusters: ClusterHeadAssignment | None = None,
    pretraining_epochs: int = 0,
    **options: Any,
) -> PICI:
    return PICI(
        make_pici_model(),
        PICILoss(K),
        clusters,
        pretraining_epochs=pretraining_epochs,
        **options,
    )


Maker = Callable[..., ClusterHeadModule]
MAKERS: dict[str, Maker] = {"cc": cc, "pici": pici}
both = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def fit(
    module: ClusterHeadModule,
    *callbacks: pl.Callback,
    max_epochs: int = 1,
    **options: Any,
) -> pl.Trainer:
    torch.manual_seed(1)
    trainer = plain_trainer(*callbacks, max_epochs=max_epochs, **options)
    trainer.fit(module, DataLoader(TwoViews(), batch_size=BATCH))
    return trainer


class Recorder(pl.Callback):
    """Takes down losses, gradients and learning rates, step by step."""

    def __init__(self) -> None:
        self.losses: list[dict[str, float]] = []
        self.rates: list[float] = []
        #: Of every step the parts that had a gradient: Adam moves no others.
        self.trained: list[set[str]] = []

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        assert isinstance(pl_module, ClusterHeadModule)
        names, values = pl_module.loss_names, pl_module.last_losses.tolist()
        self.losses.append(dict(zip(names, values, strict=True)))
        self.rates.append(optimizer.param_groups[0]["lr"])
        self.trained.append(
            {
                part_of(name)
                for name, parameter in pl_module.model.named_parameters()
                if parameter.grad is not None
            }
        )


def part_of(name: str) -> str:
    """Which part of a network a weight belongs to."""
    parts = ("instance_head", "cluster_head", "autoencoder.encoder", "backbone")
    found = [part for part in parts if name.startswith(part)]
    return found[0] if found else "decoder"


def some_apart() -> Tensor:
    """Every third image, and all of the last batch."""
    training_only = torch.arange(N) % 3 == 0
    training_only[-BATCH:] = True
    return training_only
