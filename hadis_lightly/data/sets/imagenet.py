"""ImageNet-10 and ImageNet-Dogs: some classes out of a folder of ImageNet."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hadis_lightly.data.errors import DataError, ImageProblem
from hadis_lightly.data.files.folder import FolderSource, describe_rest
from hadis_lightly.data.files.walk import FoundImages, check_folder, find_images
from hadis_lightly.text import in_utf8


class ImageNetSubset(NamedTuple):
    """Some classes of ImageNet."""

    title: str
    """Name in papers."""
    classes: dict[str, str]
    """WordNet id to common name, in the order of the class numbers."""


def _subset(title: str, classes: str) -> ImageNetSubset:
    return ImageNetSubset(title, dict(c.split(maxsplit=1) for c in classes.split(", ")))


#: The subsets by the name of their source, with the classes of the paper.
IMAGENET_SUBSETS = {
    "imagenet10": _subset(
        "ImageNet-10",
        "n02056570 king penguin, n02085936 Maltese dog, n02128757 snow leopard, "
        "n02690373 airliner, n02692877 airship, n03095699 container ship, "
        "n04254680 soccer ball, n04285008 sports car, n04467665 trailer truck, "
        "n07747607 orange",
    ),
    "imagenet_dogs": _subset(
        "ImageNet-Dogs",
        "n02085936 Maltese dog, n02086646 Blenheim spaniel, n02088238 basset, "
        "n02091467 Norwegian elkhound, n02097130 giant schnauzer, "
        "n02099601 golden retriever, n02101388 Brittany spaniel, n02101556 clumber, "
        "n02102177 Welsh springer spaniel, n02105056 groenendael, n02105412 kelpie, "
        "n02105855 Shetland sheepdog, n02107142 Doberman, n02110958 pug, "
        "n02112137 chow",
    ),
}


def load_imagenet_subset(
    name: str, root: str | Path, num_channels: int = 3, *, on_error: str = "raise"
) -> FolderSource:
    """Finds the images of some classes in a folder of ImageNet; none is opened yet.

    Of ImageNet's splits only train is used, as in the paper. A class folder may be a
    link. For images and links in it see :func:`load_folder`.

    Args:
        name: ``imagenet10`` or ``imagenet_dogs``.
        root: The folder that holds ``train/n02085936`` and so on, or that holds
            ``n02085936`` itself. Other classes in it do not matter.
        num_channels: 3 to read every image as RGB, 1 as grey.
        on_error: ``raise`` if a folder cannot be listed, or ``skip`` it.

    Returns:
        The source; its keys are the paths relative to ``root``, with ``/``, its classes
        are numbered in the order of :data:`IMAGENET_SUBSETS`.

    Raises:
        DataError: if ``root`` or a class folder is missing or holds no image, naming
            all that are missing.
    """
    title, classes = IMAGENET_SUBSETS[name]
    root = Path(os.path.expanduser(root))
    prefix = _prefix(root, name)
    files, counts, left_out = list[str](), list[int](), list[ImageProblem]()
    all_found: list[FoundImages] = []
    for folder in classes:
        found = find_images(root / prefix / folder, on_error)
        all_found.append(found)
        files += [f"{prefix}{folder}/{file}" for file in found.files]
        counts.append(len(found.files))
        left_out += [
            ImageProblem(f"{prefix}{folder}/{key}", reason)
            for key, reason in found.left_out
        ]
    names = [f"{folder} ({title})" for folder, title in classes.items()]
    if empty := [name for name, n in zip(names, counts, strict=True) if n == 0]:
        raise DataError(
            f"no images in class folders of {title} in {str(root / prefix)!r}: "
            f"{', '.join(empty)}"
        )
    return FolderSource(
        name=name,
        class_names=tuple(" ".join(item) for item in classes.items()),
        targets=np.repeat(np.arange(len(classes)), counts),
        keys=[in_utf8(file) for file in files],
        description=(
            f"{title}: train, {len(files):,} images of various sizes, "
            f"{len(classes)} classes{describe_rest(all_found)}"
        ),
        num_channels=num_channels,
        root=str(root),
        files=files,
        left_out=tuple(sorted(left_out)),
    )


def _prefix(root: Path, name: str) -> str:
    """Where below ``root`` all class folders are: in ``train/``, or in itself."""
    title, classes = IMAGENET_SUBSETS[name]
    prefix, missing = "", list(classes)
    for candidate in ("train/", ""):
        lacks = [key for key in classes if not (root / candidate / key).is_dir()]
        if not lacks:
            return candidate
        if len(lacks) < len(missing):
            prefix, missing = candidate, lacks
    check_folder(root)
    names = ", ".join(f"{key} ({classes[key]})" for key in missing)
    raise DataError(
        f"data folder {str(root / prefix)!r} lacks {len(missing)} of the "
        f"{len(classes)} class folders of {title}: {names}; point to a folder of "
        f"ImageNet: data={name} data.path=DIR, where DIR or DIR/train holds "
        f"{next(iter(classes))} and the others"
    )
