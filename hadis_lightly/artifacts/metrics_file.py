"""The log in ``metrics.csv``, which a resumed run goes on with."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities import rank_zero_only


class MetricsFile:
    """What Lightning's CSV logger has written, to be saved and taken up again.

    Lightning begins its file anew whenever a run starts. A run that is resumed must not
    lose what it logged, nor log twice what it does twice.

    Args:
        logger: Lightning's logger.
    """

    def __init__(self, logger: CSVLogger) -> None:
        self.logger = logger

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return Path(self.logger.log_dir) / "metrics.csv"

    def text(self) -> str:
        """All that was logged so far."""
        self.logger.save()
        if not self.path.exists():
            return ""
        return self.path.read_bytes().decode("utf-8")

    @rank_zero_only
    def restore(self, text: str) -> None:
        """Puts back what was logged before; what comes is written below it."""
        experiment = self.logger.experiment  # only now is the old file removed
        if not text:
            return
        self.path.write_bytes(text.encode("utf-8"))
        experiment.metrics_keys = next(csv.reader(io.StringIO(text)))


def losses(folder: Path) -> dict[str, tuple[list[float], list[float]]]:
    """The losses of every epoch, as they were logged: name to epochs and values."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                # Means of some steps, which may be logged as well, are not drawn.
                is_of_epoch = name.startswith("train/") and not name.endswith("_step")
                if is_of_epoch and value:
                    epochs, values = curves.setdefault(name[6:], ([], []))
                    epochs.append(float(row["epoch"]) + 1)
                    values.append(float(value))
    return {name: curve for name, curve in curves.items() if np.any(curve[1])}
