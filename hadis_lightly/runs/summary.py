"""What a run prints: its plan, and its outcome."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from pytorch_lightning.utilities import rank_zero_only

from hadis_lightly.artifacts.results import (
    EXTERNAL_SCORES,
    RunResult,
    describe_labelled,
    split_scores,
)
from hadis_lightly.data import ImageSource
from hadis_lightly.methods.registry import method_of
from hadis_lightly.settings.sections import Settings

# Of the nearest neighbours of two views; below it clusters were poor (docs/photos.md).
_LOW_AGREEMENT = 0.2


def summary(result: RunResult) -> str:
    """The outcome in a few lines: files, warnings, scores, and how to go on."""
    minutes, seconds = divmod(round(result.seconds), 60)
    figures = "  ".join(path.name for path in result.figures)
    times = f", resumed {result.num_resumed} x" if result.num_resumed else ""
    names = ("tensorboard/", "wandb/", "mlflow.db")
    logs = "".join(f"{name}  " for name in names if (result.output_dir / name).exists())
    choice = result.n_clusters_choice
    width = max(len(result.method), len("k-means on pixels"))
    lines = [
        "",
        f"epochs: {result.epochs}, time: {minutes} min {seconds:02} s{times}",
        f"{result.output_dir}/",
        "  results.json  assignments.csv  scores.csv  metrics.csv  settings.yaml",
        f"  embeddings.npy  checkpoints/last.ckpt  {logs}snapshots/",
        f"  {figures}",
        "",
        *([choice["description"]] if choice else []),
        *(f"WARNING: {warning}" for warning in result.warnings),
        *_score_lines("k-means on pixels", result.pixel_scores or {}, result, width),
        *_score_lines(result.method, result.scores, result, width),
        f"view the clusters: hadis-lightly-report checkpoint={result.output_dir}",
    ]
    return "\n".join(lines)


def _score_lines(
    title: str, scores: Mapping[str, float], result: RunResult, width: int
) -> list[str]:
    """A line of scores against classes, one of label-free scores; none if empty."""
    external, label_free = split_scores(scores)
    lines = [scores_line(part) for part in (external, label_free) if part]
    if external and (of := describe_labelled(result.num_labelled, result.num_images)):
        lines[0] += f"  {of}"
    pairs = zip([title, ""], lines, strict=False)
    return [f"{words:{width}}  {line}" for words, line in pairs]


def scores_line(scores: Mapping[str, float]) -> str:
    """``NMI 0.912  ACC 0.952  ARI 0.899``, or label-free scores by their names."""
    words = []
    for name, value in scores.items():
        title = name.upper() if name in EXTERNAL_SCORES else name
        number = f"{value:,.0f}" if name in ("size_min", "size_max") else f"{value:.3f}"
        words.append(f"{title} {'not defined' if math.isnan(value) else number}")
    return "  ".join(words)


def announcement(
    settings: Settings,
    source: ImageSource,
    world_size: int,
    device_name: str,
    folder: Path,
) -> str:
    """The plan: method, length, device, images and folder."""
    epochs, steps = settings.trainer.max_epochs, settings.trainer.max_steps
    number, unit = (steps, "step") if steps > 0 else (epochs, "epoch")
    length = f"{number} {unit}{'s' * (number != 1)}"
    length += f" of batches of {settings.loader.batch_size}"
    if settings.model.train == "nothing":
        length = "nothing is trained"
    title = method_of(settings).title(settings)
    return (
        f"{title}: {_number(settings)} clusters, {length}, on {world_size} x "
        f"{device_name}\n{source.description}\nresults in {folder}/"
    )


def _number(settings: Settings) -> str:
    """``10``, or ``2 to 40``."""
    low, high = settings.n_clusters_range()
    return str(low) if low == high else f"{low} to {high}"


def describe_agreement(share: float | None) -> str:
    """What to expect of features, by the agreement of views, and what would help."""
    if share is None:
        return ""
    line = f"two views of an image agree on {share:.0%} of its nearest neighbours"
    if share >= _LOW_AGREEMENT:
        return line
    return (
        f"{line}, which is low: another model.backbone, a larger views.input_size or "
        "fine-tuning (model.train=all) may give better clusters"
    )


def device_name(device: torch.device) -> str:
    """Name of a GPU, or the kind of device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{device.type}, {threads} thread{'s' * (threads != 1)}"


def say(settings: Settings, text: str) -> None:
    """Prints text, if there is any, in the first process, unless all is quiet."""
    if text and not settings.quiet and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        print(text, flush=True)
