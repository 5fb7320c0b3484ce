"""The list of all sources of images, by name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from hadis_lightly.data.errors import DataError
from hadis_lightly.data.files.folder import FolderSource
from hadis_lightly.data.files.listing import AnyPath, load_images, split_paths
from hadis_lightly.data.image_source import ImageSource
from hadis_lightly.data.sets.imagenet import IMAGENET_SUBSETS, load_imagenet_subset
from hadis_lightly.data.sets.npz import load_npz
from hadis_lightly.settings.images import SOURCE_NAMES


def load_source(
    name: str,
    path: AnyPath | Sequence[AnyPath] | None = None,
    *,
    download: bool = True,
    num_channels: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    on_error: str = "raise",
    unlabelled: bool = False,
    follow_links: bool = False,
    min_side: int = 0,
) -> ImageSource:
    """Loads a source of images by its name.

    Args:
        name: One of :data:`SOURCE_NAMES`.
        path: The npz file; for ``folder`` one of those of :func:`load_images` (a
            folder, several, a list, ...), or an npz file as well; for ``cifar10``,
            ``cifar20`` and ``stl10`` the folder that holds torchvision's layout, by
            default ``data/cifar10``, ``data/cifar100`` and ``data/stl10``; for
            ``imagenet10`` and ``imagenet_dogs`` a folder of ImageNet; not for
            ``digits``.
        download: Whether ``cifar10``, ``cifar20`` and ``stl10`` may be downloaded.
        num_channels: For ``folder``, ``imagenet10`` and ``imagenet_dogs``: 1 to read
            every image as grey, 3 (the default) as RGB. For the others: the number to
            expect, if given.
        limit: Keep only so many images, drawn at random whatever their class.
        seed: Seed of that draw; the same seed gives the same images.
        on_error: For folders: ``raise`` if a folder in it cannot be listed, or ``skip``
            it. For images that cannot be read see :func:`readable_images`.
        unlabelled: For ``stl10``: whether to add its 100,000 unlabelled images, for
            training alone.
        follow_links: For ``folder``: whether to follow links that lead out of it.
        min_side: For images in files: the shorter side, in pixels, that larger ones are
            reduced to as they are read; 0 for none. See :func:`read_image`.

    Raises:
        DataError: a ``ValueError`` of one line: an unknown name, a path that is missing
            or not used by the source, damaged data, ``limit < 1``.

    Example:
        >>> source = load_source("digits", limit=100)
        >>> image, target = source[0]
        >>> len(source), image.size, image.mode, source.class_names[target]
        (100, (8, 8), 'L', '2')
    """
    if num_channels not in (None, 1, 3):
        raise DataError(f"num_channels must be 1 or 3, got {num_channels!r}")
    if unlabelled and name != "stl10":
        raise DataError(f"only stl10 has unlabelled images, not {name!r}")
    paths = split_paths(path or [])
    if len(paths) > 1 and name != "folder":
        raise DataError(f"data={name} takes one path, got {', '.join(paths)}")
    if not paths and name in ("npz", "folder", *IMAGENET_SUBSETS):
        kind = "FILE" if name == "npz" else "DIR"
        raise DataError(f"data={name} needs a path: data.path={kind}")
    where, channels = paths[0] if paths else "", num_channels or 3
    source: ImageSource
    if name == "digits":
        if path is not None:
            raise DataError(
                f"data=digits takes no path, it comes with scikit-learn; got {path!r}"
            )
        from hadis_lightly.data.sets.digits import load_digits

        source = load_digits()
    elif name in ("cifar10", "cifar20"):
        from hadis_lightly.data.sets import cifar

        if name == "cifar10":
            place = where or cifar.DEFAULT_CIFAR10_PATH
            source = cifar.load_cifar10(place, download)
        else:
            place = where or cifar.DEFAULT_CIFAR20_PATH
            source = cifar.load_cifar20(place, download)
    elif name == "stl10":
        from hadis_lightly.data.sets import stl10

        place = where or stl10.DEFAULT_STL10_PATH
        source = stl10.load_stl10(place, download, unlabelled=unlabelled)
    elif name in IMAGENET_SUBSETS:
        source = load_imagenet_subset(name, where, channels, on_error=on_error)
    elif name == "npz" or (name == "folder" and _is_npz(paths)):
        source = load_npz(where)
    elif name == "folder":
        source = load_images(
            paths, channels, on_error=on_error, follow_links=follow_links
        )
    else:
        raise DataError(
            f"unknown data source {name!r}, choose one of {', '.join(SOURCE_NAMES)}"
        )
    if num_channels not in (None, source.num_channels):
        raise DataError(
            f"num_channels is {num_channels} but the images of {source.name!r} have "
            f"{source.num_channels}: only a folder is read as either"
        )
    if isinstance(source, FolderSource):
        source = replace(source, min_side=min_side)
    return source if limit is None else source.random_subset(limit, seed=seed)


def _is_npz(paths: Sequence[str]) -> bool:
    """Whether the paths are one npz file."""
    only = paths[0]
    return len(paths) == 1 and only.lower().endswith(".npz") and os.path.isfile(only)
