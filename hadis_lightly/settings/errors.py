"""What can be wrong with a setting."""

from __future__ import annotations


class SettingsError(ValueError):
    """A setting is out of range, or does not fit the data or the machine."""
