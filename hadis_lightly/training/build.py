"""From settings to the parts of a run: loaders, model, module, trainer."""

from __future__ import annotations

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
    if settings.loader.batch_size > n:
        raise SettingsError(
            f"loader.batch_size is {settings.loader.batch_size}, but there are only "
            f"{n} images: no batch would be full."
        )
    for name in ("mean", "std"):
        given = len(getattr(settings.views, name))
        if given != source.num_channels:
            raise SettingsError(
                f"views.{name} has {given} values, but the images have "
                f"{source.num_channels} channels."
            )
    return source


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
    num_workers = settings.loader.num_workers
    train_loader = DataLoader(
        IndexedDataset(source, train_transform),
        batch_size=settings.loader.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=settings.trainer.accelerator != "cpu",
    )
    # NOTE: Without augmentation, images in memory come faster than from a worker.
    clean_workers = 0 if isinstance(source, ArraySource) else num_workers
    clean_loader = DataLoader(
        IndexedDataset(source, clean_transform),
        batch_size=max(512, settings.loader.batch_size),
        num_workers=clean_workers,
        persistent_workers=clean_workers > 0,
    )
    return train_loader, clean_loader


def build_module(
    settings: Settings,
    source: ImageSource,
    clean_loader: DataLoader[Any],
    world_size: int = 1,
) -> HaDis:
    """The networks, the loss and the callback, in one module."""
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
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    criterion = HaDisLoss(
        settings.n_clusters,
        hsd_weight=choice.hsd_weight,
        pcl_weight=choice.pcl_weight,
        hsd_temperature=choice.hsd_temperature,
        pcl_temperature=choice.pcl_temperature,
        gather_distributed=settings.trainer.gather_distributed,
    )
    prototypes = PrototypeKMeans(
        settings.n_clusters,
        clean_loader,
        warmup_epochs=settings.clustering.warmup_epochs,
        every_n_epochs=settings.clustering.every_n_epochs,
        n_init=settings.clustering.n_init,
        whiten=settings.clustering.whiten,
        random_state=settings.seed,
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
    # Into the checkpoint, so that the networks can be built again from it alone.
    module.save_hyperparameters(asdict(settings), logger=False)
    return module


def build_trainer(settings: Settings, folder: Path) -> pl.Trainer:
    """Lightning's trainer, with loggers and checkpoints below the folder."""
    options = settings.trainer
    callbacks: list[Callback] = [
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
