"""Features of a backbone that is not trained: their bank, neighbours and loaders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import product
from typing import Any

import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor, nn

from hadis_lightly.data import ImageSource, format_bytes, images_key
from hadis_lightly.features import (
    FeatureBank,
    FeatureCache,
    FeatureLoader,
    PlainFeatureLoader,
    ViewBatches,
    bank_key,
    nearest_neighbours,
    reciprocal_neighbours,
    view_agreement,
    views_of_array,
    views_of_source,
)
from hadis_lightly.methods.schedule import passes_of
from hadis_lightly.models import FrozenBackbone, PrincipalComponents
from hadis_lightly.progress import StepProgress
from hadis_lightly.runs.decoding import cache_folder
from hadis_lightly.runs.pipeline import (
    Pipeline,
    build_pipeline,
    build_views,
    choose_num_workers,
    draw_evenly,
    resident_images,
)
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.sections import Settings
from hadis_lightly.system import available_cores
from hadis_lightly.text import describe_error
from hadis_lightly.training.clustering_callback import ClusteringCallback
from hadis_lightly.training.prototype_kmeans import PrototypeKMeans
from hadis_lightly.transforms import (
    BatchedTestTransform,
    HaDisCropTransform,
    HaDisTestTransform,
)

# Of the views: all runs share them.
_SEED = 0
# Rows that are reduced to their components together.
_BLOCK = 1024


def pipeline_of(
    settings: Settings,
    source: ImageSource,
    backbone: nn.Module,
    device: torch.device,
    num_processes: int = 1,
) -> Pipeline:
    """The loaders of a run: of images, or of features if the backbone is frozen.

    See :func:`~hadis_lightly.runs.pipeline.build_pipeline` and
    :func:`build_feature_pipeline`.
    """
    if isinstance(backbone, FrozenBackbone):
        return build_feature_pipeline(settings, source, backbone, device, num_processes)
    return build_pipeline(settings, source, device, num_processes)


def build_feature_pipeline(
    settings: Settings,
    source: ImageSource,
    backbone: FrozenBackbone,
    device: torch.device,
    num_processes: int = 1,
) -> Pipeline:
    """Computes the features of all images, or opens those of an earlier run.

    Args:
        settings: All settings.
        source: The images.
        backbone: Takes the images; its components are fitted to their features.
        device: Device that trains.
        num_processes: Number of processes.

    Raises:
        DataError: If an image cannot be read.
        SettingsError: If ``data.cache`` is a folder that cannot be written.
    """
    bank, kind = _kept_bank(settings, source, backbone, device, num_processes)
    place = "memory" if bank.path is None else str(bank.path)
    num_bytes = bank.features.numel() * bank.features.element_size()
    reason = f"{format_bytes(num_bytes)} of features in {place}"
    plain = bank.plain.to(device)
    features = bank.features
    if isinstance(backbone.reduction, PrincipalComponents):
        backbone.reduction.to(device).fit(plain)
        features = _reduced(features, backbone, device)
    plain_loader = PlainFeatureLoader(features[:, 0], source.targets, device=device)
    is_trained = settings.model.train == "heads"
    train_loader = FeatureLoader(
        features[:, 1:] if is_trained else features.expand(-1, 2, -1),
        source.targets,
        settings.loader.batch_size,
        neighbours=_neighbours(settings, plain) if is_trained else None,
        device=device,
        seed=settings.seed,
        passes=passes_of(settings, len(source), num_processes),
    )
    precision = "32-true"
    if bank.is_half:
        precision = "16-mixed" if device.type == "cuda" else "bf16-mixed"
    return Pipeline(
        train_loader,
        plain_loader,
        None,
        0,
        "features",
        reason,
        kind,
        precision,
        str(bank.features.dtype).removeprefix("torch."),
        view_agreement(bank.features),
        backbone.outlier_points(plain_loader.features),
    )


def follow_clusters(
    settings: Settings, train_loader: Any, callback: ClusteringCallback[Any]
) -> None:
    """Lets a training loader draw by the clusters of the epoch before."""
    if settings.loader.even_clusters:
        draw_evenly(train_loader, callback)
    if not (settings.features.same_cluster and isinstance(callback, PrototypeKMeans)):
        return
    if isinstance(train_loader, FeatureLoader):
        keys = torch.arange(train_loader.sampler.n)
        train_loader.labels = lambda: callback.labels(keys)


def _neighbours(settings: Settings, plain: Tensor) -> Tensor | None:
    """Reciprocal neighbours ``(n, k)`` among plain features; None without."""
    number = min(settings.features.n_neighbours, len(plain) - 1)
    if number < 1:
        return None
    show = settings.trainer.progress_bar
    with StepProgress("finding neighbours", show) as progress:
        found = nearest_neighbours(plain, number, progress=progress)
    return reciprocal_neighbours(found)


def _kept_bank(
    settings: Settings,
    source: ImageSource,
    backbone: FrozenBackbone,
    device: torch.device,
    num_processes: int,
) -> tuple[FeatureBank, str]:
    """See :func:`_bank`; in a file if ``data.cache`` says so and it can be written."""
    if settings.data.cache != "off":
        try:
            cache = FeatureCache(cache_folder(settings.data.cache) / "features")
            return _bank(settings, source, backbone, device, num_processes, cache)
        except OSError as error:
            why = f"cannot keep features: {describe_error(error)}"
            if settings.data.cache != "auto":
                raise SettingsError(
                    f"data.cache is {settings.data.cache!r}: {why}"
                ) from None
            rank_zero_warn(f"{why}. They stay in memory.")
    return _bank(settings, source, backbone, device, num_processes, None)


def _bank(
    settings: Settings,
    source: ImageSource,
    backbone: FrozenBackbone,
    device: torch.device,
    num_processes: int,
    cache: FeatureCache | None,
) -> tuple[FeatureBank, str]:
    """The bank, and how its plain images were scaled: ``batched`` or ``pillow``."""
    n_views = settings.features.n_views if settings.model.train == "heads" else 0
    keys: dict[str, str] = {}
    if cache is not None:
        images = images_key(source, available_cores())
        # Without views, the plain features of a bank with views will do.
        numbers = dict.fromkeys([n_views, settings.features.n_views])
        for number, kind in product(numbers, ("batched", "pillow")):
            description = {
                "backbone": settings.model.backbone,
                "views": asdict(settings.views),
                "n_views": number,
                "seed": _SEED,
                "plain": kind,
            }
            key = bank_key(images, backbone.module, description)
            keys.setdefault(kind, key)
            bank = FeatureBank.open(cache, key)
            if bank is not None:
                return replace(bank, features=bank.features[:, : 1 + n_views]), kind
    with _on_device(backbone, device):
        resident, _ = resident_images(settings, source, device, num_processes)
        kind = "pillow" if resident is None else "batched"
        batches = _batches(settings, source, resident, n_views, device)
        show = settings.trainer.progress_bar
        with StepProgress("computing features", show) as progress:
            bank = FeatureBank.compute(
                backbone.module,
                batches,
                len(source),
                n_views,
                cache=cache,
                key=keys.get(kind, ""),
                progress=progress,
            )
    return bank, kind


def _batches(
    settings: Settings,
    source: ImageSource,
    resident: Tensor | None,
    n_views: int,
    device: torch.device,
) -> ViewBatches:
    """Plain images and their views, in the order of the source."""
    choice, views = settings.views, build_views(settings)
    if resident is not None:
        plain = BatchedTestTransform.from_settings(choice)
        return views_of_array(resident, plain, views, n_views, seed=_SEED)
    crops = None
    if n_views:
        crops = HaDisCropTransform(choice.size_px, choice.min_scale, n_views)
    return views_of_source(
        source,
        HaDisTestTransform.from_settings(choice),
        crops,
        views,
        seed=_SEED,
        device=device,
        num_workers=choose_num_workers(settings, source, device)[0],
    )


def _reduced(
    features: Tensor, backbone: FrozenBackbone, device: torch.device
) -> Tensor:
    """Components ``(n, 1 + V, m)`` of features ``(n, 1 + V, d)``, in float16."""
    blocks = features.split(_BLOCK)  # type: ignore[no-untyped-call]
    return torch.cat([backbone.reduced(block.to(device)).cpu() for block in blocks])


@contextmanager
def _on_device(backbone: FrozenBackbone, device: torch.device) -> Iterator[None]:
    """Moves a backbone to the device, and back to the CPU: it is not trained."""
    layout = torch.channels_last if device.type in ("cpu", "cuda") else None
    backbone.to(device)
    if layout is not None:
        backbone.module.to(memory_format=layout)
    try:
        yield
    finally:
        backbone.to("cpu")
