"""The heads of HaDis and of Contrastive Clustering."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hadis_lightly.models import (
    CCClusterHead,
    CCInstanceHead,
    HaDisPredictionHead,
    HaDisProjectionHead,
)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def widths(head: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(p.shape) for p in head.parameters() if p.ndim == 2]


@pytest.mark.parametrize(
    "head, kinds",
    [
        (HaDisProjectionHead(5, 7, 3), "Linear BatchNorm1d ReLU Linear"),
        (HaDisPredictionHead(5, 7, 3), "Linear BatchNorm1d ReLU Linear"),
        (CCInstanceHead(5, 7, 3), "Linear ReLU Linear"),
        (CCClusterHead(5, 3, 7), "Linear ReLU Linear"),
    ],
)
def test_layers(head: nn.Module, kinds: str) -> None:
    layers = head.get_submodule("layers")
    assert " ".join(type(layer).__name__ for layer in layers) == kinds
    assert widths(head) == [(7, 5), (3, 7)] and layers[-1].bias is not None
    assert head(torch.randn(4, 5)).shape == (4, 3)


def test_default_sizes_are_the_papers() -> None:
    assert widths(HaDisProjectionHead()) == [(4096, 512), (256, 4096)]
    assert widths(HaDisPredictionHead()) == [(4096, 256), (256, 4096)]
    assert widths(CCInstanceHead(512)) == [(512, 512), (128, 512)]
    assert widths(CCClusterHead(512, 10)) == [(512, 512), (10, 512)]


@pytest.mark.parametrize("options, std", [({}, 0.01), ({"init_std": 0.1}, 0.1)])
def test_prediction_head_starts_small(options: dict[str, float], std: float) -> None:
    head = HaDisPredictionHead(64, 512, 64, **options)
    for layer in (head.layers[0], head.layers[3]):
        assert layer.weight.std().item() == pytest.approx(std, rel=0.03)
        assert abs(layer.weight.mean().item()) < std / 30
    assert torch.equal(head.layers[3].bias, torch.zeros(64))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_what_heads_return(dtype: torch.dtype) -> None:
    x = torch.randn(5, 8, dtype=dtype)
    instance, cluster = CCInstanceHead(8).to(dtype), CCClusterHead(8, 4).to(dtype)
    z, a = instance(x), cluster(x)
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    assert z.dtype == a.dtype == expected
    torch.testing.assert_close(z.norm(dim=1), torch.ones(5, dtype=expected))
    torch.testing.assert_close(a.sum(dim=1), torch.ones(5, dtype=expected))
    assert cluster.logits(x).dtype == dtype
    torch.testing.assert_close(a, cluster.logits(x).to(expected).softmax(1))


def test_heads_return_float32_under_autocast() -> None:
    x = torch.randn(5, 8)
    instance, cluster = CCInstanceHead(8), CCClusterHead(8, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z, a = instance(x), cluster(x)
        assert cluster.logits(x).dtype == torch.bfloat16
    assert z.dtype == a.dtype == torch.float32
    # Exact to float32, though the layers below are not.
    torch.testing.assert_close(a.sum(dim=1), torch.ones(5))
    torch.testing.assert_close(z.norm(dim=1), torch.ones(5))


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="hidden_dim must be at least 1, got 0"):
        HaDisProjectionHead(4, hidden_dim=0)
    with pytest.raises(TypeError, match=r"output_dim must be an integer, got 2\.5"):
        CCInstanceHead(4, output_dim=2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n_clusters must be at least 2, got 1"):
        CCClusterHead(4, 1)
