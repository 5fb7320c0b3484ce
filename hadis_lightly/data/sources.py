"""Sources of images by name: the one place that knows which there are."""

from __future__ import annotations

from pathlib import Path

from hadis_lightly.data.errors import DataError
from hadis_lightly.data.image_folder import load_folder
from hadis_lightly.data.image_problems import check_on_error
from hadis_lightly.data.image_source import ImageSource
from hadis_lightly.data.npz_source import load_npz
from hadis_lightly.data.public_sets import (
    DEFAULT_CIFAR10_PATH,
    load_cifar10,
    load_digits,
)

SOURCE_NAMES = ("digits", "cifar10", "npz", "folder")


def load_source(
    name: str,
    path: str | Path | None = None,
    *,
    download: bool = True,
    num_channels: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    on_error: str = "raise",
) -> ImageSource:
    """Loads a source of images by its name.

    Args:
        name: One of :data:`SOURCE_NAMES`.
        path: The npz file or the folder; for ``cifar10`` the folder that holds
            torchvision's layout, by default ``data/cifar10``; not for ``digits``.
        download: Whether ``cifar10`` may be downloaded.
        num_channels: For ``folder``: 1 to read every image as grey, 3 (the default) as
            RGB. For the others: what is expected of them, if given.
        limit: Keep only so many images, drawn at random whatever their class.
        seed: Seed of that draw; the same seed gives the same images.
        on_error: For ``folder``: what to do about a folder in it that cannot be listed,
            ``raise`` or ``skip``. For the images see :func:`readable_images`.

    Returns:
        The source, an :class:`ImageSource`.

    Raises:
        DataError: a ``ValueError`` with one line that says what is wrong: an unknown
            name, a path that is missing or needless, data that are not as they
            should be, ``limit < 1``.

    Example:
        >>> source = load_source("digits", limit=100)
        >>> image, target = source[0]
        >>> len(source), image.size, image.mode, source.class_names[target]
        (100, (8, 8), 'L', '2')
    """
    if num_channels not in (None, 1, 3):
        raise DataError(f"num_channels must be 1 or 3, got {num_channels!r}")
    check_on_error(on_error)
    source = _load(name, path, download, num_channels, on_error)
    if num_channels not in (None, source.num_channels):
        raise DataError(
            f"num_channels is {num_channels} but the images of {name!r} have "
            f"{source.num_channels}: only a folder is read as either"
        )
    return source if limit is None else source.random_subset(limit, seed=seed)


def _load(
    name: str,
    path: str | Path | None,
    download: bool,
    num_channels: int | None,
    on_error: str,
) -> ImageSource:
    if name == "digits":
        if path is not None:
            raise DataError(
                f"data=digits takes no path, it comes with scikit-learn; got {path!r}"
            )
        return load_digits()
    if name == "cifar10":
        return load_cifar10(path or DEFAULT_CIFAR10_PATH, download=download)
    if name == "npz":
        return load_npz(_required(path, "npz", "FILE"))
    if name == "folder":
        folder = _required(path, "folder", "DIR")
        return load_folder(folder, num_channels or 3, on_error=on_error)
    raise DataError(
        f"unknown data source {name!r}, choose one of {', '.join(SOURCE_NAMES)}"
    )


def _required(path: str | Path | None, name: str, kind: str) -> str | Path:
    if not path:
        raise DataError(f"data={name} needs a path: data.path={kind}")
    return path
