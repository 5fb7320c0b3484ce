"""Backbones by name: all of torchvision's, timm's, grey images, fixed sizes."""

from __future__ import annotations

import sys

import pytest
import torch
import torchvision
from torch import nn

from hadis_lightly.models import build_backbone, feature_dim
from hadis_lightly.models.backbones import check_backbone
from hadis_lightly.models.input_channels import (
    first_convolution,
    fit_channels,
    set_channels,
)

NAMES = torchvision.models.list_models(module=torchvision.models)
# One of each family: side of the images, and features.
FAMILIES = {
    "alexnet": (64, 4096),
    "convnext_tiny": (32, 768),
    "densenet121": (32, 1024),
    "efficientnet_b0": (32, 1280),
    "googlenet": (32, 1024),
    "inception_v3": (75, 2048),
    "maxvit_t": (224, 512),
    "mnasnet0_5": (32, 1280),
    "mobilenet_v2": (32, 1280),
    "mobilenet_v3_small": (32, 1024),
    "regnet_x_400mf": (32, 400),
    "resnet18": (32, 512),
    "shufflenet_v2_x0_5": (32, 1024),
    "squeezenet1_1": (32, 512),
    "swin_t": (32, 768),
    "swin_v2_t": (32, 768),
    "vgg11": (32, 4096),
    "vit_b_16": (32, 768),
}


def on_meta(name: str, num_channels: int, input_size: int) -> nn.Module:
    """The backbone without memory for its weights, where torchvision lets one."""
    if name.startswith("regnet_"):  # computes its widths with tensors
        return build_backbone(name, num_channels, input_size)
    with torch.device("meta"):
        return build_backbone(name, num_channels, input_size)


def classifier_size(name: str) -> int:
    """Features that torchvision's own classifier takes."""
    with torch.device("meta"):
        model = torchvision.models.get_model(name)
    layers = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    return int(layers[-1].weight.shape[1])


@pytest.mark.parametrize("name", FAMILIES)
def test_one_of_each_family(name: str) -> None:
    input_size, n_features = FAMILIES[name]
    grey = on_meta(name, 1, input_size)
    assert feature_dim(grey, 1, input_size) == n_features


@pytest.mark.slow  # the largest have 2.5 GB of weights
@pytest.mark.parametrize("name", NAMES)
def test_every_model_of_torchvision(name: str) -> None:
    backbone = on_meta(name, 1, 224)
    n_features = feature_dim(backbone, num_channels=1, input_size=224)
    if not name.startswith(("regnet_", "googlenet", "inception_")):
        assert n_features == classifier_size(name)


def test_all_families_are_there() -> None:
    def family(name: str) -> str:
        return name.replace("wide_", "")[:3]

    assert {family(name) for name in NAMES} == {family(name) for name in FAMILIES}


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


@pytest.mark.parametrize("num_channels", [1, 2, 3, 4, 7])
def test_sums_of_weights_stay(num_channels: int) -> None:
    weight = torch.rand(2, 1, 1, 1).expand(2, 3, 1, 1)
    fitted = fit_channels(weight, num_channels)
    assert fitted.shape == (2, num_channels, 1, 1)
    torch.testing.assert_close(fitted.sum(1), weight.sum(1))


@pytest.mark.parametrize(
    "network",
    [
        nn.Linear(3, 3),
        nn.Sequential(nn.Linear(3, 3), nn.Conv2d(3, 3, 1)),
        nn.Conv2d(4, 1, 1),
        nn.Conv2d(3, 3, 1, groups=3),
    ],
)
def test_networks_that_do_not_begin_with_a_convolution(network: nn.Module) -> None:
    with pytest.raises(ValueError, match="num_channels must be 3 for"):
        set_channels(network, 1)


@pytest.mark.parametrize(
    "name, input_size, step",
    [("vit_b_16", 24, 16), ("vit_h_14", 32, 14), ("maxvit_t", 96, 224)],
)
def test_sizes_that_cannot_be(name: str, input_size: int, step: int) -> None:
    with pytest.raises(ValueError, match=f"'{name}' .* multiple of {step}, got inp"):
        build_backbone(name, input_size=input_size)


def test_too_small_an_image_is_one_line() -> None:
    backbone = on_meta("inception_v3", 3, 32)
    with pytest.raises(ValueError, match=r"Inception3 cannot take .* 3 x 32") as caught:
        feature_dim(backbone, 3, 32)
    assert "\n" not in str(caught.value)


def test_a_backbone_must_return_features() -> None:
    class Pair(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x, x

    with pytest.raises(ValueError, match="backbone Pair returns a tuple"):
        feature_dim(Pair(), 3, 8)


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
    with pytest.raises(ValueError, match=rf"'{name}' is .* Did you mean .*\b{near}\b"):
        check_backbone(name)


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
        ("resnet18", 32, 512),
        ("resnet18.a1_in1k", 32, 512),
        ("vit_tiny_patch16_224", 32, 192),
        ("swin_tiny_patch4_window7_224", 64, 768),
        ("convnext_atto", 32, 320),
        ("efficientnet_b0", 32, 1280),
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


def test_timm_computes_what_feature_dim_says() -> None:
    pytest.importorskip("timm")
    backbone = build_backbone("timm/vit_tiny_patch16_224", 1, 32)
    assert backbone(torch.rand(2, 1, 32, 32)).shape == (2, 192)


@pytest.mark.parametrize("name", ["timm/", "timm/hf-hub:timm/resnet18", "timm/../x"])
def test_timm_loads_nothing_from_elsewhere(name: str) -> None:
    pytest.importorskip("timm")
    with pytest.raises(ValueError, match="is neither one of"):
        build_backbone(name)


def test_what_timm_refuses_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("no such size.\nNot at all.")

    monkeypatch.setattr(timm, "create_model", refuse)
    match = "'timm/resnet18' cannot be built for images of 1 x 9 x 9: no such size.$"
    with pytest.raises(ValueError, match=match):
        build_backbone("timm/resnet18", 1, 9)
