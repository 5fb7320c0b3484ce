"""Puts the parts of a run where an interrupted one was."""

from __future__ import annotations

from typing import Any

from hadis_lightly.artifacts.checkpoint import KEY, check_fits, read_checkpoint
from hadis_lightly.data import ImageSource
from hadis_lightly.runs.folder import RunFolder
from hadis_lightly.runs.pipeline import Pipeline
from hadis_lightly.settings.changes import different_settings
from hadis_lightly.settings.sections import Settings
from hadis_lightly.training.clustering_callback import ClusteringCallback
from hadis_lightly.training.clustering_module import ClusteringModule


def resume(
    folder: RunFolder,
    settings: Settings,
    source: ImageSource,
    module: ClusteringModule,
    clusters: ClusteringCallback[Any],
    pipeline: Pipeline,
) -> str:
    """Checks the checkpoint to go on from, and tells the loader where that is.

    Weights and the rest of the state are Lightning's to restore, when it fits.

    Args:
        folder: Says from which checkpoint; None starts at the beginning.
        settings: All settings.
        source: The images.
        module: What will be trained.
        clusters: What will cluster.
        pipeline: The loaders.

    Returns:
        What to say about it; nothing for a new run.

    Raises:
        CheckpointError: If the checkpoint does not fit.
    """
    path = folder.checkpoint
    if path is None:
        return ""
    checkpoint = read_checkpoint(path)
    check_fits(checkpoint, path, settings, source, module.model)
    made: dict[str, Any] = checkpoint[KEY]
    epoch, batches = made["epoch"], made["batches_done"]
    sampler: Any = pipeline.train_loader.sampler  # type: ignore[attr-defined]
    sampler.start_at(epoch, batches * settings.loader.batch_size)
    trainer = settings.trainer
    is_complete = epoch >= trainer.max_epochs or (
        0 < trainer.max_steps <= checkpoint["global_step"]
    )
    # Nothing will be clustered any more, but results need the embeddings.
    clusters.embeds_at_start = is_complete
    within = f", batch {batches}" if batches else ""
    said = f"resumed from {path}, epoch {epoch}{within}"
    changes = different_settings(made["settings"], settings, exactly=True)
    if changes:
        said += f" (not to the last bit: {'; '.join(changes)})"
    return said
