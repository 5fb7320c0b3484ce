"""Contrastive Clustering's heads, and the model made of a backbone and both."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hadis_lightly.models import CCClusterHead, CCInstanceHead, CCModel


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def make_model() -> CCModel:
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    backbone.append(nn.Dropout(0.5))
    backbone.append(nn.AdaptiveAvgPool2d(1))  # (n, 4, 1, 1)
    return CCModel(backbone, CCInstanceHead(4, output_dim=6), CCClusterHead(4, 3))


@pytest.mark.parametrize("hidden_dim", [None, 7])
@pytest.mark.parametrize("kind", ["instance", "cluster"])
def test_head_is_linear_relu_linear(kind: str, hidden_dim: int | None) -> None:
    head = (
        CCInstanceHead(5, hidden_dim, 3)
        if kind == "instance"
        else CCClusterHead(5, 3, hidden_dim)
    )
    first, relu, last = head.layers
    width = 5 if hidden_dim is None else hidden_dim
    assert isinstance(first, nn.Linear) and first.weight.shape == (width, 5)
    assert isinstance(relu, nn.ReLU)
    assert isinstance(last, nn.Linear) and last.weight.shape == (3, width)
    assert first.bias is not None and last.bias is not None


def test_sizes_are_the_papers() -> None:
    head = CCInstanceHead(512)
    shapes = [tuple(p.shape) for p in head.parameters() if p.ndim == 2]
    assert shapes == [(512, 512), (128, 512)]


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


def test_shapes() -> None:
    model, x = make_model(), torch.rand(5, 3, 8, 8)
    assert model.forward_features(x).shape == (5, 4)
    instance, assignments = model.project(x)
    assert instance.shape == (5, 6) and assignments.shape == (5, 3)
    assert model.embed(x).shape == model(x).shape == (5, 6)
    assert model.assign(x).shape == (5, 3)
    assert model.predict(x).shape == (5,) and model.predict(x).dtype == torch.int64


def test_evaluation_is_that_of_each_image_alone() -> None:
    model, x = make_model(), torch.rand(5, 3, 8, 8)
    model.project(x + 1)  # moves the running statistics
    embeddings, assignments = model.embed_and_assign(x)
    assert model.training
    assert not embeddings.requires_grad and not assignments.requires_grad
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(assignments.sum(dim=1), torch.ones(5))
    torch.testing.assert_close(model.embed(x), embeddings, rtol=0, atol=0)
    torch.testing.assert_close(model(x), embeddings, rtol=0, atol=0)
    torch.testing.assert_close(model.assign(x), assignments, rtol=0, atol=0)
    assert torch.equal(model.predict(x), assignments.argmax(1))
    for i in range(5):
        torch.testing.assert_close(model.embed(x[i : i + 1])[0], embeddings[i])
        torch.testing.assert_close(model.assign(x[i : i + 1])[0], assignments[i])
    evaluated = copy.deepcopy(model).eval()
    torch.testing.assert_close(evaluated.project(x), (embeddings, assignments))


def test_evaluation_leaves_modes_and_buffers() -> None:
    model, x = make_model(), torch.rand(4, 3, 8, 8)
    frozen = model.backbone.get_submodule("1").eval()
    modes = {name: part.training for name, part in model.named_modules()}
    buffers = [b.clone() for b in model.buffers()]
    for method in (model.embed, model.assign, model.predict, model.embed_and_assign):
        method(x)
    assert {name: part.training for name, part in model.named_modules()} == modes
    assert not frozen.training
    assert all(map(torch.equal, buffers, model.buffers()))


def test_one_pass_for_both() -> None:
    model, x = make_model(), torch.rand(4, 3, 8, 8)
    passes: list[Any] = []
    model.backbone.register_forward_hook(lambda *call: passes.append(call))
    model.embed_and_assign(x)
    assert len(passes) == 1


def test_gradients() -> None:
    model, x = make_model(), torch.rand(4, 3, 8, 8)

    def trained_by(loss: Tensor) -> set[str]:
        model.zero_grad()
        loss.backward()
        return {
            name.partition(".")[0]
            for name, p in model.named_parameters()
            if p.grad is not None
        }

    assert trained_by(model.project(x)[0].sum()) == {"backbone", "instance_head"}
    assert trained_by(model.project(x)[1][:, 0].sum()) == {"backbone", "cluster_head"}


def test_state_dict_round_trip() -> None:
    model, other = make_model(), make_model()
    x = torch.rand(4, 3, 8, 8)
    assert not torch.equal(model.embed(x), other.embed(x))
    other.load_state_dict(model.state_dict())
    assert torch.equal(model.embed(x), other.embed(x))
    assert torch.equal(model.assign(x), other.assign(x))
    parts = {name.partition(".")[0] for name in model.state_dict()}
    assert parts == {"backbone", "instance_head", "cluster_head"}


MODULE = nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: CCInstanceHead(0), ValueError, "input_dim must be at least 1, got 0"),
        (
            lambda: CCInstanceHead(4, hidden_dim=0),
            ValueError,
            "hidden_dim must be at least 1, got 0",
        ),
        (
            lambda: CCInstanceHead(4, output_dim=2.5),
            TypeError,
            "output_dim must be an integer, got 2.5",
        ),
        (lambda: CCClusterHead("4", 2), TypeError, "input_dim must be an integer"),
        (
            lambda: CCClusterHead(4, 1),
            ValueError,
            "n_clusters must be at least 2, got 1",
        ),
        (lambda: CCModel(None, MODULE, MODULE), TypeError, "backbone must be a torch"),
        (lambda: CCModel(MODULE, 1, MODULE), TypeError, "instance_head must be a"),
        (lambda: CCModel(MODULE, MODULE, "x"), TypeError, "cluster_head must be a"),
        (lambda: make_model().project(None), TypeError, "x must be a floating point"),
        (
            lambda: make_model().embed(torch.ones(2, 3, 8, 8, dtype=torch.uint8)),
            TypeError,
            "x must be a floating point tensor of images, got torch.uint8",
        ),
        (
            lambda: make_model().assign(torch.ones(8)),
            ValueError,
            "x must be a batch (n, c, h, w), got (8,)",
        ),
    ],
)
def test_bad_input(call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call()  # type: ignore[operator]
