"""One run: from settings to clusters, scores and figures in a folder."""

from __future__ import annotations

import copy
import multiprocessing
import os
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_only

from hadis_lightly.artifacts.checkpoint import Checkpoint, stamp
from hadis_lightly.artifacts.metrics_file import MetricsFile
from hadis_lightly.artifacts.named_images import NamedImages, named_images
from hadis_lightly.artifacts.results import RunResult
from hadis_lightly.artifacts.score_table import ScoreTable
from hadis_lightly.artifacts.snapshots import EmbeddingSnapshots
from hadis_lightly.data import FolderSource, ImageSource
from hadis_lightly.fields import expand_paths
from hadis_lightly.methods.backbone import describe_weights, resolve_views
from hadis_lightly.methods.method import Parts
from hadis_lightly.methods.registry import build_model, check_run, method_of
from hadis_lightly.methods.schedule import count_epochs, describe_schedule
from hadis_lightly.runs.checkpointing import RunCheckpoint
from hadis_lightly.runs.features import follow_clusters, pipeline_of
from hadis_lightly.runs.folder import (
    ResumePoint,
    RunFolder,
    broadcast_folder,
    claimed_folder,
)
from hadis_lightly.runs.outcome import write_files
from hadis_lightly.runs.performance import (
    describe_performance,
    resolve_performance,
    resolve_precision,
)
from hadis_lightly.runs.pipeline import Pipeline
from hadis_lightly.runs.source import (
    build_source,
    check_size,
    check_standard_input,
    list_duplicates,
    list_left_out,
)
from hadis_lightly.runs.step_seeds import StepSeeds
from hadis_lightly.runs.summary import (
    announcement,
    describe_agreement,
    device_name,
    say,
)
from hadis_lightly.runs.trainer import build_trainer, quiet_lightning
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.images import absolute_path
from hadis_lightly.settings.sections import Settings
from hadis_lightly.system import cores_left_by_workers
from hadis_lightly.training.clustering_callback import ClusteringCallback
from hadis_lightly.training.health import HealthMonitor


def run(settings: Settings, source: ImageSource | None = None) -> RunResult:
    """Trains, clusters and scores; leaves everything in a new folder.

    The folder gets ``results.json``, ``assignments.csv``, ``settings.yaml``,
    ``scores.csv``, ``metrics.csv``, ``embeddings.npy``, figures, snapshots of
    embeddings, the logger's files, and ``checkpoints/last.ckpt``. Nothing that an
    earlier run left is overwritten: a number is added to the folder's name.

    An interrupted run can be resumed: with ``trainer.resume="auto"`` it continues in
    its own folder, and on a CPU ends with the same bits as if nothing had happened.

    Args:
        settings: All settings. ``output_dir=None`` makes a folder below ``runs/``.
        source: Images in place of those that ``settings.data`` names, see
            :func:`~hadis_lightly.data.source_in_memory`.

    Returns:
        The scores, and where the results are.

    Raises:
        SettingsError: If a setting is out of range or does not fit the data, or a
            spawned worker process runs the script again.
        DataError: If the data cannot be read.
        CheckpointError: If there is nothing to resume from, or it does not fit.
        DivergedError: If a loss or a gradient is not finite.
        RunInterrupted: After Ctrl-C or SIGTERM, once a checkpoint is written.
    """
    # What Python itself looks at before it starts a process.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SettingsError(
            "this is a worker process that imports your script, which calls run() "
            'again. Put the call below `if __name__ == "__main__":`, or set '
            "loader.num_workers=0."
        )
    settings = copy.deepcopy(settings)
    expand_paths(settings)
    check_run(settings)
    resolve_views(settings)
    settings.data.path = absolute_path(settings.data.path)
    settings.names = absolute_path(settings.names)
    if settings.quiet:
        settings.trainer.progress_bar = False
    source = build_source(settings, source)
    if settings.trainer.devices != "auto":
        num_processes = int(settings.trainer.devices)
        _resolve_schedule(copy.deepcopy(settings), len(source), num_processes)
    named = named_images(settings, source)
    pl.seed_everything(settings.seed, workers=True, verbose=False)
    # Before there is a folder: networks that cannot be built leave nothing behind.
    model = build_model(settings, source.num_channels)

    def resume_point(checkpoint: Checkpoint) -> ResumePoint:
        checkpoint.check_fits(settings, source, model, named and named.digest)
        if settings.model.train != "all":
            # Features are computed before Lightning restores the rest.
            model.load_state_dict(checkpoint.weights())
        return ResumePoint.of(checkpoint, settings)

    with claimed_folder(settings, resume_point) as folder:
        say(settings, list_left_out(source, folder.path))
        say(settings, list_duplicates(source, folder.path))
        unread = source.warnings if isinstance(source, FolderSource) else ()
        say(settings, "\n".join(f"WARNING: {line}" for line in unread))
        say(settings, "" if named is None else named.description)
        with quiet_lightning():
            result, callback = _train(settings, source, model, folder, named)
        if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            write_files(result, settings, source, callback, named)
    return result


def _train(
    settings: Settings,
    source: ImageSource,
    model: Any,
    folder: RunFolder,
    named: NamedImages | None,
) -> tuple[RunResult, ClusteringCallback[Any]]:
    """Builds the parts, trains, and saves the end."""
    method = method_of(settings)
    resolved = copy.deepcopy(settings)
    if named is not None:
        resolved.n_clusters = named.n_clusters(settings)
    earlier = folder.start and folder.start.precision
    precision = resolve_precision(settings, model.backbone, earlier)
    resolved.trainer.precision = precision
    weights = (folder.start and folder.start.weights) or describe_weights(
        settings, model.backbone
    )
    trainer = build_trainer(resolved, folder.path, method.has_unused_parameters)
    device, world_size = trainer.strategy.root_device, trainer.world_size
    check_size(settings, len(source), world_size)
    check_standard_input(settings, world_size)
    schedule = _resolve_schedule(resolved, len(source), world_size)
    if schedule:
        trainer.fit_loop.max_epochs = resolved.trainer.max_epochs
    resolved = resolve_performance(resolved, device, len(source))
    pipeline = pipeline_of(resolved, source, model.backbone, device, world_size)
    callback = _build_callback(resolved, pipeline, named)
    if resolved.trainer.channels_last == "on":
        # The same numbers, up to twice as fast.
        model = model.to(memory_format=torch.channels_last)
    parts = Parts(resolved, model, callback, source, pipeline.views, world_size)
    module = method.build_module(parts)
    performance = describe_performance(
        resolved, pipeline.kind, pipeline.reason, method.optimizer
    )
    with (
        cores_left_by_workers(device, pipeline.num_workers),
        broadcast_folder(trainer, folder),
    ):
        name = device_name(device)
        say(settings, announcement(settings, source, world_size, name, folder.path))
        say(settings, performance)
        say(settings, describe_agreement(pipeline.view_agreement))
        say(settings, describe_schedule(schedule))
        made_with = stamp(
            settings,
            source,
            pipeline.plain_transform,
            pipeline.precision or precision,
            schedule,
            weights,
            pipeline.feature_dtype,
            named and named.digest,
        )
        saving = _add_callbacks(settings, folder, trainer, callback, made_with)
        start = folder.start
        if start is not None:
            say(settings, str(start))
            _prepare_to_resume(start, settings, callback, pipeline)
        trainer.fit(module, pipeline.train_loader, ckpt_path=start and start.path)
    tree = callback.fit_tree()
    saving.save(trainer)
    choice = callback.n_clusters_choice_
    result = RunResult(
        scores=callback.scores_,
        output_dir=folder.path,
        seconds=saving.seconds(),
        epochs=int(callback.history_[-1]["epoch"]),
        description=source.description,
        method=method.title(settings),
        n_clusters=callback.n_clusters,
        n_clusters_choice=None if choice is None else choice.to_dict(),
        num_images=len(source),
        num_labelled=int((callback.targets_ >= 0).sum()),
        class_names=None if source.class_names is None else list(source.class_names),
        device=name,
        performance=performance,
        schedule=schedule,
        weights=weights,
        view_agreement=pipeline.view_agreement,
        warmup_epochs=callback.warmup_epochs,
        num_resumed=saving.num_resumed,
        warnings=callback.warnings_,
        tree=tree.describe(),
    )
    if isinstance(source, FolderSource):
        result.warnings[:0] = source.warnings
        result.images_root = os.path.abspath(source.root)
    return result, callback


def _resolve_schedule(
    settings: Settings, num_images: int, num_processes: int
) -> dict[str, int]:
    """Sets the epochs of a run, which depend on its images; returns its warm-ups.

    Raises:
        SettingsError: If a warm-up is too long for them.
    """
    if settings.model.train == "nothing":
        return {}
    settings.trainer.max_epochs = count_epochs(settings, num_images, num_processes)
    return method_of(settings).schedule(settings)


def _build_callback(
    settings: Settings, pipeline: Pipeline, named: NamedImages | None
) -> ClusteringCallback[Any]:
    """The callback that clusters."""
    callback = method_of(settings).build_callback(settings, pipeline.plain_loader)
    callback.clusters_at_start = settings.model.train == "nothing"
    callback.shows_progress = settings.trainer.progress_bar
    callback.outlier_points = pipeline.outlier_points
    callback.examples = None if named is None else named.examples
    follow_clusters(settings, pipeline.train_loader, callback)
    return callback


def _prepare_to_resume(
    start: ResumePoint,
    settings: Settings,
    callback: ClusteringCallback[Any],
    pipeline: Pipeline,
) -> None:
    """Sets the loader to the next batch; Lightning restores everything else."""
    sampler: Any = pipeline.train_loader.sampler  # type: ignore[attr-defined]
    sampler.start_at(start.epoch, start.batches_done * settings.loader.batch_size)
    trainer = settings.trainer
    # A complete run clusters no more, but its results need the embeddings.
    callback.embeds_at_start = start.epoch >= trainer.max_epochs or (
        0 < trainer.max_steps <= start.step
    )


def _add_callbacks(
    settings: Settings,
    folder: RunFolder,
    trainer: pl.Trainer,
    callback: ClusteringCallback[Any],
    made_with: dict[str, Any],
) -> RunCheckpoint:
    """Puts the callbacks of a run before the trainer's own; returns what saves."""
    health = HealthMonitor()
    saving = RunCheckpoint(
        folder.path,
        made_with,
        health,
        MetricsFile(trainer.loggers[0]),
        every_n_minutes=settings.trainer.checkpoint_every_n_minutes,
        every_n_epochs=settings.trainer.checkpoint_every_n_epochs,
    )
    # Before the progress bar, which shows the scores.
    trainer.callbacks[:0] = [  # type: ignore[attr-defined]
        # First: it catches signals while the others work.
        saving,
        # Before the clusters: a loss that is not finite says more than an embedding.
        health,
        callback,
        # After the clusters, which they write down.
        EmbeddingSnapshots(callback, folder.path),
        ScoreTable(callback, folder.path, saving.seconds),
        # Alone in its hook, so it may stand anywhere.
        StepSeeds(settings.seed),
    ]
    return saving
