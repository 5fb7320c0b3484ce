"""``hadis-lightly-train``: clusters images without labels."""

from __future__ import annotations

from hadis_lightly.cli.launcher import launch
from hadis_lightly.settings.photos import BY_TRAINING, METHODS, SETTINGS

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
