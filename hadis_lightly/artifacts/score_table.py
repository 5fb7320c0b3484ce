"""Scores against epochs and the clock, as a table in the folder of a run."""

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

    Columns are ``epoch`` (epochs trained so far), ``seconds`` (of training so far,
    clustering included, without what lay between an interruption and its resumption),
    ``clustering_seconds`` (of this clustering alone), and the scores.

    Args:
        clusters: Whose scores; it comes before this callback.
        folder: Folder of the run.
        seconds: Says how many seconds the training has taken so far.
    """

    def __init__(
        self,
        clusters: ClusteringCallback[Any],
        folder: Path,
        seconds: Callable[[], float],
    ) -> None:
        super().__init__()
        self.clusters = clusters
        self.path = folder / SCORES
        self.seconds = seconds
        self.rows: list[dict[str, float]] = []

    def on_train_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """Adds the clustering before the first epoch."""
        self._add()

    def on_train_epoch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """Adds the clustering of the epoch, if there was one."""
        self._add()

    def _add(self) -> None:
        newest = dict(self.clusters.history_[-1])
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
                writer = csv.DictWriter(file, list(self.rows[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(self.rows)

    def state_dict(self) -> dict[str, Any]:
        """The rows, as they go into a checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the rows out of a checkpoint."""
        self.rows = state_dict["rows"]
