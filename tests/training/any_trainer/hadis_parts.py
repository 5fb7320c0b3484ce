"""HaDis and the methods with a cluster head, small, on digits."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from hadis_lightly.loss import CCLoss, HaDisLoss
from hadis_lightly.models import (
    CCClusterHead,
    CCInstanceHead,
    CCModel,
    HaDisModel,
    HaDisPredictionHead,
    HaDisProjectionHead,
)
from hadis_lightly.training import (
    ClusterHeadAssignment,
    ContrastiveClustering,
    HaDis,
    PrototypeKMeans,
)
from tests.training.any_trainer.parts import NUM_CLASSES, Digits, loader


def backbone() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU())


def hadis_model(body: nn.Module | None = None) -> HaDisModel:
    torch.manual_seed(0)
    return HaDisModel(
        backbone() if body is None else body,
        HaDisProjectionHead(32, 32, 8),
        HaDisPredictionHead(8, 32, 8),
    )


def hadis(prototypes: PrototypeKMeans | None = None, **options: Any) -> HaDis:
    defaults = {"warmup_epochs": 0}
    return HaDis(
        hadis_model(), HaDisLoss(NUM_CLASSES), prototypes, **(defaults | options)
    )


def cc(
    callback: ClusterHeadAssignment | None = None, **options: Any
) -> ContrastiveClustering:
    torch.manual_seed(0)
    heads = CCInstanceHead(32, output_dim=8), CCClusterHead(32, NUM_CLASSES)
    model = CCModel(backbone(), *heads)
    return ContrastiveClustering(model, CCLoss(NUM_CLASSES), callback, **options)


def head_assignment() -> ClusterHeadAssignment:
    return ClusterHeadAssignment(NUM_CLASSES, loader(), n_init=2, random_state=0)


class ManyViews(Digits):
    """Several noisy views of each digit; all of one shape unless one is to be small."""

    def __init__(self, num_views: int, *, small: bool = False) -> None:
        super().__init__()
        self.num_views, self.small = num_views, small

    def __getitem__(self, index: int) -> Any:
        image, target, key = super().__getitem__(index)
        noise = torch.Generator().manual_seed(index)
        views = [
            image + 0.1 * torch.randn(image.shape, generator=noise)
            for _ in range(self.num_views)
        ]
        if self.small:
            views[-1] = views[-1][:, :4, :4]
        return views, target, key


def many_views(num_views: int, **options: Any) -> DataLoader[Any]:
    return DataLoader(ManyViews(num_views, **options), batch_size=30)
