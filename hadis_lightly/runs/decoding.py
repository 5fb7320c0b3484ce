"""Decodes the image files of a run once, before it trains, where there is room."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning.utilities import rank_zero_warn

from hadis_lightly.data import (
    FolderSource,
    PixelCache,
    decoded_images,
    format_bytes,
    read_headers,
    readable_images,
    room_for_images,
)
from hadis_lightly.progress import StepProgress
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.sections import Settings
from hadis_lightly.system import available_cores, start_method
from hadis_lightly.text import describe_error


def decode_size(settings: Settings) -> int:
    """Shorter side that images in files are reduced to, in pixels; 0 for none."""
    size = settings.data.decode_size
    return 2 * settings.views.input_size if size is None else size


def decode_once(settings: Settings, source: FolderSource) -> FolderSource:
    """Decodes all images that can be read to where ``data.cache`` says.

    If neither memory nor the disk has room, files are only checked, and are decoded in
    every epoch.

    Raises:
        ImageReadError: If files cannot be read; names them. See ``data.on_error``.
        SettingsError: If ``data.cache`` is a folder that cannot be written.
    """
    data, show, threads = (
        settings.data,
        settings.trainer.progress_bar,
        available_cores(),
    )
    with StepProgress("checking images", show) as progress:
        headers = read_headers(source, threads, progress)
    checked = source
    if data.check == "headers" or not headers.problems:
        hint = "; with data.check=full images with damaged pixels are named, too"
        checked = headers.apply(source, data.on_error, hint)
    with StepProgress("decoding images", show) as progress:
        if data.cache != "off":
            try:
                return decoded_images(
                    source,
                    headers,
                    _cache(settings, _num_bytes(headers.sizes, source)),
                    on_error=data.on_error,
                    num_threads=threads,
                    progress=progress,
                )
            except OSError as error:
                why = f"cannot keep decoded images: {describe_error(error)}"
                if data.cache != "auto":
                    raise SettingsError(
                        f"data.cache is {data.cache!r}: {why}"
                    ) from None
                rank_zero_warn(f"{why}. They are decoded in every epoch.")
        if data.check == "full" or data.on_error == "skip":
            found = readable_images(
                source, on_error=data.on_error, num_threads=threads, progress=progress
            )
            assert isinstance(found, FolderSource)
            return found
    return checked


def describe_decoding(source: FolderSource) -> str:
    """Where the pixels of a source are, in a few words."""
    if source.decoded is None:
        return "files are decoded in every epoch"
    path = source.decoded.path
    place = "memory" if path is None else str(path)
    return f"decoded once, {format_bytes(num_bytes_of(source))} in {place}"


def num_bytes_of(source: FolderSource) -> int:
    """Bytes of the pixels of all images."""
    assert source.sizes is not None
    return _num_bytes(source.sizes, source)


def _num_bytes(sizes: NDArray[np.int32], source: FolderSource) -> int:
    return int(sizes.astype(np.int64).prod(axis=1).sum()) * source.num_channels


def _cache(settings: Settings, num_bytes: int) -> PixelCache | None:
    """The cache for so many bytes; None if they are to lie in memory."""
    place = settings.data.cache
    if place == "auto":
        is_alone = not _starts_processes(settings)
        if is_alone and num_bytes <= room_for_images(torch.device("cpu")):
            return None
        place = os.environ.get("HADIS_LIGHTLY_CACHE") or "~/.cache/hadis-lightly"
    return PixelCache(Path(os.path.abspath(os.path.expanduser(place))) / "pixels")


def _starts_processes(settings: Settings) -> bool:
    """Whether the images are needed in processes that do not share this memory."""
    devices = settings.trainer.devices
    num_devices = torch.cuda.device_count() if devices == "auto" else int(devices)
    with suppress(ValueError):
        num_devices = max(num_devices, int(os.environ.get("WORLD_SIZE", "1")))
    return num_devices > 1 or start_method() != "fork"
