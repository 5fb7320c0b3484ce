"""HaDis on CIFAR-10, as the paper trains it.

    python recipes/cifar10.py                                     # downloads
    python recipes/cifar10.py data=npz data.path=cifar10.npz      # a copy of yours
    python recipes/cifar10.py data=folder data.path=cifar10/      # a folder of PNGs
    python recipes/cifar10.py method=cc      # or propos, byol, pici

All 60,000 images, train and test, are trained on and scored, as in the paper.

Hardware  one CUDA GPU; 600 PFLOP in all. We have not run it to the end yet: on a CPU
          only its first steps, which `trainer.max_steps=20 data.limit=2000` does.
Expected  NMI 86.9  ACC 93.0  ARI 86.2 (paper, Table II: 1000 epochs, one RTX 3090)
          ProPos 86.0 / 92.3 / 84.6, without PCL 78.5 / 86.0 / 73.9 (Tables II, III)
          CC 68.1 / 76.6 / 60.6 (Table II, re-run by the authors of HaDis)
"""

from hadis_lightly.cli.launcher import launch
from hadis_lightly.settings import DataSettings, Settings

# Every default of the settings is the paper's for CIFAR-10.
SETTINGS = Settings(n_clusters=10, data=DataSettings(source="cifar10"))

# NOTE: PICI's paper enlarges the images to 224 pixels, with patches of 16, three
# times as many; blurred, 32 pixels would leave nothing to see.
METHODS = {"pici": {"pici.patch_size": 4, "views.gaussian_blur": 0.0}}

if __name__ == "__main__":
    launch(SETTINGS, name="cifar10", description=__doc__, methods=METHODS)
