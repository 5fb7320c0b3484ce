"""Watches that losses and gradients stay finite, without waiting for the device."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

# On a GPU what was found arrives on the host so many steps later.
_DELAY_IN_STEPS = 20
# Steps that mixed precision may skip in a row while it looks for its scale: more than
# it takes from the highest scale, 2^24, to 2^-24.
_MAX_SKIPPED = 50
_NONE = -1


class DivergedError(ValueError):
    """A loss or a gradient is not finite."""


class FirstFailure(NamedTuple):
    """Where training went wrong first."""

    epoch: int
    batch: int
    losses: tuple[float, ...]
    """The losses of that batch."""
    parameter: int | None
    """Number of the first parameter whose gradient is not finite, if there is one."""


class FiniteRecord:
    """Remembers, on the device, the first step that was not finite.

    Args:
        num_losses: How many losses a step has.
        max_skipped: Bad steps in a row that are no failure. Mixed precision with a
            scaler skips steps whose gradients overflow.
    """

    def __init__(self, num_losses: int, max_skipped: int = 0) -> None:
        self.num_losses = num_losses
        self.max_skipped = max_skipped
        self._record: Tensor | None = None  # see _unpack
        self._underway: tuple[Tensor, torch.cuda.Event | None] | None = None

    @torch.no_grad()
    def add(self, epoch: int, batch: int, losses: Tensor, norms: Tensor) -> None:
        """Looks at one step.

        Args:
            epoch: Number of the epoch.
            batch: Number of the batch in it.
            losses: The losses, ``(num_losses,)``.
            norms: Norms of the gradients of all parameters, ``(m,)``.
        """
        # Apple's MPS has no float64; numbers of batches are exact below 2^24.
        wide = torch.float32 if losses.device.type == "mps" else torch.float64
        losses, norms = losses.detach().to(wide), norms.detach()
        if self._record is None and losses.device.type == "cpu":
            # Nothing is waited for here, and one look is faster than many operations.
            total = losses.sum() + norms.sum(dtype=wide)
            if math.isfinite(float(total)):
                return
        bad = ~torch.isfinite(norms)
        is_bad = bad.any() | ~torch.isfinite(losses).all()
        parameter = torch.where(bad.any(), bad.int().argmax(), _NONE).to(wide)
        now = torch.stack(
            [
                losses.new_ones(()),
                losses.new_full((), epoch),
                losses.new_full((), batch),
                parameter,
                *losses,
            ]
        )
        if self._record is None:
            self._record = torch.zeros_like(now)
        record = self._record
        # The first of a row of bad steps is kept, a good one forgets them.
        in_a_row = record[0] + 1
        kept = torch.where(record[0] > 0, record, now)
        kept[0] = in_a_row
        is_settled = record[0] > self.max_skipped
        kept = torch.where(is_bad | is_settled, kept, torch.zeros_like(kept))
        self._record = kept

    def look(self, step: int) -> FirstFailure | None:
        """The failure, if it is known by now; on a GPU some steps after it happened."""
        if self._record is None:
            return None
        if self._record.device.type == "cpu":
            return self.look_now()
        if step % _DELAY_IN_STEPS != 0:
            return None
        if self._record.device.type != "cuda":
            return self.look_now()
        found = None
        if self._underway is not None:
            record, event = self._underway
            if event is not None:
                event.synchronize()  # of twenty steps ago
            found = self._unpack(record)
        host = torch.empty(self._record.shape, dtype=torch.double, pin_memory=True)
        host.copy_(self._record, non_blocking=True)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record()
        self._underway = host, arrived
        return found

    def look_now(self) -> FirstFailure | None:
        """The failure, if there was one; waits for the device."""
        return None if self._record is None else self._unpack(self._record.cpu())

    def _unpack(self, record: Tensor) -> FirstFailure | None:
        in_a_row, epoch, batch, parameter, *losses = (float(x) for x in record.numpy())
        if in_a_row <= self.max_skipped:
            return None
        number = None if parameter == _NONE else int(parameter)
        return FirstFailure(int(epoch), int(batch), tuple(losses), number)


@torch.no_grad()
def gradient_norms(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Norm of the gradient of every parameter, ``(m,)``; 0 where there is none."""
    parameters = list(parameters)
    gradients = [p.grad for p in parameters if p.grad is not None]
    norms = iter(torch._foreach_norm(gradients))
    zero = parameters[0].new_zeros(())
    return torch.stack([zero if p.grad is None else next(norms) for p in parameters])


class HealthMonitor(pl.Callback):
    """Stops a run whose loss or gradient is no longer finite, and says where it began.

    No step waits for the device: on a GPU the run ends up to forty steps later, and
    names the batch where it began all the same.

    Works with any module that keeps the losses of its last step in ``last_losses``, a
    tensor with one entry for each of ``loss_names``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._record: FiniteRecord | None = None
        self._names: list[str] = []
        self._loss_names: Sequence[str] = ()
        self._batch = 0

    def on_train_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """Takes the names of losses and parameters."""
        has_scaler = getattr(trainer.precision_plugin, "scaler", None) is not None
        self._loss_names = tuple(pl_module.loss_names)  # type: ignore[arg-type]
        self._record = FiniteRecord(
            len(self._loss_names), max_skipped=_MAX_SKIPPED if has_scaler else 0
        )
        self._names = [n for n, p in pl_module.named_parameters() if p.requires_grad]

    def on_train_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Takes note of the batch."""
        self._batch = batch_idx

    def on_before_optimizer_step(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        optimizer: Optimizer,
    ) -> None:
        """Looks at the losses and the gradients of the step."""
        assert self._record is not None
        trained = (p for p in pl_module.parameters() if p.requires_grad)
        losses: Tensor = pl_module.last_losses  # type: ignore[assignment]
        self._record.add(
            trainer.current_epoch, self._batch, losses, gradient_norms(trained)
        )
        self._stop_at(self._record.look(trainer.global_step))

    def on_train_epoch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """Looks before the embeddings are clustered."""
        self.check_now()

    def check_now(self) -> None:
        """Looks at all steps so far.

        Raises:
            DivergedError: If one of them was not finite.
        """
        if self._record is not None:
            self._stop_at(self._record.look_now())

    def _stop_at(self, failure: FirstFailure | None) -> None:
        if failure is None:
            return
        pairs = zip(self._loss_names, failure.losses, strict=True)
        bad = {name: value for name, value in pairs if not math.isfinite(value)}
        terms = {name: value for name, value in bad.items() if name != "loss"} or bad
        seen = [f"{name} is {value}" for name, value in terms.items()]
        if failure.parameter is not None:
            name = self._names[failure.parameter]
            seen.append(f"the gradient of {name} is not finite")
        raise DivergedError(
            f"training diverged in epoch {failure.epoch}, batch {failure.batch}: "
            f"{', '.join(seen)}. The last good checkpoint stays; a lower "
            "optimizer.learning_rate or a longer optimizer.warmup_epochs may help."
        )
