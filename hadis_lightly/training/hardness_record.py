"""How hard each image is for HSD, averaged over the last epochs."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from lightly.utils import dist as lightly_dist
from torch import Tensor
from torch import distributed as torch_dist

from hadis_lightly.checks import check_number
from hadis_lightly.training.clustering_callback import ClusteringCallback


class HardnessRecord(pl.Callback):
    """Keeps, for every image, the weights that HSD gives it.

    The weights of Eq. 7 of HaDis [0] say by how much the student is wrong about an
    image's hardest pair: images whose views stay hard to tell, such as mixtures. What
    is odd or rare :func:`~hadis_lightly.cluster.isolation` finds far better. An epoch
    counts ``decay`` times as much as the one after it; a step waits for nothing.

    Works with modules that have ``last_hardness``, ``(n,)`` for the last batch, or None
    where the loss has no HSD; there is then nothing to record.

    Args:
        prototypes: Knows where in the set an image is.
        decay: In [0, 1). 0.9 averages over about ten epochs.

    Raises:
        ValueError: If ``decay`` is not in [0, 1).

    - [0]: HaDis, 2024, https://arxiv.org/abs/2401.14038
    """

    def __init__(self, prototypes: ClusteringCallback[Any], decay: float = 0.9) -> None:
        super().__init__()
        check_number("decay", decay, 0)
        if decay >= 1:
            raise ValueError(f"decay must be < 1, got {decay!r}.")
        self.prototypes = prototypes
        self.decay = decay
        # Sums and counts of this epoch, and decayed ones of those before: (4, n).
        self._table: Tensor | None = None

    @property
    def hardness_(self) -> Tensor | None:
        """Hardness of every image, ``(n,)``, in the order of the prototypes' labels.

        NaN where an image was in no batch; None if nothing was recorded.
        """
        if self._table is None:
            return None
        now, count, before, weight = self._table
        mixed = (now + self.decay * before) / (count + self.decay * weight)
        return torch.where(count > 0, mixed, before / weight)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Adds the hardness of a batch ``(views, targets, keys)``."""
        hardness = getattr(pl_module, "last_hardness", None)
        if hardness is None:
            return
        rows = self.prototypes.rows(batch[2])
        if self._table is None:
            n = len(self.prototypes.labels_)
            self._table = torch.zeros((4, n), device=hardness.device)
        self._table = self._table.to(hardness.device)
        self._table[0].index_add_(0, rows, hardness.float())
        self._table[1].index_add_(0, rows, torch.ones_like(rows, dtype=torch.float32))

    def on_train_epoch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """Closes the epoch; processes put together what each has seen."""
        if self._table is None:
            return
        now, before = self._table[:2], self._table[2:]
        if lightly_dist.world_size() > 1:
            torch_dist.all_reduce(now)
        self._table[2:] = self.decay * before + now
        self._table[:2] = 0

    def state_dict(self) -> dict[str, Any]:
        """What was recorded, as it goes into a checkpoint.

        Asked for in all processes, as Lightning does: each has a part of the epoch.
        """
        if self._table is None:
            return {}
        table = self._table.clone()
        if lightly_dist.world_size() > 1:
            torch_dist.all_reduce(table[:2])
        return {"table": table.cpu()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what was recorded: the epoch so far goes to the first process."""
        if state_dict:
            self._table = state_dict["table"].clone()
            if lightly_dist.rank() > 0:
                self._table[:2] = 0
