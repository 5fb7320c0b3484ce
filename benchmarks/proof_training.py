"""The training of the proof: a pilot, how long the training may be, the training."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from proof_stages import TRAINING_GRACE, Stage

from hadis_lightly.artifacts import backbone_state_dict
from hadis_lightly.artifacts.checkpoint import LAST
from hadis_lightly.artifacts.score_table import SCORES
from hadis_lightly.runs.performance import can_compile

#: Shares of all epochs with a rising learning rate, and without pseudo-labels.
WARMUP, CLUSTERING_WARMUP = 0.05, 0.1
MAX_BYTES = 25_000_000


@dataclass(frozen=True)
class Pace:
    """How fast a pilot was."""

    epoch_seconds: float
    """Of the slowest epoch of its second half, clustering included."""
    other_seconds: float
    """All else that it took: start, compilation, first clustering, pictures."""


def training_stage(
    name: str,
    title: str,
    words: list[str],
    *,
    epochs: int,
    folder: Path,
    limit: float,
) -> Stage:
    """A training by the recipe for short ones.

    Args:
        name: ``pilot`` or ``training``, also the name of its folder.
        title: For the page.
        words: Settings that are not the recipe's.
        epochs: Length of the training.
        folder: Folder of the proof.
        limit: Seconds it may take.
    """
    warmup = max(1, round(WARMUP * epochs))
    # NOTE: Later than the warm-up also in a pilot, which compiles the same programs so.
    clustering_warmup = max(warmup + 1, round(CLUSTERING_WARMUP * epochs))
    settings = {
        "trainer.max_epochs": str(epochs),
        "optimizer.warmup_epochs": str(warmup),
        "clustering.warmup_epochs": str(clustering_warmup),
        "trainer.checkpoint_every_n_minutes": "2",
        "trainer.resume": "auto",
        "output_dir": str((folder / name).resolve()),
    }
    if torch.cuda.is_available() and can_compile(torch.device("cuda")):
        settings["trainer.compile"] = "default"  # auto would not for so short a pilot
    for word in words:
        key, _, value = word.partition("=")
        settings[key] = value
    given = [f"{key}={value}" for key, value in settings.items()]
    words = ["recipes/cifar10_short.py", *given]
    return Stage(name, title, words, limit - TRAINING_GRACE / 4, TRAINING_GRACE)


def read_scores(run: Path) -> list[dict[str, float]]:
    """Every clustering of a run: epoch, seconds, scores."""
    with (run / SCORES).open(encoding="utf-8") as file:
        rows = csv.DictReader(file)
        return [{name: float(value) for name, value in row.items()} for row in rows]


def pace_of(run: Path, seconds: float) -> Pace:
    """How fast a pilot was.

    Args:
        run: Its folder.
        seconds: What the whole command took.

    Raises:
        ValueError: If it has not clustered twice after the start.
    """
    rows = read_scores(run)
    taken = np.diff([row["seconds"] for row in rows])
    epochs = np.diff([row["epoch"] for row in rows])
    if len(taken) < 2:
        raise ValueError(f"{run} has clustered after one epoch only, or after none.")
    # The first ones compile.
    later = slice((len(taken) + 1) // 2, None)
    epoch_seconds = float((taken[later] / epochs[later]).max())
    return Pace(epoch_seconds, max(0.0, seconds - rows[-1]["epoch"] * epoch_seconds))


def epochs_that_fit(pace: Pace, seconds: float, margin: float = 0.1) -> int:
    """How many epochs a training may have to end within some seconds.

    Args:
        pace: How fast a pilot was.
        seconds: For all of the training.
        margin: By which share it may be slower than the pilot.

    Example:
        >>> epochs_that_fit(Pace(epoch_seconds=10.0, other_seconds=60.0), 1160.0)
        100
    """
    left = max(0.0, seconds - pace.other_seconds)
    return int(left / ((1 + margin) * pace.epoch_seconds))


def write_teacher(run: Path, path: Path) -> None:
    """Writes the teacher's backbone in half precision, if that is at most 25 MB.

    ``model.weights=FILE`` takes it up again, also for other images.

    Args:
        run: Folder of a run.
        path: File to write.
    """
    weights = {
        name: value.half() if value.is_floating_point() else value
        for name, value in backbone_state_dict(run).items()
    }
    num_bytes = sum(value.nbytes for value in weights.values())
    if num_bytes <= MAX_BYTES:
        torch.save(weights, path)


def has_checkpoint(run: Path) -> bool:
    """Whether a run has trained, to its end or not."""
    return (run / "checkpoints" / LAST).exists()
