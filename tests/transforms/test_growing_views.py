"""Views that are small in the first half of a training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from hadis_lightly.models import build_backbone
from hadis_lightly.runs import runner
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
from hadis_lightly.transforms import BatchedViews


def settings_of(folder: Path, pipeline: str) -> Settings:
    return Settings(
        output_dir=str(folder),
        quiet=True,
        data=DataSettings(source="digits", limit=100, pipeline=pipeline),
        loader=LoaderSettings(batch_size=50, num_workers=0),
        views=ViewSettings(
            input_size=16,
            n_local_views=1,
            initial_size=12,
            mean=[0.3],
            std=[0.4],
        ),
        model=ModelSettings(
            backbone="small_pooled_convnet", hidden_dim=16, output_dim=8
        ),
        optimizer=OptimizerSettings(warmup_epochs=0),
        clustering=ClusteringSettings(warmup_epochs=0, n_init=1),
        trainer=TrainerSettings(max_epochs=3, accelerator="cpu", progress_bar=False),
    )


@pytest.mark.parametrize("pipeline", ["device", "workers"])
def test_views_of_a_run_grow_after_half_of_its_epochs(
    tmp_path: Path, pipeline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def watched(name: str, num_channels: int, input_size: int) -> nn.Module:
        backbone = build_backbone(name, num_channels, input_size)

        def note(module: nn.Module, inputs: tuple[torch.Tensor]) -> None:
            if torch.is_grad_enabled():  # the student
                seen.append(inputs[0].shape[-1])

        backbone.register_forward_pre_hook(note)
        return backbone

    monkeypatch.setattr("hadis_lightly.methods.backbone.build_backbone", watched)

    runner.run(settings_of(tmp_path / "run", pipeline))

    # Two steps of three views in each of three epochs.
    assert seen == [12, 12, 6] * 4 + [16, 16, 8] * 2


def test_a_loader_that_makes_the_views_is_refused(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "run", "lightly")
    with pytest.raises(SettingsError, match=r"^views.initial_size needs data.pipe"):
        runner.run(settings)


def test_an_initial_size_above_that_of_the_views_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^initial_size must be at most .* 32, got"):
        BatchedViews(32).grow_from(33, epochs=1)
    with pytest.raises(ValueError, match=r"^views.initial_size must be <= .*=16, got"):
        ViewSettings(input_size=16, initial_size=17).check("views.")


def test_local_views_larger_than_the_others_are_refused() -> None:
    settings = ViewSettings(input_size=16, n_local_views=1, local_crop_size=17)
    with pytest.raises(ValueError, match=r"^views.local_crop_size must be <= .*=16"):
        settings.check("views.")
