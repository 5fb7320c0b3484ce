"""Where a run logs its losses and scores."""

from __future__ import annotations

import os
from pathlib import Path

from pytorch_lightning.loggers import (
    CSVLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)

_PROJECT = "hadis-lightly"


def build_loggers(name: str, folder: Path) -> list[Logger]:
    """A CSV file, and the logger of that name.

    Weights & Biases and MLflow are set up by their own environment variables, such as
    ``WANDB_MODE=offline`` and ``MLFLOW_TRACKING_URI``; without the latter MLflow writes
    ``mlflow.db`` in the folder.

    Args:
        name: tensorboard, wandb, mlflow or none.
        folder: Folder of the run.
    """
    loggers: list[Logger] = [CSVLogger(folder, name="", version="")]
    if name == "tensorboard":
        loggers.append(TensorBoardLogger(folder, name="tensorboard", version=""))
    elif name == "wandb":
        loggers.append(WandbLogger(name=folder.name, save_dir=folder, project=_PROJECT))
    elif name == "mlflow":
        loggers.append(
            MLFlowLogger(
                experiment_name=_PROJECT,
                run_name=folder.name,
                # MLflow 3 no longer takes a folder of files.
                tracking_uri=os.environ.get(
                    "MLFLOW_TRACKING_URI", f"sqlite:///{folder.resolve()}/mlflow.db"
                ),
            )
        )
    return loggers
