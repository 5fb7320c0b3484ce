"""Runs of a second or two that train heads on features of a small backbone."""

from __future__ import annotations

from pathlib import Path

import torch

from hadis_lightly.methods import with_method
from hadis_lightly.models import build_backbone
from hadis_lightly.settings import (
    ClusteringSettings,
    DataSettings,
    FeatureSettings,
    LoaderSettings,
    ModelSettings,
    OptimizerSettings,
    Settings,
    TrainerSettings,
    ViewSettings,
)


def write_weights(folder: Path) -> Path:
    """Weights of a backbone of which nobody says where they come from."""
    torch.manual_seed(0)
    path = folder / "weights.pth"
    torch.save(build_backbone("small_convnet").state_dict(), path)
    return path


def heads_settings(
    folder: Path, data: DataSettings, weights: Path, method: str = "hadis"
) -> Settings:
    """Settings of a run below a folder."""
    settings = Settings(
        n_clusters=3,
        output_dir=str(folder / "run"),
        data=data,
        loader=LoaderSettings(batch_size=32, num_workers=0),
        views=ViewSettings(input_size=16, mean=[0.3] * 3, std=[0.4] * 3),
        model=ModelSettings(
            backbone="small_convnet",
            weights=str(weights),
            train="heads",
            hidden_dim=16,
            output_dim=8,
        ),
        features=FeatureSettings(
            n_views=4, n_components=16, n_neighbours=5, min_steps=4
        ),
        optimizer=OptimizerSettings(learning_rate=0.2),
        clustering=ClusteringSettings(
            n_init=2, warmup_epochs=1, whiten=True, merge=True
        ),
        trainer=TrainerSettings(
            max_epochs=3, accelerator="cpu", logger="none", progress_bar=False
        ),
    )
    own = {"loader.batch_size": 32, "trainer.max_epochs": 3}
    return with_method(settings, method, own)
