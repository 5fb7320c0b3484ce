"""``hadis-lightly-train``: clusters images without labels."""

from __future__ import annotations

from typing import Any

from lightly.transforms.utils import IMAGENET_NORMALIZE

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

_DESCRIPTION = """
Finds clusters in images without labels, and leaves them in a folder below runs/train/.

  hadis-lightly-train data=folder data.path=my_photos n_clusters=12
  hadis-lightly-report checkpoint=runs/train/...     # to look at them
  hadis-lightly-predict checkpoint=runs/train/... data.path=new_photos

Sub-folders of the folder are taken for classes and used for scores alone. What decides
on the time it takes: trainer.max_epochs, views.input_size and model.backbone. Weights
to start from (model.weights) help above all where there are few images; with
model.freeze_backbone=true nothing is trained and k-means alone takes a minute or two.

The defaults here are ours, for photographs of some hundreds to some ten thousands; the
paper's, for CIFAR-10, are those of recipes/cifar10.py."""

#: For photographs of one's own. NOTE: ours; the paper has none for such sets.
SETTINGS = Settings(
    n_clusters=10,
    data=DataSettings(source="folder"),
    # Small batches: few images would otherwise be few steps.
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
    optimizer=OptimizerSettings(learning_rate=0.2, warmup_epochs=5),
    clustering=ClusteringSettings(warmup_epochs=10, whiten=True),
    trainer=TrainerSettings(max_epochs=60),
)


#: The same for the methods that have a cluster head.
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
    from hadis_lightly.cli.launcher import launch

    launch(
        SETTINGS,
        name="train",
        description=_DESCRIPTION,
        program="hadis-lightly-train",
        methods=METHODS,
    )


if __name__ == "__main__":
    main()
