"""Checks against this machine: its devices, folders, and installed backbones."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from hadis_lightly.models.backbones import check_backbone
from hadis_lightly.settings.errors import SettingsError

#: ``model.backbone`` of pici, whose section describes the network.
MASKED_VIT = "masked_vit"


def check_backbone_name(name: str) -> None:
    """Raises SettingsError unless there is such a backbone."""
    if name == MASKED_VIT:
        return
    try:
        check_backbone(name)
    except ValueError as error:
        raise SettingsError(f"model.{error}") from None


def check_output_dir(path: str | None) -> None:
    """Raises SettingsError unless a folder exists or can be made."""
    if path is None:
        return
    folder = Path(os.path.abspath(path))
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.lstat(folder)
    except OSError as error:  # such as a name that is too long
        raise SettingsError(f"output_dir is {path!r}: {error.strerror}.") from None
    existing = next(f for f in (folder, *folder.parents) if os.path.lexists(f))
    if not existing.is_dir():
        raise SettingsError(
            f"output_dir is {path!r}, but {str(existing)!r} is not a folder."
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise SettingsError(
            f"output_dir is {path!r}, but {str(existing)!r} is not writable."
        )


def check_machine(trainer: Any) -> None:
    """Raises SettingsError unless this machine has the devices asked for."""
    devices, accelerator = trainer.devices, trainer.accelerator
    if devices != "auto" and not (str(devices).isdecimal() and int(devices) > 0):
        raise SettingsError(f"trainer.devices must be auto or >= 1, got {devices!r}.")
    has_mps = torch.backends.mps.is_available()
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if accelerator == "mps" and not has_mps:
        raise SettingsError(
            "trainer.accelerator=mps, but PyTorch finds no MPS device. Set "
            "trainer.accelerator=cpu."
        )
    if accelerator == "mps" or (accelerator == "gpu" and has_mps and num_gpus == 0):
        if trainer.precision not in ("auto", "32-true"):
            raise SettingsError(
                f"trainer.precision is {trainer.precision}, but Apple's MPS takes "
                "32-true only. Set trainer.precision=auto, or trainer.accelerator=cpu."
            )
    elif accelerator in ("gpu", "cuda"):
        if num_gpus == 0:
            raise SettingsError(
                f"trainer.accelerator={accelerator}, but PyTorch {torch.__version__} "
                "finds no CUDA device. Set trainer.accelerator=cpu."
            )
        if num_gpus and devices != "auto" and int(devices) > num_gpus:
            raise SettingsError(
                f"trainer.devices is {devices}, but there are only {num_gpus} GPUs."
            )
