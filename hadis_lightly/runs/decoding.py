"""Decodes the image files of a run once, before it trains, where there is room."""

from __future__ import annotations

import os
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
from hadis_lightly.data.files.decoded import pixel_bytes
from hadis_lightly.progress import StepProgress
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.sections import Settings
from hadis_lightly.system import (
    available_cores,
    has_several_processes,
    start_method,
)
from hadis_lightly.text import describe_error


def decode_size(settings: Settings) -> int:
    """Shorter side that images in files are reduced to, in pixels; 0 for none."""
    size = settings.data.decode_size
    return 2 * settings.views.size_px if size is None else size


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
    # Features are computed from one decoding, and kept themselves.
    keeps_pixels = data.cache != "off" and settings.model.train == "all"
    if data.check == "headers" or not headers.problems:
        hint = "; with data.check=full images with damaged pixels are named, too"
        checked = headers.apply(source, data.on_error, hint)
    with StepProgress("decoding images", show) as progress:
        if keeps_pixels:
            try:
                return decoded_images(
                    source,
                    headers,
                    _cache(settings, _num_bytes(source, headers.sizes)),
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
    num_bytes = _num_bytes(source, source.decoded.sizes)
    return f"decoded once, {format_bytes(num_bytes)} in {place}"


def _num_bytes(source: FolderSource, sizes: NDArray[np.int32]) -> int:
    return int(pixel_bytes(sizes, source.num_channels).sum())


def _cache(settings: Settings, num_bytes: int) -> PixelCache | None:
    """The cache for so many bytes; None if they are to lie in memory."""
    if settings.data.cache == "auto":
        # Processes that are not forked from this one do not share its memory.
        is_shared = start_method() == "fork" and not has_several_processes(
            settings.trainer.devices
        )
        if is_shared and num_bytes <= room_for_images(torch.device("cpu")):
            return None
    return PixelCache(cache_folder(settings.data.cache) / "pixels")


def cache_folder(cache: str) -> Path:
    """The folder that ``data.cache`` stands for."""
    if cache == "auto":
        cache = os.environ.get("HADIS_LIGHTLY_CACHE") or "~/.cache/hadis-lightly"
    return Path(os.path.abspath(os.path.expanduser(cache)))
