"""``hadis-lightly-train``: clusters images without labels."""

from __future__ import annotations

from typing import Any

from omegaconf import MISSING

from hadis_lightly.cli.launcher import launch
from hadis_lightly.settings import (
    ClusteringSettings,
    DataSettings,
    ModelSettings,
    OptimizerSettings,
    Settings,
    TrainerSettings,
    ViewSettings,
)
from hadis_lightly.settings.views import IMAGENET_NORMALIZE

_DESCRIPTION = """
Clusters images without labels; the results go into a folder below runs/train/.

  hadis-lightly-train data.path=my_photos n_clusters=12
  hadis-lightly-report checkpoint=runs/train/...     # view the clusters
  hadis-lightly-predict checkpoint=runs/train/... data.path=new_photos

n_clusters has no default: give a number, or auto to have one chosen. Sub-folders of
the image folder are taken as classes, only for scores. A pretrained backbone
(model.backbone, model.weights) computes features of every image and of features.n_views
views of it; HaDis's heads then learn from these features, which are kept: another
n_clusters or seed takes seconds to start.

  model.train=nothing                       k-means on the features alone
  model.train=all                           trains the backbone as well, for hours
  model.train=all model.weights=null        the same from random weights

With model.train=all other defaults apply, of resnet18 and views of 64 pixels (see
docs/photos.md). The paper's, for CIFAR-10, are in recipes/cifar10.py."""

#: For photographs: heads on features. NOTE: ours; the paper trains from pixels.
SETTINGS = Settings(
    n_clusters=MISSING,
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
    # Whitening helps the embeddings of heads, but not features as they are.
    "nothing": {"clustering.whiten": False, "clustering.cosine_start": False},
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


def main() -> None:
    """Runs the command."""
    launch(
        SETTINGS,
        "train",
        _DESCRIPTION,
        program="hadis-lightly-train",
        methods=METHODS,
        by_training=BY_TRAINING,
    )


if __name__ == "__main__":
    main()
