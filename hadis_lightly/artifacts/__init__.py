"""The files that a run leaves, each written and read in one place."""

from __future__ import annotations

from hadis_lightly.artifacts.checkpoint import (
    CheckpointError,
    backbone_state_dict,
    read_checkpoint,
)
from hadis_lightly.artifacts.results import RunResult

__all__ = [
    "CheckpointError",
    "RunResult",
    "backbone_state_dict",
    "read_checkpoint",
]
