"""Continues an interrupted run exactly where it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hadis_lightly.artifacts.checkpoint import Checkpoint
from hadis_lightly.runs.pipeline import Pipeline
from hadis_lightly.settings.changes import different_settings
from hadis_lightly.settings.sections import Settings
from hadis_lightly.training.clustering_callback import ClusteringCallback


@dataclass(frozen=True)
class ResumePoint:
    """How far an interrupted run had come: plain data, for all processes."""

    path: str
    """The checkpoint."""
    epoch: int
    batches_done: int
    """Batches done in this epoch."""
    step: int
    changes: list[str]
    """Settings that have changed and may alter the last bits."""

    @classmethod
    def of(cls, checkpoint: Checkpoint, settings: Settings) -> ResumePoint:
        """The point that a checkpoint was saved at."""
        stamp = checkpoint.stamp
        return cls(
            path=str(checkpoint.path),
            epoch=stamp["epoch"],
            batches_done=stamp["batches_done"],
            step=checkpoint.content["global_step"],
            changes=different_settings(stamp["settings"], settings, exactly=True),
        )

    def __str__(self) -> str:
        batch = f", batch {self.batches_done}" if self.batches_done else ""
        inexact = f" (not to the last bit: {'; '.join(self.changes)})"
        return f"resumed from {self.path}, epoch {self.epoch}{batch}" + (
            inexact if self.changes else ""
        )


def resume(
    start: ResumePoint,
    settings: Settings,
    clusters: ClusteringCallback[Any],
    pipeline: Pipeline,
) -> None:
    """Sets the loader to the next batch; Lightning restores everything else."""
    sampler: Any = pipeline.train_loader.sampler  # type: ignore[attr-defined]
    sampler.start_at(start.epoch, start.batches_done * settings.loader.batch_size)
    trainer = settings.trainer
    # A complete run clusters no more, but its results need the embeddings.
    clusters.embeds_at_start = start.epoch >= trainer.max_epochs or (
        0 < trainer.max_steps <= start.step
    )
