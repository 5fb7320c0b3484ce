"""Seeds every step of training, so that no draw depends on what came before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch


class StepSeeds(pl.Callback):
    """Seeds PyTorch's generators before each step from seed, epoch, batch and process.

    The noise added to projections, or dropout in a backbone, is then the same in a run
    that was interrupted and resumed.

    Args:
        seed: Seed of the run.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def on_train_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Seeds the generators of the CPU and of the module's device."""
        entropy = (self.seed, trainer.current_epoch, batch_idx, trainer.global_rank)
        state = np.random.SeedSequence(entropy).generate_state(1, np.uint64)
        seed = int(state[0] >> np.uint64(1))
        # Not torch.manual_seed, which goes to every device there is.
        torch.default_generator.manual_seed(seed)
        if pl_module.device.type == "cuda":
            torch.cuda.manual_seed(seed)
