"""A backbone that is not trained: one for student and teacher, images or features."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from hadis_lightly.models import (
    CCClusterHead,
    CCInstanceHead,
    CCModel,
    FrozenBackbone,
    HaDisModel,
    HaDisPredictionHead,
    HaDisProjectionHead,
    PrincipalComponents,
    load_backbone_weights,
    small_convnet,
)


def convnet(width: int = 8) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.AdaptiveAvgPool2d(1)
    )


def hadis_model(width: int = 8) -> HaDisModel:
    return HaDisModel(
        FrozenBackbone(convnet(width)),
        HaDisProjectionHead(width, 16, 4),
        HaDisPredictionHead(4, 16, 4),
    )


def state_of(module: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in module.state_dict().values()]


def test_models_take_images_or_their_features() -> None:
    images = torch.rand(6, 3, 8, 8)
    hadis = hadis_model().eval()
    features = hadis.backbone(images)
    assert features.shape == (6, 8)
    assert hadis.backbone(features) is features
    heads = CCInstanceHead(8), CCClusterHead(8, 3)
    cc = CCModel(FrozenBackbone(convnet()), *heads).eval()
    for model, method in ((hadis, "forward_student"), (cc, "project")):
        features = model.backbone(images)
        expected, found = (getattr(model, method)(x) for x in (images, features))
        assert all(map(torch.equal, expected, found))
        assert torch.equal(model.embed(images), model.embed(features))


def test_it_stays_as_it_is_in_training() -> None:
    model = hadis_model().train()
    assert model.teacher.module.get_submodule("backbone") is model.backbone
    backbone, teacher_head = model.backbone, model.teacher.module[2]
    before, head_before = state_of(backbone), state_of(teacher_head)
    assert not any(part.training for part in backbone.modules())
    assert model.projection_head.training
    z, p = model.forward_student(torch.rand(6, 3, 8, 8))
    (z + p).square().sum().backward()
    with torch.no_grad():
        for parameter in model.projection_head.parameters():
            parameter.sub_(parameter.grad)
    # Infinity minus itself is not a number: an average would not leave it alone.
    with torch.no_grad():
        backbone.module[0].weight[0] = before[0][0] = torch.inf
    model.update_teacher(0.5)
    assert all(map(torch.equal, before, state_of(backbone)))
    assert not all(map(torch.equal, head_before, state_of(teacher_head)))


def test_a_frozen_backbone_may_be_of_16_bits() -> None:
    model = hadis_model()
    model.backbone.bfloat16()
    model.teacher.check_precision(0.996)
    model.update_teacher(0.996)
    model.bfloat16()
    with pytest.raises(ValueError, match="cannot follow the student"):
        model.update_teacher(0.996)


def test_a_student_without_weights_of_its_own_is_followed() -> None:
    model = HaDisModel(FrozenBackbone(convnet()), nn.Identity(), nn.Identity())
    model.update_teacher(0.5)


def test_a_checkpoint_has_the_backbone_once() -> None:
    def size_of(module: nn.Module) -> int:
        torch.save(module.state_dict(), file := io.BytesIO())
        return file.tell()

    model = hadis_model(512)
    alone = size_of(model.backbone) + 2 * size_of(model.projection_head)
    assert size_of(model) < alone + size_of(model.prediction_head) + 10_000
    torch.save(model.state_dict(), file := io.BytesIO())
    file.seek(0)
    other = copy.deepcopy(hadis_model(512))
    other.load_state_dict(torch.load(file))
    assert all(map(torch.equal, state_of(model), state_of(other)))
    assert other.teacher.module.get_submodule("backbone") is other.backbone


def test_other_backbones_start_from_a_checkpoint_of_it(tmp_path: object) -> None:
    file = f"{tmp_path}/last.ckpt"
    frozen = small_convnet()
    model = HaDisModel(FrozenBackbone(frozen), nn.Linear(256, 4), nn.Linear(4, 4))
    torch.save({"state_dict": model.state_dict()}, file)
    other = small_convnet()
    load_backbone_weights(other, file)
    assert all(map(torch.equal, state_of(frozen), state_of(other)))


def test_components_of_views_are_those_of_each_by_itself() -> None:
    features = torch.randn(6, 3, 5, generator=torch.Generator().manual_seed(0))
    components = PrincipalComponents(5, 2).fit(features[:, 0])
    torch.testing.assert_close(components(features)[:, 1], components(features[:, 1]))


def test_a_checkpoint_has_no_more_than_the_components() -> None:
    components = PrincipalComponents(300, 4).fit(torch.randn(50, 300))
    torch.save(components.state_dict(), file := io.BytesIO())
    assert file.tell() < 4 * (300 * 4 + 300) + 4000  # not 300 * 300


def test_bad_input() -> None:
    with pytest.raises(TypeError, match=r"backbone must be a torch\.nn\.Module"):
        FrozenBackbone(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="floating point"):
        FrozenBackbone(convnet())(torch.zeros(2, 8, dtype=torch.uint8))
