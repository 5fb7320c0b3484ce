"""From settings to the parts of a run: images, backbone, trainer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, LearningRateMonitor
from pytorch_lightning.strategies.launchers import _MultiProcessingLauncher
from pytorch_lightning.utilities import rank_zero_only
from torch import nn

from hadis_lightly.data import (
    ImageSource,
    count_distinct,
    load_source,
    readable_images,
)
from hadis_lightly.models import build_backbone, feature_dim, load_backbone_weights
from hadis_lightly.training.checkpoint import CheckpointIO
from hadis_lightly.training.config import Settings, SettingsError
from hadis_lightly.training.cores import available_cores
from hadis_lightly.training.loggers import build_loggers
from hadis_lightly.training.progress import RunProgressBar, StepProgress


def build_source(settings: Settings) -> ImageSource:
    """Loads the images, and checks that they can be read and that the settings fit.

    Raises:
        SettingsError: If there are too few images, or too few that differ, or channels
            do not match.
        DataError: If the data cannot be read; of files all that cannot are named,
            unless ``data.on_error`` is ``skip``.
    """
    data = settings.data
    source = load_source(
        data.source,
        data.path,
        download=data.download,
        num_channels=data.num_channels,
        limit=data.limit,
        seed=settings.seed,
        on_error=data.on_error,
        unlabelled=data.unlabelled,
    )
    for name in ("mean", "std"):
        given = len(getattr(settings.views, name))
        if given != source.num_channels:
            raise SettingsError(
                f"views.{name} has {given} values, but the images have "
                f"{source.num_channels} channels."
            )
    _check_number(settings, len(source))
    with StepProgress("checking images", settings.trainer.progress_bar) as progress:
        source = readable_images(
            source,
            on_error=data.on_error,
            num_threads=available_cores(),
            progress=progress,
        ).source
    _check_number(settings, len(source))
    num_distinct = count_distinct(source, settings.n_clusters, available_cores())
    if num_distinct < settings.n_clusters:
        seen = f"there are only {num_distinct} different images"
        if num_distinct == 1:
            seen = f"all {len(source):,} images are equal"
        raise SettingsError(f"n_clusters is {settings.n_clusters}, but {seen}.")
    return source


def _check_number(settings: Settings, n: int) -> None:
    if settings.n_clusters > n:
        images = "there is only 1 image" if n == 1 else f"there are only {n} images"
        raise SettingsError(f"n_clusters is {settings.n_clusters}, but {images}.")
    devices = settings.trainer.devices
    check_batches(settings, n, int(devices) if devices.isdecimal() else 1)


def check_batches(settings: Settings, n: int, world_size: int = 1) -> None:
    """Checks that ``n`` images fill a batch on every device.

    Raises:
        SettingsError: If they do not.
    """
    size = settings.loader.batch_size
    if size * world_size > n:
        times = f" on each of {world_size} devices" if world_size > 1 else ""
        raise SettingsError(
            f"loader.batch_size is {size}{times}, but there are only {n} images: no "
            "batch would be full."
        )


def build_backbone_of(
    settings: Settings, num_channels: int, *, with_weights: bool = True
) -> tuple[nn.Module, int]:
    """The backbone, with the weights of ``model.weights`` if it is set.

    Args:
        settings: All settings.
        num_channels: Channels of the images.
        with_weights: Whether to load the weights: not if a checkpoint brings them.

    Returns:
        The backbone, and how many features it returns for an image.

    Raises:
        SettingsError: If there is no backbone of that name, if it does not take such
            images, or if the weights cannot be read or do not fit.
    """
    name, input_size = settings.model.backbone, settings.views.input_size
    try:
        backbone = build_backbone(name, num_channels, input_size)
        input_dim = feature_dim(backbone, num_channels, input_size)
    except ValueError as error:
        raise SettingsError(f"model.{error}") from None
    if with_weights:
        _load_weights(backbone, settings)
    return backbone, input_dim


def _load_weights(backbone: nn.Module, settings: Settings) -> None:
    """Loads ``model.weights``, unless a checkpoint has all weights anyway."""
    path = settings.model.weights
    if path is None or settings.trainer.resume not in (None, "auto"):
        return
    try:
        loaded = load_backbone_weights(backbone, path)
    except ValueError as error:
        raise SettingsError(f"model.weights: {error}") from None
    if rank_zero_only.rank == 0 and not settings.quiet:  # type: ignore[attr-defined]
        print(f"backbone starts from {loaded}", flush=True)


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
        devices=int(devices) if devices.lstrip("-").isdigit() else devices,
        strategy=strategy,
        precision=options.precision,  # type: ignore[arg-type]
        deterministic=options.deterministic,
        # The fastest convolution for shapes that never change.
        benchmark=not options.deterministic,
        logger=build_loggers(options.logger, folder),
        callbacks=callbacks,
        plugins=[CheckpointIO()],
        log_every_n_steps=1,
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
    return trainer


def _uses_ddp(devices: str, strategy: str) -> bool:
    """Whether Lightning will choose DistributedDataParallel."""
    if strategy != "auto":
        return strategy == "ddp"
    if "WORLD_SIZE" in os.environ:
        return True
    return torch.cuda.device_count() > 1 if devices == "auto" else devices != "1"
