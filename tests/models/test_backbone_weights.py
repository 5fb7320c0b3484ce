"""Weights from the files that people have, and those that do not fit."""

from __future__ import annotations

import argparse
import copy
import os
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import torchvision
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from torch import Tensor, nn

from hadis_lightly.models import (
    build_backbone,
    load_backbone_weights,
    small_convnet,
    small_resnet18,
)
from hadis_lightly.models.weight_files import WeightFile


def resnet(name: str = "resnet18") -> nn.Module:
    """torchvision's, with statistics that are not those of a new one."""
    torch.manual_seed(1)
    network: nn.Module = torchvision.models.get_model(name)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, std=0.1)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
            part.num_batches_tracked += 5
    return network.eval()


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return resnet()


@torch.no_grad()
def features_of(network: nn.Module, x: Tensor) -> Tensor:
    """What a whole network of torchvision's gives its classifier."""
    headless = copy.deepcopy(network)
    headless.fc = nn.Identity()
    return headless(x).flatten(1)


@torch.no_grad()
def assert_computes(backbone: nn.Module, expected: nn.Module) -> None:
    x = torch.rand(2, 3, 33, 33)
    assert torch.equal(backbone.eval()(x).flatten(1), features_of(expected, x))


def saved(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


def test_torchvisions_file(network: nn.Module, tmp_path: Path) -> None:
    path = saved(network.state_dict(), tmp_path / "resnet18.pth")
    backbone = build_backbone("resnet18")
    assert load_backbone_weights(backbone, path) == "resnet18.pth: 120 of 122 tensors"
    assert_computes(backbone, network)
    assert backbone.get_submodule("bn1").num_batches_tracked == 5
    assert load_backbone_weights(build_backbone("resnet18"), str(path))


def prefixed(prefix: str, **others: Tensor) -> Callable[[dict[str, Tensor]], object]:
    def content(state: dict[str, Tensor]) -> object:
        return {"state_dict": {prefix + k: v for k, v in state.items()} | others}

    return content


@pytest.mark.parametrize(
    "content, prefix",
    [
        (lambda s: {"state_dict": s, "epoch": 3}, "state_dict."),
        (lambda s: {"model": s, "args": argparse.Namespace(lr=0.1)}, "model."),
        (prefixed("module.encoder_q."), "state_dict.module.encoder_q."),
        (prefixed("model.backbone.", w=torch.ones(2)), "state_dict.model.backbone."),
        (
            lambda s: {"optimizer": {"state": {0: {"m": torch.ones(1)}}}, "net": s},
            "net.",
        ),
    ],
)
def test_what_stands_before_the_names(
    content: Callable[[dict[str, Tensor]], object],
    prefix: str,
    network: nn.Module,
    tmp_path: Path,
) -> None:
    path = saved(content(dict(network.state_dict())), tmp_path / "a.pth")
    backbone = build_backbone("resnet18")
    loaded = load_backbone_weights(backbone, path)
    assert loaded.startswith("a.pth: 120 of 12")
    assert loaded.endswith(f"(prefix {prefix!r})")
    assert_computes(backbone, network)


def test_a_teacher_comes_before_its_student(tmp_path: Path) -> None:
    teacher, student = small_convnet(), small_convnet()
    for names in (("student", "teacher"), ("student_backbone", "teacher_backbone")):
        states = (student.state_dict(), teacher.state_dict())
        path = saved(dict(zip(names, states, strict=True)), tmp_path / "a.pth")
        backbone = small_convnet()
        assert f"'{names[1]}.'" in load_backbone_weights(backbone, path)
        assert torch.equal(backbone[0].weight, teacher[0].weight)


def test_children_by_number_as_lightly_builds_them(
    network: nn.Module, tmp_path: Path
) -> None:
    lightlys = nn.Sequential(*list(network.children())[:-1])
    path = saved(lightlys.state_dict(), tmp_path / "a.pth")
    backbone = build_backbone("resnet18")
    assert load_backbone_weights(backbone, path) == "a.pth: 120 of 120 tensors"
    assert_computes(backbone, network)


class SimCLR(pl.LightningModule):
    """As in lightly's examples."""

    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters({"lr": 0.06})
        resnet = torchvision.models.resnet18()
        self.backbone = nn.Sequential(*list(resnet.children())[:-1])
        self.projection_head = SimCLRProjectionHead(512, 16, 8)
        self.criterion = NTXentLoss()

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x0, x1 = (
            self.projection_head(self.backbone(x).flatten(start_dim=1)) for x in batch
        )
        loss: Tensor = self.criterion(x0, x1)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.06, momentum=0.9)


@pytest.mark.filterwarnings(
    "ignore:.*does not have many workers",
    "ignore:The number of training batches",
)
def test_a_checkpoint_of_lightly(tmp_path: Path) -> None:
    module = SimCLR()
    images = torch.utils.data.TensorDataset(*torch.rand(2, 4, 3, 32, 32))
    trainer = pl.Trainer(
        max_steps=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, torch.utils.data.DataLoader(images, batch_size=4))
    path = tmp_path / "simclr.ckpt"
    trainer.save_checkpoint(path)
    backbone = build_backbone("resnet18")
    loaded = load_backbone_weights(backbone, path)
    assert loaded.startswith("simclr.ckpt: 120 of ")
    assert loaded.endswith("(prefix 'state_dict.backbone.')")
    x = torch.rand(2, 3, 33, 33)
    with torch.no_grad():
        expected = module.backbone.eval()(x).flatten(1)
        assert torch.equal(backbone.eval()(x), expected)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize(
    "name, size", [("resnet18", 32), ("vit_tiny_patch16_224", 224)]
)
@torch.no_grad()
def test_timms_files(name: str, size: int, suffix: str, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    theirs = timm.create_model(name).eval()
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save(theirs.state_dict(), path)
    else:
        safetensors = pytest.importorskip("safetensors.torch")
        safetensors.save_file(theirs.state_dict(), path)
    backbone = build_backbone(f"timm/{name}", 3, size)
    n = len(theirs.state_dict())
    loaded = load_backbone_weights(backbone, path)
    assert loaded == f"weights.{suffix}: {n - 2} of {n} tensors"
    x = torch.rand(1, 3, size, size)
    expected = theirs.forward_head(theirs.forward_features(x), pre_logits=True)
    torch.testing.assert_close(backbone.eval()(x), expected)


@pytest.mark.parametrize(
    "name, pattern, old",
    [
        ("densenet121", r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2."),
        ("vit_b_16", r"mlp\.0\.", "mlp.linear_1."),
        ("vit_b_16", r"mlp\.3\.", "mlp.linear_2."),
    ],
)
def test_names_that_torchvision_has_changed(
    name: str, pattern: str, old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files have them still."""
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name).state_dict()
        backbone = build_backbone(name)
    state = {re.sub(pattern, old, k): torch.zeros(()).expand(v.shape)
             for k, v in theirs.items()}  # fmt: skip
    assert state.keys() != theirs.keys()
    monkeypatch.setattr(
        "hadis_lightly.models.backbone_weights.read_weights",
        lambda path: WeightFile(path, {"": state}, None, {}),
    )
    n = len(theirs)
    assert load_backbone_weights(backbone, "a") == f"a: {n - 2} of {n} tensors"


@torch.no_grad()
def test_colours_are_summed_for_grey_images(network: nn.Module, tmp_path: Path) -> None:
    path = saved(network.state_dict(), tmp_path / "a.pth")
    backbone = build_backbone("resnet18", num_channels=1)
    load_backbone_weights(backbone, path)
    x = torch.rand(2, 1, 33, 33)
    expected = features_of(network, x.expand(2, 3, 33, 33))
    torch.testing.assert_close(backbone.eval()(x), expected, rtol=1e-3, atol=1e-4)


def refused(backbone: nn.Module, path: Path) -> str:
    """The error; the backbone is as it was."""
    before = copy.deepcopy(backbone.state_dict())
    with pytest.raises(ValueError) as caught:
        load_backbone_weights(backbone, path)
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, before[name]), name
    message = str(caught.value)
    assert "\n" not in message and repr(str(path)) in message and message[-1] == "."
    return message


def test_a_large_stem_for_a_small_network(network: nn.Module, tmp_path: Path) -> None:
    path = saved(network.state_dict(), tmp_path / "a.pth")
    assert (
        "1 differ in shape: conv1.weight is 64 x 3 x 7 x 7, here 64 x 3 x 3 x 3. The "
        "file's network begins with a 7 x 7 convolution, for large images: choose such "
        "a backbone, resnet18 in place of small_resnet18."
    ) in refused(small_resnet18(), path)


@pytest.mark.parametrize(
    ("theirs", "ours", "said"),
    [
        ("resnet34", "resnet18", "96 belong to layers that this network lacks: layer1"),
        ("resnet18", "resnet34", "are missing: layer1.2.conv1.weight, "),
        ("resnet18", "resnet50", "differ in shape: layer1.0.conv1.weight is 64 x 64 x"),
        ("resnet18", "mobilenet_v3_small", "It is of another architecture."),
    ],
)
def test_other_architectures(theirs: str, ours: str, said: str, tmp_path: Path) -> None:
    """A ResNet-34 has all that a ResNet-18 needs, and is refused all the same."""
    state = torchvision.models.get_model(theirs).state_dict()
    path = saved(state, tmp_path / "a.pth")
    assert said in refused(build_backbone(ours), path)


class Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("made_by_the_pickle",)


def test_files_that_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.pth"
    assert "there is no file" in refused(small_convnet(), path)
    path.write_bytes(b"<!DOCTYPE html>")
    assert "cannot be read: it is text" in refused(small_convnet(), path)
    saved({"epoch": 3}, path)
    assert "got a dict without tensors" in refused(small_convnet(), path)
    saved({"state_dict": small_convnet().state_dict(), "x": Code()}, path)
    assert "loading that could run code" in refused(small_convnet(), path)
    assert not Path("made_by_the_pickle").exists()
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    path.write_bytes(bytes([2, *bytes(7)]) + b"{}")
    assert "pip install safetensors" in refused(small_convnet(), path)


def whole_files(folder: Path) -> dict[str, bytes]:
    """The same weights as each kind of file that is read, by its beginning."""
    safetensors = pytest.importorskip("safetensors.torch")
    state = small_convnet().state_dict()
    torch.save(state, folder / "zip")
    torch.save(state, folder / "old", _use_new_zipfile_serialization=False)
    safetensors.save_file(state, folder / "safetensors")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.filterwarnings("error")
def test_files_that_have_no_weights_are_called_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a"
    plain_pickle = pickle.dumps({"w": [1.0]})
    wrong = [
        (b"", "it is empty, expected a file of torch.save or safetensors."),
        (b"echo hello\n", "it is text, expected"),
        ("learning_rate: 3  # Größe".encode(), "it is text, expected"),
        (plain_pickle, "it is a pickle of another kind, expected"),
        (pickle.dumps({"w": 1}, protocol=2), "it is a pickle of another kind"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "it is of an unknown kind"),
        (bytes(5000), "it is of an unknown kind"),
    ]
    (tmp_path / "whole").mkdir()
    for whole in whole_files(tmp_path / "whole").values():
        wrong += [(whole[:size], "it is damaged or cut off.") for size in (-1, 3000)]
    for suffix in (".pth", ".safetensors"):
        for content, said in wrong:
            path = path.with_suffix(suffix)
            path.write_bytes(content)
            assert f"cannot be read: {said}" in refused(small_convnet(), path)


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = saved(small_convnet().state_dict(), tmp_path / "a.pth")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert "it is damaged or cut off." in refused(small_convnet(), path)


def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    for content in whole_files(tmp_path / "whole").values():
        for name in ("a.pth", "a.safetensors", "a"):
            (tmp_path / name).write_bytes(content)
            loaded = load_backbone_weights(small_convnet(), tmp_path / name)
            assert loaded == f"{name}: 24 of 24 tensors"


def test_the_folder_of_a_run(tmp_path: Path) -> None:
    assert "it has no checkpoint" in refused(small_convnet(), tmp_path)
    inner = tmp_path / "checkpoints"
    inner.mkdir()
    settings = {"settings": {"model": {"backbone": "small_convnet"}}}
    content = {"hadis_lightly": settings, "state_dict": small_convnet().state_dict()}
    saved(content, inner / "previous.ckpt")
    last = saved(content, inner / "last.ckpt")
    for folder in (tmp_path, inner):
        loaded = load_backbone_weights(small_convnet(), folder)
        assert loaded.startswith("last.ckpt: 24 of 24 tensors")
    with pytest.raises(ValueError, match="is a file of small_convnet and does not fit"):
        load_backbone_weights(small_resnet18(), tmp_path, "small_resnet18")
    last.write_bytes(last.read_bytes()[:-1])
    loaded = load_backbone_weights(small_convnet(), tmp_path)
    assert loaded.startswith("previous.ckpt: 24 of 24 tensors")


def test_both_backbones_are_named(tmp_path: Path) -> None:
    state = torchvision.models.resnet34().state_dict()
    path = saved(state, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="file of resnet34 and does not fit resnet18 "):
        load_backbone_weights(build_backbone("resnet18"), path, "resnet18")


def test_torchvisions_weights_as_safetensors(
    network: nn.Module, tmp_path: Path
) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    path = tmp_path / "resnet18.safetensors"
    safetensors.save_file(network.state_dict(), path)
    backbone = build_backbone("resnet18")
    loaded = load_backbone_weights(backbone, path)
    assert loaded == "resnet18.safetensors: 120 of 122 tensors"
    assert_computes(backbone, network)
