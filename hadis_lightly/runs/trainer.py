"""From settings to the parts of a run: images, backbone, trainer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, LearningRateMonitor
from pytorch_lightning.strategies.launchers import _MultiProcessingLauncher

from hadis_lightly.artifacts.checkpoint import CheckpointIO
from hadis_lightly.runs.loggers import build_loggers
from hadis_lightly.runs.progress_bar import RunProgressBar
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.sections import Settings


def build_trainer(
    settings: Settings,
    folder: Path,
    callbacks: Sequence[Callback] = (),
    has_unused_parameters: bool = False,
) -> pl.Trainer:
    """Lightning's trainer, with loggers below the folder.

    Args:
        settings: All settings.
        folder: Folder of the run.
        callbacks: Callbacks beside those for the learning rate and the progress bar;
            they come before these.
        has_unused_parameters: Whether a step leaves some of the networks out, which
            several processes have to be told.
    """
    options = settings.trainer
    callbacks = [*callbacks, LearningRateMonitor(logging_interval="epoch")]
    if options.progress_bar:
        callbacks.append(RunProgressBar())
    devices, strategy = options.devices, options.strategy
    if has_unused_parameters and _uses_ddp(devices, strategy):
        strategy = "ddp_find_unused_parameters_true"
    trainer = pl.Trainer(
        max_epochs=0 if settings.model.freeze_backbone else options.max_epochs,
        max_steps=options.max_steps,
        accelerator=options.accelerator,
        devices=devices if devices == "auto" else int(devices),
        strategy=strategy,
        precision=options.precision,  # type: ignore[arg-type]
        deterministic=options.deterministic,
        # The fastest convolution for shapes that never change.
        benchmark=not options.deterministic,
        sync_batchnorm=options.sync_batchnorm,
        logger=build_loggers(options.logger, folder),
        callbacks=callbacks,
        plugins=[CheckpointIO()],
        log_every_n_steps=options.log_every_n_steps or 0,
        enable_checkpointing=False,  # RunCheckpoint does it
        enable_progress_bar=options.progress_bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # our loaders share the images themselves
    )
    if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
        # Their processes would copy what is on the device, or could not.
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
    if "WORLD_SIZE" in os.environ:
        return True
    return (torch.cuda.device_count() if devices == "auto" else int(devices)) > 1
