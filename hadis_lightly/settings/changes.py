"""In what the settings of two runs differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from hadis_lightly.settings.sections import Settings

# Settings that change how a run goes along, but not what comes out of it.
_WITHOUT_EFFECT = {
    "output_dir",
    "loader.num_workers",
    "data.download",
    "clustering.pixel_baseline",
    "trainer.resume",
    "trainer.checkpoint_every_n_minutes",
    "trainer.checkpoint_every_n_epochs",
    "trainer.log_every_n_steps",
    "trainer.logger",
    "quiet",
    "trainer.progress_bar",
}
# Settings that change the last bits at most.
_WITH_THE_MACHINE = {
    "data.path",
    "data.pipeline",
    "data.max_resident_gib",
    "optimizer.fused",
    "trainer.accelerator",
    "trainer.precision",
    "trainer.channels_last",
    "trainer.compile",
    "trainer.deterministic",
}


def different_settings(
    before: Mapping[str, Any], settings: Settings, exactly: bool = False
) -> list[str]:
    """What two runs differ in that matters for their results.

    Args:
        before: Settings of the one, as plain data.
        settings: Settings of the other.
        exactly: Whether what depends on the machine counts as well.

    Returns:
        ``name: value before -> value now``, for each.
    """
    ignored = _WITHOUT_EFFECT if exactly else _WITHOUT_EFFECT | _WITH_THE_MACHINE
    ours = flat_settings(asdict(settings))
    # Settings that came later have their defaults, those that are gone do not count.
    theirs = flat_settings(asdict(Settings())) | flat_settings(before)
    return [
        f"{name}: {theirs.get(name)} -> {ours.get(name)}"
        for name in sorted(ours)
        if theirs.get(name) != ours.get(name) and name not in ignored
    ]


def flat_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Full names of all settings to their values."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{k}": v for k, v in flat_settings(value).items()}
        else:
            flat[name] = value
    return flat
