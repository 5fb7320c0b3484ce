"""Weights from files: as people have them, wrong ones, damaged ones, code."""

from __future__ import annotations

import argparse
import copy
import os
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torchvision
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from torch import Tensor, nn

from hadis_lightly.methods.registry import build_model
from hadis_lightly.models import (
    build_backbone,
    load_backbone_weights,
    small_convnet,
    small_resnet18,
)
from hadis_lightly.runs import run
from hadis_lightly.runs.source import build_source
from hadis_lightly.settings import (
    ClusteringSettings,
    DataSettings,
    LoaderSettings,
    ModelSettings,
    OptimizerSettings,
    Settings,
    SettingsError,
    TrainerSettings,
    ViewSettings,
)


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
        (lambda s: {"model": {"net": s}}, "model.net."),
        (prefixed("backbone."), "state_dict.backbone."),
        (prefixed("module.encoder_q."), "state_dict.module.encoder_q."),
        (prefixed("model.backbone.", w=torch.ones(2)), "state_dict.model.backbone."),
        (prefixed("_orig_mod."), "state_dict._orig_mod."),
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


def test_of_two_networks_the_one_that_fits(network: nn.Module, tmp_path: Path) -> None:
    other = torchvision.models.resnext50_32x4d()
    states = {"teacher": other.state_dict(), "student": network.state_dict()}
    backbone = build_backbone("resnet18")
    loaded = load_backbone_weights(backbone, saved(states, tmp_path / "a.pth"))
    assert "'student.'" in loaded
    assert_computes(backbone, network)


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
    "name, size",
    [("resnet18", 32), ("vit_tiny_patch16_224", 224), ("convnext_atto", 32)],
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


def test_timms_resnet_is_torchvisions(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("resnet18")
    path = saved(theirs.state_dict(), tmp_path / "a.pth")
    backbone = build_backbone("resnet18")
    assert load_backbone_weights(backbone, path)
    assert_computes(backbone, theirs.eval())


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
        "hadis_lightly.models.backbone_weights.read_tables", lambda path: {"": state}
    )
    n = len(theirs)
    assert load_backbone_weights(backbone, "a") == f"a: {n - 2} of {n} tensors"


@pytest.mark.parametrize("name", ["vgg11", "alexnet", "mobilenet_v3_small", "maxvit_t"])
def test_classifiers_of_several_layers(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was taken off lies beside layers that the backbone keeps."""
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name).state_dict()
        backbone = build_backbone(name)
    state = {k: torch.zeros(()).expand(v.shape) for k, v in theirs.items()}
    monkeypatch.setattr(
        "hadis_lightly.models.backbone_weights.read_tables", lambda path: {"": state}
    )
    assert f" of {len(theirs)} tensors" in load_backbone_weights(backbone, "a")


def tiny_settings(folder: Path, **model: Any) -> Settings:
    return Settings(
        output_dir=str(folder),
        data=DataSettings(source="digits", limit=100),
        loader=LoaderSettings(batch_size=50, num_workers=0),
        views=ViewSettings(
            input_size=8, cj_sat=0, cj_hue=0, random_gray_scale=0, mean=[0.3], std=[0.4]
        ),
        model=ModelSettings(
            **{"backbone": "small_convnet", "hidden_dim": 16, "output_dim": 8} | model
        ),
        optimizer=OptimizerSettings(warmup_epochs=0),
        clustering=ClusteringSettings(warmup_epochs=0, n_init=1),
        trainer=TrainerSettings(max_epochs=1, accelerator="cpu", progress_bar=False),
    )


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "first"
    return run(tiny_settings(folder)).output_dir / "checkpoints" / "last.ckpt"


def test_a_checkpoint_of_ours(checkpoint: Path) -> None:
    backbone = small_convnet(num_channels=1)
    loaded = load_backbone_weights(backbone, checkpoint)
    assert loaded.endswith("(prefix 'state_dict.model.teacher.module.backbone.')")
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    student = state["model.student.backbone.0.weight"]
    assert torch.equal(
        backbone[0].weight, state["model.teacher.module.backbone.0.weight"]
    )
    assert not torch.equal(backbone[0].weight, student)


def test_a_run_that_starts_from_one(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tiny_settings(tmp_path / "run", weights=str(checkpoint))
    model = build_model(settings, build_source(settings).num_channels)
    assert "backbone starts from last.ckpt: 24 of " in capsys.readouterr().out
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    for network in (model.student, model.teacher.module):
        for name, value in network.get_submodule("backbone").state_dict().items():
            assert torch.equal(value, state[f"model.teacher.module.backbone.{name}"])


def test_a_checkpoint_to_go_on_from_has_the_weights(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path / "run", weights="nowhere.pth")
    settings.trainer.resume = str(tmp_path)
    build_model(settings, build_source(settings).num_channels)


@pytest.mark.slow  # two runs with all their figures
def test_a_run_is_resumed_without_the_file(checkpoint: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.ckpt"
    weights.write_bytes(checkpoint.read_bytes())
    first = run(tiny_settings(tmp_path / "first", weights=str(weights)))
    weights.unlink()
    settings = tiny_settings(tmp_path / "second", weights=str(weights))
    settings.trainer.resume = str(first.output_dir)
    assert run(settings).num_resumed == 1


@pytest.mark.parametrize("weights", ["nowhere.pth", "damaged.pth"])
def test_weights_that_a_run_cannot_have(weights: str, tmp_path: Path) -> None:
    (tmp_path / "damaged.pth").write_bytes(b"\0" * 99)
    settings = tiny_settings(tmp_path / "run", weights=str(tmp_path / weights))
    with pytest.raises(SettingsError, match=rf"^model.weights: .*{weights}") as caught:
        run(settings)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@torch.no_grad()
def test_colours_are_summed_for_grey_images(network: nn.Module, tmp_path: Path) -> None:
    path = saved(network.state_dict(), tmp_path / "a.pth")
    backbone = build_backbone("resnet18", num_channels=1)
    load_backbone_weights(backbone, path)
    x = torch.rand(2, 1, 33, 33)
    expected = features_of(network, x.expand(2, 3, 33, 33))
    torch.testing.assert_close(backbone.eval()(x), expected, rtol=1e-3, atol=1e-4)


def test_batches_need_not_be_counted(tmp_path: Path) -> None:
    state = small_convnet().state_dict()
    state = {k: v for k, v in state.items() if "num_batches" not in k}
    path = saved(state, tmp_path / "a.pth")
    loaded = load_backbone_weights(small_convnet(), path)
    assert loaded == "a.pth: 20 of 20 tensors"


def test_half_precision_becomes_the_backbones(tmp_path: Path) -> None:
    theirs = small_convnet().half()
    backbone = small_convnet()
    load_backbone_weights(backbone, saved(theirs.state_dict(), tmp_path / "a.pth"))
    assert backbone[0].weight.dtype == torch.float32
    assert torch.equal(backbone[0].weight, theirs[0].weight.float())


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


def test_a_deeper_network_is_not_taken_for_its_beginning(tmp_path: Path) -> None:
    """A ResNet-34 has all that a ResNet-18 needs."""
    theirs = torchvision.models.resnet34()
    backbone = build_backbone("resnet18")
    for state, name in (
        (theirs.state_dict(), "layer1.2.conv1.weight"),
        (nn.Sequential(*list(theirs.children())[:-1]).state_dict(), "4.2.conv1.weight"),
    ):
        path = saved(state, tmp_path / "a.pth")
        match = f"it has 96 more in the same parts: {name}, "
        assert match in refused(backbone, path)


@pytest.mark.parametrize(
    "name, said",
    [
        ("resnet34", "missing: layer1.2.conv1.weight, "),
        ("resnet50", "differ in shape: layer1.0.conv1.weight is 64 x 64 x 3 x 3, here"),
        ("mobilenet_v3_small", "It is of another architecture."),
    ],
)
def test_other_architectures(
    name: str, said: str, network: nn.Module, tmp_path: Path
) -> None:
    path = saved(network.state_dict(), tmp_path / "a.pth")
    assert said in refused(build_backbone(name), path)


def test_nothing_that_is_known(tmp_path: Path) -> None:
    path = saved({"a": torch.ones(2)}, tmp_path / "a.pth")
    message = refused(build_backbone("resnet18"), path)
    assert "no weights of this ResNet: none of conv1.weight, bn1.weight" in message


def test_grey_weights_for_colours(tmp_path: Path) -> None:
    path = saved(small_convnet(1).state_dict(), tmp_path / "a.pth")
    assert "another number of channels" in refused(small_convnet(3), path)


def test_images_of_another_size(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    name = "timm/vit_tiny_patch16_224"
    path = saved(build_backbone(name).state_dict(), tmp_path / "a.pth")
    assert "images of another size" in refused(build_backbone(name, 3, 64), path)


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    state = small_convnet().state_dict()
    state["3.weight"][0] = torch.nan
    path = saved(state, tmp_path / "a.pth")
    assert "3.weight is not finite" in refused(small_convnet(), path)


@pytest.mark.parametrize(
    "content, said",
    [
        ({}, "empty dict"),
        ({"epoch": 3}, "dict without tensors"),
        ([torch.ones(2)], "list"),
        (torch.ones(2), "Tensor"),
        (None, "NoneType"),
        ({0: torch.ones(2)}, "dict without tensors"),
    ],
)
def test_files_without_weights(content: object, said: str, tmp_path: Path) -> None:
    path = saved(content, tmp_path / "a.pth")
    message = refused(small_convnet(), path)
    assert message.endswith(f"but holds this: {said}.")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.9, 0.999])
def test_files_that_end_early(share: float, legacy: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save(
        small_convnet().state_dict(), path, _use_new_zipfile_serialization=not legacy
    )
    load_backbone_weights(small_convnet(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    message = refused(small_convnet(), path)
    # A name that is cut short is another one, which is refused.
    assert "cannot be read: " in message or "was not loaded" in message


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize(
    "content", [b"<!DOCTYPE html>", b"\x80\x04garbage", b"\xff" * 99]
)
def test_files_of_something_else(content: bytes, suffix: str, tmp_path: Path) -> None:
    if suffix == "safetensors":
        pytest.importorskip("safetensors")
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    assert "cannot be read: " in refused(small_convnet(), path)


def test_a_bit_that_has_changed(tmp_path: Path) -> None:
    path = saved(small_convnet().state_dict(), tmp_path / "a.pth")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "damaged" in refused(small_convnet(), path)


class Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("made_by_the_pickle",)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_is_refused(
    legacy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.pth"
    content = {"state_dict": small_convnet().state_dict(), "x": Code()}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    assert "can run anybody's code" in refused(small_convnet(), path)
    path.write_bytes(pickle.dumps(Code()))
    refused(small_convnet(), path)
    assert not Path("made_by_the_pickle").exists()


def test_a_whole_network_is_refused(tmp_path: Path) -> None:
    path = saved(small_convnet(), tmp_path / "a.pth")
    assert "save model.state_dict() alone" in refused(small_convnet(), path)


@pytest.mark.parametrize("name", ["", "nowhere.pth", ".", "a" * 999, "a/b.pth"])
def test_no_such_file(name: str, tmp_path: Path) -> None:
    assert "there is no file" in refused(small_convnet(), tmp_path / name)


def test_without_safetensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    path = tmp_path / "a.safetensors"
    path.touch()
    assert "pip install safetensors" in refused(small_convnet(), path)


@pytest.mark.parametrize("path", [None, 3, b"a.pth"])
def test_wrong_paths(path: Any) -> None:
    with pytest.raises(TypeError, match="path must be that of a file, got"):
        load_backbone_weights(small_convnet(), path)
    with pytest.raises(TypeError, match=r"backbone must be a torch.nn.Module"):
        load_backbone_weights({}, "a.pth")  # type: ignore[arg-type]
