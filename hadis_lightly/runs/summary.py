"""What a run says in words: what it is about to do, and how it went."""

from __future__ import annotations

from pathlib import Path

import torch

from hadis_lightly.artifacts.results import RunResult
from hadis_lightly.data import ImageSource
from hadis_lightly.methods.method import Method
from hadis_lightly.settings.sections import Settings


def summary(result: RunResult) -> str:
    """How it went and where everything lies, in a few lines; the scores come last."""
    minutes, seconds = divmod(round(result.seconds), 60)
    figures = "  ".join(path.name for path in result.figures)
    times = f", resumed {result.num_resumed} x" if result.num_resumed else ""
    width = max(len(result.method), len("k-means on pixels"))
    logs = _logs(result.output_dir)
    of_pixels = result.pixel_scores
    lines = [
        "",
        f"epochs: {result.epochs}, time: {minutes} min {seconds:02} s{times}",
        f"{result.output_dir}/",
        "  results.json  assignments.csv  scores.csv  metrics.csv  settings.yaml",
        f"  embeddings.npy  checkpoints/last.ckpt  {logs}snapshots/",
        f"  {figures}",
        f"to look at them: hadis-lightly-report checkpoint={result.output_dir}",
        "",
        *(f"WARNING: {warning}." for warning in result.warnings),
    ]
    if of_pixels is not None:
        lines.append(f"{'k-means on pixels':{width}}  {scores_line(of_pixels)}")
    lines.append(f"{result.method:{width}}  {scores_line(result.scores)}")
    return "\n".join(lines)


def _logs(folder: Path) -> str:
    """What a logger has written."""
    names = ("tensorboard/", "wandb/", "mlflow.db")
    return "".join(f"{name}  " for name in names if (folder / name).exists())


def scores_line(scores: dict[str, float]) -> str:
    """``NMI 0.912  ACC 0.952  ARI 0.899``, or the label-free scores."""
    words = []
    for name, value in scores.items():
        title = name.upper() if name in ("nmi", "acc", "ari") else name
        is_count = name in ("size_min", "size_max")
        words.append(f"{title} {value:,.0f}" if is_count else f"{title} {value:.3f}")
    return "  ".join(words)


def announcement(
    settings: Settings,
    source: ImageSource,
    world_size: int,
    device_name: str,
    folder: Path,
    method: Method,
) -> str:
    """What is about to be done, to what and where."""
    options = settings.trainer
    length = f"{options.max_epochs} epochs"
    if options.max_steps > 0:
        length = f"{options.max_steps} steps"
    length += f" of batches of {settings.loader.batch_size}"
    if settings.model.freeze_backbone:
        length = "nothing is trained"
    return (
        f"{method.title(settings)}: {settings.n_clusters} clusters, {length}, on "
        f"{world_size} x {device_name}\n"
        f"{source.description}\nresults in {folder}/"
    )


def device_name(device: torch.device) -> str:
    """Name of a GPU, or the kind of device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"
