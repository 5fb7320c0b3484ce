"""From settings to a module: one file per method."""

from __future__ import annotations

from hadis_lightly.methods.registry import with_method

__all__ = ["with_method"]
