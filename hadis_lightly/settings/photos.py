"""The settings for photographs: what ``hadis-lightly-train`` and its estimator use."""

from __future__ import annotations

from typing import Any

from hadis_lightly.settings.images import DataSettings
from hadis_lightly.settings.networks import ModelSettings
from hadis_lightly.settings.sections import Settings
from hadis_lightly.settings.training import (
    ClusteringSettings,
    OptimizerSettings,
    TrainerSettings,
)
from hadis_lightly.settings.views import IMAGENET_NORMALIZE, ViewSettings

#: For photographs: heads on features. NOTE: ours; the paper trains from pixels.
SETTINGS = Settings(
    n_clusters="???",  # OmegaConf's sign that there is no default
    data=DataSettings(source="folder"),
    views=ViewSettings(min_scale=0.2),
    model=ModelSettings(
        backbone="efficientnet_b0",
        weights="pretrained",
        train="heads",
        hidden_dim=512,
        output_dim=128,
        teacher_momentum=0.99,
    ),
    optimizer=OptimizerSettings(learning_rate=0.2),
    clustering=ClusteringSettings(whiten=True, cosine_start=True, merge=True),
    trainer=TrainerSettings(max_epochs=30),
)

#: Where all is trained, NOTE: ours as well.
FROM_PIXELS: dict[str, Any] = {
    # Small batches, so that few images still make enough steps.
    "loader.batch_size": 64,
    "views.input_size": 64,
    "views.mean": IMAGENET_NORMALIZE["mean"],
    "views.std": IMAGENET_NORMALIZE["std"],
    "model.backbone": "resnet18",
    "model.hidden_dim": 1024,
    "clustering.cosine_start": False,
    "clustering.merge": False,
    "trainer.max_epochs": 60,
}

#: By model.train, where it is not heads.
BY_TRAINING: dict[str, dict[str, Any]] = {
    "all": FROM_PIXELS,
    # These help the embeddings of heads, but not features as they are.
    "nothing": {
        "clustering.whiten": False,
        "clustering.cosine_start": False,
        "clustering.merge": False,
    },
}

#: The same for the methods with a cluster head.
METHODS: dict[str, dict[str, Any]] = {
    "cc": {"loader.batch_size": 64},
    "pici": {
        "loader.batch_size": 64,
        "model.train": "all",
        "model.weights": None,
        "pici.patch_size": 8,
        "trainer.max_epochs": 60,
        "views.gaussian_blur": 0.0,
        "views.input_size": 64,
    },
}
