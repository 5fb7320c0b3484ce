"""How images get to the networks: from the device itself or from worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from hadis_lightly.data import (
    ArraySource,
    DeviceLoader,
    EpochSampler,
    FolderSource,
    ImageSizeError,
    ImageSource,
    IndexedDataset,
    ReproducibleDataset,
    common_size,
    format_bytes,
    room_for_images,
    stack_images,
)
from hadis_lightly.progress import StepProgress
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.sections import Settings
from hadis_lightly.system import available_cores
from hadis_lightly.transforms import (
    BatchedTestTransform,
    BatchedViews,
    HaDisCropTransform,
    HaDisTestTransform,
    HaDisTransform,
)

# Crops of images are taken by products of matrices, whose cost grows with the image: a
# process that cuts first is faster on images with more than so many pixels per pixel.
_MAX_PIXELS_PER_PIXEL = 16
# Images that take a core a millisecond or two to read.
_SMALL_PIXELS = 512**2


class Pipeline(NamedTuple):
    """Where batches come from."""

    train_loader: Iterable[Any]
    """``(images, targets, indices)``; the images are views, or uint8 for ``views``."""
    plain_loader: Iterable[Any]
    """``(images, targets, indices)`` under the plain transform."""
    views: BatchedViews | None
    """What makes the views of a batch on the device; None if the loader has."""
    num_workers: int
    """Worker processes of the training loader."""
    kind: str
    """device, workers or lightly."""
    reason: str
    """Why this kind, in words."""

    @property
    def plain_transform(self) -> str:
        """What scales clean images: ``batched``, on the device, or ``pillow``."""
        return "batched" if self.kind == "device" else "pillow"


def build_pipeline(
    settings: Settings,
    source: ImageSource,
    device: torch.device,
    num_processes: int = 1,
) -> Pipeline:
    """Chooses the kind and makes its loaders.

    What is drawn for an image depends on the seed and the epoch alone: not on the
    number of processes, nor on whether the run was interrupted and resumed.

    Args:
        settings: All settings; ``data.pipeline`` is the choice.
        source: The images.
        device: Where training takes place.
        num_processes: How many there are; all of them choose alike.

    Raises:
        SettingsError: If ``data.pipeline=device`` is asked for but cannot be.
        DataError: If an image cannot be read.
    """
    kind, reason = settings.data.pipeline, "as asked for"
    if kind in ("auto", "device"):
        images, reason = _resident_images(settings, source, device, num_processes)
        if images is not None:
            return _device_pipeline(settings, source, images, device, reason)
        if kind == "device":
            raise SettingsError(f"data.pipeline is device, but {reason}.")
        kind = "workers" if device.type in ("cpu", "cuda") else "lightly"
    if kind == "workers":
        return _workers_pipeline(settings, source, device, reason)
    return _lightly_pipeline(settings, source, device, reason)


def _resident_images(
    settings: Settings,
    source: ImageSource,
    device: torch.device,
    num_processes: int,
) -> tuple[Tensor | None, str]:
    """The images on the device, or None; and why, in words."""
    is_forced = settings.data.pipeline == "device"
    if device.type not in ("cpu", "cuda") and not is_forced:
        return None, f"nothing has been tried on {device.type}"
    size = common_size(source)
    if size is None:
        return None, "the images differ in size"
    height, width = size
    view_pixels = settings.views.input_size**2
    if height * width > _MAX_PIXELS_PER_PIXEL * view_pixels and not is_forced:
        return (
            None,
            f"images of {width} x {height} pixels are faster cropped by workers",
        )
    num_bytes = len(source) * height * width * source.num_channels
    limit = settings.data.max_resident_gib
    room = room_for_images(device, limit, num_processes)
    if device.type != "cpu" and not isinstance(source, ArraySource):
        # They are read into the host's memory before they move on.
        room = min(room, room_for_images(torch.device("cpu"), limit, num_processes))
    # What lies in the host's memory already costs nothing more on a CPU.
    is_there = isinstance(source, ArraySource) and device.type == "cpu"
    if num_bytes > room and not (is_there and limit is None):
        return None, (
            f"the images take {format_bytes(num_bytes)}, of which "
            f"{format_bytes(room)} may be held on {device.type}"
        )
    try:
        with StepProgress("reading images", settings.trainer.progress_bar) as progress:
            pixels = stack_images(source, available_cores(), progress)
    except ImageSizeError as error:
        return None, str(error)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    try:
        images = images if device.type == "cpu" else _moved(images, device)
    except torch.OutOfMemoryError:
        return None, f"{format_bytes(num_bytes)} of images did not fit on {device.type}"
    where = "memory" if device.type == "cpu" else f"the memory of {device.type}"
    return images, f"{format_bytes(num_bytes)} of uint8 images stay in {where}"


def _moved(images: Tensor, device: torch.device, slice_bytes: int = 1 << 26) -> Tensor:
    """The images on the device, contiguous, with little more memory than they take."""
    moved = torch.empty(images.shape, dtype=images.dtype, device=device)
    step = max(1, slice_bytes // max(1, images[0].numel()))
    for start in range(0, len(images), step):
        moved[start : start + step] = images[start : start + step].to(device)
    return moved


def _device_pipeline(
    settings: Settings,
    source: ImageSource,
    images: Tensor,
    device: torch.device,
    reason: str,
) -> Pipeline:
    train_loader = DeviceLoader(
        images,
        source.targets,
        settings.loader.batch_size,
        shuffle=True,
        drop_last=True,
        seed=settings.seed,
    )
    plain_loader = DeviceLoader(
        images,
        source.targets,
        plain_batch_size(settings, device),
        transform=BatchedTestTransform(
            settings.views.input_size, settings.views.normalize
        ),
    )
    views = build_views(settings)
    return Pipeline(train_loader, plain_loader, views, 0, "device", reason)


def _workers_pipeline(
    settings: Settings,
    source: ImageSource,
    device: torch.device,
    reason: str,
) -> Pipeline:
    crops = HaDisCropTransform(settings.views.input_size, settings.views.min_scale)
    train_loader = _train_loader(settings, source, crops, device)
    plain_loader = _plain_loader(settings, source, device)
    views = build_views(settings)
    workers = train_loader.num_workers
    return Pipeline(train_loader, plain_loader, views, workers, "workers", reason)


def _lightly_pipeline(
    settings: Settings, source: ImageSource, device: torch.device, reason: str
) -> Pipeline:
    transform = HaDisTransform.from_settings(settings.views)
    train_loader = _train_loader(settings, source, transform, device)
    plain_loader = _plain_loader(settings, source, device)
    workers = train_loader.num_workers
    return Pipeline(train_loader, plain_loader, None, workers, "lightly", reason)


def build_views(settings: Settings) -> BatchedViews:
    """The views of whole batches."""
    dtypes = {"bf16-mixed": torch.bfloat16, "64-true": torch.float64}
    return BatchedViews.from_settings(
        settings.views,
        dtype=dtypes.get(settings.trainer.precision, torch.float32),
        memory_format=(
            torch.channels_last
            if settings.trainer.channels_last == "on"
            else torch.contiguous_format
        ),
    )


def plain_batch_size(settings: Settings, device: torch.device) -> int:
    """Images per batch of the clustering pass, which needs no gradients."""
    if settings.clustering.batch_size is not None:
        return settings.clustering.batch_size
    least = 2048 if device.type == "cuda" and settings.views.input_size <= 64 else 512
    return max(least, settings.loader.batch_size)


def _num_workers(settings: Settings, source: ImageSource, device: torch.device) -> int:
    if settings.loader.num_workers is not None:
        return settings.loader.num_workers
    cores = available_cores()
    if device.type != "cpu":  # which needs all the views that the cores can make
        return min(16, cores)
    # A CPU has to train, too. Small images are read in no time: 2 cores without a
    # worker took 16 s for an epoch that took 25 s with one.
    sizes = source.sizes if isinstance(source, FolderSource) else None
    is_small = sizes is not None and float(sizes.prod(axis=1).mean()) <= _SMALL_PIXELS
    return min(8, cores // 4 if is_small else cores // 2)


def _train_loader(
    settings: Settings,
    source: ImageSource,
    transform: Callable[[Any], Any],
    device: torch.device,
) -> DataLoader[Any]:
    num_workers = _num_workers(settings, source, device)
    dataset = IndexedDataset(source, transform)
    return DataLoader(
        ReproducibleDataset(dataset, settings.seed),
        batch_size=settings.loader.batch_size,
        sampler=EpochSampler(len(dataset), shuffle=True, seed=settings.seed),
        drop_last=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=device.type == "cuda",
    )


def _plain_loader(
    settings: Settings, source: ImageSource, device: torch.device
) -> DataLoader[Any]:
    transform = HaDisTestTransform(settings.views.input_size, settings.views.normalize)
    # NOTE: Without augmentation, images in memory come faster than from a worker.
    is_in_memory = isinstance(source, ArraySource)
    num_workers = 0 if is_in_memory else _num_workers(settings, source, device)
    dataset = IndexedDataset(source, transform)
    return DataLoader(
        ReproducibleDataset(dataset, settings.seed),
        batch_size=plain_batch_size(settings, device),
        sampler=EpochSampler(len(source), shuffle=False, seed=0, even=False),
        num_workers=num_workers,
        pin_memory=device.type == "cuda",
        persistent_workers=num_workers > 0,
    )
