"""Heads, backbones, the momentum teacher and the model made of them."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hadis_lightly.models import (
    HaDisModel,
    MomentumTeacher,
    evaluating,
)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def student_with_norm() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


@pytest.mark.parametrize("momentum", [0.0, 0.25, 0.996, 1.0])
def test_update_is_the_moving_average(momentum: float) -> None:
    student = student_with_norm().double()
    teacher = MomentumTeacher(student)
    old = [p.clone() for p in teacher.module.parameters()]
    with torch.no_grad():
        for p in student.parameters():
            p.add_(torch.randn_like(p))
    teacher.update(student, momentum=momentum)
    for ours, before, theirs in zip(
        teacher.module.parameters(), old, student.parameters(), strict=True
    ):
        expected = momentum * before + (1 - momentum) * theirs
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-14)


def test_batch_norm_moves_by_the_teachers_own_forward() -> None:
    student = student_with_norm()
    teacher = MomentumTeacher(student)
    x = torch.randn(8, 3)
    expected = 0.1 * teacher.module[0](x).mean(dim=0)
    teacher(x)
    torch.testing.assert_close(teacher.module[1].running_mean, expected)
    assert teacher.module[1].num_batches_tracked == 1
    assert student[1].num_batches_tracked == 0

    teacher.eval()
    before = [b.clone() for b in teacher.buffers()]
    teacher(x)
    assert all(map(torch.equal, before, teacher.buffers()))


def test_no_gradient_reaches_the_teacher() -> None:
    student = student_with_norm()
    teacher = MomentumTeacher(student)
    x = torch.randn(4, 3, requires_grad=True)
    assert not teacher(x).requires_grad
    assert not any(p.requires_grad for p in teacher.parameters())
    with torch.no_grad():
        student[0].weight.add_(1)
    teacher.update(student, momentum=0.5)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert all(p.requires_grad and p.grad is None for p in student.parameters())


def test_evaluating_restores_modes_after_an_error() -> None:
    module = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout())
    module[1].eval()
    with pytest.raises(RuntimeError, match="stop"), evaluating(module):
        assert not any(part.training for part in module.modules())
        raise RuntimeError("stop")
    assert [part.training for part in module.modules()] == [True, True, False]


class Recorder(nn.Module):
    """A prediction head that shows what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.given = torch.empty(0)

    def forward(self, x: Tensor) -> Tensor:
        self.given = x
        return 2 * x


def small_model(latent_std: float = 0.1) -> tuple[HaDisModel, Recorder]:
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    backbone.append(nn.AdaptiveAvgPool2d(1))  # (n, 4, 1, 1)
    recorder = Recorder()
    return HaDisModel(backbone, nn.Linear(4, 6), recorder, latent_std), recorder


def test_shapes_with_a_backbone_that_keeps_its_ones() -> None:
    model, _ = small_model()
    x = torch.rand(5, 3, 8, 8)
    z, p = model.forward_student(x)
    assert z.shape == p.shape == model.forward_teacher(x).shape == (5, 6)
    assert model.embed(x).shape == model(x).shape == (5, 6)
    assert isinstance(model.projection_head, nn.Linear)
    assert model.backbone(x).shape == (5, 4, 1, 1)


def test_noise_while_training() -> None:
    model, recorder = small_model(latent_std=0.1)
    x = torch.rand(512, 3, 4, 4)
    z, p = model.forward_student(x)
    noise = recorder.given - z
    assert noise.std().item() == pytest.approx(0.1, rel=0.05)
    assert abs(noise.mean().item()) < 0.01
    assert torch.equal(p, 2 * recorder.given)
    z_again, _ = model.forward_student(x)
    torch.testing.assert_close(z_again, z)  # the projection itself has none


@pytest.mark.parametrize("case", ["warm-up", "evaluation", "latent_std = 0"])
def test_no_noise_otherwise(case: str) -> None:
    model, recorder = small_model(latent_std=0.0 if case == "latent_std = 0" else 0.1)
    model.train(case != "evaluation")
    x = torch.rand(4, 3, 4, 4)
    random_state = torch.get_rng_state()
    z, _ = model.forward_student(x, diffuse=case != "warm-up")
    assert torch.equal(recorder.given, z)
    assert torch.equal(torch.get_rng_state(), random_state)  # nor a draw


def test_embed_is_the_normalised_teacher_in_evaluation_mode() -> None:
    model, _ = small_model()
    with torch.no_grad():
        for p in model.teacher.parameters():
            p.add_(torch.randn_like(p))  # unlike the student
    x = torch.rand(5, 3, 8, 8)
    embeddings = model.embed(x)
    assert model.training and not embeddings.requires_grad
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(5))
    # In evaluation mode an image does not depend on the rest of its batch.
    torch.testing.assert_close(model.embed(x[:1]), embeddings[:1])
    expected = copy.deepcopy(model.teacher).eval()(x)
    torch.testing.assert_close(embeddings, F.normalize(expected, dim=1))


def test_embed_restores_the_mode_of_every_part() -> None:
    model, _ = small_model()
    frozen_norm = model.teacher.module.get_submodule("backbone.1").eval()
    modes = {name: part.training for name, part in model.named_modules()}
    buffers = [b.clone() for b in model.buffers()]
    model.embed(torch.rand(4, 3, 8, 8))
    assert {name: part.training for name, part in model.named_modules()} == modes
    assert not frozen_norm.training
    assert all(map(torch.equal, buffers, model.buffers()))


def test_no_gradient_through_forward_teacher() -> None:
    model, _ = small_model()
    x = torch.rand(4, 3, 8, 8)
    z, p = model.forward_student(x)
    (z + p - model.forward_teacher(x)).square().sum().backward()
    assert all(q.grad is None for q in model.teacher.parameters())
    assert all(q.grad is not None for q in model.student.parameters())


def test_update_teacher() -> None:
    model, _ = small_model()
    old = [p.clone() for p in model.teacher.parameters()]
    with torch.no_grad():
        for p in model.student.parameters():
            p.add_(1)
    model.update_teacher(0.75)
    for now, before in zip(model.teacher.parameters(), old, strict=True):
        torch.testing.assert_close(now, before + 0.25)
    model.update_teacher()
    for now, before in zip(model.teacher.parameters(), old, strict=True):
        torch.testing.assert_close(now, before + 0.996 * 0.25 + 0.004)


@pytest.mark.parametrize("momentum", [-0.1, float("nan")])
def test_bad_momentum(momentum: float) -> None:
    student = nn.Linear(2, 2)
    match = rf"momentum must be in \[0, 1\], got {momentum}"
    with pytest.raises(ValueError, match=match):
        MomentumTeacher(student).update(student, momentum=momentum)


@pytest.mark.parametrize(
    ("other", "kind"),
    [(nn.Linear(2, 3), "shapes"), (nn.Linear(2, 2).double(), "dtypes")],
)
def test_student_that_does_not_fit(other: nn.Module, kind: str) -> None:
    teacher = MomentumTeacher(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=f"parameters of different {kind}"):
        teacher.update(other)


def test_bad_input() -> None:
    linear = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"latent_std must be >= 0, got -0\.1"):
        small_model(-0.1)
    with pytest.raises(TypeError, match=r"prediction_head must be a torch.nn.Module"):
        HaDisModel(linear, linear, None)  # type: ignore[arg-type]
    model, _ = small_model()
    with pytest.raises(TypeError, match=r"x must be a floating .* got torch.uint8"):
        model.embed(torch.ones(2, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"x must be a batch .* got \(8,\)"):
        model.forward_student(torch.ones(8))
