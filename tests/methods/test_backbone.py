"""The backbone that the settings name, with weights from a file or an earlier run."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from hadis_lightly.artifacts.checkpoint import load_checkpoint
from hadis_lightly.methods.backbone import resolve_views
from hadis_lightly.methods.registry import build_model
from hadis_lightly.models import load_backbone_weights, small_convnet
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
from hadis_lightly.settings.views import CIFAR10_NORMALIZE, IMAGENET_NORMALIZE


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


def test_views_are_described_by_the_weights_unless_they_are_set() -> None:
    settings = Settings(
        views=ViewSettings(input_size=96, std=[1.0, 1.0, 1.0]),
        model=ModelSettings(backbone="convnext_tiny", weights="pretrained"),
    )
    resolve_views(settings)
    views = settings.views
    assert (views.input_size, views.std) == (96, [1.0, 1.0, 1.0])
    assert views.mean == [0.485, 0.456, 0.406]
    assert views.plain_crop == pytest.approx(224 / 236)
    assert views.plain_interpolation == "bilinear"
    resolve_views(settings, ["input_size"])
    assert views.input_size == 224
    settings = Settings()
    resolve_views(settings, ["input_size"])
    assert settings.views == ViewSettings(32, **CIFAR10_NORMALIZE)


@pytest.mark.parametrize(
    ("backbone", "size"), [("vit_h_14", 518), ("small_convnet", 32)]
)
def test_views_for_a_file_that_nobody_describes(backbone: str, size: int) -> None:
    """As the backbone's published weights want them, where there are any."""
    choice = ModelSettings(backbone=backbone, weights="mine.pth", train="heads")
    settings = Settings(model=choice)
    resolve_views(settings)
    is_own = backbone == "small_convnet"
    expected = CIFAR10_NORMALIZE if is_own else IMAGENET_NORMALIZE
    assert settings.views == ViewSettings(size, **expected)
    settings = Settings(views=ViewSettings(48), model=choice)
    resolve_views(settings)
    assert settings.views.input_size == 48


def test_a_network_that_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    choice = {"backbone": "shufflenet_v2_x0_5", "weights": "pretrained"}
    settings = tiny_settings(tmp_path / "run", train="heads", **choice)
    # Said before files are read, which takes long where there are many.
    (tmp_path / "images").mkdir()
    for number in range(60):
        (tmp_path / "images" / f"{number}.png").write_bytes(b"none of these is one")
    settings.data = DataSettings(source="folder", path=str(tmp_path / "images"))
    settings.views.mean = settings.views.std = [0.5] * 3
    with pytest.raises(SettingsError, match=r"fetch https:.* and put it at ") as caught:
        run(settings)
    said = str(caught.value)
    assert said.endswith(" Without weights: model.train=all model.weights=null.")
    assert str(tmp_path / "home") in said and "\n" not in said
    assert not (tmp_path / "run").exists()


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of weights where torch.hub keeps those of torchvision."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    url = torchvision.models.ShuffleNet_V2_X0_5_Weights.DEFAULT.url
    file = tmp_path / "home" / "hub" / "checkpoints" / url.rpartition("/")[2]
    file.parent.mkdir(parents=True)
    torch.save(torchvision.models.shufflenet_v2_x0_5().state_dict(), file)
    return file


def test_a_run_from_published_weights(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tiny_settings(
        tmp_path / "run",
        backbone="shufflenet_v2_x0_5",
        weights="pretrained",
        train="nothing",
    )
    settings.views = ViewSettings(input_size=32)  # in place of 224
    result = run(settings)
    assert "(ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1, from https:" in (
        capsys.readouterr().out
    )
    checkpoint = load_checkpoint(result.output_dir)
    views = checkpoint.settings.views
    assert (views.input_size, views.mean, views.plain_crop) == (32, [0.449], 0.875)
    stored = json.loads((result.output_dir / "results.json").read_text())
    assert stored["weights"] == result.weights == checkpoint.stamp["weights"]
    assert stored["weights"]["name"].endswith(".IMAGENET1K_V1")
    assert len(stored["weights"]["sha256"]) == 64
    assert asdict(views) == stored["settings"]["views"]
