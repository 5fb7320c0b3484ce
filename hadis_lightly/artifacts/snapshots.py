"""``snapshots/``: embeddings at a few epochs, for a picture of how clusters form."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
from lightly.utils import dist as lightly_dist

from hadis_lightly.atomic import atomic_write
from hadis_lightly.training.clustering_callback import ClusteringCallback

_FOLDER = "snapshots"
_NUM_MOMENTS = 6  # as in Fig. 7 of the paper
_MAX_IMAGES = 2000


class Snapshot(NamedTuple):
    """Embeddings of some images after some epochs."""

    epoch: int
    embeddings: npt.NDArray[np.float32]
    """L2-normalised, ``(m, d)``."""
    labels: npt.NDArray[np.int64]
    """Clusters, ``(m,)``."""
    targets: npt.NDArray[np.int64]
    """Classes, -1 where unknown, ``(m,)``."""


class EmbeddingSnapshots(pl.Callback):
    """Writes embeddings of some images at evenly spaced epochs, first and last too.

    The images are always the same ones.

    Args:
        callback: The callback that clusters; it comes before this one.
        folder: Folder of the run.
    """

    def __init__(self, callback: ClusteringCallback[Any], folder: Path) -> None:
        super().__init__()
        self.callback = callback
        self.folder = folder / _FOLDER
        self.moments = np.zeros(1, dtype=int)

    def on_train_start(self, trainer: pl.Trainer, *args: Any) -> None:
        """Chooses the epochs, and writes the first snapshot."""
        accumulated = trainer.accumulate_grad_batches
        steps_per_epoch = max(1, math.ceil(trainer.num_training_batches / accumulated))
        # Not trainer.max_epochs: max_steps may end a run before.
        epochs = math.ceil(trainer.estimated_stepping_batches / steps_per_epoch)
        self.moments = np.linspace(0, epochs, _NUM_MOMENTS).round().astype(int)
        self.on_train_epoch_end()

    def on_train_epoch_end(self, *args: Any) -> None:
        """Writes a snapshot if one is due."""
        callback = self.callback
        if lightly_dist.rank() > 0 or not callback.has_embedded:
            return
        before, epoch = [-1, *(int(entry["epoch"]) for entry in callback.history_)][-2:]
        is_due = ((self.moments > before) & (self.moments <= epoch)).any()
        path = self.folder / f"epoch_{epoch:05d}.npz"
        if not is_due or path.exists():
            return
        embeddings = callback.embeddings_
        rows = np.random.default_rng(0).permutation(len(embeddings))[:_MAX_IMAGES]
        with atomic_write(path, "wb") as file:
            np.savez(
                file,
                embeddings=embeddings[rows].cpu().numpy().astype(np.float16),
                labels=callback.labels_[rows].cpu().numpy(),
                targets=callback.targets_[rows].numpy(),
            )


def read_snapshots(folder: Path) -> Iterator[Snapshot]:
    """The snapshots of a run in order; none if it left none."""
    for path in sorted((folder / _FOLDER).glob("epoch_*.npz")):
        epoch = int(re.findall(r"\d+", path.stem)[0])
        with np.load(path) as content:
            embeddings = content["embeddings"].astype(np.float32)
            yield Snapshot(epoch, embeddings, content["labels"], content["targets"])
