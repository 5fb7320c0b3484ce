"""One run: from settings to clusters, scores and pictures in a folder."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import nn

from hadis_lightly.artifacts.assignments import (
    assignments_of,
    write_assignments,
)
from hadis_lightly.artifacts.checkpoint import (
    check_fits,
    read_checkpoint,
    stamp,
)
from hadis_lightly.artifacts.results import (
    RunResult,
    write_embeddings,
    write_results,
)
from hadis_lightly.artifacts.score_table import ScoreTable
from hadis_lightly.artifacts.snapshots import EmbeddingSnapshots
from hadis_lightly.atomic import atomic_write
from hadis_lightly.data import (
    FolderSource,
    ImageSource,
    describe_problems,
)
from hadis_lightly.methods.method import Parts
from hadis_lightly.methods.registry import build_model, check_run, method_of
from hadis_lightly.progress import StepProgress
from hadis_lightly.report.run_figures import draw_figures
from hadis_lightly.runs.checkpointing import RunCheckpoint
from hadis_lightly.runs.even_clusters import draw_evenly
from hadis_lightly.runs.folder import (
    RunFolder,
    broadcast_folder,
    checkpoint_asked_for,
    choose_folder,
)
from hadis_lightly.runs.performance import (
    describe_performance,
    resolve_performance,
    resolve_precision,
)
from hadis_lightly.runs.pipeline import Pipeline, build_pipeline
from hadis_lightly.runs.pixel_scores import pixel_scores
from hadis_lightly.runs.resume import resume
from hadis_lightly.runs.source import build_source, check_batches
from hadis_lightly.runs.summary import (
    announcement,
    device_name,
    scores_line,
    summary,
)
from hadis_lightly.runs.trainer import build_trainer
from hadis_lightly.settings.sections import Settings
from hadis_lightly.system import cores_left_by_workers
from hadis_lightly.training.clustering_callback import ClusteringCallback
from hadis_lightly.training.clustering_module import ClusteringModule
from hadis_lightly.training.health import HealthMonitor
from hadis_lightly.training.step_seeds import StepSeeds


def run(settings: Settings) -> RunResult:
    """Trains, clusters, scores, and leaves everything in a new folder.

    The folder gets ``results.json``, ``assignments.csv``, ``settings.yaml``,
    ``scores.csv``, ``metrics.csv``, ``embeddings.npy``, figures, snapshots of
    embeddings, what a logger writes, and ``checkpoints/last.ckpt``. What an earlier
    run left is never overwritten: a number is added to the folder's name.

    A run that was interrupted, in whatever way, can be resumed: with
    ``trainer.resume="auto"`` it goes on in its own folder, and on a CPU ends with the
    same bits as if nothing had happened.

    Args:
        settings: All settings. ``output_dir=None`` makes a folder below ``runs/``.

    Returns:
        Scores, and where the results are.

    Raises:
        SettingsError: If a setting is out of range or does not fit the data.
        DataError: If the data cannot be read.
        CheckpointError: If there is nothing to resume from, or it does not fit.
        DivergedError: If a loss or a gradient is not finite.
        RunInterrupted: After Ctrl-C or SIGTERM, once a checkpoint is written.
    """
    settings = copy.deepcopy(settings)
    check_run(settings)
    if settings.quiet:
        settings.trainer.progress_bar = False
    source = build_source(settings)
    # Before there is a folder: networks that cannot be built leave nothing behind.
    pl.seed_everything(settings.seed, workers=True, verbose=False)
    model = build_model(settings, source.num_channels)
    checkpoint = checkpoint_asked_for(settings.trainer.resume)
    if checkpoint is not None:
        check_fits(read_checkpoint(checkpoint), checkpoint, settings, source, model)
    folder = choose_folder(settings, checkpoint)
    try:
        _tell_what_is_left_out(settings, source, folder)
        with _quiet_lightning():
            result, clusters = _train(settings, source, model, folder)
        if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            _write(result, settings, source, clusters)
    finally:
        folder.release()
    return result


def _train(
    settings: Settings, source: ImageSource, model: nn.Module, folder: RunFolder
) -> tuple[RunResult, ClusteringCallback[Any]]:
    """Puts the parts together, trains, and saves."""
    resolved = copy.deepcopy(settings)
    resolved.trainer.precision = resolve_precision(settings)
    health = HealthMonitor()
    saving = RunCheckpoint(
        stamp(asdict(settings), source),
        every_n_minutes=settings.trainer.checkpoint_every_n_minutes,
        every_n_epochs=settings.trainer.checkpoint_every_n_epochs,
        health=health,
    )
    trainer = build_trainer(
        resolved,
        folder.path,
        [saving, health, StepSeeds(settings.seed)],
        method_of(settings).has_unused_parameters,
    )
    check_batches(settings, len(source), trainer.world_size)
    device = trainer.strategy.root_device
    resolved = resolve_performance(resolved, device, len(source))
    pipeline = build_pipeline(resolved, source, device, trainer.world_size)
    saving.stamp |= {
        "plain_transform": pipeline.plain_transform,
        "precision": resolved.trainer.precision,
    }
    clusters = _watch(resolved, pipeline, trainer, folder.path, saving)
    module = _build_module(resolved, source, model, clusters, pipeline, trainer)
    method = method_of(resolved)
    switches = describe_performance(
        resolved, pipeline.kind, pipeline.reason, optimizer=method.optimizer
    )
    with (
        cores_left_by_workers(device, pipeline.num_workers),
        broadcast_folder(trainer, folder),
    ):
        name = device_name(device)
        told = announcement(
            settings, source, trainer.world_size, name, folder.path, method
        )
        _say(settings, told)
        _say(settings, switches)
        _say(settings, resume(folder, settings, source, module, clusters, pipeline))
        saving.start(trainer, folder.path)
        trainer.fit(module, pipeline.train_loader, ckpt_path=folder.checkpoint)
    saving.save(trainer)
    result = RunResult(
        scores=clusters.scores_,
        output_dir=folder.path,
        seconds=saving.seconds,
        epochs=int(clusters.history_[-1]["epoch"]),
        description=source.description,
        method=method.title(settings),
        class_names=None if source.class_names is None else list(source.class_names),
        device=name,
        switches=switches,
        num_resumed=saving.num_resumed,
        warnings=clusters.warnings_,
    )
    return result, clusters


def _build_module(
    settings: Settings,
    source: ImageSource,
    model: nn.Module,
    clusters: ClusteringCallback[Any],
    pipeline: Pipeline,
    trainer: pl.Trainer,
) -> ClusteringModule:
    """What trains: the networks as the device likes them, and their loss."""
    if settings.trainer.channels_last == "on":
        # Convolutions run up to twice as fast so, and compute the same.
        model = model.to(memory_format=torch.channels_last)
    parts = Parts(settings, model, clusters, source, pipeline.views, trainer.world_size)
    module = method_of(settings).build_module(parts)
    # Into the checkpoint, so that it says what it was made with.
    module.save_hyperparameters(asdict(settings), logger=False)
    return module


def _watch(
    settings: Settings,
    pipeline: Pipeline,
    trainer: pl.Trainer,
    folder: Path,
    saving: RunCheckpoint,
) -> ClusteringCallback[Any]:
    """Adds the callbacks that find out about the images."""
    clusters = method_of(settings).build_callback(settings, pipeline.plain_loader)
    clusters.clusters_at_start = settings.model.freeze_backbone
    clusters.shows_progress = settings.trainer.progress_bar
    if settings.loader.even_clusters:
        draw_evenly(pipeline.train_loader, clusters)
    snapshots = EmbeddingSnapshots(clusters, folder)
    scores = ScoreTable(clusters, folder, saving.training_seconds)
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    # After what listens for signals and what looks for NaN, whose message is the better
    # one, and before the bar, which shows the scores.
    callbacks[2:2] = [clusters, snapshots, scores]
    return clusters


def _tell_what_is_left_out(
    settings: Settings, source: ImageSource, folder: RunFolder
) -> None:
    """On the screen the first files, in ``left_out.txt`` all of them."""
    problems = source.left_out if isinstance(source, FolderSource) else ()
    if not problems or rank_zero_only.rank:  # type: ignore[attr-defined]
        return
    path = folder.path / "left_out.txt"
    with atomic_write(path) as file:
        file.write(describe_problems(problems, limit=None) + "\n")
    _say(settings, f"{describe_problems(problems)}\n(see {path})")


def _write(
    result: RunResult,
    settings: Settings,
    source: ImageSource,
    clusters: ClusteringCallback[Any],
) -> None:
    """Writes what a run leaves behind; the pictures last, lest one costs a long run."""
    folder = result.output_dir
    write_assignments(folder, assignments_of(source, clusters))
    write_embeddings(folder, clusters.embeddings_)
    write_results(result, settings)
    if settings.clustering.pixel_baseline:
        result.pixel_scores = pixel_scores(source, settings)
    title = f"{result.method}, {scores_line(result.scores)}"
    with StepProgress("drawing figures", settings.trainer.progress_bar) as progress:
        result.figures = draw_figures(
            folder, source, clusters, title, settings.seed, progress=progress
        )
    write_results(result, settings)
    _say(settings, summary(result))


def _say(settings: Settings, text: str) -> None:
    if text and not settings.quiet and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        print(text, flush=True)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keeps Lightning from saying what the run says itself, or has chosen."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in (
                ".*does not have many workers.*",
                ".*GPU available but not used.*",
                ".*exists and is not empty.*",
                ".*LeafSpec.*",
                ".*dataloader is not resumable.*",  # Lightning does not see that it is
                ".*torch._prims_common.check.*",
            ):
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        logger.setLevel(level)
