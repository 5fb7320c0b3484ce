"""Checks against this machine: its devices and installed backbones."""

from __future__ import annotations

from typing import Any

import torch

from hadis_lightly.backbone_names import MASKED_VIT
from hadis_lightly.models.backbones import check_backbone
from hadis_lightly.settings.errors import SettingsError


def check_backbone_of(name: str) -> None:
    """Raises SettingsError unless there is such a backbone."""
    if name == MASKED_VIT:
        return
    try:
        check_backbone(name)
    except ValueError as error:
        raise SettingsError(f"model.{error}") from None


def check_machine(trainer: Any) -> None:
    """Raises SettingsError unless this machine has the devices asked for."""
    devices, accelerator = trainer.devices, trainer.accelerator
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
