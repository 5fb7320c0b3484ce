"""``scores.csv``: scores against epochs and the clock."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightly.utils import dist as lightly_dist

from hadis_lightly.atomic import atomic_write
from hadis_lightly.training.clustering_callback import ClusteringCallback

SCORES = "scores.csv"


class ScoreTable(pl.Callback):
    """Writes ``scores.csv``: a row for every clustering, complete at any moment.

    Columns are ``epoch`` (epochs trained so far: 0 before the first, where
    ``metrics.csv`` counts as Lightning does, 0 after it), ``seconds`` (of training so
    far, clustering included, interruptions left out), ``clustering_seconds`` (of this
    clustering alone), and the scores. A score that a clustering lacks is left empty,
    such as NMI, ACC and ARI where all images of known class lie in one cluster.

    Args:
        callback: The callback that clusters; it comes before this one.
        folder: Folder of the run.
        seconds: Returns the seconds of training so far.
    """

    def __init__(
        self,
        callback: ClusteringCallback[Any],
        folder: Path,
        seconds: Callable[[], float],
    ) -> None:
        super().__init__()
        self.callback = callback
        self.path = folder / SCORES
        self.seconds = seconds
        self.rows: list[dict[str, float]] = []

    def on_train_start(self, *args: Any) -> None:
        """Adds the clustering before the first epoch."""
        self.on_train_epoch_end()

    def on_train_epoch_end(self, *args: Any) -> None:
        """Adds the clustering of the epoch, if there was one."""
        newest = dict(self.callback.history_[-1])
        if self.rows and self.rows[-1]["epoch"] >= newest["epoch"]:
            return
        self.rows.append(
            {
                "epoch": newest.pop("epoch"),
                "seconds": round(self.seconds(), 3),
                "clustering_seconds": round(newest.pop("seconds"), 3),
                **newest,
            }
        )
        if lightly_dist.rank() == 0:
            with atomic_write(self.path) as file:
                columns = dict.fromkeys(name for row in self.rows for name in row)
                writer = csv.DictWriter(file, list(columns), lineterminator="\n")
                writer.writeheader()
                writer.writerows(self.rows)

    def state_dict(self) -> dict[str, Any]:
        """The rows, for a checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the rows from a checkpoint."""
        self.rows = state_dict["rows"]
