"""Backbones by name: all of torchvision's, timm's, grey images, fixed sizes."""

from __future__ import annotations

import copy
import re
import sys

import pytest
import torch
import torchvision
from torch import nn

from hadis_lightly import backbone_names
from hadis_lightly.backbone_names import check_backbone_name
from hadis_lightly.models import (
    build_backbone,
    feature_dim,
    small_convnet,
    small_resnet18,
)
from hadis_lightly.models.backbones import check_backbone
from hadis_lightly.models.input_channels import first_convolution

# One for each way in which they differ: side of the images, and features.
FAMILIES = {
    "alexnet": (64, 4096),
    "googlenet": (32, 1024),
    "inception_v3": (75, 2048),
    "maxvit_t": (224, 512),
    "pixels": (16, 256),
    "mobilenet_v3_small": (32, 1024),
    "small_convnet": (16, 1024),
    "small_pooled_convnet": (16, 128),
    "small_resnet34": (32, 512),
    "small_resnet50": (32, 2048),
    "shufflenet_v2_x0_5": (32, 1024),
    "squeezenet1_1": (32, 512),
    "vit_b_16": (32, 768),
}


def on_meta(name: str, num_channels: int, input_size: int) -> nn.Module:
    """The backbone without memory for its weights."""
    with torch.device("meta"):
        return build_backbone(name, num_channels, input_size)


@pytest.mark.parametrize("name", FAMILIES)
def test_backbones_by_name(name: str) -> None:
    input_size, n_features = FAMILIES[name]
    grey = on_meta(name, 1, input_size)
    assert feature_dim(grey, 1, input_size) == n_features


@pytest.mark.parametrize("name", ["squeezenet1_1", "googlenet", "mobilenet_v3_small"])
@torch.no_grad()
def test_the_classifier_alone_is_taken_off(name: str) -> None:
    """With it put back the network is torchvision's."""
    options = {"aux_logits": False, "init_weights": False} if name[0] == "g" else {}
    theirs = torchvision.models.get_model(name, **options).eval()
    ours = build_backbone(name).eval()
    ours.load_state_dict(theirs.state_dict(), strict=False)
    last = list(theirs.named_modules())
    layer_name, layer = next(
        (n, m) for n, m in reversed(last) if isinstance(m, (nn.Linear, nn.Conv2d))
    )
    assert isinstance(ours.get_submodule(layer_name), nn.Identity)
    parent, _, child = layer_name.rpartition(".")
    x = torch.rand(2, 3, 40, 40)
    features = ours(x)
    setattr(ours.get_submodule(parent), child, layer)
    assert features.shape == (2, layer.weight.shape[1])
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize(
    "name, stem", [("resnet18", "conv1"), ("shufflenet_v2_x0_5", "conv1.0")]
)
@torch.no_grad()
def test_grey_images_give_what_they_give_in_colour(name: str, stem: str) -> None:
    torch.manual_seed(0)
    colour = build_backbone(name, 3, 32).eval()
    torch.manual_seed(0)
    grey = build_backbone(name, 1, 32).eval()
    assert first_convolution(grey) == stem
    x = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(grey(x), colour(x.expand(2, 3, 32, 32)))


@pytest.mark.parametrize(
    "name, input_size, step",
    [("vit_b_16", 24, 16), ("vit_h_14", 32, 14), ("maxvit_t", 96, 224)],
)
def test_sizes_that_cannot_be(name: str, input_size: int, step: int) -> None:
    with pytest.raises(ValueError, match=f"'{name}' .* multiple of {step}, got inp"):
        build_backbone(name, input_size=input_size)


@pytest.mark.parametrize(
    "name, near",
    [
        ("resnet19", "resnet18"),
        ("small_resnet_18", "small_resnet18"),
        ("vitb16", "vit_b_16"),
        ("timm/resnet_18", "timm/resnet18"),
        ("vit_small_patch16_224", "timm/vit_small_patch16_224"),
    ],
)
def test_near_names_are_offered(name: str, near: str) -> None:
    if "timm" in near:
        pytest.importorskip("timm")
    for check in (check_backbone, check_backbone_name):
        with pytest.raises(ValueError, match=rf"'{name}' is .*mean .*\b{near}\b"):
            check(name)


def test_every_name_passes_the_quick_check() -> None:
    check_backbone_name("timm/hf-hub:somebody/something")  # not looked up in files
    timm = pytest.importorskip("timm")
    for package, names in (
        ("torchvision", torchvision.models.list_models(module=torchvision.models)),
        ("timm", timm.list_models()),
    ):
        text = backbone_names._source(package)
        assert set(names) <= set(re.findall(r"\w+", text))
        assert set(names) <= set(backbone_names._MODEL.findall(text))


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"timm/resnet18' needs timm.*pip install"):
        build_backbone("timm/resnet18")
    assert isinstance(build_backbone("small_convnet"), nn.Module)
    with pytest.raises(ValueError, match="Did you mean resnet18"):
        build_backbone("resnet19")


@pytest.mark.parametrize(
    "name, input_size, n_features",
    [
        ("resnet18.a1_in1k", 32, 512),
        ("vit_tiny_patch16_224", 32, 192),
        ("swin_tiny_patch4_window7_224", 64, 768),
    ],
)
@pytest.mark.parametrize("num_channels", [1, 3])
def test_models_of_timm(
    name: str, input_size: int, n_features: int, num_channels: int
) -> None:
    pytest.importorskip("timm")
    with torch.device("meta"):
        backbone = build_backbone(f"timm/{name}", num_channels, input_size)
    assert feature_dim(backbone, num_channels, input_size) == n_features


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


def test_small_convnet_flattens_its_features() -> None:
    backbone = small_convnet(num_channels=1)
    assert backbone(torch.rand(3, 1, 16, 16)).shape == (3, 64 * 4 * 4)
    assert small_convnet(3, widths=(4, 8))(torch.rand(2, 3, 6, 6)).shape == (2, 72)


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
