"""Heads, backbones, the momentum teacher and the model made of them."""

from __future__ import annotations

import copy
import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
    small_resnet34,
    small_resnet50,
)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("head_class", [HaDisProjectionHead, HaDisPredictionHead])
def test_head_is_linear_norm_relu_linear(
    head_class: type[HaDisProjectionHead] | type[HaDisPredictionHead],
) -> None:
    head = head_class(input_dim=5, hidden_dim=7, output_dim=3)
    first, norm, relu, last = head.layers
    assert isinstance(first, nn.Linear) and first.weight.shape == (7, 5)
    assert isinstance(norm, nn.BatchNorm1d) and norm.num_features == 7
    assert isinstance(relu, nn.ReLU)
    assert isinstance(last, nn.Linear) and last.weight.shape == (3, 7)
    assert last.bias is not None
    assert head(torch.randn(4, 5)).shape == (4, 3)


def test_default_sizes_are_the_papers() -> None:
    projection, prediction = HaDisProjectionHead(), HaDisPredictionHead()
    assert [tuple(p.shape) for p in projection.parameters() if p.ndim == 2] == [
        (4096, 512),
        (256, 4096),
    ]
    assert [tuple(p.shape) for p in prediction.parameters() if p.ndim == 2] == [
        (4096, 256),
        (256, 4096),
    ]


@pytest.mark.parametrize("init_std", [0.01, 0.1])
def test_prediction_head_starts_small(init_std: float) -> None:
    head = HaDisPredictionHead(64, 512, 64, init_std=init_std)
    for layer in (head.layers[0], head.layers[3]):
        assert layer.weight.std().item() == pytest.approx(init_std, rel=0.03)
        assert abs(layer.weight.mean().item()) < init_std / 30
    assert torch.equal(head.layers[3].bias, torch.zeros(64))


def test_init_std_is_001_by_default() -> None:
    head = HaDisPredictionHead(64, 512, 64)
    assert head.layers[0].weight.std().item() == pytest.approx(0.01, rel=0.03)


@pytest.mark.parametrize("num_channels", [1, 3])
def test_small_resnet_keeps_small_images(num_channels: int) -> None:
    backbone = small_resnet18(num_channels)
    stem = backbone.get_submodule("conv1")
    assert isinstance(stem, nn.Conv2d)
    assert (stem.kernel_size, stem.stride, stem.padding) == ((3, 3), (1, 1), (1, 1))
    assert stem.in_channels == num_channels and stem.bias is None
    assert not any(isinstance(part, nn.MaxPool2d) for part in backbone.modules())
    assert not any(isinstance(part, nn.Linear) for part in backbone.modules())

    sizes: list[tuple[int, ...]] = []
    backbone.get_submodule("layer1").register_forward_hook(
        lambda module, inputs, output: sizes.append(tuple(output.shape))
    )
    assert backbone(torch.rand(2, num_channels, 12, 12)).shape == (2, 512)
    assert sizes == [(2, 64, 12, 12)]


@pytest.mark.parametrize(
    "build, n_features, n_convolutions",
    [(small_resnet18, 512, 20), (small_resnet34, 512, 36), (small_resnet50, 2048, 53)],
)
def test_small_resnets(build: object, n_features: int, n_convolutions: int) -> None:
    assert callable(build)
    backbone = build()
    convolutions = [m for m in backbone.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == n_convolutions
    assert feature_dim(backbone, num_channels=3, input_size=32) == n_features


def test_small_convnet_flattens_its_features() -> None:
    backbone = small_convnet(num_channels=1)
    assert backbone(torch.rand(3, 1, 16, 16)).shape == (3, 64 * 4 * 4)
    assert small_convnet(3, widths=(4, 8))(torch.rand(2, 3, 6, 6)).shape == (2, 72)


@pytest.mark.parametrize(
    "name, input_size, n_features",
    [
        ("small_resnet18", 32, 512),
        ("small_resnet34", 32, 512),
        ("small_resnet50", 32, 2048),
        ("small_convnet", 16, 1024),
        ("resnet18", 32, 512),
        ("vit_b_16", 224, 768),
        ("mobilenet_v3_small", 32, 1024),
    ],
)
def test_backbone_by_name(name: str, input_size: int, n_features: int) -> None:
    assert feature_dim(build_backbone(name), 3, input_size) == n_features


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_torchvision_backbone_computes_what_feature_dim_says(name: str) -> None:
    backbone = build_backbone(name)
    n_features = feature_dim(backbone, num_channels=3, input_size=32)
    assert backbone(torch.rand(2, 3, 32, 32)).shape == (2, n_features)


def test_unknown_backbone_is_named() -> None:
    with pytest.raises(ValueError, match="backbone 'resnet19' is neither one of"):
        build_backbone("resnet19")


@pytest.mark.parametrize(
    "name", ["fcn_resnet50", "maskrcnn_resnet50_fpn", "raft_small"]
)
def test_only_classification_models(name: str) -> None:
    with pytest.raises(ValueError, match=f"backbone '{name}' is neither"):
        build_backbone(name)


def test_image_too_small_is_a_clear_error() -> None:
    with pytest.raises(ValueError, match="backbone Conv2d cannot take images of 3 x 4"):
        feature_dim(nn.Conv2d(3, 1, kernel_size=9), num_channels=3, input_size=4)


def test_feature_dim_leaves_the_backbone_untouched() -> None:
    backbone = small_convnet(widths=(4, 4))
    backbone[1].eval()
    before = copy.deepcopy(backbone.state_dict())
    modes = [part.training for part in backbone.modules()]
    assert feature_dim(backbone, num_channels=3, input_size=8) == 64
    for name, value in backbone.state_dict().items():
        assert value.device.type == "cpu"
        assert torch.equal(value, before[name]), name
    assert [part.training for part in backbone.modules()] == modes
    assert all(p.grad is None and p.requires_grad for p in backbone.parameters())


def student_with_norm() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_teacher_starts_as_a_copy() -> None:
    student = student_with_norm()
    teacher = MomentumTeacher(student)
    for ours, theirs in zip(
        teacher.module.state_dict().values(), student.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs) and ours.data_ptr() != theirs.data_ptr()
    assert all(p.requires_grad for p in student.parameters())


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


def test_update_moves_parameters_only() -> None:
    student = student_with_norm()
    teacher = MomentumTeacher(student)
    student(torch.randn(8, 3) + 5)
    before = [b.clone() for b in teacher.module.buffers()]
    teacher.update(student, momentum=0.5)
    assert all(map(torch.equal, before, teacher.module.buffers()))
    assert not torch.equal(teacher.module[1].running_mean, student[1].running_mean)


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


@pytest.mark.parametrize("momentum", [-0.1, 1.01, float("nan")])
def test_bad_momentum(momentum: float) -> None:
    student = nn.Linear(2, 2)
    with pytest.raises(
        ValueError, match=rf"momentum must be in \[0, 1\], got {momentum}"
    ):
        MomentumTeacher(student).update(student, momentum=momentum)


@pytest.mark.parametrize(
    "other", [nn.Linear(2, 3), nn.Linear(2, 2, bias=False), nn.Identity()]
)
def test_student_that_does_not_fit(other: nn.Module) -> None:
    teacher = MomentumTeacher(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"student has .* do not fit the 2"):
        teacher.update(other)


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


@pytest.mark.parametrize("latent_std", [-0.001, float("nan")])
def test_bad_latent_std(latent_std: float) -> None:
    match = re.escape(f"latent_std must be >= 0, got {latent_std}")
    with pytest.raises(ValueError, match=match):
        small_model(latent_std)


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


def test_teacher_trains_its_batch_norm_and_the_student_its_own() -> None:
    model, _ = small_model()
    x = torch.rand(4, 3, 8, 8)
    student_norm = model.get_submodule("student.backbone.1")
    teacher_norm = model.get_submodule("teacher.module.backbone.1")
    model.forward_teacher(x)
    assert (student_norm.num_batches_tracked, teacher_norm.num_batches_tracked) == (
        0,
        1,
    )
    model.forward_student(x)
    assert (student_norm.num_batches_tracked, teacher_norm.num_batches_tracked) == (
        1,
        1,
    )


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
