"""One run: from settings to clusters, scores and pictures in a folder."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_only

from hadis_lightly.cluster import KMeans, clustering_scores
from hadis_lightly.data import (
    ArraySource,
    FolderSource,
    ImageSource,
    describe_problems,
)
from hadis_lightly.models import HaDisModel, synchronize_batchnorm
from hadis_lightly.training.atomic import atomic_write
from hadis_lightly.training.build import (
    build_model,
    build_module,
    build_prototypes,
    build_source,
    build_trainer,
    check_batches,
)
from hadis_lightly.training.checkpoint import check_fits, read_checkpoint, stamp
from hadis_lightly.training.config import Settings, check_settings
from hadis_lightly.training.cores import cores_left_by_workers
from hadis_lightly.training.engine import build_feed
from hadis_lightly.training.health import HealthMonitor
from hadis_lightly.training.prototype_kmeans import PrototypeKMeans
from hadis_lightly.training.results import (
    RunResult,
    draw_figures,
    write_assignments,
    write_results,
)
from hadis_lightly.training.resume import resume
from hadis_lightly.training.run_checkpoint import RunCheckpoint
from hadis_lightly.training.run_folder import (
    RunFolder,
    checkpoint_asked_for,
    choose_folder,
    told_to_others,
)
from hadis_lightly.training.step_seeds import StepSeeds
from hadis_lightly.training.switches import (
    describe_switches,
    resolve_precision,
    resolve_switches,
)


def run(settings: Settings) -> RunResult:
    """Trains, clusters, scores, and leaves everything in a new folder.

    The folder gets ``results.json``, ``assignments.csv``, ``settings.yaml``,
    ``metrics.csv``, figures, TensorBoard's files and ``checkpoints/last.ckpt``. What
    an earlier run left is never overwritten: a number is added to the folder's name.

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
    check_settings(settings)
    source = build_source(settings)
    # Before there is a folder: networks that cannot be built leave nothing behind.
    pl.seed_everything(settings.seed, workers=True, verbose=False)
    model = build_model(settings, source)
    checkpoint = checkpoint_asked_for(settings.trainer.resume)
    if checkpoint is not None:
        check_fits(read_checkpoint(checkpoint), checkpoint, settings, source, model)
    folder = choose_folder(settings, checkpoint)
    try:
        _tell_what_is_left_out(source, folder)
        with _quiet_lightning():
            result, prototypes = _train(settings, source, model, folder)
        if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            _write(result, settings, source, prototypes)
    finally:
        folder.release()
    return result


def _train(
    settings: Settings, source: ImageSource, model: HaDisModel, folder: RunFolder
) -> tuple[RunResult, PrototypeKMeans]:
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
        resolved, folder.path, [saving, health, StepSeeds(settings.seed)]
    )
    check_batches(settings, len(source), trainer.world_size)
    device = trainer.strategy.root_device
    resolved = resolve_switches(resolved, device, len(source))
    feed = build_feed(resolved, source, device, trainer.world_size)
    prototypes = build_prototypes(resolved, feed.clean_loader)
    # Before the bar, which shows its scores, and after what listens for signals.
    trainer.callbacks.insert(1, prototypes)  # type: ignore[attr-defined]
    if settings.trainer.sync_batchnorm and trainer.world_size > 1:
        synchronize_batchnorm(model, device)  # Lightning's does not run on a CPU
    module = build_module(resolved, model, prototypes, feed.views, trainer.world_size)
    switches = describe_switches(resolved, feed.engine, feed.reason)
    with (
        cores_left_by_workers(device, feed.num_workers),
        told_to_others(trainer, folder),
    ):
        device_name = _device_name(device)
        _say(_announcement(settings, source, trainer.world_size, device_name, folder))
        _say(switches)
        _say(resume(folder, settings, source, module, prototypes, feed))
        saving.start(trainer, folder.path)
        trainer.fit(module, feed.train_loader, ckpt_path=folder.checkpoint)
    saving.save(trainer)
    result = RunResult(
        scores=prototypes.scores_,
        output_dir=folder.path,
        seconds=saving.seconds,
        epochs=int(prototypes.history_[-1]["epoch"]),
        protocol=source.protocol,
        method=method_name(settings),
        device=device_name,
        switches=switches,
        num_resumed=saving.num_resumed,
        warnings=prototypes.warnings_,
    )
    return result, prototypes


def _tell_what_is_left_out(source: ImageSource, folder: RunFolder) -> None:
    """On the screen the first files, in ``left_out.txt`` all of them."""
    problems = source.left_out if isinstance(source, FolderSource) else ()
    if not problems or rank_zero_only.rank:  # type: ignore[attr-defined]
        return
    path = folder.path / "left_out.txt"
    with atomic_write(path) as file:
        file.write(describe_problems(problems, limit=None) + "\n")
    _say(f"{describe_problems(problems)}\n(see {path})")


def _write(
    result: RunResult,
    settings: Settings,
    source: ImageSource,
    prototypes: PrototypeKMeans,
) -> None:
    """Writes what a run leaves behind; the pictures last, lest one costs a long run."""
    folder = result.output_dir
    write_assignments(folder, source, prototypes)
    write_results(result, settings)
    if settings.clustering.pixel_baseline:
        result.pixel_scores = pixel_scores(source, settings)
    title = f"{result.method}, {_scores_line(result.scores)}"
    result.figures = draw_figures(folder, source, prototypes, title, settings.seed)
    write_results(result, settings)
    _say(summary(result))


def method_name(settings: Settings) -> str:
    """HaDis, or what is left of it without its terms: ProPos or BYOL."""
    if settings.model.pcl_weight > 0:
        return "HaDis" if settings.model.hsd_weight > 0 else "ProPos"
    return "HaDis without PCL" if settings.model.hsd_weight > 0 else "BYOL"


def pixel_scores(source: ImageSource, settings: Settings) -> dict[str, float] | None:
    """Scores of k-means on the raw pixels; None where no class is known."""
    if not (source.targets >= 0).any():
        return None
    side = settings.views.input_size
    pixels = []
    for i in range(len(source)):
        image = source[i][0]
        if not isinstance(source, ArraySource):  # whose images are of one size
            image = image.resize((side, side))
        pixels.append(np.asarray(image, dtype=np.float32).ravel() / 255)
    kmeans = KMeans(
        settings.n_clusters,
        metric="euclidean",
        n_init=settings.clustering.n_init,
        random_state=settings.seed,
    ).fit(np.stack(pixels))
    return clustering_scores(source.targets, kmeans.labels_)


def summary(result: RunResult) -> str:
    """How it went and where everything lies, in a few lines; the scores come last."""
    minutes, seconds = divmod(round(result.seconds), 60)
    figures = "  ".join(path.name for path in result.figures)
    times = f", resumed {result.num_resumed} x" if result.num_resumed else ""
    lines = [
        "",
        f"epochs: {result.epochs}, time: {minutes} min {seconds:02} s{times}",
        f"{result.output_dir}/",
        "  results.json  assignments.csv  metrics.csv  settings.yaml",
        "  checkpoints/last.ckpt  tensorboard/",
        f"  {figures}",
        "",
        *(f"WARNING: {warning}." for warning in result.warnings),
    ]
    width = max(len(result.method), len("k-means on pixels"))
    if result.pixel_scores is not None:
        line = _scores_line(result.pixel_scores)
        lines.append(f"{'k-means on pixels':{width}}  {line}")
    lines.append(f"{result.method:{width}}  {_scores_line(result.scores)}")
    return "\n".join(lines)


def _scores_line(scores: dict[str, float]) -> str:
    """``NMI 0.912  ACC 0.952  ARI 0.899``, or the label-free scores."""
    short = ("nmi", "acc", "ari")
    return "  ".join(
        f"{name.upper() if name in short else name} {value:.3f}"
        for name, value in scores.items()
    )


def _announcement(
    settings: Settings,
    source: ImageSource,
    world_size: int,
    device_name: str,
    folder: RunFolder,
) -> str:
    options = settings.trainer
    length = f"{options.max_epochs} epochs"
    if options.max_steps > 0:
        length = f"{options.max_steps} steps"
    return (
        f"{method_name(settings)}: {settings.n_clusters} clusters, {length} of batches "
        f"of {settings.loader.batch_size} on {world_size} x {device_name}\n"
        f"{source.protocol}\nresults in {folder.path}/"
    )


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def _say(text: str) -> None:
    if text and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
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
