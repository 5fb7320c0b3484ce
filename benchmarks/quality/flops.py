"""What a training costs in floating-point operations, and how long a budget lasts."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from hadis_lightly.data import ImageSource
from hadis_lightly.methods.method import Parts
from hadis_lightly.methods.registry import build_model, method_of
from hadis_lightly.runs.performance import resolve_performance
from hadis_lightly.runs.pipeline import build_views
from hadis_lightly.runs.source import build_source
from hadis_lightly.settings import Settings

#: Those whose step is :meth:`~hadis_lightly.training.HaDis.loss_terms`.
METHODS = ("hadis", "propos", "byol")


def fit_to_budget(settings: Settings, num_flops: float) -> None:
    """Sets the length of a run, in the settings.

    Networks and losses are counted, forwards and backwards, and the embedding of all
    images for each clustering; views and k-means are not. Warm-ups are a tenth of the
    run where the settings do not say otherwise.

    Raises:
        ValueError: If the budget is too small for a step, or the method another, or
            features are computed once.
    """
    if settings.method not in METHODS or settings.model.train != "all":
        raise ValueError(
            f"operations are counted for {', '.join(METHODS)} with model.train=all, "
            f"got {settings.method} with model.train={settings.model.train}"
        )
    source = build_source(settings)
    steps_per_epoch = len(source) // settings.loader.batch_size
    module = _module(settings, source)
    # The first half of the steps may have smaller views.
    ends = (0, settings.trainer.max_epochs)
    channels = source.num_channels
    step = sum(_flops_of_step(module, settings, channels, end) for end in ends) / 2
    embedding = _flops_of_embedding(module, settings, channels)
    clustering = len(source) * embedding / settings.clustering.every_n_epochs
    steps = int(num_flops / (step + clustering / steps_per_epoch))
    if steps < 1:
        raise ValueError(f"a step takes {step:.3g} operations, more than {num_flops:g}")
    settings.trainer.max_steps = steps
    settings.trainer.max_epochs = math.ceil(steps / steps_per_epoch)
    tenth = round(steps / steps_per_epoch / 10)
    for part in (settings.optimizer, settings.clustering):
        if part.warmup_epochs is None:
            part.warmup_epochs = tenth


def _module(settings: Settings, source: ImageSource) -> Any:
    settings = resolve_performance(settings, torch.device("cpu"), len(source))
    method = method_of(settings)
    model = build_model(settings, source.num_channels)
    callback = method.build_callback(settings, [])
    return method.build_module(Parts(settings, model, callback, source))


def _flops_of_step(
    module: Any, settings: Settings, num_channels: int, epoch: int
) -> int:
    """Of one step of the optimiser in an epoch, from views to gradients."""
    n, size = settings.loader.batch_size, settings.views.size_px
    images = torch.zeros(n, num_channels, size, size, dtype=torch.uint8)
    labels = torch.arange(n) % settings.n_clusters_range()[0]
    make_views = build_views(settings)
    make_views.start_epoch(epoch)
    views = make_views(images)
    with FlopCounterMode(display=False) as counter:
        module.loss_terms(views, labels)[0].backward()
    return int(counter.get_total_flops())


def _flops_of_embedding(module: Any, settings: Settings, num_channels: int) -> int:
    """Of one plain image."""
    size = settings.views.size_px
    with FlopCounterMode(display=False) as counter:
        module.embed(torch.zeros(1, num_channels, size, size))
    return int(counter.get_total_flops())
