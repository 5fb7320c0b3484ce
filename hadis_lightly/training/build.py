"""From settings to the parts of a run: loaders, model, module, trainer."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader

from hadis_lightly.data import ArraySource, ImageSource, IndexedDataset, load_source
from hadis_lightly.loss import HaDisLoss
from hadis_lightly.models import (
    HaDisModel,
    HaDisPredictionHead,
    HaDisProjectionHead,
    build_backbone,
    feature_dim,
)
from hadis_lightly.training.config import Settings, SettingsError
from hadis_lightly.training.hadis import HaDis
from hadis_lightly.training.progress import RunProgressBar
from hadis_lightly.training.prototype_kmeans import PrototypeKMeans
from hadis_lightly.transforms import HaDisTestTransform, HaDisTransform


def build_source(settings: Settings) -> ImageSource:
    """Loads the images, and checks that the settings fit them.

    Raises:
        SettingsError: If there are too few images, or channels do not match.
        DataError: If the data cannot be read.
    """
    data = settings.data
    source = load_source(
        data.source,
        data.path,
        download=data.download,
        num_channels=data.num_channels,
        limit=data.limit,
        seed=settings.seed,
    )
    n = len(source)
    if settings.n_clusters > n:
        raise SettingsError(
            f"n_clusters is {settings.n_clusters}, but there are only {n} images."
        )
    check_batches(settings, n)
    for name in ("mean", "std"):
        given = len(getattr(settings.views, name))
        if given != source.num_channels:
            raise SettingsError(
                f"views.{name} has {given} values, but the images have "
                f"{source.num_channels} channels."
            )
    return source


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


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def build_loaders(
    settings: Settings, source: ImageSource
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Loaders of the two views for training, and of the clean images in their order.

    Both yield ``(images, targets, indices)``; the first has ``(x0, x1)`` as images.
    """
    views: dict[str, Any] = asdict(settings.views)
    normalize = {"mean": views.pop("mean"), "std": views.pop("std")}
    train_transform = HaDisTransform(**views, normalize=normalize)
    clean_transform = HaDisTestTransform(views["input_size"], normalize=normalize)
    is_on_cpu = not torch.cuda.is_available() or settings.trainer.accelerator == "cpu"
    num_workers = settings.loader.num_workers
    if num_workers is None:
        # The GPU needs all the views that the cores can make; a CPU has to train, too.
        num_workers = min(8, available_cores() // 2 if is_on_cpu else available_cores())
    train_loader = DataLoader(
        IndexedDataset(source, train_transform),
        batch_size=settings.loader.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=not is_on_cpu,
    )
    # NOTE: Without augmentation, images in memory come faster than from a worker.
    clean_workers = 0 if isinstance(source, ArraySource) else num_workers
    clean_loader = DataLoader(
        IndexedDataset(source, clean_transform),
        batch_size=max(512, settings.loader.batch_size),
        num_workers=clean_workers,
        pin_memory=not is_on_cpu,
        persistent_workers=clean_workers > 0,
    )
    return train_loader, clean_loader


def build_prototypes(
    settings: Settings, clean_loader: DataLoader[Any]
) -> PrototypeKMeans:
    """The callback that clusters."""
    options = settings.clustering
    return PrototypeKMeans(
        settings.n_clusters,
        clean_loader,
        warmup_epochs=options.warmup_epochs,
        every_n_epochs=options.every_n_epochs,
        n_init=options.n_init,
        whiten=options.whiten,
        random_state=settings.seed,
    )


def build_module(
    settings: Settings,
    source: ImageSource,
    prototypes: PrototypeKMeans,
    world_size: int = 1,
) -> HaDis:
    """The networks and the loss, in one module."""
    choice, optimizer = settings.model, settings.optimizer
    backbone = build_backbone(choice.backbone, source.num_channels)
    input_dim = feature_dim(backbone, source.num_channels, settings.views.input_size)
    d, hidden_dim = choice.output_dim, choice.hidden_dim
    model = HaDisModel(
        backbone,
        HaDisProjectionHead(input_dim, hidden_dim, d),
        HaDisPredictionHead(d, hidden_dim, d),
        latent_std=choice.latent_std,
    )
    # Convolutions run up to twice as fast so, and compute the same.
    model = model.to(memory_format=torch.channels_last)
    criterion = HaDisLoss(
        settings.n_clusters,
        hsd_weight=choice.hsd_weight,
        pcl_weight=choice.pcl_weight,
        hsd_temperature=choice.hsd_temperature,
        pcl_temperature=choice.pcl_temperature,
        gather_distributed=settings.trainer.gather_distributed,
    )
    global_batch_size = settings.loader.batch_size * world_size
    module = HaDis(
        model,
        criterion,
        prototypes,
        learning_rate=optimizer.learning_rate * global_batch_size / 256,
        momentum=optimizer.momentum,
        weight_decay=optimizer.weight_decay,
        prediction_head_lr_scale=optimizer.prediction_head_lr_scale,
        warmup_epochs=optimizer.warmup_epochs,
        teacher_momentum=choice.teacher_momentum,
        final_teacher_momentum=choice.final_teacher_momentum,
        concatenate_views=choice.concatenate_views,
    )
    # Into the checkpoint, so that it says what it was made with.
    module.save_hyperparameters(asdict(settings), logger=False)
    return module


def build_trainer(
    settings: Settings, prototypes: PrototypeKMeans, folder: Path
) -> pl.Trainer:
    """Lightning's trainer, with loggers and checkpoints below the folder."""
    options = settings.trainer
    callbacks: list[Callback] = [
        prototypes,  # first, so that the bar shows its scores at once
        LearningRateMonitor(logging_interval="epoch"),
        ModelCheckpoint(
            dirpath=folder / "checkpoints",
            filename="last",
            every_n_epochs=options.checkpoint_every_n_epochs,
            enable_version_counter=False,
        ),
    ]
    if options.progress_bar:
        callbacks.append(RunProgressBar())
    devices = options.devices
    return pl.Trainer(
        max_epochs=options.max_epochs,
        max_steps=options.max_steps,
        accelerator=options.accelerator,
        devices=int(devices) if devices.lstrip("-").isdigit() else devices,
        strategy=options.strategy,
        precision=options.precision,  # type: ignore[arg-type]
        sync_batchnorm=options.sync_batchnorm,
        deterministic=options.deterministic,
        logger=[
            CSVLogger(folder, name="", version=""),
            TensorBoardLogger(folder, name="tensorboard", version=""),
        ],
        callbacks=callbacks,
        log_every_n_steps=1,
        enable_progress_bar=options.progress_bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
