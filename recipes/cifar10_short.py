"""HaDis on CIFAR-10 in a fifth of the paper's epochs, for about half an hour of a GPU.

    python recipes/cifar10_short.py
    python recipes/cifar10_short.py trainer.max_epochs=100 optimizer.warmup_epochs=5

What differs from `recipes/cifar10.py`: 200 epochs; a warm-up of as large a share of
them; a teacher that follows the student faster and stands still at the end (0.99 to 1,
which BYOL's code and lightly's benchmark have for 100 epochs, in place of 0.996);
pseudo-labels after a tenth of the epochs, since early ones are mostly wrong.

Hardware  one GPU of the H100 class. 120 PFLOP, which are 8 minutes at a third of an
          H100's bfloat16 rate, 25 at a tenth.
Expected  not known: it has not run on a GPU yet, `benchmarks/gpu/proof.py` will tell.
          The paper has ACC 93.0 after 1000 epochs, near its plateau after 600 (Fig. 5).
"""

from hadis_lightly.cli.launcher import launch
from hadis_lightly.settings import (
    ClusteringSettings,
    DataSettings,
    ModelSettings,
    OptimizerSettings,
    Settings,
    TrainerSettings,
)

SETTINGS = Settings(
    n_clusters=10,
    data=DataSettings(source="cifar10"),
    model=ModelSettings(teacher_momentum=0.99, final_teacher_momentum=1.0),
    optimizer=OptimizerSettings(warmup_epochs=10),
    clustering=ClusteringSettings(warmup_epochs=20),
    trainer=TrainerSettings(max_epochs=200),
)

if __name__ == "__main__":
    launch(SETTINGS, name="cifar10_short", description=__doc__)
