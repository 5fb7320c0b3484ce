"""Stops when the clusters get no better, and keeps the best ones."""

from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint

from hadis_lightly.training import PrototypeKMeans


def main(prototypes: PrototypeKMeans) -> list[Callback]:
    return [
        prototypes,
        EarlyStopping("cluster/nmi", mode="max", patience=20),
        ModelCheckpoint(
            monitor="cluster/nmi",
            mode="max",
            filename="{epoch}-{cluster/nmi:.3f}",
            auto_insert_metric_name=False,  # else the slash makes a folder
        ),
    ]
