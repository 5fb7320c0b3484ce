"""What a module cannot work with is refused when it is built, in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from hadis_lightly.loss import CCLoss, DSALoss, HaDisLoss, PICILoss
from hadis_lightly.models import CCClusterHead, CCInstanceHead, CCModel
from hadis_lightly.training import PICI, ContrastiveClustering, HaDis
from tests.training.any_trainer.hadis_parts import (
    backbone,
    cc,
    hadis_model,
    head_assignment,
)
from tests.training.any_trainer.parts import k_means
from tests.training.two_head_modules import make_pici_model


def cc_model(n_clusters: int) -> CCModel:
    return CCModel(backbone(), CCInstanceHead(32), CCClusterHead(32, n_clusters))


@pytest.mark.parametrize(
    ("build", "parts"),
    [
        (lambda: HaDis(hadis_model(), HaDisLoss(8), k_means(10)), (8, 10)),
        (lambda: ContrastiveClustering(cc_model(3), CCLoss(8)), (8, 3)),
        (
            lambda: ContrastiveClustering(cc_model(8), CCLoss(8), head_assignment()),
            (8, 3),
        ),
        (lambda: PICI(make_pici_model(), PICILoss(5)), (5, 4)),
    ],
)
def test_two_numbers_of_clusters_are_refused_when_parts_are_put_together(
    build: Callable[[], Any], parts: tuple[int, int]
) -> None:
    with pytest.raises(ValueError, match="n_clusters must be the same") as raised:
        build()
    assert all(f" {number}" in str(raised.value) for number in parts)


def test_without_pcl_the_callback_may_have_clusters_of_its_own() -> None:
    HaDis(hadis_model(), HaDisLoss(2, pcl_weight=0.0), k_means(10))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: HaDis(nn.Linear(2, 2), HaDisLoss(3)),
            "model must be a HaDisModel, got Linear",
        ),
        (
            lambda: HaDis(hadis_model(), DSALoss()),
            "criterion must be a HaDisLoss, got DSALoss",
        ),
        (
            lambda: HaDis(hadis_model(), None),
            "criterion must be a HaDisLoss, got NoneType",
        ),
        (
            lambda: HaDis(hadis_model(), HaDisLoss(3), 42),
            "prototypes must be a PrototypeKMeans or None, got int",
        ),
        (
            lambda: ContrastiveClustering(cc_model(3), CCLoss(3), k_means()),
            "callback must be a ClusterHeadAssignment or None, got PrototypeKMeans",
        ),
        (
            lambda: ContrastiveClustering(hadis_model(), CCLoss(3)),
            "model must be a CCModel, got HaDisModel",
        ),
        (lambda: cc(views=2), "views must be a BatchedViews or None, got int"),
    ],
)
def test_an_argument_of_another_kind_is_named(
    build: Callable[[], Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        build()
