"""Where a run logs its losses and scores."""

from __future__ import annotations

from pathlib import Path

from pytorch_lightning.loggers import (
    CSVLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)

from hadis_lightly.training.config import SettingsError

_PROJECT = "hadis-lightly"


def build_loggers(name: str, folder: Path) -> list[Logger]:
    """A CSV file, and the logger of that name.

    Weights & Biases and MLflow are set up by their own environment variables, such as
    ``WANDB_MODE=offline`` and ``MLFLOW_TRACKING_URI``; without the latter MLflow's
    files lie in the folder.

    Args:
        name: tensorboard, wandb, mlflow or none.
        folder: Folder of the run.

    Raises:
        SettingsError: If the logger's package is not installed.
    """
    loggers: list[Logger] = [CSVLogger(folder, name="", version="")]
    try:
        if name == "tensorboard":
            loggers.append(TensorBoardLogger(folder, name="tensorboard", version=""))
        elif name == "wandb":
            loggers.append(
                WandbLogger(name=folder.name, save_dir=folder, project=_PROJECT)
            )
        elif name == "mlflow":
            loggers.append(
                MLFlowLogger(
                    experiment_name=_PROJECT,
                    run_name=folder.name,
                    save_dir=str(folder / "mlruns"),
                )
            )
    except ModuleNotFoundError:
        raise SettingsError(
            f"trainer.logger is {name}, which is not installed: pip install {name}."
        ) from None
    return loggers
