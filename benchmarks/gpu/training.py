"""The training of the proof: a pilot, the epochs that fit, the teacher it leaves."""

from __future__ import annotations

import csv
import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stages import ROOT, Stage

from hadis_lightly.artifacts import backbone_state_dict
from hadis_lightly.runs.performance import can_compile

#: Seconds that a training has to save, once it is asked to end.
GRACE = 60.0
MAX_BYTES = 25_000_000


@dataclass(frozen=True)
class Pace:
    """How fast a pilot was."""

    epoch_seconds: float
    """Of the slowest epoch of its second half, clustering included."""
    other_seconds: float
    """Everything else: start, compilation, first clustering, pictures."""


def recipe_settings(recipe: str) -> Any:
    """The settings of a recipe by its name."""
    return runpy.run_path(str(ROOT / "recipes" / f"{recipe}.py"))["SETTINGS"]


def training_stage(
    name: str, recipe: str, words: list[str], *, epochs: int, folder: Path, limit: float
) -> Stage:
    """A training by a recipe for short ones.

    Args:
        name: ``pilot`` or ``training``, also the name of its folder.
        recipe: Name of the recipe.
        words: Settings other than the recipe's.
        epochs: Length of the training.
        folder: Folder of the proof.
        limit: Seconds it may take.
    """
    # The warm-ups are the recipe's shares of all epochs.
    own = recipe_settings(recipe)
    share = epochs / own.trainer.max_epochs
    warmup = max(1, round(share * own.optimizer.warmup_epochs))
    # NOTE: After the warm-up in a pilot too, which so compiles the same programs.
    clustering_warmup = max(warmup + 1, round(share * own.clustering.warmup_epochs))
    settings = {
        "trainer.max_epochs": str(epochs),
        "optimizer.warmup_epochs": str(warmup),
        "clustering.warmup_epochs": str(clustering_warmup),
        "trainer.checkpoint_every_n_minutes": "2",
        "trainer.resume": "auto",
        "output_dir": str((folder / name).resolve()),
    }
    if torch.cuda.is_available() and can_compile(torch.device("cuda")):
        settings["trainer.compile"] = "default"  # auto would not for a short pilot
    for word in words:
        key, _, value = word.partition("=")
        settings[key] = value
    given = [f"{key}={value}" for key, value in settings.items()]
    title = f"{name.capitalize()} of {epochs} epochs"
    command = [f"recipes/{recipe}.py", *given]
    return Stage(name, title, command, limit - GRACE / 4, GRACE)


def read_scores(run: Path) -> list[dict[str, float]]:
    """Every clustering of a run: epoch, seconds, scores where it has them."""
    with (run / "scores.csv").open(encoding="utf-8") as file:
        rows = csv.DictReader(file)
        return [{name: float(x) for name, x in row.items() if x} for row in rows]


def pace_of(run: Path, seconds: float) -> Pace:
    """How fast a pilot was.

    Args:
        run: Its folder.
        seconds: Of the whole command.

    Raises:
        ValueError: If it has not clustered twice after the start.
    """
    rows = read_scores(run)
    taken = np.diff([row["seconds"] for row in rows])
    epochs = np.diff([row["epoch"] for row in rows])
    if len(taken) < 2:
        raise ValueError(f"{run} has clustered after at most one epoch.")
    # The first ones compile.
    later = slice((len(taken) + 1) // 2, None)
    epoch_seconds = float((taken[later] / epochs[later]).max())
    return Pace(epoch_seconds, max(0.0, seconds - rows[-1]["epoch"] * epoch_seconds))


def epochs_that_fit(pace: Pace, seconds: float, margin: float = 0.1) -> int:
    """How many epochs a training may have to end within some seconds.

    Args:
        pace: How fast a pilot was.
        seconds: For all of the training.
        margin: Fraction by which it may be slower than the pilot.

    Example:
        >>> epochs_that_fit(Pace(epoch_seconds=10.0, other_seconds=60.0), 1160.0)
        100
    """
    left = max(0.0, seconds - pace.other_seconds)
    return int(left / ((1 + margin) * pace.epoch_seconds))


def write_teacher(run: Path, path: Path) -> None:
    """Writes the teacher's backbone in half precision, if that is at most 25 MB.

    ``model.weights=FILE`` reads it.

    Args:
        run: Folder of a run.
        path: File to write.
    """
    weights = {
        name: value.half() if value.is_floating_point() else value
        for name, value in backbone_state_dict(run).items()
    }
    if sum(value.nbytes for value in weights.values()) <= MAX_BYTES:
        torch.save(weights, path)


def checkpoint_of(run: Path) -> Path:
    """The last checkpoint of a run, which may not exist."""
    return run / "checkpoints" / "last.ckpt"
