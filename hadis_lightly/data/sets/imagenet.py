"""ImageNet-10 and ImageNet-Dogs: some classes out of a folder of ImageNet."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hadis_lightly.data.errors import DataError
from hadis_lightly.data.files.folder import FolderSource, path_order
from hadis_lightly.data.files.problems import ImageProblem, check_on_error
from hadis_lightly.data.files.walk import find_images
from hadis_lightly.text import in_utf8

_TRAIN = "train"


class ImageNetSubset(NamedTuple):
    """Some classes of ImageNet."""

    title: str
    """What it is called in papers."""
    classes: dict[str, str]
    """WordNet id to common name, in the order of the class numbers."""


#: The subsets by the name of their source, with the classes of the paper.
IMAGENET_SUBSETS = {
    "imagenet10": ImageNetSubset(
        "ImageNet-10",
        {
            "n02056570": "king penguin",
            "n02085936": "Maltese dog",
            "n02128757": "snow leopard",
            "n02690373": "airliner",
            "n02692877": "airship",
            "n03095699": "container ship",
            "n04254680": "soccer ball",
            "n04285008": "sports car",
            "n04467665": "trailer truck",
            "n07747607": "orange",
        },
    ),
    "imagenet_dogs": ImageNetSubset(
        "ImageNet-Dogs",
        {
            "n02085936": "Maltese dog",
            "n02086646": "Blenheim spaniel",
            "n02088238": "basset",
            "n02091467": "Norwegian elkhound",
            "n02097130": "giant schnauzer",
            "n02099601": "golden retriever",
            "n02101388": "Brittany spaniel",
            "n02101556": "clumber",
            "n02102177": "Welsh springer spaniel",
            "n02105056": "groenendael",
            "n02105412": "kelpie",
            "n02105855": "Shetland sheepdog",
            "n02107142": "Doberman",
            "n02110958": "pug",
            "n02112137": "chow",
        },
    ),
}


def load_imagenet_subset(
    name: str, root: str | Path, num_channels: int = 3, *, on_error: str = "raise"
) -> FolderSource:
    """Finds the images of some classes in a folder of ImageNet; none is opened yet.

    Of ImageNet's splits only train is used, as in the paper. A class folder may be a
    link; what counts as an image in it, and which links in it are followed, is said in
    :func:`load_folder`.

    Args:
        name: ``imagenet10`` or ``imagenet_dogs``.
        root: The folder that holds ``train/n02085936`` and so on, or that holds
            ``n02085936`` itself. Other classes in it do not matter.
        num_channels: 3 to read every image as RGB, 1 as grey.
        on_error: ``skip`` leaves out folders that cannot be listed, or ``raise``.

    Returns:
        The source; its keys are the paths relative to ``root``, with ``/``, its classes
        are numbered in the order of :data:`IMAGENET_SUBSETS`.

    Raises:
        DataError: if ``root`` or a class folder is missing or holds no image, naming
            all that are missing.
    """
    check_on_error(on_error)
    title, classes = IMAGENET_SUBSETS[name]
    root = Path(os.path.expanduser(root))
    split = _split(root, name)
    keys, targets, left_out, empty = [], [], list[ImageProblem](), list[str]()
    for target, (folder, common_name) in enumerate(classes.items()):
        place = split / folder
        found = find_images(root / place, on_error)
        left_out += [
            ImageProblem(f"{place.as_posix()}/{key}", reason)
            for key, reason in found.left_out
        ]
        images = sorted(found.images, key=path_order)
        keys += [place / image for image in images]
        targets += [target] * len(images)
        if not images:
            empty.append(f"{folder} ({common_name})")
    if empty:
        raise DataError(
            f"no images in class folders of {title} in {str(root / split)!r}: "
            f"{', '.join(empty)}"
        )
    others = f"; {len(left_out):,} left out" if left_out else ""
    return FolderSource(
        name=name,
        class_names=tuple(" ".join(item) for item in classes.items()),
        targets=np.array(targets, dtype=np.int64),
        keys=[in_utf8(key.as_posix()) for key in keys],
        protocol=(
            f"{title}: train, {len(keys):,} images of various sizes, "
            f"{len(classes)} classes{others}"
        ),
        num_channels=num_channels,
        paths=[str(root / key) for key in keys],
        left_out=tuple(sorted(left_out)),
    )


def _split(root: Path, name: str) -> Path:
    """Where below ``root`` all class folders are: in ``train``, or in itself."""
    if not os.path.isdir(root):
        problem = "is not a folder" if os.path.exists(root) else "does not exist"
        raise DataError(f"data folder {str(root)!r} {problem}")
    title, classes = IMAGENET_SUBSETS[name]
    missing = {
        split: [key for key in classes if not (root / split / key).is_dir()]
        for split in (Path(_TRAIN), Path())
    }
    split = min(missing, key=lambda split: len(missing[split]))
    if missing[split]:
        names = ", ".join(f"{key} ({classes[key]})" for key in missing[split])
        raise DataError(
            f"data folder {str(root / split)!r} lacks {len(missing[split])} of the "
            f"{len(classes)} class folders of {title}: {names}; point to a folder of "
            f"ImageNet: data={name} data.path=DIR, where DIR or DIR/{_TRAIN} holds "
            f"{next(iter(classes))} and the others"
        )
    return split
