"""HaDis on ImageNet-Dogs, as the paper trains it.

    python recipes/imagenet_dogs.py data.path=DIR         # DIR/train/n02085936/*.JPEG
    python recipes/imagenet_dogs.py data.path=DIR/train   # the same
    python recipes/imagenet_dogs.py data.path=DIR data.on_error=skip
    python recipes/imagenet_dogs.py data.path=DIR model.hsd_weight=0   # ProPos

Fifteen breeds are picked out of a folder of ImageNet, whatever else it holds. The
19,500 images of train alone are trained on and scored, as in the paper.

Hardware  one CUDA GPU, and cores to read photographs; 1,750 PFLOP in all. We have not
          run it to the end yet.
Expected  NMI 49.6  ACC 55.0  ARI 37.6 (paper, Table II: 1000 epochs, one RTX 3090)
          ProPos 45.9 / 47.4 / 33.8 (Table II)
          CC 40.1 / 34.2 / 22.5 (Table II, re-run by the authors of HaDis)
"""

from hadis_lightly.cli.launcher import launch
from hadis_lightly.settings import (
    DataSettings,
    LoaderSettings,
    Settings,
    ViewSettings,
)
from hadis_lightly.settings.views import IMAGENET_NORMALIZE

# The backbone is that of CIFAR-10, without a stem for large images: the authors'
# configuration has "bigresnet18" for 96 pixels, too.
SETTINGS = Settings(
    n_clusters=15,
    data=DataSettings(source="imagenet_dogs", decode_size=0),
    loader=LoaderSettings(batch_size=128),
    # NOTE: the authors squeeze a photograph to 96 x 96 before they cluster it; here its
    # central square is taken. See docs/datasets.md.
    views=ViewSettings(
        input_size=96,
        mean=IMAGENET_NORMALIZE["mean"],
        std=IMAGENET_NORMALIZE["std"],
    ),
)

# CC's paper blurs large images alone. NOTE: PICI's has views of 224 pixels, patches of
# 16 and 196 of them for an image; here there are 144.
METHODS = {"cc": {"views.gaussian_blur": 0.5}, "pici": {"pici.patch_size": 8}}

if __name__ == "__main__":
    launch(SETTINGS, name="imagenet_dogs", description=__doc__, methods=METHODS)
