"""What is told of a set takes no second copy of its embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hadis_lightly.cluster import (
    HeadPartition,
    OutlierDetector,
    PrototypePartition,
    Whitening,
    collapse_signs,
    label_free_scores,
)

N, D, K = 70_000, 64, 4


class LargestTensor(TorchDispatchMode):
    """Notes the size of the largest tensor that is made."""

    def __init__(self, given: list[Tensor]) -> None:
        super().__init__()
        self.given = {x.untyped_storage().data_ptr() for x in given}
        self.n_elements = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for made in result if isinstance(result, (tuple, list)) else [result]:
            if (
                isinstance(made, Tensor)
                and made.untyped_storage().data_ptr() not in self.given
            ):
                self.n_elements = max(self.n_elements, made.numel())
        return result


def embeddings() -> Tensor:
    rows = torch.randn(N, D, generator=torch.Generator().manual_seed(0))
    return F.normalize(rows, dim=1)


X = embeddings()
PROTOTYPES = X[:K]
LABELS = (X @ PROTOTYPES.T).argmax(dim=1)
ON_SPHERE = PrototypePartition(LABELS, PROTOTYPES, PROTOTYPES)
WHITENING = Whitening().fit(X[:1000])
WHITENED = PrototypePartition(
    LABELS, WHITENING.transform(PROTOTYPES), PROTOTYPES, WHITENING
)
SHARES = (X @ PROTOTYPES.T).softmax(dim=1)
HEAD = HeadPartition(LABELS, PROTOTYPES)


@pytest.mark.parametrize(
    "function",
    [
        lambda: label_free_scores(X, LABELS, PROTOTYPES, sample_size=100),
        lambda: collapse_signs(X, LABELS, PROTOTYPES),
        lambda: ON_SPHERE.predict(X),
        lambda: ON_SPHERE.confidence(X),
        lambda: ON_SPHERE.distance(X),
        lambda: WHITENED.predict(X),
        lambda: WHITENED.confidence(X),
        lambda: WHITENED.distance(X),
        lambda: HEAD.distance(X, SHARES),
    ],
)
def test_embeddings_are_read_a_part_at_a_time(function: Callable[[], Any]) -> None:
    with LargestTensor([X]) as largest:
        function()
    assert largest.n_elements <= X.numel() // 2


def test_isolation_reads_a_part_at_a_time() -> None:
    many = X.repeat(3, 1)
    with LargestTensor([many]) as largest:
        OutlierDetector.fit(many, n_draws=2)
    assert largest.n_elements <= many.numel() // 3
