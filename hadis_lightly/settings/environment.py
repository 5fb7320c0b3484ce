"""What can be said about the value of a setting before anything is read or made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from hadis_lightly.models.backbones import check_backbone
from hadis_lightly.settings.errors import SettingsError

#: What ``model.backbone`` is called where the section ``pici`` describes the network.
MASKED_VIT = "masked_vit"


def check_possible(settings: Any) -> None:
    """Checks what there must be beside the settings: devices, folders, a backbone.

    Args:
        settings: All settings, each of its type and within its range.

    Raises:
        SettingsError: Names the setting and its value.
    """
    channels = settings.data.num_channels
    if channels not in (None, 1, 3):
        raise SettingsError(f"data.num_channels must be 1 or 3, got {channels}.")
    check_path("data.path", settings.data.path)
    check_path("model.weights", settings.model.weights)
    check_output_dir(settings.output_dir)
    check_backbone_name(settings.model.backbone)
    try:
        settings.views.check("views.")
    except (TypeError, ValueError) as error:
        raise SettingsError(str(error)) from None
    check_machine(settings.trainer)


def check_backbone_name(name: str) -> None:
    """Checks that there is such a backbone.

    Raises:
        SettingsError: If there is none.
    """
    if name == MASKED_VIT:
        return
    try:
        check_backbone(name)
    except ValueError as error:
        raise SettingsError(f"model.{error}") from None


def check_path(name: str, path: str | None) -> None:
    """Checks that a path is not empty, which is taken for the current folder.

    Raises:
        SettingsError: Names the setting.
    """
    if path is not None and not path.strip():
        raise SettingsError(f"{name} must not be empty, got {path!r}.")


def check_output_dir(path: str | None) -> None:
    """Checks that a folder is there or can be made.

    Raises:
        SettingsError: Says why it cannot.
    """
    check_path("output_dir", path)
    if path is None:
        return
    folder = Path(os.path.abspath(path))
    try:
        there = next(f for f in (folder, *folder.parents) if os.path.lexists(f))
        is_folder = there.is_dir()
        os.lstat(folder)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"output_dir is {path!r}, but: {reason}.") from None
    if not is_folder:
        raise SettingsError(f"output_dir is {path!r}, but {str(there)!r} is no folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise SettingsError(
            f"output_dir is {path!r}, but nothing can be written in {str(there)!r}."
        )


def check_machine(trainer: Any) -> None:
    """Checks that this machine has the devices that are asked for.

    Raises:
        SettingsError: Names the setting and its value.
    """
    devices, accelerator = trainer.devices, trainer.accelerator
    if devices != "auto" and not (devices.isdecimal() and int(devices) > 0):
        raise SettingsError(f"trainer.devices must be auto or >= 1, got {devices!r}.")
    has_mps = torch.backends.mps.is_available()
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if accelerator == "mps" and not has_mps:
        raise SettingsError(
            "trainer.accelerator=mps, but PyTorch finds no MPS device. Set "
            "trainer.accelerator=cpu."
        )
    if accelerator in ("gpu", "cuda"):
        if num_gpus == 0 and not (accelerator == "gpu" and has_mps):
            raise SettingsError(
                f"trainer.accelerator={accelerator}, but PyTorch {torch.__version__} "
                "finds no CUDA device. Set trainer.accelerator=cpu."
            )
        if num_gpus and devices != "auto" and int(devices) > num_gpus:
            raise SettingsError(
                f"trainer.devices is {devices}, but there are only {num_gpus} GPUs."
            )
