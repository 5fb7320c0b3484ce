"""The files that a run leaves, each written and read in one place."""

from __future__ import annotations

from hadis_lightly.artifacts.checkpoint import (
    Checkpoint,
    CheckpointError,
    backbone_state_dict,
    load_checkpoint,
)
from hadis_lightly.artifacts.results import RunResult

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "RunResult",
    "backbone_state_dict",
    "load_checkpoint",
]
