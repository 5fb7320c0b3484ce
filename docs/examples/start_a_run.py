"""hadis-lightly-train data.path=... n_clusters=..., in Python."""

import copy
import sys

from hadis_lightly.runs import run
from hadis_lightly.settings.photos import SETTINGS


def main(folder, n_clusters, change=lambda settings: None):
    settings = copy.deepcopy(SETTINGS)
    settings.data.path = folder
    settings.n_clusters = n_clusters
    change(settings)  # any other setting, by its name: settings.trainer.max_epochs = 50

    result = run(settings)
    print(result.output_dir, result.scores)
    return result


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))  # my_photos 12
