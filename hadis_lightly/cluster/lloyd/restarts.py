"""Restarts of k-means shared among the processes of torch.distributed."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as torch_dist
from torch import Tensor

from hadis_lightly.cluster.lloyd.iterate import Runs
from hadis_lightly.precision import accurate_dtype


class Processes:
    """The processes that search for the same clusters together, or this one alone.

    All of them must call the same methods in the same order.

    Args:
        shared: Whether the processes of torch.distributed work together. No effect
            where it is not initialised or has one process.
    """

    def __init__(self, shared: bool) -> None:
        self.rank, self.size = 0, 1
        if shared and torch_dist.is_available() and torch_dist.is_initialized():
            self.rank, self.size = torch_dist.get_rank(), torch_dist.get_world_size()

    def check_same(self, device: torch.device, **values: int) -> None:
        """Raises in all processes unless they have the same values."""
        if self.size == 1:
            return
        table = self._gather(torch.tensor(list(values.values()), device=device))
        for name, found in zip(values, table.T.tolist(), strict=True):
            if len(set(found)) > 1:
                raise ValueError(
                    f"{name} must be the same in all processes, got {found}."
                )

    def same_generator(
        self, generator: torch.Generator | None, device: torch.device
    ) -> torch.Generator | None:
        """The generator, brought to its state in process 0.

        For None, torch's global one, process 0 draws a seed from it for all.
        """
        if self.size == 1:
            return generator
        if generator is None:
            generator = torch.Generator()
            generator.manual_seed(int(torch.randint(2**62, (1,))))
        state = self.from_first(generator.get_state().to(device))
        generator.set_state(state.cpu())
        return generator

    def share(self, starts: Tensor, function: Callable[[Tensor], Runs]) -> Runs:
        """Runs of all starts ``(r, k, d)``; each process makes some of them.

        Args:
            starts: The same in all processes; process ``p`` of ``s`` takes
                ``starts[p::s]``.
            function: Runs the starts it is given, at least one.

        Returns:
            The runs in the order of the starts, the same bits in all processes.
        """
        if self.size == 1:
            return function(starts)
        mine = starts[self.rank :: self.size]
        slots = -(-len(starts) // self.size)
        centers = starts.new_zeros(slots, *starts.shape[1:])
        wide = accurate_dtype(starts.device)
        inertia = torch.full((slots,), torch.inf, dtype=wide, device=starts.device)
        n_iter = torch.zeros(slots, dtype=torch.long, device=starts.device)
        if len(mine) > 0:
            runs = function(mine)
            centers[: len(mine)] = runs.centers
            inertia[: len(mine)] = runs.inertia
            n_iter[: len(mine)] = torch.tensor(runs.n_iter)
        centers, inertia, n_iter = (
            # (processes, slots, ...) -> in the order in which they were dealt
            self._gather(values).transpose(0, 1).flatten(0, 1)[: len(starts)]
            for values in (centers, inertia, n_iter)
        )
        return Runs(centers, inertia, n_iter.tolist())

    def from_first(self, values: Tensor) -> Tensor:
        """The tensor of process 0; shape and dtype must be the same in all."""
        if self.size == 1:
            return values
        sent = values.to(_carrier(values.device), copy=True).contiguous()
        torch_dist.broadcast(sent, src=0)
        return sent.to(values.device)

    def _gather(self, values: Tensor) -> Tensor:
        """The tensors of all processes, stacked in the order of the processes."""
        sent = values.to(_carrier(values.device)).contiguous()
        parts = [torch.empty_like(sent) for _ in range(self.size)]
        torch_dist.all_gather(parts, sent)
        return torch.stack(parts).to(values.device)


def _carrier(device: torch.device) -> torch.device:
    """Where tensors must lie to be sent: NCCL sends from GPUs only, gloo from CPUs."""
    backend = torch_dist.get_backend()
    if backend == "nccl" and device.type == "cpu":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu") if backend == "gloo" else device
