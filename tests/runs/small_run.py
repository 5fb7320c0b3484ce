"""Settings of a run of a second or two."""

from __future__ import annotations

from pathlib import Path

from hadis_lightly.settings import (
    ClusteringSettings,
    DataSettings,
    LoaderSettings,
    ModelSettings,
    Settings,
    TrainerSettings,
    ViewSettings,
)


def small_settings(folder: Path, **data: object) -> Settings:
    """Two epochs on digits, with a network of a few thousand weights."""
    return Settings(
        output_dir=str(folder),
        data=DataSettings(**{"source": "digits", "limit": 200, **data}),  # type: ignore[arg-type]
        loader=LoaderSettings(batch_size=64, num_workers=0),
        views=ViewSettings(
            input_size=8,
            min_scale=0.6,
            cj_sat=0,
            cj_hue=0,
            random_gray_scale=0,
            mean=[0.3],
            std=[0.38],
        ),
        model=ModelSettings(backbone="small_convnet", hidden_dim=32, output_dim=16),
        clustering=ClusteringSettings(whiten=True, pixel_baseline=True),
        trainer=TrainerSettings(max_epochs=2, accelerator="cpu", progress_bar=False),
    )
