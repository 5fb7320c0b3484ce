"""Settings for all methods on a part of CIFAR-10, small enough for a CPU.

For ``compare.py --recipe small_cifar10``. They show that every method learns, not which
is best: 10,000 images, 24 x 24 views, four convolutions, minutes instead of hours.
"""

from __future__ import annotations

from hadis_lightly.settings import (
    ClusteringSettings,
    DataSettings,
    LoaderSettings,
    ModelSettings,
    OptimizerSettings,
    Settings,
    TrainerSettings,
    ViewSettings,
)

SETTINGS = Settings(
    n_clusters=10,
    data=DataSettings(source="npz"),
    loader=LoaderSettings(batch_size=128),
    views=ViewSettings(input_size=24, min_scale=0.2),
    model=ModelSettings(
        backbone="small_pooled_convnet",
        hidden_dim=512,
        output_dim=128,
        teacher_momentum=0.99,
    ),
    optimizer=OptimizerSettings(learning_rate=0.2, warmup_epochs=5),
    clustering=ClusteringSettings(
        warmup_epochs=10, whiten=True, every_n_epochs=5, pixel_baseline=True
    ),
    trainer=TrainerSettings(max_epochs=45, accelerator="cpu"),
)

METHODS = {
    "cc": {
        "loader.batch_size": 256,
        "optimizer.learning_rate": 1e-3,
        "trainer.max_epochs": 52,
    },
    "pici": {
        "loader.batch_size": 128,
        "pici.patch_size": 4,
        "pici.width": 64,
        "pici.depth": 3,
        "pici.num_heads": 4,
        "pici.decoder_width": 32,
        "pici.decoder_depth": 1,
        "pici.decoder_num_heads": 2,
        "optimizer.learning_rate": 1e-3,
        "optimizer.warmup_epochs": 3,
        "trainer.max_epochs": 45,
        "pici.pretraining_epochs": 8,
        "pici.interaction_epochs": 8,
        "views.cj_sat": 0.4,
        "views.gaussian_blur": 0.0,
        "views.solarization_prob": 0.0,
    },
}
