"""How images reach the networks: from the device itself or from worker processes."""

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
from hadis_lightly.runs.decoding import describe_decoding
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.sections import Settings
from hadis_lightly.system import available_cores, obstacle_to_workers
from hadis_lightly.training.clustering_callback import ClusteringCallback
from hadis_lightly.transforms import (
    BatchedTestTransform,
    BatchedViews,
    HaDisCropTransform,
    HaDisTestTransform,
    HaDisTransform,
)

# On the device a crop is a product of matrices, whose cost grows with the image: with
# more pixels than this per pixel of the view, workers are faster.
_MAX_PIXELS_PER_PIXEL = 16
# The matrices are as long as the image: of 2 x 60,000 pixels they would take gigabytes.
_MAX_SIDES_PER_SIDE = 16
# A core reads a smaller image in a millisecond or two.
_SMALL_PIXELS = 512**2


class Pipeline(NamedTuple):
    """The loaders of a run."""

    train_loader: Iterable[Any]
    """``(images, targets, indices)``; the images are views, or uint8 for ``views``."""
    plain_loader: Iterable[Any]
    """``(images, targets, indices)`` under the plain transform."""
    views: BatchedViews | None
    """Makes the views of a batch on the device; None if the loader makes them."""
    num_workers: int
    """Worker processes of the training loader."""
    kind: str
    """device, workers or lightly; or features, of a backbone that is not trained."""
    reason: str
    """The reason for this kind."""
    plain_transform: str
    """Scales plain images: ``batched``, on the device, or ``pillow``."""
    precision: str | None = None
    """Of features that were computed before the training."""
    feature_dtype: str = "float16"
    """What these were rounded to."""
    view_agreement: float | None = None
    """See :func:`~hadis_lightly.features.view_agreement`."""
    outlier_points: Tensor | None = None
    """Points ``(n, d)`` of the images, among which outliers are sought."""


def build_pipeline(
    settings: Settings,
    source: ImageSource,
    device: torch.device,
    num_processes: int = 1,
) -> Pipeline:
    """Chooses the kind of pipeline and makes its loaders.

    The draws for an image depend only on the seed and the epoch: not on the number of
    processes, nor on whether the run was interrupted and resumed.

    Args:
        settings: All settings; ``data.pipeline`` chooses.
        source: The images.
        device: Device that trains.
        num_processes: Number of processes, which all choose alike.

    Raises:
        SettingsError: If ``data.pipeline=device`` is impossible, or
            ``loader.num_workers`` where no worker process can start.
        DataError: If an image cannot be read.
    """
    kind, reason = settings.data.pipeline, "as asked for"
    if kind in ("auto", "device"):
        images, reason = resident_images(settings, source, device, num_processes)
        if images is not None:
            loaders = _device_loaders(settings, source, images)
            made_there = build_views(settings)
            return Pipeline(*loaders, made_there, 0, "device", reason, "batched")
        if kind == "device":
            raise SettingsError(f"data.pipeline is device, but {reason}.")
        kind = "workers" if device.type in ("cpu", "cuda") else "lightly"
    if kind == "lightly" and settings.views.initial_size is not None:
        raise SettingsError("views.initial_size needs data.pipeline=device or workers.")
    if isinstance(source, FolderSource):
        reason = f"{reason}; {describe_decoding(source)}"
    transform: Callable[[Any], Any] = HaDisTransform.from_settings(settings.views)
    if kind == "workers":
        transform = HaDisCropTransform.from_settings(settings.views)
    views = build_views(settings) if kind == "workers" else None
    plain = HaDisTestTransform.from_settings(settings.views)
    workers, obstacle = choose_num_workers(settings, source, device)
    if obstacle is not None:
        reason = f"{reason}; num_workers 0: {obstacle}"
    train_loader, plain_loader = (
        _loader(settings, source, device, view, workers, is_training=is_training)
        for view, is_training in ((transform, True), (plain, False))
    )
    return Pipeline(train_loader, plain_loader, views, workers, kind, reason, "pillow")


def resident_images(
    settings: Settings,
    source: ImageSource,
    device: torch.device,
    num_processes: int,
) -> tuple[Tensor | None, str]:
    """The images on the device, or None; and the reason."""
    is_forced = settings.data.pipeline == "device"
    if device.type not in ("cpu", "cuda") and not is_forced:
        return None, f"nothing has been tried on {device.type}"
    size = common_size(source)
    if size is None:
        return None, "the images differ in size"
    height, width = size
    view = settings.views.size_px
    is_large = height * width > _MAX_PIXELS_PER_PIXEL * view**2
    is_long = max(size) > _MAX_SIDES_PER_SIDE * view
    if (is_large or is_long) and not is_forced:
        return None, f"workers crop images of {width} x {height} pixels faster"
    num_bytes = len(source) * height * width * source.num_channels
    limit = settings.data.max_resident_gib
    room = room_for_images(device, limit, num_processes)
    decoded = source.decoded if isinstance(source, FolderSource) else None
    is_mapped = decoded is not None and decoded.path is not None
    in_memory = isinstance(source, ArraySource) or (
        decoded is not None and not is_mapped and decoded.stacked() is not None
    )
    if device.type != "cpu" and not in_memory:
        # They are read into the host's memory first.
        room = min(room, room_for_images(torch.device("cpu"), limit, num_processes))
    # On a CPU pixels in memory cost nothing more.
    is_there = device.type == "cpu" and in_memory
    if num_bytes > room and not (is_there and limit is None):
        return None, (
            f"the images take {format_bytes(num_bytes)}, but only "
            f"{format_bytes(room)} may be used on {device.type}"
        )
    try:
        with StepProgress("reading images", settings.trainer.progress_bar) as progress:
            pixels = stack_images(source, available_cores(), progress)
    except ImageSizeError as error:
        return None, str(error)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    try:
        images = _moved(images, device)
    except torch.OutOfMemoryError:
        return None, f"{format_bytes(num_bytes)} of images did not fit on {device.type}"
    where = "memory" if device.type == "cpu" else f"the memory of {device.type}"
    if device.type == "cpu" and decoded is not None and is_mapped:
        where = str(decoded.path)
    return images, f"{format_bytes(num_bytes)} of uint8 images stay in {where}"


def _moved(images: Tensor, device: torch.device) -> Tensor:
    """The images on the device, there contiguous; copied in slices to save memory."""
    if device.type == "cpu":
        return images
    moved = torch.empty(images.shape, dtype=images.dtype, device=device)
    for i in range(0, len(images), 128):
        moved[i : i + 128] = images[i : i + 128].to(device)
    return moved


def _device_loaders(
    settings: Settings, source: ImageSource, images: Tensor
) -> tuple[DeviceLoader, DeviceLoader]:
    """Loaders of images that are on the device: for training, and plain."""
    targets = source.targets
    return DeviceLoader(
        images,
        targets,
        settings.loader.batch_size,
        shuffle=True,
        drop_last=True,
        seed=settings.seed,
    ), DeviceLoader(
        images,
        targets,
        _plain_batch_size(settings, images.device),
        transform=BatchedTestTransform.from_settings(settings.views),
    )


def draw_evenly(train_loader: Any, callback: ClusteringCallback[Any]) -> None:
    """Makes all clusters of the epoch before come equally often.

    Not in the first epoch: worker processes ask for its order before the first
    clustering, and must draw the same as without workers.
    """
    sampler = train_loader.sampler

    def labels() -> Tensor | None:
        if sampler.epoch == 0 or callback.partition_ is None:
            return None
        return callback.labels_

    sampler.cluster_labels = labels


def build_views(settings: Settings) -> BatchedViews:
    """Makes the views of whole batches, in the dtype and layout of the run."""
    dtypes = {"bf16-mixed": torch.bfloat16, "64-true": torch.float64}
    is_last = settings.trainer.channels_last == "on"
    views = BatchedViews.from_settings(
        settings.views,
        dtype=dtypes.get(settings.trainer.precision, torch.float32),
        memory_format=torch.channels_last if is_last else torch.contiguous_format,
    )
    if settings.views.initial_size is not None:
        half = (settings.trainer.max_epochs + 1) // 2
        views.grow_from(settings.views.initial_size, half)
    return views


def _plain_batch_size(settings: Settings, device: torch.device) -> int:
    """Images per batch of the clustering pass, which needs no gradients."""
    if settings.clustering.batch_size is not None:
        return settings.clustering.batch_size
    least = 2048 if device.type == "cuda" and settings.views.size_px <= 64 else 512
    return max(least, settings.loader.batch_size)


def choose_num_workers(
    settings: Settings, source: ImageSource, device: torch.device
) -> tuple[int, str | None]:
    """Worker processes of a loader, and why there are none if they cannot start."""
    asked = settings.loader.num_workers
    number = _default_num_workers(source, device) if asked is None else asked
    obstacle = obstacle_to_workers() if number else None
    if obstacle is None:
        return number, None
    if asked is not None:
        raise SettingsError(
            f"loader.num_workers is {asked}, but {obstacle}. Set loader.num_workers=0."
        )
    return 0, obstacle


def _default_num_workers(source: ImageSource, device: torch.device) -> int:
    cores = available_cores()
    if device.type != "cpu":
        return min(16, cores)
    # The cores of a CPU have to train, too. Small images are read quickly: an epoch on
    # 2 cores took 16 s without a worker, 25 s with one.
    sizes = source.sizes if isinstance(source, FolderSource) else None
    is_small = sizes is not None and float(sizes.prod(axis=1).mean()) <= _SMALL_PIXELS
    return min(8, cores // 4 if is_small else cores // 2)


def _loader(
    settings: Settings,
    source: ImageSource,
    device: torch.device,
    transform: Callable[[Any], Any],
    num_workers: int,
    *,
    is_training: bool,
) -> DataLoader[Any]:
    """A loader of all images: shuffled in even batches for training, or plain."""
    if not is_training and isinstance(source, ArraySource):
        num_workers = 0  # without augmentation, images in memory come faster so
    batch_size = settings.loader.batch_size
    return DataLoader(
        ReproducibleDataset(IndexedDataset(source, transform), settings.seed),
        batch_size=batch_size if is_training else _plain_batch_size(settings, device),
        sampler=EpochSampler(
            len(source), shuffle=is_training, seed=settings.seed, even=is_training
        ),
        drop_last=is_training,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=device.type == "cuda",
    )
