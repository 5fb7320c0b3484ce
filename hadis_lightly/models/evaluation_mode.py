"""Evaluation mode and BatchNorm statistics that stand still, for a while."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from hadis_lightly.models.checks import check_module

_COUNT = "num_batches_tracked"


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Puts a module into evaluation mode, and each of its parts back as it was."""
    check_module("module", module)
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """The BatchNorm layers of a module, SyncBatchNorm among them."""
    return [part for part in module.modules() if isinstance(part, _BatchNorm)]


@contextmanager
def frozen_statistics(layers: Iterable[_BatchNorm]) -> Iterator[None]:
    """Keeps the running statistics of BatchNorm layers from moving.

    Gradient checkpointing runs parts of a network a second time, in the backward pass.
    In training mode the layers still normalise by the statistics of the batch, so that
    outputs and gradients are the same.
    """
    # NOTE: Not track_running_stats=False: without running statistics a layer saves
    # fewer tensors for its gradient, which checkpointing takes for another network.
    moving = [layer for layer in layers if layer.training and layer.track_running_stats]
    # Past nn.Module.__setattr__, which takes a millisecond for a ResNet-50.
    parts = [(vars(layer), layer._buffers) for layer in moving]
    before = [(own["momentum"], buffers[_COUNT]) for own, buffers in parts]
    try:
        for own, buffers in parts:
            own["momentum"], buffers[_COUNT] = 0.0, None
        yield
    finally:
        for (own, buffers), state in zip(parts, before, strict=True):
            own["momentum"], buffers[_COUNT] = state
