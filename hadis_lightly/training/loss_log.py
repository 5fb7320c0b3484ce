"""Means of the losses, kept on the device until someone has to look at them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class _Underway(NamedTuple):
    """Means on their way to the host."""

    step: int
    means: Tensor
    event: torch.cuda.Event | None


class LossLog:
    """Sums up losses without waiting for the device.

    Means over an epoch stay on the device. Those over some steps start on their way to
    the host when they are complete, and are read there when the next ones are: by
    then they have long arrived, and no step has waited for its loss.

    Args:
        names: Names of the losses.

    Example:
        >>> log = LossLog(["loss", "other"])
        >>> log.add(torch.tensor([1.0, 5.0]))
        >>> log.add(torch.tensor([2.0, 6.0]))
        >>> log.means_of_epoch()
        {'loss': tensor(1.5000), 'other': tensor(5.5000)}
    """

    def __init__(self, names: Sequence[str]) -> None:
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise TypeError(f"names must be a list of names, got {names!r}.")
        self.names = tuple(names)
        self.start_epoch()
        self._start_interval()
        self._underway: _Underway | None = None

    def start_epoch(self) -> None:
        """Forgets the epoch before."""
        self._of_epoch: Tensor | None = None
        self._steps_of_epoch = 0

    def _start_interval(self) -> None:
        self._of_interval: Tensor | None = None
        self._steps_of_interval = 0

    @torch.no_grad()
    def add(self, losses: Tensor, for_interval: bool = False) -> None:
        """Adds the losses ``(number of names,)`` of one step.

        Args:
            losses: The losses.
            for_interval: Whether they count for means over some steps as well.
        """
        if losses.shape != (len(self.names),):
            raise ValueError(
                f"losses must have shape ({len(self.names)},), got "
                f"{tuple(losses.shape)}."
            )
        losses = losses.detach()
        self._steps_of_epoch += 1
        self._of_epoch = _sum(self._of_epoch, losses)
        if for_interval:
            self._steps_of_interval += 1
            self._of_interval = _sum(self._of_interval, losses)

    def state_dict(self) -> dict[str, Any]:
        """The sums so far, as they go into a checkpoint."""
        if self._underway is not None and self._underway.event is not None:
            self._underway.event.synchronize()
        return {
            "of_epoch": self._of_epoch,
            "steps_of_epoch": self._steps_of_epoch,
            "of_interval": self._of_interval,
            "steps_of_interval": self._steps_of_interval,
            "underway": self._underway and self._underway[:2],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up sums out of a checkpoint."""
        self._of_epoch = state["of_epoch"]
        self._steps_of_epoch = state["steps_of_epoch"]
        self._of_interval = state["of_interval"]
        self._steps_of_interval = state["steps_of_interval"]
        underway = state["underway"]
        self._underway = None
        if underway is not None:
            step, means = underway
            self._underway = _Underway(step, means, event=None)

    def means_of_epoch(self) -> dict[str, Tensor]:
        """Means over the steps of the epoch so far, each a scalar on the device."""
        if self._of_epoch is None:
            return {}
        means = self._of_epoch / self._steps_of_epoch
        return dict(zip(self.names, means.unbind(), strict=True))

    def end_interval(self, step: int) -> tuple[int, dict[str, float]] | None:
        """Sends the means over the steps since the last call on their way.

        Args:
            step: Number of the step that was the last of them.

        Returns:
            The step and the means of the call before, if there are any.
        """
        arrived = self.arrived()
        if self._of_interval is not None:
            means = self._of_interval / self._steps_of_interval
            event = None
            if means.device.type == "cuda":
                host = torch.empty(means.shape, pin_memory=True)
                means = host.copy_(means, non_blocking=True)
                event = torch.cuda.Event()  # type: ignore[no-untyped-call]
                event.record()
            self._underway = _Underway(step, means, event)
            self._start_interval()
        return arrived

    def arrived(self) -> tuple[int, dict[str, float]] | None:
        """The step and the means that were sent last; None once they were read."""
        if self._underway is None:
            return None
        step, means, event = self._underway
        self._underway = None
        if event is not None:
            event.synchronize()
        values = (float(mean) for mean in means.numpy())
        return step, dict(zip(self.names, values, strict=True))


def _sum(total: Tensor | None, losses: Tensor) -> Tensor:
    if total is None:
        return losses.float().clone()
    return total.to(losses.device).add_(losses)  # from a checkpoint it comes on the CPU
