"""Every setting takes its default and what lies in its range, and nothing else."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from hadis_lightly.fields import field_infos
from hadis_lightly.methods.environment import check_machine
from hadis_lightly.settings import (
    ModelSettings,
    Settings,
    SettingsError,
    TrainerSettings,
)
from hadis_lightly.settings.help import describe_settings, meaning
from hadis_lightly.settings.validate import check_settings

INFOS = dict(field_infos(Settings()))


def with_value(name: str, value: Any) -> Settings:
    settings = Settings()
    section, _, last = name.rpartition(".")
    setattr(getattr(settings, section) if section else settings, last, value)
    return settings


def test_the_defaults_are_right_and_are_not_changed() -> None:
    settings = Settings()
    before = copy.deepcopy(settings)
    check_settings(settings)
    assert settings == before


@pytest.mark.parametrize("accelerator", ["mps", "gpu"])
def test_mps_takes_float32_only(
    monkeypatch: pytest.MonkeyPatch, accelerator: str
) -> None:
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    settings = with_value("trainer.accelerator", accelerator)
    for settings.trainer.precision in ("auto", "32-true"):
        check_machine(settings.trainer)
    for settings.trainer.precision in ("64-true", "bf16-mixed", "16-mixed"):
        with pytest.raises(SettingsError, match="Apple's MPS takes 32-true only"):
            check_machine(settings.trainer)


@pytest.mark.parametrize("name", INFOS)
def test_range_and_choices_of_every_setting(name: str) -> None:
    info = INFOS[name]
    is_list = isinstance(getattr(Settings().views, name[6:], None), list)
    refused: list[Any] = [object()]
    if info.low is not None:
        refused.append(info.low - 1)
    if info.above is not None:
        refused.append(info.above)
    if info.high is not None:
        refused.append(info.high + 1)
    if info.choices:
        refused.append("nonsense")
        for choice in set(info.choices) - {"gpu", "cuda", "mps", "wandb", "mlflow"}:
            chosen = with_value(name, choice)
            chosen.model.weights = "pretrained"  # which features need
            check_settings(chosen)
    for value in refused:
        with pytest.raises(SettingsError, match=f"^{name} "):
            check_settings(with_value(name, [value] if is_list else value))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("n_clusters", "many", "must be a number, auto or a range such as 5-20, got"),
        ("n_clusters", "20-5", "must be a number, auto or a range such as 5-20, got"),
        ("n_clusters", 1, "n_clusters must be >= 2, got 1"),
        ("seed", True, "seed must be an integer, got True"),
        ("model.pcl_weight", float("nan"), "must be a finite number, got nan"),
        ("loader.batch_size", 1, r"must be >= 2 \(BatchNorm needs two\), got 1"),
        ("loader.batch_size", 10**13, "must be at most 1e"),
        ("data", None, "data must be a section of settings, got None"),
        ("data.path", " ", "data.path must not be empty"),
        ("data.num_channels", 2, "data.num_channels must be 1 or 3, got 2"),
        ("views.mean", [0.5, 0.5], "views.mean and views.std must have one value per"),
        ("views.cj_strength", 10.0, r"views.cj_strength \* cj_hue must be <= 0.5"),
        ("model.backbone", "resnet19", "model.backbone"),
        ("model.train", "heads", "set model.weights=pretrained or model.weights=FILE"),
        ("trainer.max_steps", 0, "must be -1 or at least 1, got 0"),
        ("trainer.devices", "2,3", "must be auto or >= 1, got '2,3'"),
        ("output_dir", "a" * 300, "output_dir is .*: File name too long"),
    ],
)
def test_wrong_values_are_named(name: str, value: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        check_settings(with_value(name, value))


def test_pixels_are_features_without_weights() -> None:
    check_settings(Settings(model=ModelSettings(backbone="pixels", train="heads")))


@pytest.mark.parametrize("devices", [2, "2", "auto"])
def test_devices_are_a_number_or_auto(devices: int | str) -> None:
    check_settings(Settings(trainer=TrainerSettings(devices=devices)))


def test_results_do_not_go_below_a_file(tmp_path: Path) -> None:
    check_settings(with_value("output_dir", str(tmp_path / "a" / "b")))
    (tmp_path / "a").write_text("")
    with pytest.raises(SettingsError, match="a' is not a folder"):
        check_settings(with_value("output_dir", str(tmp_path / "a" / "b")))
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_help_has_a_line_and_a_meaning_for_every_setting() -> None:
    page = describe_settings(Settings())
    assert max(map(len, page.splitlines())) <= 88
    for name, info in INFOS.items():
        assert f"\n  {name}=" in f"\n{page}"
        assert meaning(info).endswith(".")
        assert all(choice in meaning(info) for choice in info.choices)
