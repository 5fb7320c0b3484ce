"""A teacher that follows its student as an exponential moving average."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from hadis_lightly.checks import check_number
from hadis_lightly.models.checks import check_module
from hadis_lightly.models.frozen_backbone import FrozenBackbone

_HALF = {torch.float16, torch.bfloat16}


class MomentumTeacher(nn.Module):
    r"""Exponential moving average of a student, as in BYOL [0] and HaDis [1].

    .. math:: \theta' \leftarrow m \theta' + (1 - m) \theta

    Only parameters are averaged. The teacher's own forward passes in training mode
    move the buffers of its BatchNorm layers. A
    :class:`~hadis_lightly.models.FrozenBackbone` is shared with the student instead.

    The weights must have at least 32 bits: in 16, steps of ``1 - momentum`` = 0.004 are
    lost in rounding, and the teacher would stand still.

    Args:
        student: Module to copy. The copy's parameters require no gradient.

    Shape: As the student's.

    Raises:
        TypeError: If the student is not a module.

    Example:
        >>> student = nn.Linear(1, 1, bias=False)
        >>> teacher = MomentumTeacher(student)
        >>> _ = nn.init.ones_(student.weight)
        >>> _ = nn.init.zeros_(teacher.module.weight)
        >>> teacher.update(student, momentum=0.75)
        >>> teacher.module.weight.item()
        0.25

    - [0]: BYOL, 2020, https://arxiv.org/abs/2006.07733
    - [1]: HaDis, 2024, https://arxiv.org/abs/2401.14038
    """

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        check_module("student", student)
        shared = {id(x): x for x in student.modules() if isinstance(x, FrozenBackbone)}
        self.module = copy.deepcopy(student, shared).requires_grad_(False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Returns the embeddings of the teacher, without a gradient."""
        embeddings: Tensor = self.module(x)
        return embeddings

    @torch.no_grad()
    def update(self, student: nn.Module, momentum: float = 0.996) -> None:
        """Moves the parameters towards those of the student.

        Args:
            student: Module of the same structure as the one that was copied.
            momentum: EMA momentum m, in [0, 1].

        Raises:
            ValueError: If the momentum is outside [0, 1], if the parameters of the
                student do not fit, or if they are 16-bit and the momentum is neither
                0 nor 1.
        """
        check_number("momentum", momentum, 0, 1)
        self.check_precision(momentum)
        check_module("student", student)
        theirs, ours = _averaged(student), _averaged(self.module)
        for kind in ("shape", "dtype", "device"):
            if [getattr(p, kind) for p in theirs] != [getattr(p, kind) for p in ours]:
                raise ValueError(
                    f"student and teacher have parameters of different {kind}s "
                    f"({len(theirs)} and {len(ours)} parameters)."
                )
        if not ours:
            return
        # One kernel for many tensors, where a loop takes two for each.
        average = get_ema_multi_avg_fn(momentum)  # type: ignore[no-untyped-call]
        average(ours, theirs, None)

    def check_precision(self, momentum: float) -> None:
        """Checks that the weights are precise enough to be averaged.

        Raises:
            ValueError: If they are 16-bit and the momentum is neither 0 nor 1.
        """
        halves = _HALF & {parameter.dtype for parameter in _averaged(self.module)}
        if halves and 0 < momentum < 1:
            raise ValueError(
                f"the teacher cannot follow the student in {halves.pop()}: steps of "
                f"momentum={momentum} are lost in rounding. Keep the weights in "
                "float32; precision='bf16-mixed' or '16-mixed' computes in 16 bits."
            )


def _averaged(module: nn.Module) -> list[nn.Parameter]:
    """The parameters of a module in their order, without those of frozen backbones."""
    return list(dict.fromkeys(_trained_parameters(module)))  # tied ones once


def _trained_parameters(module: nn.Module) -> Iterator[nn.Parameter]:
    if not isinstance(module, FrozenBackbone):
        yield from module.parameters(recurse=False)
        for part in module.children():
            yield from _trained_parameters(part)
