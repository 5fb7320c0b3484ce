"""``metrics.csv``: the losses and scores that were logged."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning.utilities import rank_zero_only

from hadis_lightly.atomic import atomic_write


class MetricsFile:
    """Saves and restores what Lightning's CSV logger has written.

    The logger starts an empty file whenever a run starts. A resumed run must neither
    lose what it logged nor log twice what it does twice.
    """

    def __init__(self, logger: Any) -> None:
        self.logger = logger
        self.path = Path(logger.log_dir) / "metrics.csv"

    def text(self) -> str:
        """All that was logged so far."""
        self.logger.save()
        return self.path.read_bytes().decode("utf-8") if self.path.exists() else ""

    @rank_zero_only
    def restore(self, text: str) -> None:
        """Puts back what was logged before; new rows go below it."""
        experiment = self.logger.experiment  # this removes the old file
        if text:
            with atomic_write(self.path) as file:
                file.write(text)
            experiment.metrics_keys = next(csv.reader(io.StringIO(text)))


def losses(folder: Path) -> dict[str, tuple[list[float], list[float]]]:
    """The logged losses of every epoch: name to epochs and values."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                # Means over a few steps may be logged as well.
                is_of_epoch = name.startswith("train/") and not name.endswith("_step")
                if is_of_epoch and value:
                    epochs, values = curves.setdefault(name[6:], ([], []))
                    epochs.append(float(row["epoch"]) + 1)
                    values.append(float(value))
    return {name: curve for name, curve in curves.items() if np.any(curve[1])}
