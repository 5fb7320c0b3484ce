"""HaDis on STL-10, as the paper trains it.

    python recipes/stl10.py                                     # downloads 2.6 GB
    python recipes/stl10.py data.path=DIR data.download=false   # a copy of yours
    python recipes/stl10.py data.unlabelled=true                # 100,000 images more
    python recipes/stl10.py method=cc      # or propos, byol, pici

The 13,000 labelled images, train and test, are trained on and scored. The paper's text
says that the unlabelled images were used as well; the authors' configuration has the
labelled ones alone, and so has this recipe.

Hardware  one CUDA GPU; 1,170 PFLOP in all, nine times as many for an image as CIFAR-10.
          We have not run it to the end yet.
Expected  NMI 69.6  ACC 73.9  ARI 62.3 (paper, Table II: 1000 epochs, one RTX 3090)
          ProPos 68.7 / 73.1 / 61.4 (Table II)
          CC 67.4 / 74.7 / 60.6 (Table II, re-run by the authors of HaDis)
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
    n_clusters=10,
    data=DataSettings(source="stl10"),
    loader=LoaderSettings(batch_size=128),
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
    launch(SETTINGS, name="stl10", description=__doc__, methods=METHODS)
