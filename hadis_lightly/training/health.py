"""Watches that losses and gradients stay finite, without waiting for the device."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer

from hadis_lightly.precision import accurate_dtype

# On a GPU a failure is known on the host so many steps later.
_DELAY_IN_STEPS = 20
# Steps that mixed precision may skip in a row while it searches its loss scale: more
# than it takes from the highest, 2^24, to 2^-24.
_MAX_SKIPPED = 50
_NONE = -1


class DivergedError(ValueError):
    """A loss or a gradient is not finite."""


class FirstFailure(NamedTuple):
    """The first step that was not finite."""

    epoch: int
    batch: int
    losses: tuple[float, ...]
    """The losses of that batch."""
    parameter: int | None
    """Index of the first parameter whose gradient is not finite, if any."""


class FiniteRecord:
    """Remembers, on the device, the first step that was not finite.

    Args:
        max_skipped: Steps in a row that may have bad gradients: mixed precision with a
            scaler skips steps whose gradients overflow. A loss is not scaled, so that
            a bad one is a failure at once.
    """

    def __init__(self, max_skipped: int = 0) -> None:
        self.max_skipped = max_skipped
        self._record: Tensor | None = None  # see _unpack
        self._underway: tuple[Tensor, torch.cuda.Event] | None = None

    @torch.no_grad()
    def add(self, epoch: int, batch: int, losses: Tensor, norms: Tensor) -> None:
        """Checks one step: its losses, and the gradient norm of every parameter."""
        # Numbers of batches are exact below 2^24 in float32, too.
        wide = accurate_dtype(losses.device)
        losses, norms = losses.detach().to(wide), norms.detach()
        if self._record is None and losses.device.type == "cpu":
            # Nothing to wait for, and one sum is faster than many operations.
            total = losses.sum() + norms.sum(dtype=wide)
            if math.isfinite(float(total)):
                return
        bad = ~torch.isfinite(norms)
        is_lost = ~torch.isfinite(losses).all()
        is_bad = bad.any() | is_lost
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
        is_settled = record[0] > self.max_skipped
        # The first of a row of bad steps is kept, a good one clears the row. A bad loss
        # says more than gradients that may be skipped.
        is_kept = is_settled | ((record[0] > 0) & ~is_lost)
        kept = torch.where(is_kept, record, now)
        kept[0] = record[0] + torch.where(is_lost, self.max_skipped + 1, 1)
        self._record = torch.where(is_bad | is_settled, kept, torch.zeros_like(kept))

    def look(self, step: int) -> FirstFailure | None:
        """The failure, if it is known by now: on a GPU some steps later."""
        if self._record is None:
            return None
        kind = self._record.device.type
        if kind != "cpu" and step % _DELAY_IN_STEPS:
            return None
        if kind != "cuda":
            return self.look_now()
        found = None
        if self._underway is not None:
            record, event = self._underway
            event.synchronize()  # of twenty steps ago
            found = self._unpack(record)
        host = torch.empty(self._record.shape, dtype=torch.double, pin_memory=True)
        host.copy_(self._record, non_blocking=True)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record()
        self._underway = host, arrived
        return found

    def look_now(self) -> FirstFailure | None:
        """The failure, if any; waits for the device."""
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


class HealthMonitor(Callback):
    """Stops training when a loss or gradient is not finite, and names where it began.

    No step waits for the device: on a GPU training ends up to forty steps later, and
    the message names the batch all the same. The module must keep the losses of its
    last step in ``last_losses``, a tensor with one entry for each of ``loss_names``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._record = FiniteRecord()
        self._names: list[str] = []
        self._loss_names: Sequence[str] = ()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the names of losses and parameters."""
        has_scaler = getattr(trainer.precision_plugin, "scaler", None) is not None
        self._loss_names = tuple(pl_module.loss_names)  # type: ignore[arg-type]
        self._record = FiniteRecord(_MAX_SKIPPED if has_scaler else 0)
        self._names = [n for n, p in pl_module.named_parameters() if p.requires_grad]

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Checks the losses and the gradients of the step."""
        trained = (p for p in pl_module.parameters() if p.requires_grad)
        losses: Tensor = pl_module.last_losses  # type: ignore[assignment]
        norms = gradient_norms(trained)
        batch = trainer.fit_loop.batch_idx
        self._record.add(trainer.current_epoch, batch, losses, norms)
        self._stop_at(self._record.look(trainer.global_step))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks all steps before the embeddings are clustered."""
        self.check_now()

    def check_now(self) -> None:
        """Checks all steps so far, waiting for the device.

        Raises:
            DivergedError: If one of them was not finite.
        """
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
            f"{', '.join(seen)}. A lower optimizer.learning_rate or a longer "
            "optimizer.warmup_epochs may help."
        )
