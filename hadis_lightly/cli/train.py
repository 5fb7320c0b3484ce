"""``hadis-lightly-train``: clusters images without labels."""

from __future__ import annotations

from typing import Any

from omegaconf import MISSING

from hadis_lightly.cli.launcher import launch
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
from hadis_lightly.settings.views import IMAGENET_NORMALIZE

_DESCRIPTION = """
Clusters images without labels; the results go into a folder below runs/train/.

  hadis-lightly-train data.path=my_photos n_clusters=12
  hadis-lightly-report checkpoint=runs/train/...     # view the clusters
  hadis-lightly-predict checkpoint=runs/train/... data.path=new_photos

n_clusters has no default. Sub-folders of the image folder are taken as classes, only
for scores. Run time depends mainly on trainer.max_epochs, views.input_size and
model.backbone. Pretrained weights (model.weights=pretrained) help most with few images;
with model.freeze_backbone=true nothing is trained and k-means takes a minute or two.

The defaults are for a few hundred to some ten thousand photographs; the paper's, for
CIFAR-10, are in recipes/cifar10.py."""

#: For photographs. NOTE: ours; the paper has no such sets.
SETTINGS = Settings(
    n_clusters=MISSING,
    data=DataSettings(source="folder"),
    # Small batches, so that few images still make enough steps.
    loader=LoaderSettings(batch_size=64),
    views=ViewSettings(
        input_size=64,
        min_scale=0.2,
        mean=IMAGENET_NORMALIZE["mean"],
        std=IMAGENET_NORMALIZE["std"],
    ),
    model=ModelSettings(
        backbone="resnet18",
        hidden_dim=1024,
        output_dim=128,
        teacher_momentum=0.99,
    ),
    optimizer=OptimizerSettings(learning_rate=0.2),
    clustering=ClusteringSettings(whiten=True),
    trainer=TrainerSettings(max_epochs=60),
)

#: The same for the methods with a cluster head.
METHODS: dict[str, dict[str, Any]] = {
    "cc": {"loader.batch_size": 64},
    "pici": {
        "loader.batch_size": 64,
        "pici.patch_size": 8,
        "trainer.max_epochs": 60,
        "views.gaussian_blur": 0.0,
    },
}


def main() -> None:
    """Runs the command."""
    program = "hadis-lightly-train"
    launch(
        SETTINGS,
        "train",
        _DESCRIPTION,
        program=program,
        methods=METHODS,
        left_to_weights=("input_size", "mean", "std"),
    )


if __name__ == "__main__":
    main()
