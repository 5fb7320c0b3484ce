"""One run: from settings to clusters, scores and pictures in a folder."""

from __future__ import annotations

import copy
import logging
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from hadis_lightly.cluster import KMeans, clustering_scores
from hadis_lightly.data import ArraySource, ImageSource
from hadis_lightly.training.build import (
    build_model,
    build_module,
    build_prototypes,
    build_source,
    build_trainer,
    check_batches,
)
from hadis_lightly.training.config import Settings, check_settings
from hadis_lightly.training.cores import cores_left_by_workers
from hadis_lightly.training.engine import build_feed
from hadis_lightly.training.results import (
    RunResult,
    draw_figures,
    write_assignments,
    write_results,
)
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

    Args:
        settings: All settings. ``output_dir=None`` makes a folder below ``runs/``.

    Returns:
        Scores, and where the results are.

    Raises:
        SettingsError: If a setting is out of range or does not fit the data.
        DataError: If the data cannot be read.
    """
    settings = copy.deepcopy(settings)
    check_settings(settings)
    source = build_source(settings)
    with _quiet_lightning():
        pl.seed_everything(settings.seed, workers=True, verbose=False)
        model = build_model(settings, source)
        folder = _new_folder(settings)
        resolved = copy.deepcopy(settings)
        resolved.trainer.precision = resolve_precision(settings)
        trainer = build_trainer(resolved, folder)
        check_batches(settings, len(source), trainer.world_size)
        root_device = trainer.strategy.root_device
        resolved = resolve_switches(resolved, root_device, len(source))
        feed = build_feed(
            resolved, source, root_device, trainer.global_rank, trainer.world_size
        )
        prototypes = build_prototypes(resolved, feed.clean_loader)
        # First, so that the bar shows its scores at once.
        trainer.callbacks.insert(0, prototypes)  # type: ignore[attr-defined]
        module = build_module(
            resolved, model, prototypes, feed.views, trainer.world_size
        )
        with cores_left_by_workers(root_device, feed.num_workers):
            device = _device_name(root_device)
            _say(trainer, _announcement(settings, source, trainer, folder))
            switches = describe_switches(resolved, feed.engine, feed.reason)
            _say(trainer, switches)
            start = time.perf_counter()
            trainer.fit(module, feed.train_loader)
            seconds = time.perf_counter() - start
        trainer.save_checkpoint(folder / "checkpoints" / "last.ckpt")

    result = RunResult(
        scores=prototypes.scores_,
        output_dir=folder,
        seconds=seconds,
        epochs=int(prototypes.history_[-1]["epoch"]),
        protocol=source.protocol,
        method=method_name(settings),
        switches=switches,
    )
    if not trainer.is_global_zero:
        return result
    write_assignments(folder, source, prototypes)
    write_results(result, settings, device)  # first, lest a picture cost a long run
    if settings.clustering.pixel_baseline:
        result.pixel_scores = pixel_scores(source, settings)
    title = f"{result.method}, {_scores_line(result.scores)}"
    result.figures = draw_figures(folder, source, prototypes, title, settings.seed)
    write_results(result, settings, device)
    _say(trainer, summary(result))
    return result


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
    lines = [
        "",
        f"epochs: {result.epochs}, time: {minutes} min {seconds:02} s",
        f"{result.output_dir}/",
        "  results.json  assignments.csv  metrics.csv  settings.yaml",
        "  checkpoints/last.ckpt  tensorboard/",
        f"  {figures}",
        "",
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
    settings: Settings, source: ImageSource, trainer: pl.Trainer, folder: Path
) -> str:
    options = settings.trainer
    length = f"{options.max_epochs} epochs"
    if options.max_steps > 0:
        length = f"{options.max_steps} steps"
    device = f"{trainer.world_size} x {_device_name(trainer.strategy.root_device)}"
    return (
        f"{method_name(settings)}: {settings.n_clusters} clusters, {length} of batches "
        f"of {settings.loader.batch_size} on {device}\n"
        f"{source.protocol}\nresults in {folder}/"
    )


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def _say(trainer: pl.Trainer, text: str) -> None:
    if trainer.is_global_zero:
        print(text, flush=True)


def _new_folder(settings: Settings) -> Path:
    """Makes a folder of its own for this run, and writes the settings into it."""
    if settings.output_dir is None:
        now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        settings.output_dir = str(Path("runs") / now)
    wanted = Path(os.path.relpath(settings.output_dir))
    if rank_zero_only.rank:  # type: ignore[attr-defined]
        return wanted  # the first process makes it
    for attempt in range(1, 10_000):
        folder = wanted if attempt == 1 else Path(f"{wanted}-{attempt}")
        folder.mkdir(parents=True, exist_ok=True)
        settings.output_dir = str(folder)
        try:
            # Exclusive, so that two runs that start at once do not share a folder.
            with (folder / "settings.yaml").open("x", encoding="utf-8") as file:
                file.write(OmegaConf.to_yaml(OmegaConf.structured(settings)))
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"there are 9,999 folders {wanted}-* already")


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
                ".*torch._prims_common.check.*",
            ):
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        logger.setLevel(level)
