"""Lightning's Trainer on the CPU, which writes and shows nothing."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl


def plain_trainer(
    *callbacks: pl.Callback, max_epochs: int = 1, **options: Any
) -> pl.Trainer:
    plain = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(
        max_epochs=max_epochs, callbacks=list(callbacks), **(plain | options)
    )
