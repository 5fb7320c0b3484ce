"""Generated sizes and inputs of the models: right ones, and wrong ones by name."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from hadis_lightly.models import (
    HaDisModel,
    HaDisPredictionHead,
    HaDisProjectionHead,
    MomentumTeacher,
    build_backbone,
    evaluating,
    feature_dim,
    small_convnet,
    small_resnet18,
)

dims = st.integers(1, 12)
seeds = st.integers(0, 2**31)
fewer = settings(max_examples=max(5, settings.default.max_examples // 10))
no_numbers = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=5),
    st.lists(st.integers(1, 3), max_size=2),
    st.complex_numbers(),
)
no_counts = st.one_of(
    no_numbers, st.floats(), st.integers(max_value=0), st.integers(2**63, 2**70)
)
no_scale = st.one_of(
    no_numbers,
    st.sampled_from([math.nan, math.inf]),
    st.floats(max_value=0, exclude_max=True),
)
no_share = st.one_of(no_scale, st.floats(1, exclude_min=True), st.integers(2))
no_modules = st.one_of(
    no_numbers,
    st.sampled_from([nn.Linear, torch.relu, torch.ones(2), {"a": nn.ReLU()}]),
)


def rand(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@given(n=st.integers(2, 6), sizes=st.tuples(dims, dims, dims), seed=seeds)
def test_heads_are_two_layers(n: int, sizes: tuple[int, int, int], seed: int) -> None:
    d_in, _, d_out = sizes
    x = rand(seed, n, d_in)
    for head in (HaDisProjectionHead(*sizes), HaDisPredictionHead(*sizes)):
        first, norm, _, last = (module for module in head.layers)
        made = head(x)
        assert made.shape == (n, d_out)
        hidden = x @ first.weight.T
        hidden = hidden if first.bias is None else hidden + first.bias
        mean, var = hidden.mean(0), hidden.var(0, unbiased=False)
        hidden = ((hidden - mean) / (var + norm.eps).sqrt()).relu()
        assert_close(made, hidden @ last.weight.T + last.bias, rtol=1e-3, atol=1e-4)


@given(std=st.floats(0, 10), seed=seeds)
def test_weights_of_the_prediction_head(std: float, seed: int) -> None:
    torch.manual_seed(seed)
    head = HaDisPredictionHead(40, 50, 40, init_std=std)
    weights = torch.cat(
        [head.layers[0].weight.flatten(), head.layers[3].weight.flatten()]
    )
    assert float(weights.detach().std()) == pytest.approx(std, rel=0.1, abs=1e-9)


@given(
    widths=st.lists(dims, min_size=1, max_size=5),
    channels=st.integers(1, 4),
    size=st.integers(1, 20),
)
def test_feature_dim_is_what_comes_out(
    widths: list[int], channels: int, size: int
) -> None:
    backbone = small_convnet(channels, widths)
    features = backbone.eval()(torch.zeros(1, channels, size, size))
    assert feature_dim(backbone, channels, size) == features.shape[1]
    side = size
    for index in range(len(widths)):
        side = math.ceil(side / (1 + index % 2))
    assert features.shape[1] == widths[-1] * side**2


@fewer
@given(channels=st.integers(1, 4), size=st.integers(1, 9), n=st.integers(1, 2))
def test_backbones_take_any_size(channels: int, size: int, n: int) -> None:
    images = torch.zeros(n, channels, size, size)
    with torch.no_grad():
        assert build_backbone("small_resnet18", channels).eval()(images).shape == (
            n,
            512,
        )


@given(
    m=st.floats(0, 1),
    sizes=st.tuples(dims, dims),
    seed=seeds,
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_teacher_is_the_moving_average(
    m: float, sizes: tuple[int, int], seed: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(seed)
    student = nn.Sequential(nn.Linear(*sizes), nn.BatchNorm1d(sizes[1])).to(dtype)
    teacher = MomentumTeacher(student)
    before = copy.deepcopy(teacher)
    student.load_state_dict({k: v + 1 for k, v in student.state_dict().items()})
    teacher.update(student, momentum=m)
    parameters = zip(teacher.parameters(), before.parameters(), strict=True)
    for (new, old), theirs in zip(parameters, student.parameters(), strict=True):
        assert not new.requires_grad
        assert_close(new, m * old + (1 - m) * theirs.detach(), rtol=1e-5, atol=1e-6)
    for new, old in zip(teacher.buffers(), before.buffers(), strict=True):
        assert torch.equal(new, old)


@given(
    n=st.integers(0, 5),
    sizes=st.tuples(dims, dims),
    std=st.one_of(st.just(0.0), st.floats(1e-3, 10)),
    is_training=st.booleans(),
    seed=seeds,
)
def test_model_predicts_from_the_diffused_projection(
    n: int, sizes: tuple[int, int], std: float, is_training: bool, seed: int
) -> None:
    side, d = sizes
    model = HaDisModel(
        nn.Identity(), nn.Linear(side * side, d), nn.Identity(), latent_std=std
    ).train(is_training)
    x = rand(seed, n, 1, side, side)
    torch.manual_seed(seed)
    z, p = model.forward_student(x)
    torch.manual_seed(seed)
    noise = std * torch.randn(n, d) if is_training and std > 0 else torch.zeros(n, d)
    assert_close(p, z + noise)
    z, p = model.forward_student(x, diffuse=False)
    assert torch.equal(z, p)
    t = model.forward_teacher(x)
    assert_close(t, z.detach())
    assert not t.requires_grad
    e = model.embed(x)
    assert e.shape == (n, d) and torch.isfinite(e).all()
    assert_close(e, t / t.norm(dim=1, keepdim=True).clamp(min=1e-12))
    assert model.training == is_training


@given(modes=st.lists(st.booleans(), min_size=4, max_size=4))
def test_modes_come_back(modes: list[bool]) -> None:
    module = nn.Sequential(nn.ReLU(), nn.Sequential(nn.ReLU()))
    for part, mode in zip(module.modules(), modes, strict=True):
        part.training = mode
    with evaluating(module):
        assert not any(part.training for part in module.modules())
    assert [part.training for part in module.modules()] == modes


@st.composite
def wrong_calls(draw: st.DrawFn) -> tuple[Any, str, Any]:
    """A call that is wrong, the argument that is, and its value."""
    count, scale, module = draw(no_counts), draw(no_scale), draw(no_modules)
    share = draw(no_share)
    linear = nn.Linear(2, 2)
    calls: list[tuple[Any, str, Any]] = [
        (lambda: HaDisPredictionHead(2, 2, 2, scale), "init_std", scale),
        (lambda: small_resnet18(count), "num_channels", count),
        (lambda: small_convnet(count), "num_channels", count),
        (lambda: small_convnet(1, (4, count)), "widths", count),
        (lambda: build_backbone("small_convnet", count), "num_channels", count),
        (lambda: build_backbone("resnet18", count), "num_channels", count),
        (lambda: feature_dim(linear, count, 8), "num_channels", count),
        (lambda: feature_dim(linear, 3, count), "input_size", count),
        (lambda: feature_dim(module, 3, 8), "backbone", module),
        (lambda: MomentumTeacher(module), "student", module),
        (lambda: MomentumTeacher(linear).update(module), "student", module),
        (lambda: MomentumTeacher(linear).update(linear, share), "momentum", share),
        (lambda: HaDisModel(module, linear, linear), "backbone", module),
        (lambda: HaDisModel(linear, module, linear), "projection_head", module),
        (lambda: HaDisModel(linear, linear, module), "prediction_head", module),
        (lambda: HaDisModel(linear, linear, linear, scale), "latent_std", scale),
        (lambda: evaluating(module).__enter__(), "module", module),
    ]
    for head in (HaDisProjectionHead, HaDisPredictionHead):
        for name in ("input_dim", "hidden_dim", "output_dim"):
            options = {"input_dim": 2, "hidden_dim": 2, "output_dim": 2, name: count}
            calls.append((lambda h=head, o=options: h(**o), name, count))
    return draw(st.sampled_from(calls))


@given(wrong=wrong_calls())
def test_wrong_arguments(wrong: tuple[Any, str, Any]) -> None:
    call, name, value = wrong
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert str(caught.value).startswith(name)
    assert repr(value) in str(caught.value)


@given(
    name=st.one_of(
        no_numbers, st.text(max_size=10), st.sampled_from(["ResNet18", "vit"])
    )
)
def test_wrong_backbones(name: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="backbone") as caught:
        build_backbone(name)
    assert repr(name) in str(caught.value)


@given(widths=st.one_of(st.none(), st.integers(), st.text(max_size=3), st.just(())))
def test_wrong_widths(widths: Any) -> None:
    with pytest.raises(TypeError, match="widths must be a list") as caught:
        small_convnet(1, widths)
    assert repr(widths) in str(caught.value)


@given(
    other=st.sampled_from(
        [
            (nn.Linear(3, 2), "shapes"), (nn.Linear(2, 2, bias=False), "shapes"),
            (nn.ReLU(), "shapes"), (nn.Linear(2, 2).double(), "dtypes"),
            (nn.Linear(2, 2).half(), "dtypes"),
            (nn.Linear(2, 2, device="meta"), "devices"),
        ]
    ),
    m=st.floats(0, 1),
)  # fmt: skip
def test_students_that_do_not_fit(other: tuple[nn.Module, str], m: float) -> None:
    with pytest.raises(ValueError, match=f"student has .* their {other[1]} differ"):
        MomentumTeacher(nn.Linear(2, 2)).update(other[0], m)


@given(
    x=st.sampled_from(
        [
            (torch.zeros(2, 3, 2, 2, dtype=torch.uint8), "torch.uint8"),
            (torch.zeros(2, 3, 2, 2, dtype=torch.int64), "torch.int64"),
            (np.zeros((2, 3, 2, 2), np.float32), "float32"),
            ([[0.0] * 12], "list"), (None, "NoneType"), ("images", "str"),
            (torch.zeros(12), "(12,)"), (torch.tensor(0.0), "()"),
        ]
    ),
    method=st.sampled_from(["forward_student", "forward_teacher", "embed", "forward"]),
)  # fmt: skip
def test_wrong_images(x: tuple[Any, str], method: str) -> None:
    model = HaDisModel(nn.Flatten(), nn.Linear(12, 4), nn.Linear(4, 4))
    with pytest.raises((TypeError, ValueError), match=r"^x must be") as caught:
        getattr(model, method)(x[0])
    assert x[1] in str(caught.value)
