"""Contrastive Clustering's heads, and the model made of a backbone and both."""

from __future__ import annotations

import copy

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
