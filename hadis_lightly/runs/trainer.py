"""Lightning's trainer and its loggers, from the settings."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, LearningRateMonitor
from pytorch_lightning.loggers import (
    CSVLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)
from pytorch_lightning.strategies.launchers import _MultiProcessingLauncher

from hadis_lightly.artifacts.checkpoint import CheckpointIO
from hadis_lightly.runs.progress_bar import RunProgressBar
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.sections import Settings
from hadis_lightly.system import has_several_processes

_PROJECT = "hadis-lightly"
# What a run says itself, or has chosen.
_QUIET = (
    ".*does not have many workers",
    ".*GPU available but not used",
    ".*exists and is not empty",
    ".*LeafSpec",
    ".*dataloader is not resumable",  # Lightning does not see that ours is
    ".*torch._prims_common.check",
    ".*in eval mode at the start of training",  # a frozen backbone is
)


def build_trainer(
    settings: Settings, folder: Path, has_unused_parameters: bool = False
) -> pl.Trainer:
    """Makes Lightning's trainer, with its learning rate monitor and progress bar.

    Args:
        settings: All settings; precision is resolved.
        folder: Folder of the run, for the loggers.
        has_unused_parameters: Whether a step leaves out some of the networks, which
            DistributedDataParallel has to know.

    Raises:
        SettingsError: If the strategy starts its processes from this one, or BatchNorm
            cannot be synchronised here.
    """
    options = settings.trainer
    callbacks: list[Callback] = [LearningRateMonitor(logging_interval="epoch")]
    if options.progress_bar:
        callbacks.append(RunProgressBar())
    devices, strategy = options.devices, options.strategy
    accelerator = options.accelerator
    if accelerator == "auto":  # Lightning would take Apple's MPS as well
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if has_unused_parameters and _uses_ddp(devices, strategy):
        strategy = "ddp_find_unused_parameters_true"
    trainer = pl.Trainer(
        max_epochs=0 if settings.model.train == "nothing" else options.max_epochs,
        max_steps=options.max_steps,
        accelerator=accelerator,
        devices=devices if devices == "auto" else int(devices),
        strategy=strategy,
        precision=options.precision,  # type: ignore[arg-type]
        gradient_clip_val=options.gradient_clip_val,
        deterministic=options.deterministic,
        benchmark=not options.deterministic,  # shapes never change
        sync_batchnorm=options.sync_batchnorm,
        logger=build_loggers(options.logger, folder),
        default_root_dir=folder,  # else Lightning uses the working folder
        callbacks=callbacks,
        plugins=[CheckpointIO()],
        log_every_n_steps=options.log_every_n_steps or 0,
        enable_checkpointing=False,  # RunCheckpoint does it
        enable_progress_bar=options.progress_bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # our samplers share the images themselves
    )
    # No public property tells how a strategy starts its processes.
    if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
        # Such processes would copy what is on the device, or fail to.
        raise SettingsError(
            "trainer.strategy must not start processes from this one (spawn, fork, "
            "notebook). Set trainer.strategy=ddp in a script, or trainer.devices=1."
        )
    on_gpus = trainer.strategy.root_device.type == "cuda"
    if options.sync_batchnorm and trainer.world_size > 1 and not on_gpus:
        raise SettingsError(
            "trainer.sync_batchnorm needs GPUs: PyTorch's SyncBatchNorm runs nowhere "
            "else. Set trainer.sync_batchnorm=false."
        )
    return trainer


def _uses_ddp(devices: int | str, strategy: str) -> bool:
    """Whether Lightning will choose DistributedDataParallel."""
    if strategy != "auto":
        return strategy == "ddp"
    return "WORLD_SIZE" in os.environ or has_several_processes(devices)


def build_loggers(name: str, folder: Path) -> list[Logger]:
    """Makes a CSV logger, and the one of that name.

    Weights & Biases and MLflow read their own environment variables, such as
    ``WANDB_MODE=offline`` and ``MLFLOW_TRACKING_URI``; without the latter MLflow writes
    ``mlflow.db`` into the folder.
    """
    loggers: list[Logger] = [CSVLogger(folder, name="", version="")]
    if name == "tensorboard":
        loggers.append(TensorBoardLogger(folder, name="tensorboard", version=""))
    elif name == "wandb":
        loggers.append(WandbLogger(name=folder.name, save_dir=folder, project=_PROJECT))
    elif name == "mlflow":
        database = f"sqlite:///{folder.resolve()}/mlflow.db"
        uri = os.environ.get("MLFLOW_TRACKING_URI", database)
        loggers.append(MLFlowLogger(_PROJECT, run_name=folder.name, tracking_uri=uri))
    return loggers


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silences what a run says itself."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "|".join(_QUIET))
            yield
    finally:
        logger.setLevel(level)
