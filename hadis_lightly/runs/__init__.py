"""One run, from settings to a folder of results."""

from __future__ import annotations

from hadis_lightly.runs.checkpointing import RunInterrupted
from hadis_lightly.runs.runner import run

__all__ = ["RunInterrupted", "run"]
